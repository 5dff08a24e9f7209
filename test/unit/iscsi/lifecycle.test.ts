// A session from its data transfer to its end: bursts, residuals, digests, NOP, dead and slow peers, logout, shutdown.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { LOGOUT_PATIENCE, NOP_INTERVAL, NOP_TIMEOUT, SEND_QUEUE_HIGH } from '../../../core/base/limits.ts';
import { Opcode, RESERVED_TAG, RejectReason } from '../../../core/iscsi/wire/constants.ts';
import type { Visibility, Visitor } from '../../../core/scsi/device.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { FUA, TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator, LoginFailed } from '../../support/initiator.ts';
import type { LoginOptions, Pdu } from '../../support/initiator.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { StallingVolume } from '../../support/stalling-volume.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';
const NAME = 'iqn.2026-11.org.example:';
const WRITES = 0xa1;
const READS = 0xc1;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('data and digests', () => {
  let target: TestTarget;
  let volume: StallingVolume;
  const open: Initiator[] = [];
  const login = async (options: LoginOptions = {}): Promise<Initiator> => {
    const initiator = await Initiator.login(HOST, target.port, { target: IQN, ...options });
    open.push(initiator);
    await initiator.scsi(TUR);
    return initiator;
  };
  before(async () => {
    volume = new StallingVolume(64 * 1_048_576);
    target = await startTarget({ volumes: [volume] });
  });
  after(() => target.close());
  afterEach(async () => {
    volume.goOn();
    for (const each of open.splice(0)) {
      each.destroy();
      await each.closed;
    }
  });

  for (const [way, cdb] of [
    ['at once', read16(0, 40)],
    ['as a task', read16(0, 40, FUA)],
  ] as const) {
    test(`Data-In ${way}: numbered, in order, F at the end of each burst, status in the last PDU only`, async () => {
      const keys = { MaxRecvDataSegmentLength: '4096', MaxBurstLength: '8192' };
      const initiator = await login({ keys });
      const data = pattern(40 * 512, 1);
      await initiator.scsi(write16(0, 40), { write: data });
      // More is expected than there is: underflow, told in the last PDU.
      initiator.send(initiator.command(cdb, { flags: READS, length: way === 'at once' ? 20_480 : 24_576 }));
      let offset = 0;
      for (let sn = 0; sn < 5; sn++) {
        const pdu = await initiator.receive();
        const last = sn === 4;
        assert.equal(pdu.opcode, Opcode.dataIn);
        assert.deepEqual([pdu.header.readUInt32BE(36), pdu.header.readUInt32BE(40)], [sn, offset]);
        const flags = (sn % 2 === 1 || last ? 0x80 : 0) | (last ? 1 : 0) | (last && way === 'as a task' ? 2 : 0);
        assert.equal(pdu.header[1], flags, `flags of PDU ${String(sn)}`);
        assert.equal(pdu.header.readUInt32BE(44), last && way === 'as a task' ? 4096 : 0);
        assert.ok(pdu.data.equals(data.subarray(offset, offset + 4096)));
        offset += pdu.data.length;
      }
      assert.equal(offset, data.length);
    });
  }

  test('several R2Ts are out at once and no more than agreed; their data is taken in order', async () => {
    const keys = { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '512', MaxOutstandingR2T: '3' };
    const initiator = await login({ keys });
    const data = pattern(5 * 512, 7);
    const command = initiator.command(write16(0, 5), { flags: WRITES, length: data.length });
    initiator.send(command);
    const r2ts: Pdu[] = [];
    for (let i = 0; i < 3; i++) r2ts.push(await initiator.receiveKind(Opcode.r2t));
    assert.deepEqual(
      r2ts.map((each) => each.header.readUInt32BE(40)),
      [0, 512, 1024],
    );
    assert.deepEqual(
      r2ts.map((each) => each.header.readUInt32BE(36)),
      [0, 1, 2],
    );
    await initiator.nop();
    for (let i = 0; i < 5; i++) {
      const r2t = r2ts[i];
      assert.ok(r2t !== undefined);
      const at = r2t.header.readUInt32BE(40);
      assert.deepEqual([at, r2t.header.readUInt32BE(44)], [i * 512, 512]);
      initiator.send(initiator.dataOut(command, r2t.header.readUInt32BE(20), 0, at, true), data.subarray(at, at + 512));
      if (r2ts.length < 5) r2ts.push(await initiator.receiveKind(Opcode.r2t));
    }
    assert.equal((await initiator.answer(command)).status, 0);
    assert.ok((await initiator.scsi(read16(0, 5), { read: data.length })).data.equals(data));
  });

  test('immediate and unsolicited data, the rest by R2T', async () => {
    const initiator = await login({ keys: { InitialR2T: 'No', FirstBurstLength: '2048' } });
    const data = pattern(8 * 512, 3);
    const command = initiator.command(write16(0, 8), { flags: WRITES & 0x7f, length: data.length });
    initiator.send(command, data.subarray(0, 512));
    initiator.send(initiator.dataOut(command, RESERVED_TAG, 0, 512, false), data.subarray(512, 1536));
    initiator.send(initiator.dataOut(command, RESERVED_TAG, 1, 1536, true), data.subarray(1536, 2048));
    const r2t = await initiator.receiveKind(Opcode.r2t);
    assert.deepEqual([r2t.header.readUInt32BE(40), r2t.header.readUInt32BE(44)], [2048, 2048]);
    initiator.send(initiator.dataOut(command, r2t.header.readUInt32BE(20), 0, 2048, true), data.subarray(2048));
    assert.equal((await initiator.answer(command)).status, 0);
    assert.ok((await initiator.scsi(read16(0, 8), { read: data.length })).data.equals(data));
  });

  const offences: [string, Record<string, string>, (initiator: Initiator) => void][] = [
    [
      'immediate data that was not agreed',
      { ImmediateData: 'No' },
      (i) => {
        i.send(i.command(write16(0, 1), { flags: WRITES, length: 512 }), Buffer.alloc(512));
      },
    ],
    [
      'unsolicited data that was not agreed',
      { InitialR2T: 'Yes' },
      (i) => {
        i.send(i.command(write16(0, 4), { flags: WRITES & 0x7f, length: 2048 }), Buffer.alloc(512));
      },
    ],
    [
      'more immediate data than is expected',
      {},
      (i) => {
        i.send(i.command(write16(0, 4), { flags: WRITES, length: 512 }), Buffer.alloc(2048));
      },
    ],
    [
      'a data segment longer than we declared',
      {},
      (i) => {
        const pdu = i.pdu(i.command(write16(0, 4), { flags: WRITES, length: 2048 }));
        pdu.writeUIntBE(0xff_ffff, 5, 3);
        i.raw(pdu);
      },
    ],
    [
      'a second login',
      {},
      (i) => {
        i.send(i.loginHeader(0x87));
      },
    ],
  ];
  for (const [what, keys, offend] of offences) {
    test(`${what}: only this session ends`, async () => {
      const witness = await login({ isid: '8000000000aa' });
      const initiator = await login({ keys });
      offend(initiator);
      await initiator.closed;
      assert.equal((await witness.scsi(TUR)).status, 0);
    });
  }

  test('unsolicited data beyond FirstBurstLength fails its command', async () => {
    const initiator = await login({ keys: { InitialR2T: 'No', FirstBurstLength: '1024' } });
    const command = initiator.command(write16(0, 8), { flags: WRITES & 0x7f, length: 4096 });
    initiator.send(command, Buffer.alloc(512));
    initiator.send(initiator.dataOut(command, RESERVED_TAG, 0, 512, true), Buffer.alloc(1024));
    assert.equal((await initiator.answer(command)).senseCode, '0b/4b/00');
    assert.equal((await initiator.scsi(TUR)).status, 0);
  });

  test('SNACK and opcodes nobody knows are rejected with their header', async () => {
    const initiator = await login();
    for (const [opcode, reason] of [
      [Opcode.snack, RejectReason.snackReject],
      [0x1d, RejectReason.commandNotSupported],
      [Opcode.nopIn, RejectReason.commandNotSupported],
    ] as const) {
      const header = initiator.header(opcode | 0x40, 0x80);
      header.writeUInt32BE(0x4711, 16);
      initiator.send(header);
      const reject = await initiator.receiveKind(Opcode.reject).catch(() => undefined);
      assert.deepEqual([reject?.header[2], reject?.header.readUInt32BE(16)], [reason, RESERVED_TAG]);
      assert.deepEqual(reject?.data, header);
    }
    assert.equal((await initiator.scsi(TUR)).status, 0);
  });

  test('a damaged length under a header digest does not make us wait for data', async () => {
    const initiator = await login({ keys: { HeaderDigest: 'CRC32C' } });
    const pdu = initiator.pdu(initiator.command(TUR));
    pdu.writeUIntBE(200_000, 5, 3);
    initiator.raw(pdu);
    await initiator.closed;
  });

  test('damaged immediate data is rejected and never written', async () => {
    const witness = await login({ isid: '8000000000aa' });
    await witness.scsi(write16(0, 1), { write: pattern(512, 1) });
    const initiator = await login({ keys: { DataDigest: 'CRC32C' } });
    const header = initiator.command(write16(0, 1), { flags: WRITES, length: 512 });
    const pdu = initiator.pdu(header, pattern(512, 2));
    pdu[100] = (pdu[100] ?? 0) ^ 0x40;
    initiator.raw(pdu);
    const reject = await initiator.receiveKind(Opcode.reject);
    assert.equal(reject.header[2], RejectReason.dataDigestError);
    await initiator.closed;
    assert.ok((await witness.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 1)));
  });

  test('reinstatement while the backend hangs: what the old session was writing cannot win', async () => {
    const old = await login();
    volume.stall();
    volume.begun = 0;
    old.send(old.command(write16(0, 1), { flags: WRITES, length: 512 }), pattern(512, 1));
    while (volume.begun === 0) await turn();
    volume.recover();
    const next = await login();
    await old.closed;
    const header = next.command(write16(0, 1), { flags: WRITES, length: 512 });
    next.send(header, pattern(512, 2));
    await next.nop();
    volume.goOn();
    assert.equal((await next.answer(header)).status, 0);
    assert.ok((await next.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 2)), 'old data has won');
  });

  test('a peer that takes nothing stops reads from the backend, not only from memory', async () => {
    const used = target.server.memory.used;
    const slow = await login();
    slow.socket.pause();
    const size = 4_194_304;
    volume.stall();
    for (let i = 0; i < 64; i++) slow.send(slow.command(read16(0, size / 512), { flags: READS, length: size }));
    const connection = [...target.server.connections].find((each) => each.session?.facts.isid === slow.isid);
    assert.ok(connection !== undefined);
    const active = (): number => connection.session?.active ?? 0;
    while (active() < 64) await turn();
    volume.goOn();
    const witness = await login({ isid: '8000000000aa' });
    for (let i = 0; i < 5000 && connection.send.waiting <= SEND_QUEUE_HIGH; i++) await turn();
    for (let i = 0; i < 200; i++) assert.equal((await witness.scsi(read16(0, 1, FUA), { read: 512 })).status, 0);
    const { waiting } = connection.send;
    assert.ok(waiting > SEND_QUEUE_HIGH && waiting < 40 * size, `${String(waiting)} bytes have been read into memory`);
    assert.ok(active() > 0, 'reads wait for the peer');

    // As soon as it reads again, everything comes.
    slow.socket.resume();
    let bytes = 0;
    while (bytes < 64 * size) bytes += (await slow.receiveKind(Opcode.dataIn)).data.length;
    assert.equal(bytes, 64 * size);
    assert.equal(target.server.memory.used, used);
  });
});

describe('masking', () => {
  test('each LUN is visible, read-only or hidden for each initiator, also while it is logged in', async () => {
    const see = new Map<string, Visibility>([[`${NAME}reader`, 'read-only']]);
    const visibility = ({ initiator }: Visitor): Visibility => see.get(initiator.name) ?? 'hidden';
    const target = await startTarget({ visibility, volumes: [new MemoryVolume(1_048_576)] });
    const login = (who: string): Promise<Initiator> =>
      Initiator.login(HOST, target.port, { target: IQN, initiator: `${NAME}${who}` });
    await assert.rejects(login('stranger'), (error) => error instanceof LoginFailed && error.status === 0x0202);
    const reader = await login('READER');
    assert.equal((await reader.scsi(TUR)).senseCode, '06/29/00');
    assert.equal((await reader.scsi(write16(0, 1), { write: Buffer.alloc(512) })).senseCode, '07/27/00');
    assert.equal((await reader.scsi(read16(0, 1), { read: 512 })).status, 0);
    see.set(`${NAME}reader`, 'hidden');
    target.device.reconsider();
    assert.equal((await reader.scsi(read16(0, 1), { read: 512 })).senseCode, '05/25/00');
    reader.destroy();
    await target.close();
  });
});

describe('the end of a session', () => {
  let target: TestTarget;
  let clock: ManualClock;
  const login = async (options: LoginOptions = {}): Promise<Initiator> => {
    const initiator = await Initiator.login(HOST, target.port, { target: IQN, ...options });
    if (options.discovery !== true) await initiator.scsi(TUR);
    return initiator;
  };
  const start = async (): Promise<void> => {
    clock = new ManualClock();
    target = await startTarget({ clock });
  };

  test('a silent peer is asked; one that answers stays, one that does not is closed', async () => {
    await start();
    const [alive, dead] = [await login(), await login({ isid: '800000000002' })];
    clock.advance(NOP_INTERVAL + 1500);
    for (const each of [alive, dead]) {
      const ping = await each.receive();
      assert.equal(ping.opcode, Opcode.nopIn);
      assert.equal(ping.header.readUInt32BE(16), RESERVED_TAG);
      assert.notEqual(ping.header.readUInt32BE(20), RESERVED_TAG);
      assert.equal(ping.header.readUInt32BE(24), each.expStatSN, 'a ping takes no StatSN');
      if (each === dead) continue;
      const pong = each.header(Opcode.nopOut | 0x40, 0x80);
      ping.header.copy(pong, 8, 8, 16);
      pong.writeUInt32BE(RESERVED_TAG, 16);
      ping.header.copy(pong, 20, 20, 24);
      each.send(pong);
    }
    while (target.server.sessions().length === 2) {
      const answered = [...target.server.connections].some((each) => each.pingedAt === undefined);
      if (answered) clock.advance(NOP_TIMEOUT + 1500);
      await turn();
    }
    await dead.closed;
    assert.equal((await alive.scsi(TUR)).status, 0);
    alive.destroy();
    await clock.during(target.close());
  });

  test('logout of the session, of the connection, of another one, for recovery, for nothing we know', async () => {
    await start();
    const ask = async (initiator: Initiator, reason: number, cid = 0): Promise<number> => {
      const header = initiator.header(Opcode.logoutRequest | 0x40, 0x80 | reason);
      header.writeUInt32BE(initiator.itt++, 16);
      header.writeUInt16BE(cid, 20);
      header.writeUInt32BE(initiator.cmdSN, 24);
      initiator.send(header);
      const pdu = await initiator.receive();
      return pdu.opcode === Opcode.logoutResponse ? (pdu.header[2] as number) : -1;
    };
    const stays = await login();
    assert.equal(await ask(stays, 1, 5), 1, 'CID not found');
    assert.equal(await ask(stays, 2), 2, 'no recovery');
    assert.equal(await ask(stays, 9), -1, 'rejected');
    assert.equal((await stays.scsi(TUR)).status, 0);
    assert.equal(await ask(stays, 1), 0);
    await stays.closed;
    const other = await login();
    assert.equal(await ask(other, 0), 0);
    await other.closed;
    assert.equal(target.server.sessions().length, 0);
    await clock.during(target.close());
  });

  test('shutdown asks for a logout, goes on serving meanwhile, and ends who stays', async () => {
    await start();
    const [polite, stubborn] = [await login(), await login({ isid: '800000000002' })];
    const half = await Initiator.connect(HOST, target.port);
    await turn();
    const closing = target.close();
    for (const each of [polite, stubborn]) {
      const message = await each.receive();
      assert.equal(message.opcode, Opcode.asyncMessage);
      assert.deepEqual([message.header[36], message.header.readUInt16BE(42)], [1, Math.ceil(LOGOUT_PATIENCE / 1000)]);
      each.expStatSN = (message.header.readUInt32BE(24) + 1) >>> 0;
    }
    await half.closed;
    assert.equal((await polite.scsi(TUR)).status, 0);
    assert.equal(await polite.logout(), 0);
    await polite.closed;
    assert.ok(!stubborn.isClosed);
    await clock.during(closing);
    await stubborn.closed;
    await assert.rejects(Initiator.connect(HOST, target.port));
  });
});
