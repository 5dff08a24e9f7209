import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultDataFolder } from '../../../core/base/data-folder.ts';
import { formatHostPort, parseHostPort } from '../../../core/base/host-port.ts';
import { formatSize, parseSize } from '../../../core/base/sizes.ts';
import { table } from '../../../core/cli/output.ts';

describe('sizes', () => {
  it('are read as people write them', () => {
    const known: [string, number][] = [
      ['2G', 2 * 1024 ** 3],
      ['10GiB', 10 * 1024 ** 3],
      ['10 gib', 10 * 1024 ** 3],
      ['512M', 512 * 1024 ** 2],
      ['1.5T', 1.5 * 1024 ** 4],
      ['500MB', 500_000_000],
      ['64k', 65_536],
      ['1048576', 1_048_576],
      ['100B', 100],
    ];
    for (const [text, bytes] of known) assert.equal(parseSize(text), bytes, text);
    for (const text of ['', 'G', '-1G', '1e9', '0x10', '1.3', '10Q', '1,5G', '99999P', '10 G B', 'NaN']) {
      assert.throws(() => parseSize(text), { code: 'bad-request' }, text);
    }
  });

  it('are shown short', () => {
    assert.deepEqual([0, 1023, 1024, 1536, 10 * 1024 ** 3, 123_456_789].map(formatSize), [
      '0 B',
      '1023 B',
      '1 KiB',
      '1.50 KiB',
      '10 GiB',
      '118 MiB',
    ]);
  });
});

describe('addresses', () => {
  it('keep IPv6 in brackets', () => {
    for (const text of ['127.0.0.1:3260', '[::1]:3260', 'storage.example:7480']) {
      const { host, port } = parseHostPort(text, 'portal');
      assert.equal(formatHostPort(host, port), text);
    }
    for (const text of ['', ':1', '1.2.3.4', '::1:3260', '[::1]', 'a:65536', 'a:b', 'a b:1']) {
      assert.throws(() => parseHostPort(text, 'portal'), { code: 'bad-request' }, text);
    }
  });
});

describe('the default data folder', () => {
  it("is the system's for root and the user's own otherwise", () => {
    assert.equal(defaultDataFolder({ isRoot: true, home: '/root' }, {}, 'linux'), '/var/lib/gemel');
    assert.equal(defaultDataFolder({ isRoot: false, home: '/home/a' }, {}, 'linux'), '/home/a/.local/share/gemel');
    assert.equal(defaultDataFolder({ isRoot: false, home: '/home/a' }, { XDG_DATA_HOME: '/x' }, 'linux'), '/x/gemel');
  });
});

describe('tables', () => {
  it('fit the width, and obey no control characters', () => {
    const rows = [{ a: 'x'.repeat(50), b: '1\u001b[31m' }];
    const columns = [
      { title: 'A', value: (row: { a: string }) => row.a, shrink: 1 },
      { title: 'B', value: (row: { b: string }) => row.b, right: true },
    ];
    assert.equal(table(rows, columns, 22), `${'A'.padEnd(14)}  ${'B'.padStart(6)}\n${'x'.repeat(13)}…  1?[31m`);
    assert.ok(table(rows, columns).includes('x'.repeat(50)));
  });

  it('keep the end of names that differ there, and leave out spare columns before they are too wide', () => {
    const rows = [{ name: 'iqn.2026-11.org.gemel:1b2c3d4e:one', peer: '192.0.2.1:40000' }];
    type Row = (typeof rows)[number];
    const columns = [
      { title: 'NAME', value: (row: Row) => row.name, shrink: 1, keepEnd: true },
      { title: 'PEER', value: (row: Row) => row.peer, spare: 1 },
      { title: 'MORE', value: () => 'x', spare: 2 },
    ];
    assert.equal(table(rows, columns, 40).split('\n')[1], '…mel:1b2c3d4e:one  192.0.2.1:40000  x');
    assert.equal(table(rows, columns, 30), `${'NAME'.padEnd(13)}  PEER\n…1b2c3d4e:one  192.0.2.1:40000`);
    assert.equal(table(rows, columns, 20), 'NAME\n….gemel:1b2c3d4e:one');
    assert.equal(table([], columns, 20), 'NAME  PEER  MORE');
  });
});
