// Task tags, the command window, order of arrival, and every task management function, with a backend that hangs.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { TaskFunction, TaskResponse } from '../../../core/iscsi/task-management.ts';
import { Opcode, RESERVED_TAG } from '../../../core/iscsi/wire/constants.ts';
import { COMMAND_WINDOW, MAX_EARLY_BYTES, SESSION_WRITE_MEMORY } from '../../../core/base/limits.ts';
import { FUA, TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator } from '../../support/initiator.ts';
import type { LoginOptions } from '../../support/initiator.ts';
import { StallingVolume } from '../../support/stalling-volume.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';
const ORDERED = 2;
const WRITES = 0xa1;
const READS = 0xc1;

describe('tasks', () => {
  let target: TestTarget;
  let volume: StallingVolume;
  const open: Initiator[] = [];
  const login = async (isid = '800000000001', options: LoginOptions = {}): Promise<Initiator> => {
    const initiator = await Initiator.login(HOST, target.port, { target: IQN, isid, ...options });
    open.push(initiator);
    await initiator.scsi(TUR);
    await initiator.scsi(TUR, { lun: 1 });
    return initiator;
  };
  const tmf = async (initiator: Initiator, request: Buffer): Promise<number> => {
    initiator.send(request);
    const pdu = await initiator.receiveKind(Opcode.taskManagementResponse);
    assert.equal(pdu.header.readUInt32BE(16), request.readUInt32BE(16));
    return pdu.header[2] as number;
  };
  const tag = (header: Buffer): number => header.readUInt32BE(16);
  const sessionOf = (isid: string) =>
    [...target.server.connections].find((each) => each.session?.facts.isid === isid)?.session;

  before(async () => {
    volume = new StallingVolume(16 * 1_048_576);
    target = await startTarget({ volumes: [volume, new MemoryVolume(1_048_576)] });
  });
  after(() => target.close());
  beforeEach(() => {
    volume.begun = 0;
  });
  afterEach(async () => {
    volume.goOn();
    for (const each of open.splice(0)) {
      each.destroy();
      await each.closed;
    }
  });

  test('a tag used twice ends its session and keeps nobody waiting', async () => {
    const keys = { ImmediateData: 'No', InitialR2T: 'Yes' };
    const rude = await login('800000000001', { keys });
    const first = rude.command(write16(0, 2), { flags: WRITES, length: 1024 });
    rude.send(first);
    await rude.receiveKind(Opcode.r2t);
    const second = rude.command(write16(8, 2), { flags: WRITES, length: 1024 });
    second.writeUInt32BE(tag(first), 16);
    rude.send(second);
    await rude.closed;
    const other = await login('800000000002');
    // An ordered task waits for all earlier ones; one that was lost would hold it back for ever.
    assert.equal((await other.scsi(TUR, { attribute: ORDERED })).status, 0);
  });

  test('ABORT TASK is answered while the backend hangs; the tag is free, late data cannot win', async () => {
    const initiator = await login();
    for (const flags of [FUA, 0]) {
      volume.stall();
      volume.begun = 0;
      const header = initiator.command(write16(0, 1, flags), { flags: WRITES, length: 512 });
      initiator.send(header, pattern(512, 1));
      while (volume.begun === 0) await new Promise((resolve) => setImmediate(resolve));
      const started = Date.now();
      // This machine may be busy: a timer that begins now is as late as the answer for that reason.
      const late = new Promise<number>((resolve) => {
        setTimeout(() => {
          resolve(Date.now() - started - 500);
        }, 500);
      });
      const response = await tmf(initiator, initiator.taskManagement(TaskFunction.abortTask, { tag: tag(header) }));
      assert.equal(response, TaskResponse.complete);
      const took = Date.now() - started - (await late);
      assert.ok(took < 1000, `${String(took)} ms`);

      // The disk works again, but the old write is still on its way to it.
      volume.recover();
      const again = initiator.command(write16(0, 1), { flags: WRITES, length: 512 });
      again.writeUInt32BE(tag(header), 16);
      initiator.send(again, pattern(512, 2));
      const other = initiator.command(write16(64, 1), { flags: WRITES, length: 512 });
      initiator.send(other, pattern(512, 3));
      assert.equal((await initiator.answer(other)).status, 0);
      volume.goOn();
      assert.equal((await initiator.answer(again)).status, 0);
      assert.ok((await initiator.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 2)), 'old data has won');
      assert.equal(sessionOf('800000000001')?.active, 0);
    }
  });

  test('ABORT TASK of what is not there, of another LUN, of no LUN', async () => {
    const initiator = await login();
    const abort = (more: { tag?: number; lun?: number }): Promise<number> =>
      tmf(initiator, initiator.taskManagement(TaskFunction.abortTask, more));
    assert.equal(await abort({ tag: 0x7777 }), TaskResponse.noSuchTask);
    volume.stall();
    const header = initiator.command(read16(0, 1), { flags: READS, length: 512 });
    initiator.send(header);
    assert.equal(await abort({ tag: tag(header), lun: 1 }), TaskResponse.noSuchTask);
    assert.equal(await abort({ tag: tag(header), lun: 7 }), TaskResponse.noSuchLun);
    volume.goOn();
    assert.equal((await initiator.answer(header)).status, 0);
  });

  test('ABORT TASK reaches a command that waits for an earlier one, and one that never came', async () => {
    const initiator = await login();
    const next = initiator.cmdSN;
    const early = initiator.command(write16(0, 1), { flags: WRITES, length: 512, cmdSN: next + 1 });
    await initiator.scsi(write16(0, 1), { write: pattern(512, 1) });
    // Numbers next (used by the write above) and next + 1 are gone; start over from there with a gap of two.
    early.writeUInt32BE(next + 3, 24);
    initiator.send(early, pattern(512, 9));
    initiator.cmdSN = next + 4;
    const abort = initiator.taskManagement(TaskFunction.abortTask, { tag: tag(early) });
    assert.equal(await tmf(initiator, abort), TaskResponse.complete);
    const lost = initiator.taskManagement(TaskFunction.abortTask, { tag: 0x9999 });
    lost.writeUInt32BE(next + 2, 32);
    assert.equal(await tmf(initiator, lost), TaskResponse.complete);
    const first = initiator.command(TUR, { cmdSN: next + 1 });
    initiator.send(first);
    assert.equal((await initiator.answer(first)).status, 0);
    // Both gaps count as received: the next number is accepted, and the aborted write has not happened.
    assert.ok((await initiator.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 1)));
  });

  test('ABORT TASK SET ends the tasks of this session on this LUN only', async () => {
    const [a, b] = [await login('800000000001'), await login('800000000002')];
    volume.stall();
    const headers = [0, 1, 2].map((lba) => a.command(read16(lba, 1), { flags: READS, length: 512 }));
    for (const header of headers) a.send(header);
    const others = b.command(read16(0, 1), { flags: READS, length: 512 });
    b.send(others);
    assert.equal(await tmf(a, a.taskManagement(TaskFunction.abortTaskSet)), TaskResponse.complete);
    volume.goOn();
    assert.equal((await b.answer(others)).status, 0);
    assert.equal((await a.scsi(TUR)).status, 0, 'nothing comes of the aborted ones');
    assert.equal(sessionOf('800000000001')?.active, 0);
  });

  test('CLEAR TASK SET ends the tasks of everybody and tells the others', async () => {
    const [a, b] = [await login('800000000001'), await login('800000000002')];
    volume.stall();
    const others = b.command(read16(0, 1), { flags: READS, length: 512 });
    b.send(others);
    while (volume.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await tmf(a, a.taskManagement(TaskFunction.clearTaskSet)), TaskResponse.complete);
    volume.goOn();
    assert.equal((await b.scsi(TUR)).senseCode, '06/2f/00');
    assert.equal((await a.scsi(TUR)).status, 0);
  });

  test('LOGICAL UNIT RESET ends everything on the LUN, and only there', async () => {
    const [a, b] = [await login('800000000001'), await login('800000000002')];
    volume.stall();
    b.send(b.command(read16(0, 1), { flags: READS, length: 512 }));
    while (volume.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await tmf(a, a.taskManagement(TaskFunction.logicalUnitReset)), TaskResponse.complete);
    volume.goOn();
    for (const each of [a, b]) {
      assert.equal((await each.scsi(TUR)).senseCode, '06/29/03');
      assert.equal((await each.scsi(TUR, { lun: 1 })).status, 0);
    }
  });

  test('TARGET WARM RESET acts on all LUNs and keeps sessions; TARGET COLD RESET ends them', async () => {
    const [a, b] = [await login('800000000001'), await login('800000000002')];
    assert.equal(await tmf(a, a.taskManagement(TaskFunction.targetWarmReset)), TaskResponse.complete);
    for (const each of [a, b]) {
      for (const lun of [0, 1]) assert.equal((await each.scsi(TUR, { lun })).senseCode, '06/29/03');
    }
    assert.equal(await tmf(a, a.taskManagement(TaskFunction.targetColdReset)), TaskResponse.complete);
    await Promise.all([a.closed, b.closed]);
  });

  test('TASK REASSIGN and functions nobody knows are refused', async () => {
    const initiator = await login();
    const ask = (code: number): Promise<number> => tmf(initiator, initiator.taskManagement(code));
    assert.equal(await ask(TaskFunction.taskReassign), TaskResponse.reassignmentNotSupported);
    assert.equal(await ask(TaskFunction.clearAca), TaskResponse.notSupported);
    assert.equal(await ask(99), TaskResponse.notSupported);
  });

  test('a window that is used up is closed: more is ignored, and its opening is told even without answers', async () => {
    const [a, b] = [await login('800000000001'), await login('800000000002')];
    const session = sessionOf('800000000001');
    assert.ok(session !== undefined);
    volume.stall();
    const { maxCmdSN } = session;
    const sent: Buffer[] = [];
    while (((maxCmdSN - a.cmdSN) | 0) >= 0) {
      const header = a.command(read16(0, 1), { flags: READS, length: 512 });
      sent.push(header);
      a.send(header);
    }
    assert.equal(sent.length, COMMAND_WINDOW);
    a.send(a.command(TUR));
    a.cmdSN = (a.cmdSN - 1) >>> 0;
    const echo = Buffer.from('immediate ones pass');
    assert.deepEqual(await a.nop(echo), echo);
    assert.equal(session.active, COMMAND_WINDOW, 'a command outside the window was accepted');

    // Somebody else ends them all: nothing is answered, so only a NOP-In can open the window again.
    assert.equal(await tmf(b, b.taskManagement(TaskFunction.logicalUnitReset)), TaskResponse.complete);
    volume.goOn();
    const told = await a.receive();
    assert.equal(told.opcode, Opcode.nopIn);
    assert.deepEqual([told.header.readUInt32BE(16), told.header.readUInt32BE(20)], [RESERVED_TAG, RESERVED_TAG]);
    assert.ok(((told.header.readUInt32BE(32) - a.cmdSN) | 0) >= 0, 'MaxCmdSN opens the window');
    assert.equal((await a.scsi(TUR)).senseCode, '06/29/03');
    assert.equal(session.active, 0);
  });

  test('a request that is not immediate waits for its turn as commands do', async () => {
    const initiator = await login();
    const next = initiator.cmdSN;
    const nop = initiator.header(Opcode.nopOut, 0x80);
    nop.writeUInt32BE(initiator.itt++, 16);
    nop.writeUInt32BE(RESERVED_TAG, 20);
    nop.writeUInt32BE(next + 1, 24);
    initiator.send(nop, Buffer.from('second'));
    // Were it carried out at once, its answer would be here before this one.
    assert.equal((await initiator.nop(Buffer.from('immediate'))).toString(), 'immediate');
    initiator.send(initiator.command(TUR, { cmdSN: next }));
    initiator.cmdSN = next + 2;
    const answers = [await initiator.receive(), await initiator.receive()];
    assert.deepEqual(answers.map((each) => each.opcode).sort(), [Opcode.nopIn, Opcode.scsiResponse]);
    assert.equal(answers.find((each) => each.opcode === Opcode.nopIn)?.data.toString(), 'second');
    assert.equal((await initiator.scsi(TUR)).status, 0);
  });

  test('what is sent ahead of a missing command is bounded and given back', async () => {
    const used = target.server.memory.used;
    const initiator = await login();
    const next = initiator.cmdSN;
    const data = Buffer.alloc(262_144);
    for (let ahead = 1; ahead * data.length <= MAX_EARLY_BYTES + data.length; ahead++) {
      const header = initiator.command(write16(0, 512), { flags: WRITES, length: data.length, cmdSN: next + ahead });
      initiator.send(header, data);
    }
    await initiator.closed;
    assert.equal(target.server.memory.used, used);
  });

  test('write data that is announced and never sent does not keep the memory of others', async () => {
    const used = target.server.memory.used;
    const size = 16_777_216;
    const rude = await login('800000000001', { keys: { ImmediateData: 'No', InitialR2T: 'Yes' } });
    const count = SESSION_WRITE_MEMORY / size;
    for (let i = 0; i <= count; i++) {
      rude.send(rude.command(write16(0, size / 512, FUA), { flags: WRITES, length: size }));
    }
    for (;;) {
      const pdu = await rude.receive();
      if (pdu.opcode === Opcode.r2t) continue;
      assert.equal(pdu.opcode, Opcode.scsiResponse);
      assert.equal(pdu.header[3], 0x28, 'TASK SET FULL');
      break;
    }
    // COMPARE AND WRITE of 128 blocks: an offload that was sent away is counted as one.
    const locking = Buffer.alloc(16);
    locking[0] = 0x89;
    locking[13] = 128;
    rude.send(rude.command(locking, { flags: WRITES, length: 131_072 }));
    assert.equal((await rude.receiveKind(Opcode.scsiResponse)).header[3], 0x28, 'TASK SET FULL');
    const [meter] = target.units[0]?.offload.hosts.values() ?? [];
    assert.deepEqual([...(meter?.kinds.get('compare-and-write')?.reasons ?? [])], [['busy', 1]]);
    const other = await login('800000000002');
    assert.equal((await other.scsi(write16(100, 1, FUA), { write: pattern(512, 5) })).status, 0);
    rude.destroy();
    await rude.closed;
    assert.equal((await other.scsi(TUR)).status, 0);
    assert.equal(target.server.memory.used, used);
  });
});
