import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator, LoginFailed } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';

const HOST = '127.0.0.1';

for (const receive of ['direct', 'copying'] as const) {
  describe(`a session, receiving ${receive}`, () => {
    let target: TestTarget;
    const login = async (keys: Record<string, string> = {}, isid = '800000000001'): Promise<Initiator> => {
      const initiator = await Initiator.login(HOST, target.port, { target: IQN, keys, isid });
      await initiator.scsi(TUR); // the unit attention of a new nexus
      return initiator;
    };

    before(async () => {
      target = await startTarget({ receive, volumes: [new MemoryVolume(64 * 1_048_576), new MemoryVolume(1_048_576)] });
    });
    after(() => target.close());

    const ways: [string, Record<string, string>][] = [
      ['immediate data', {}],
      ['nothing unsolicited', { ImmediateData: 'No', InitialR2T: 'Yes' }],
      ['small PDUs and bursts', { MaxBurstLength: '4096', FirstBurstLength: '1024', MaxRecvDataSegmentLength: '1024' }],
      ['digests', { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' }],
      ['several R2Ts', { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '4096', MaxOutstandingR2T: '8' }],
    ];
    for (const [name, keys] of ways) {
      test(`what is written is read back: ${name}`, async () => {
        const initiator = await login(keys);
        for (const blocks of [1, 3, 16, 100, 1000]) {
          const data = pattern(blocks * 512, blocks);
          const written = await initiator.scsi(write16(7, blocks), { write: data });
          assert.equal(written.status, 0);
          const back = await initiator.scsi(read16(7, blocks), { read: data.length });
          assert.equal(back.status, 0);
          assert.equal(back.residual, 0);
          assert.ok(back.data.equals(data), `${String(blocks)} blocks`);
        }
        assert.equal(await initiator.logout(), 0);
      });
    }

    test('FUA, odd PDU sizes and the last block', async () => {
      const initiator = await login({ MaxRecvDataSegmentLength: '1000' });
      const data = pattern(2 * 512, 9);
      const last = 64 * 2048 - 2;
      assert.equal((await initiator.scsi(write16(last, 2, 0x08), { write: data })).status, 0);
      assert.ok((await initiator.scsi(read16(last, 2), { read: 1024 })).data.equals(data));
      assert.equal((await initiator.scsi(read16(last + 1, 2), { read: 1024 })).senseCode, '05/21/00');
      assert.equal((await initiator.scsi(write16(last + 1, 2), { write: data })).senseCode, '05/21/00');
      initiator.destroy();
    });

    test('residuals both ways', async () => {
      const initiator = await login();
      const short = await initiator.scsi(read16(0, 2), { read: 512 });
      assert.deepEqual([short.status, short.data.length, short.residual], [0, 512, 512]);
      const long = await initiator.scsi(read16(0, 1), { read: 2048 });
      assert.deepEqual([long.status, long.data.length, long.residual], [0, 512, -1536]);
      const over = await initiator.scsi(write16(0, 2), { write: Buffer.alloc(512) });
      assert.deepEqual([over.status, over.residual], [0, 512]);
      const under = await initiator.scsi(write16(0, 1), { write: Buffer.alloc(2048) });
      assert.deepEqual([under.status, under.residual], [0, -1536]);
      initiator.destroy();
    });

    test('commands that arrive early wait for their turn; numbers outside the window are ignored', async () => {
      const initiator = await login();
      const first = initiator.cmdSN;
      const headers = [2, 1, 0].map((ahead) => initiator.command(TUR, { cmdSN: first + ahead }));
      const far = initiator.command(TUR, { cmdSN: first + 5000 });
      initiator.send(far);
      for (const header of headers) initiator.send(header);
      initiator.cmdSN = first + 3;
      const answered: number[] = [];
      for (let i = 0; i < 3; i++) {
        const pdu = await initiator.receiveKind(Opcode.scsiResponse);
        assert.equal(pdu.header[3], 0);
        answered.push(pdu.header.readUInt32BE(16));
      }
      assert.deepEqual(answered, headers.map((header) => header.readUInt32BE(16)).reverse());
      assert.deepEqual(await initiator.nop(Buffer.from('still here')), Buffer.from('still here'));
      initiator.destroy();
    });

    test('write data out of order fails its command and nothing else', async () => {
      const initiator = await login({ ImmediateData: 'No', InitialR2T: 'Yes' });
      const command = initiator.command(write16(0, 2), { flags: 0xa1, length: 1024 });
      initiator.send(command);
      const r2t = await initiator.receiveKind(Opcode.r2t);
      initiator.send(initiator.dataOut(command, r2t.header.readUInt32BE(20), 27, 0, true), Buffer.alloc(1024));
      const answer = await initiator.answer(command);
      assert.equal(answer.senseCode, '0b/4b/00');
      assert.equal((await initiator.scsi(TUR)).status, 0);
      initiator.destroy();
    });

    test('a damaged data segment never reaches the disk', async () => {
      const initiator = await login({ DataDigest: 'CRC32C', ImmediateData: 'No', InitialR2T: 'Yes' });
      const good = pattern(512, 1);
      await initiator.scsi(write16(0, 1), { write: good });
      const command = initiator.command(write16(0, 1), { flags: 0xa1, length: 512 });
      initiator.send(command);
      const r2t = await initiator.receiveKind(Opcode.r2t);
      const bytes = initiator.pdu(initiator.dataOut(command, r2t.header.readUInt32BE(20), 0, 0, true), pattern(512, 2));
      bytes[60] = (bytes[60] ?? 0) ^ 1;
      initiator.raw(bytes);
      const reject = await initiator.receive();
      assert.equal(reject.opcode, Opcode.reject);
      assert.equal(reject.header[2], 2);
      assert.equal((await initiator.answer(command)).senseCode, '0b/47/05');
      assert.ok((await initiator.scsi(read16(0, 1), { read: 512 })).data.equals(good));
      initiator.destroy();
    });

    test('a damaged header ends only its own connection', async () => {
      const [a, b] = [await login({ HeaderDigest: 'CRC32C' }), await login({}, '800000000002')];
      const bytes = a.pdu(a.command(TUR));
      bytes[20] = (bytes[20] ?? 0) ^ 1;
      a.raw(bytes);
      await a.closed;
      assert.equal((await b.scsi(TUR)).status, 0);
      b.destroy();
    });

    test('a second login with the same name and ISID takes the place of the first', async () => {
      const first = await login({}, '800000000077');
      const second = await login({}, '800000000077');
      await first.closed;
      assert.equal((await second.scsi(TUR)).status, 0);
      assert.equal(target.server.sessions().filter((each) => each.isid === '800000000077').length, 1);
      second.destroy();
    });

    test('two LUNs are two disks, a third is none', async () => {
      const initiator = await login();
      await initiator.scsi(TUR, { lun: 1 });
      await initiator.scsi(write16(0, 1), { lun: 1, write: pattern(512, 3) });
      await initiator.scsi(write16(0, 1), { lun: 0, write: pattern(512, 4) });
      assert.ok((await initiator.scsi(read16(0, 1), { lun: 1, read: 512 })).data.equals(pattern(512, 3)));
      assert.equal((await initiator.scsi(TUR, { lun: 2 })).senseCode, '05/25/00');
      const inquiry = await initiator.scsi(Buffer.from([0x12, 0, 0, 0, 36, 0]), { lun: 2, read: 36 });
      assert.equal(inquiry.data[0], 0x7f);
      initiator.destroy();
    });

    test('a new LUN is announced by unit attention', async () => {
      const initiator = await login();
      const entry = target.device.entries[1];
      assert.ok(entry !== undefined);
      target.device.setLun(9, { ...entry, lun: 9 });
      assert.equal((await initiator.scsi(TUR)).senseCode, '06/3f/0e');
      const luns = await initiator.scsi(Buffer.from([0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), { read: 256 });
      assert.equal(luns.data.readUInt32BE(0), 24);
      target.device.setLun(9, undefined);
      assert.equal((await initiator.scsi(TUR)).senseCode, '06/3f/0e');
      initiator.destroy();
    });
  });
}

describe('login', () => {
  const secret = 'correct horse battery';
  const mutual = { user: 'target', secret: Buffer.from('another long secret') };
  let target: TestTarget;
  before(async () => {
    target = await startTarget({
      credentials: (initiator) =>
        initiator.endsWith(':chap')
          ? { method: 'chap', user: 'me', secret: Buffer.from(secret), mutual }
          : { method: 'none' },
      visibility: ({ initiator }) => (initiator.name.endsWith(':stranger') ? 'hidden' : 'read-write'),
      redirect: (_name, initiator) =>
        initiator.endsWith(':moved') ? { portal: '192.0.2.7:3260', permanent: false } : undefined,
    });
  });
  after(() => target.close());
  const attempt = (initiator: string, more: object = {}): Promise<Initiator> =>
    Initiator.login(HOST, target.port, { target: IQN, initiator: `iqn.2026-11.org.example:${initiator}`, ...more });
  const refused = (status: number) => (error: unknown) => error instanceof LoginFailed && error.status === status;

  for (const algorithms of ['5', '7,5', '8,7,6,5']) {
    test(`CHAP in both directions with algorithm ${algorithms}`, async () => {
      const chap = { user: 'me', secret, algorithms };
      const initiator = await attempt('chap', { chap, mutual: { user: 'target', secret: 'another long secret' } });
      assert.equal((await initiator.scsi(TUR)).senseCode, '06/29/00');
      initiator.destroy();
    });
  }
  test('a wrong secret, a wrong user, no CHAP at all: authentication failure', async () => {
    await assert.rejects(attempt('chap', { chap: { user: 'me', secret: 'wrong wrong wrong' } }), refused(0x0201));
    await assert.rejects(attempt('chap', { chap: { user: 'you', secret } }), refused(0x0201));
    await assert.rejects(attempt('chap'), refused(0x0201));
    await assert.rejects(attempt('chap', { chap: { user: 'me', secret, algorithms: '99' } }), refused(0x0201));
  });
  test('an initiator without a disk is forbidden, an unknown target not found, another portal named', async () => {
    await assert.rejects(attempt('stranger'), refused(0x0202));
    await assert.rejects(attempt('x', { target: 'iqn.2026-11.org.example:none' }), refused(0x0203));
    await assert.rejects(
      attempt('moved'),
      (error: unknown) =>
        error instanceof LoginFailed && error.status === 0x0101 && error.keys.get('TargetAddress') === '192.0.2.7:3260',
    );
    await assert.rejects(attempt('x', { target: undefined }), refused(0x0207));
  });
  test('discovery shows what the initiator may see', async () => {
    const all = await attempt('x', { discovery: true, target: undefined });
    const answer = await all.text({ SendTargets: 'All' });
    assert.deepEqual(
      answer.map((pair) => [...pair][0]),
      [
        ['TargetName', IQN],
        ['TargetAddress', `127.0.0.1:${String(target.port)},1`],
      ],
    );
    all.destroy();
    const stranger = await attempt('stranger', { discovery: true, target: undefined });
    assert.deepEqual(await stranger.text({ SendTargets: 'All' }), []);
    stranger.destroy();
  });
  test('keys: values out of range are rejected, unknown ones not understood, obsolete ones rejected', async () => {
    const keys = {
      MaxBurstLength: '100',
      InitialR2T: 'Maybe',
      'X-org.example.x': '1',
      IFMarkInt: '2048',
      HeaderDigest: 'MD5',
    };
    const initiator = await attempt('x', { keys });
    const answer = (key: string): string | undefined => initiator.answers.get(key);
    assert.equal(answer('MaxBurstLength'), 'Reject');
    assert.equal(answer('InitialR2T'), 'Reject');
    assert.equal(answer('X-org.example.x'), 'NotUnderstood');
    assert.equal(answer('IFMarkInt'), 'Reject');
    assert.equal(answer('HeaderDigest'), 'Reject');
    initiator.destroy();
  });
});
