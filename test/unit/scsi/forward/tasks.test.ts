// Task management of forwarded commands: nobody is told that a command is over before the node that carries it out has said so.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Initiator } from '../../../support/initiator.ts';
import { FORWARD_HOLD } from '../../../../core/base/limits.ts';
import { Opcode } from '../../../../core/iscsi/wire/constants.ts';
import { ForwardType } from '../../../../core/scsi/forward/messages.ts';
import { TUR, pattern, read16, write16 } from '../../../support/cdb.ts';
import { login, reserve, until } from '../../../support/nodes-initiator.ts';
import { StallingVolume } from '../../../support/stalling-volume.ts';
import { IQN } from '../../../support/target.ts';
import { startTwoNodes } from '../../../support/two-nodes.ts';
import type { TwoNodes } from '../../../support/two-nodes.ts';

const ABORT_TASK = 1;
const ABORT_TASK_SET = 2;
const CLEAR_TASK_SET = 4;
const LU_RESET = 5;
const BLOCK = Buffer.alloc(512, 0xee);

/** Sends a WRITE of one block and does not wait for its answer. */
function startWrite(initiator: Initiator, lba: number, data = BLOCK): Buffer {
  const header = initiator.command(write16(lba, 1), { flags: 0xa1, length: 512 });
  initiator.send(header, data);
  return header;
}

const tagOf = (command: Buffer): number => command.readUInt32BE(16);

/** The response code of a task management function. */
async function manage(initiator: Initiator, code: number, tag?: number): Promise<number> {
  initiator.send(initiator.taskManagement(code, tag === undefined ? {} : { tag }));
  const pdu = await initiator.receiveKind(Opcode.taskManagementResponse);
  initiator.expStatSN = (pdu.header.readUInt32BE(24) + 1) >>> 0;
  return pdu.header[2] as number;
}

describe('forwarded tasks that end', () => {
  let volume: StallingVolume;
  let nodes: TwoNodes;
  let atOwner: Initiator;
  let elsewhere: Initiator;

  beforeEach(async () => {
    volume = new StallingVolume(16 * 1_048_576);
    nodes = await startTwoNodes({ volume });
    atOwner = await login(nodes, 'a');
    elsewhere = await login(nodes, 'b', 'other');
  });
  afterEach(async () => {
    volume.goOn();
    nodes.link.first.release();
    nodes.link.second.release();
    atOwner.destroy();
    elsewhere.destroy();
    await nodes.close();
  });

  /** The command is in the task set of the owner. */
  const running = (count: number): Promise<void> => until(() => Promise.resolve(nodes.a.lu.tasks.running >= count));

  it('ABORT TASK is answered when the owner has confirmed it', async () => {
    volume.stall();
    const write = startWrite(elsewhere, 5);
    await running(1);
    const aborted = manage(elsewhere, ABORT_TASK, tagOf(write));
    // The owner's disk hangs: it confirms after its patience, and holds the blocks.
    assert.equal(await aborted, 0);
    assert.equal(nodes.a.lu.counters.aborted, 1);
    volume.goOn();
    await until(() => Promise.resolve(nodes.a.lu.tasks.running === 0));
    assert.equal((await elsewhere.scsi(TUR)).status, 0);
  });

  it('ABORT TASK waits for an owner that is slow to hear of it', async () => {
    volume.stall();
    const write = startWrite(elsewhere, 5);
    await running(1);
    nodes.link.second.held = true;
    let answered = false;
    const aborted = manage(elsewhere, ABORT_TASK, tagOf(write)).then((response) => {
      answered = true;
      return response;
    });
    await until(() => Promise.resolve(nodes.link.second.waiting > 0));
    volume.goOn();
    // The write is over at the owner, but nobody here can know.
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(answered, false);
    nodes.link.second.release();
    assert.equal(await aborted, 0);
  });

  it('a write that comes after an aborted one cannot be overtaken by it', async () => {
    volume.stall();
    const write = startWrite(elsewhere, 5, BLOCK);
    await running(1);
    assert.equal(await manage(elsewhere, ABORT_TASK, tagOf(write)), 0);
    volume.recover();
    // It waits for the aborted one, whose write hangs still, and is the last to land.
    const next = pattern(512, 1);
    const second = atOwner.scsi(write16(5, 1), { write: next });
    const waits = new Promise<string>((resolve) => setTimeout(resolve, 300, 'waits'));
    assert.equal(await Promise.race([second.then(() => 'has overtaken it'), waits]), 'waits');
    volume.goOn();
    assert.equal((await second).status, 0);
    assert.ok((await elsewhere.scsi(read16(5, 1), { read: 512 })).data.equals(next));
  });

  it('ABORT TASK SET ends those of one nexus only', async () => {
    const third = await login(nodes, 'b', 'third');
    volume.stall();
    startWrite(elsewhere, 1);
    startWrite(elsewhere, 2);
    const other = startWrite(third, 3);
    await running(3);
    const aborted = manage(elsewhere, ABORT_TASK_SET);
    await until(() => Promise.resolve(nodes.a.lu.counters.aborted === 2));
    volume.goOn();
    assert.equal(await aborted, 0);
    assert.equal((await third.answer(other)).status, 0);
    third.destroy();
  });

  for (const [name, asker] of [
    ['the owner', () => atOwner],
    ['the other node', () => elsewhere],
  ] as const) {
    it(`LOGICAL UNIT RESET at ${name} ends everything everywhere`, async () => {
      const third = await login(nodes, 'b', 'third');
      volume.stall();
      startWrite(atOwner, 1);
      startWrite(elsewhere, 2);
      startWrite(third, 3);
      // This one has not sent its data yet: only its own node knows of it.
      third.send(third.command(write16(4, 1), { flags: 0xa1, length: 512 }));
      await third.receiveKind(Opcode.r2t);
      await until(() => Promise.resolve(nodes.b.server.sessions().some((each) => each.activeTasks === 2)));
      await running(3);
      const reset = manage(asker(), LU_RESET);
      await until(() => Promise.resolve(nodes.a.lu.counters.aborted === 3));
      volume.goOn();
      assert.equal(await reset, 0);
      await until(() => Promise.resolve(nodes.b.server.sessions().every((each) => each.activeTasks === 0)));
      for (const each of [atOwner, elsewhere, third]) {
        assert.equal((await each.scsi(TUR)).senseCode, '06/29/03');
        assert.equal((await each.scsi(TUR)).status, 0);
      }
      third.destroy();
    });

    it(`CLEAR TASK SET at ${name} tells the others`, async () => {
      volume.stall();
      startWrite(atOwner, 1);
      startWrite(elsewhere, 2);
      await running(2);
      const cleared = manage(asker(), CLEAR_TASK_SET);
      await until(() => Promise.resolve(nodes.a.lu.counters.aborted === 2));
      volume.goOn();
      assert.equal(await cleared, 0);
      const loser = asker() === atOwner ? elsewhere : atOwner;
      assert.equal((await loser.scsi(TUR)).senseCode, '06/2f/00');
      assert.equal((await asker().scsi(TUR)).status, 0);
    });
  }

  it('PREEMPT AND ABORT at the owner fences those of the other node off', async () => {
    assert.equal(await reserve(elsewhere, 6, 0, 0, 0xb), 'GOOD');
    assert.equal(await reserve(atOwner, 6, 0, 0, 0xa), 'GOOD');
    assert.equal(await reserve(elsewhere, 1, 5, 0xb), 'GOOD');
    volume.stall();
    startWrite(elsewhere, 1);
    elsewhere.send(elsewhere.command(write16(4, 1), { flags: 0xa1, length: 512 }));
    await elsewhere.receiveKind(Opcode.r2t);
    await running(1);
    await until(() => Promise.resolve(nodes.b.server.sessions().some((each) => each.activeTasks === 2)));
    const fenced = reserve(atOwner, 5, 5, 0xa, 0xb);
    await until(() => Promise.resolve(nodes.a.lu.counters.aborted >= 1));
    volume.goOn();
    assert.equal(await fenced, 'GOOD');
    await until(() => Promise.resolve(nodes.b.server.sessions().every((each) => each.activeTasks === 0)));
    assert.equal((await elsewhere.scsi(TUR)).senseCode, '06/2a/05');
    assert.equal((await elsewhere.scsi(write16(1, 1), { write: BLOCK })).status, 0x18);
  });

  it('a logout is answered when the owner has ended what the session had running', async () => {
    volume.stall();
    startWrite(elsewhere, 1);
    await running(1);
    nodes.link.second.held = true;
    const header = elsewhere.header(Opcode.logoutRequest | 0x40, 0x80);
    header.writeUInt32BE(elsewhere.itt++, 16);
    header.writeUInt32BE(elsewhere.cmdSN, 24);
    elsewhere.send(header);
    await until(() => Promise.resolve(nodes.link.second.waiting > 0));
    volume.goOn();
    await assert.rejects(elsewhere.receiveKind(Opcode.logoutResponse, 300), /no PDU in time/);
    nodes.link.second.release();
    assert.equal((await elsewhere.receiveKind(Opcode.logoutResponse)).header[2], 0);
  });

  it('a session is reinstated when the owner has ended what the old one had running', async () => {
    const { isid } = elsewhere;
    volume.stall();
    startWrite(elsewhere, 1);
    await running(1);
    nodes.link.second.held = true;
    let done = false;
    const again = Initiator.login('127.0.0.1', nodes.b.port, {
      target: IQN,
      initiator: 'iqn.2026-11.org.example:other',
      isid,
    }).then((session) => {
      done = true;
      return session;
    });
    await elsewhere.closed;
    volume.goOn();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(done, false);
    nodes.link.second.release();
    const session = await again;
    assert.equal((await session.scsi(TUR)).senseCode, '06/29/00');
    assert.equal((await session.scsi(read16(1, 1), { read: 512 })).status, 0);
    session.destroy();
  });

  it('a storm of aborts leaves nothing behind', async () => {
    for (let round = 0; round < 10; round++) {
      const writes = Array.from({ length: 20 }, (_, i) => startWrite(elsewhere, i));
      for (const write of writes.filter((_, i) => i % 2 === 0)) {
        elsewhere.send(elsewhere.taskManagement(ABORT_TASK, { tag: tagOf(write) }));
      }
      // Each write has an answer or an abort that found it; each abort has an answer.
      let responses = 0;
      while (responses < 10) if ((await elsewhere.receive()).opcode === Opcode.taskManagementResponse) responses++;
    }
    await until(() => Promise.resolve(nodes.b.server.sessions().every((each) => each.activeTasks === 0)));
    assert.equal(nodes.a.lu.tasks.running, 0);
    assert.equal(nodes.a.lu.tasks.waiting, 0);
  });

  it('a command that has been on its way for too long is not carried out', async () => {
    // The owner has heard of the nexus; the write is held up in the network.
    assert.equal((await elsewhere.scsi(read16(0, 1), { read: 512 })).status, 0);
    nodes.link.second.held = true;
    const late = startWrite(elsewhere, 9);
    await until(() => Promise.resolve(nodes.link.second.waiting > 0));
    // The initiator gives the path up and writes by the other one.
    const data = pattern(512, 7);
    assert.equal((await atOwner.scsi(write16(9, 1), { write: data })).status, 0);
    await new Promise((resolve) => setTimeout(resolve, FORWARD_HOLD + 100));
    let executed = 0;
    nodes.link.second.seen = (type) => {
      if (type === ForwardType.execute) executed++;
    };
    nodes.link.second.release();
    // Whoever waits for it still is told to repeat it, if he wants to.
    assert.equal((await elsewhere.answer(late)).senseCode, '02/04/0a');
    assert.equal(executed, 1);
    assert.ok((await elsewhere.scsi(read16(9, 1), { read: 512 })).data.equals(data));
  });
});
