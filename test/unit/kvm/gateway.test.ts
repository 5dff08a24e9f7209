// The gateway without a libvirtd: what passes, what is translated, what is refused.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { duplexPair } from '../../support/duplex-pair.ts';
import { Connection } from '../../../plugins/kvm/gateway/connection.ts';
import type { Row } from '../../../plugins/kvm/gateway/answers.ts';
import { translated, translatedBack, volumesIn } from '../../../plugins/kvm/gateway/domain-xml.ts';
import { wantedIn } from '../../../plugins/kvm/gateway/face.ts';
import type { DiskSource } from '../../../plugins/kvm/model/disk.ts';
import { parseXml, toXml } from '../../../plugins/kvm/model/xml.ts';
import { MessageStatus, MessageType, PROGRAM_REMOTE, encodeFrame } from '../../../plugins/kvm/rpc/frame.ts';
import { readError } from '../../../plugins/kvm/rpc/errors.ts';
import { Framer } from '../../../plugins/kvm/rpc/frame.ts';
import { XdrReader } from '../../../plugins/kvm/rpc/xdr.ts';

const POOL = { name: 'gemel', uuid: '00000000-0000-5000-8000-000000000001' };
const SOURCE: DiskSource = {
  ...{
    kind: 'iscsi',
    target: 'iqn.2026-11.org.gemel:x',
    lun: 3,
    host: '10.0.0.1',
    port: 3260,
    initiator: 'iqn.2026-11.a:b',
  },
};

const disk = (type: string, source: string): string =>
  `<disk type="${type}" device="disk"><driver name="qemu" type="raw"/><source ${source}/><target dev="sda" bus="scsi"/></disk>`;

describe('the gateway', () => {
  test('passes what it does not know byte by byte, however it is cut, in both directions', async () => {
    const [client, near] = duplexPair();
    const [far, libvirtd] = duplexPair();
    const connection = new Connection({
      client: near,
      libvirtd: far,
      rows: new Map(),
      pool: POOL,
      onChanged: () => undefined,
    });
    const arrived: Buffer[] = [];
    const returned: Buffer[] = [];
    libvirtd.on('data', (bytes: Buffer) => {
      arrived.push(bytes);
      libvirtd.write(bytes);
    });
    client.on('data', (bytes: Buffer) => returned.push(bytes));
    const frames = [0, 1, 5, 4096, 100_000].map((length, i) =>
      encodeFrame(
        // A version, types and a status nobody knows are nobody's business here.
        {
          program: 0x1234_0000 + i,
          version: i,
          procedure: -i,
          type: i === 2 ? 3 : 9,
          serial: 0xffff_fff0 + i,
          status: 7,
        },
        Buffer.alloc(length, i + 1),
      ),
    );
    const all = Buffer.concat(frames);
    for (let at = 0; at < all.length; at += 997) client.write(all.subarray(at, at + 997));
    while (Buffer.concat(returned).length < all.length) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(Buffer.concat(arrived).equals(all));
    assert.ok(Buffer.concat(returned).equals(all));
    client.destroy();
    await connection.closed;
  });

  test('refuses file descriptors, and ends a connection that is no libvirt', async () => {
    const [client, near] = duplexPair();
    const [far, libvirtd] = duplexPair();
    let passed = 0;
    libvirtd.on('data', (bytes: Buffer) => (passed += bytes.length));
    const rows: ReadonlyMap<number, Row> = new Map();
    const connection = new Connection({ client: near, libvirtd: far, rows, pool: POOL, onChanged: () => undefined });
    const framer = new Framer();
    const answer = new Promise<string>((resolve) => {
      client.on('data', (bytes: Buffer) => {
        for (const frame of framer.push(bytes)) {
          assert.deepEqual([frame.type, frame.status, frame.serial], [MessageType.reply, MessageStatus.error, 7]);
          resolve(readError(new XdrReader(frame.body)).message);
        }
      });
    });
    const head = {
      program: PROGRAM_REMOTE,
      version: 1,
      procedure: 350,
      type: MessageType.callWithFds,
      serial: 7,
      status: 0,
    };
    client.write(encodeFrame(head, Buffer.alloc(4)));
    assert.match(await answer, /file descriptors do not pass/);
    client.write('GET / HTTP/1.1\r\n\r\n');
    await connection.closed;
    assert.equal(passed, 0);
  });

  test('translates disks of its pool, and of no other', () => {
    for (const xml of [
      disk('block', 'dev="/dev/gemel/a"'),
      disk('file', 'file="/dev/gemel/a"'),
      disk('volume', 'pool="gemel" volume="a"'),
    ]) {
      assert.deepEqual(volumesIn('gemel', parseXml(xml)), ['a']);
      const there = translated(
        'gemel',
        parseXml(`<domain><devices>${xml}</devices></domain>`),
        new Map([['a', SOURCE]]),
      );
      assert.match(toXml(there), /<disk type="network".*name="iqn\.2026-11\.org\.gemel:x\/3"/);
      const back = translatedBack('gemel', there, new Map([['iqn.2026-11.org.gemel:x/3', 'a']]));
      assert.ok(back);
      assert.match(toXml(back), /<disk type="block".*<source dev="\/dev\/gemel\/a"\/>/);
      assert.equal(translatedBack('gemel', there, new Map()), undefined);
    }
    const others = [
      disk('block', 'dev="/dev/gemel2/a"'),
      disk('file', 'file="/x/dev/gemel/a"'),
      disk('volume', 'pool="p" volume="a"'),
    ];
    for (const xml of others) assert.deepEqual(volumesIn('gemel', parseXml(xml)), []);
  });

  test('reads what a volume is wanted to be', () => {
    const of = (capacity: string): number | undefined => wantedIn(`<volume><name>a</name>${capacity}</volume>`).size;
    assert.equal(of(''), undefined);
    assert.equal(of('<capacity>1000</capacity>'), 1024, 'whole blocks');
    assert.equal(of('<capacity unit="bytes">512</capacity>'), 512);
    assert.equal(of('<capacity unit="KB">512</capacity>'), 512_000);
    assert.equal(of('<capacity unit="G">2</capacity>'), 2 * 1024 ** 3);
    assert.equal(of('<capacity unit="MiB">3</capacity>'), 3 * 1024 ** 2);
    assert.throws(() => of('<capacity unit="stones">3</capacity>'), /stones/);
    assert.throws(() => of('<capacity>-1</capacity>'), /capacity/);
    assert.throws(() => wantedIn('<pool><name>a</name></pool>'), /pool/);
  });
});
