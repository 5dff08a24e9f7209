import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TextAnswer, parsePortal, readOptions } from '../../../core/daemon/options.ts';
import type { DaemonOptions } from '../../../core/daemon/options.ts';

function read(argv: string[], env: Record<string, string> = {}, file?: string): DaemonOptions {
  return readOptions({
    argv,
    env,
    readFile: () => {
      if (file === undefined) throw new Error('ENOENT');
      return file;
    },
    defaultData: '/default',
    memory: 8 * 1024 ** 3,
    version: '1.2.3',
  });
}

describe('daemon options', () => {
  it('have the defaults of the manual', () => {
    const options = read([]);
    assert.equal(options.data, '/default');
    assert.equal(options.portals, undefined, 'those of the catalog, or the usual one');
    assert.deepEqual(options.api, { host: '127.0.0.1', port: 7480 });
    assert.equal(options.demoSize, 10 * 1024 ** 3);
    assert.equal(options.poolSize, undefined, 'what the file system has');
    assert.equal(options.json, false);
    assert.equal(options.cacheSize, 2 * 1024 ** 3, 'a quarter of the memory');
  });

  it('say how large the cache is', () => {
    assert.equal(read([], { GEMEL_CACHE_SIZE: '256M' }).cacheSize, 256 * 1024 ** 2);
    assert.equal(read(['--cache-size', '0']).cacheSize, 0);
    assert.throws(() => read(['--cache-size', '2000T']), /at most 1 TiB/);
    assert.equal(read(['--cache-size', '1M']).cacheSize, 1024 ** 2);
    assert.throws(() => read(['--cache-size', '5']), /at least 1 MiB \(24M, 4G\), or 0 for none/);
  });

  it('come from flag before environment before file', () => {
    const file = JSON.stringify({ data: '/file', api: '127.0.0.1:1', demoSize: '1G', portals: ['127.0.0.1:1'] });
    const env = {
      GEMEL_CONFIG: 'f',
      GEMEL_DATA: '/env',
      GEMEL_API_LISTEN: '127.0.0.1:2',
      GEMEL_PORTAL: '127.0.0.1:3 [::1]:3',
    };
    const options = read(['--data', '/flag', '--json'], env, file);
    assert.deepEqual([options.data, options.api.port, options.demoSize, options.json], ['/flag', 2, 1024 ** 3, true]);
    assert.deepEqual(
      options.portals?.map((portal) => portal.host),
      ['127.0.0.1', '::1'],
    );
    assert.equal(read(['--portal', 'a:1', '--portal', 'b:4,7'], env, file).portals?.[1]?.group, 7);
    assert.equal(read(['--no-demo'], env, file).demoSize, undefined);
    assert.equal(read([], { GEMEL_POOL_SIZE: '2G' }).poolSize, 2 * 1024 ** 3);
    assert.throws(() => read(['--pool-size', '1M']), /a pool has 16 MiB to/);
    assert.equal(read([], { GEMEL_NO_DEMO: '1' }).demoSize, undefined);
    assert.equal(read([], { GEMEL_DATA: '' }).data, '/default');
    assert.equal(read(['--config', 'g'], {}, '{"demo":false}').demoSize, undefined);
  });

  it('say what is wrong in one line', () => {
    const wrong: [string[], Record<string, string>?, string?][] = [
      [['--nope']],
      [['extra']],
      [['--portal', 'x']],
      [['--api', '1.2.3.4']],
      [['--demo-size', '10Q']],
      [['--demo-size', '1K']],
      [['--log-level', 'loud']],
      [['--iqn-prefix', 'eui.1']],
      [['--config', 'missing']],
      [[], { GEMEL_LOG_FORMAT: 'xml' }],
      [['--config', 'f'], {}, '{'],
      [['--config', 'f'], {}, '{"prot":1}'],
      [['--config', 'f'], {}, '{"portals":"127.0.0.1:1"}'],
      [['--api', '[fe80::1%eth0]:7480']],
      [['--portal', '0.0.0.0:1', '--portal', '[::]:1']],
      [['--portal', '[::1]:1', '--portal', '[::]:1']],
      [['--portal', '127.0.0.1:1', '--portal', '0.0.0.0:1,2']],
      [['--portal', '127.0.0.1:1', '--portal', '127.0.0.1:1,2']],
      [['--portal', '127.0.0.1:1', '--api', '127.0.0.1:1']],
    ];
    for (const [argv, env, file] of wrong) {
      assert.throws(
        () => read(argv, env, file),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'bad-request', String(error));
          return !error.message.includes('\n');
        },
      );
    }
    for (const argv of [
      ['--portal', '127.0.0.1:0', '--portal', '127.0.0.1:0', '--api', '127.0.0.1:0'],
      ['--portal', '0.0.0.0:1', '--portal', '[::1]:1', '--api', '[fd00::2]:1'],
    ]) {
      assert.ok(read(argv));
    }
    assert.throws(() => read(['--nix']), { message: "unknown option '--nix' (gemeld --help lists what there is)" });
    assert.throws(() => read(['--version']), TextAnswer);
    assert.throws(
      () => read(['--help']),
      (error) => error instanceof TextAnswer && error.message.includes('--portal'),
    );
  });

  it('read portals with group and advertised address', () => {
    assert.deepEqual(parsePortal('0.0.0.0:3260,2,storage.example:3260'), {
      ...{ host: '0.0.0.0', port: 3260, group: 2 },
      advertised: 'storage.example:3260',
    });
    assert.deepEqual(parsePortal('[fe80::1%eth0]:3260,65535'), { host: 'fe80::1%eth0', port: 3260, group: 65535 });
    for (const text of ['a:1,0', 'a:1,65536', 'a:1,x', 'a:1,1,b', 'a:1,', 'a:1,1,']) {
      assert.throws(() => parsePortal(text), { code: 'bad-request' }, text);
    }
  });
});
