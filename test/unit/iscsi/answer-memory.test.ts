// Answers that nobody takes: bounded over all connections, at the expense of those who take nothing.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ANSWER_MEMORY, SEND_QUEUE_HIGH, SEND_QUEUE_LOW } from '../../../core/base/limits.ts';
import { AnswerMemory } from '../../../core/iscsi/answer-memory.ts';
import { Courtesy } from '../../../core/iscsi/courtesy.ts';
import { ReadGate } from '../../../core/iscsi/read-gate.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';
import { encodeText } from '../../../core/iscsi/wire/text.ts';
import { FUA, read16 } from '../../support/cdb.ts';
import { IQN } from '../../support/target.ts';
import { wireTarget } from '../../support/wire-session.ts';
import type { WireSocket, WireTarget } from '../../support/wire-session.ts';

const MIB = 1_048_576;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Logs in over a connection without a network. */
async function session(target: WireTarget, isid: number): Promise<WireSocket> {
  const socket = target.connect();
  const keys = encodeText([
    ['InitiatorName', 'iqn.2026-11.org.example:slow'],
    ['TargetName', IQN],
    ['MaxRecvDataSegmentLength', '262144'],
  ]);
  const header = Buffer.alloc(48);
  header.set([Opcode.loginRequest | 0x40, 0x87]);
  header.writeUIntBE(keys.length, 5, 3);
  header.writeUIntBE(isid, 8, 6);
  header.writeUInt32BE(1, 24);
  socket.deliver(Buffer.concat([header, keys, Buffer.alloc(-keys.length & 3)]));
  socket.deliver(command(1, Buffer.alloc(6), 0));
  await socket.taken();
  return socket;
}

/** A command with this CmdSN and tag. */
function command(cmdSN: number, cdb: Buffer, length: number): Buffer {
  const header = Buffer.alloc(48);
  header.set([Opcode.scsiCommand, length > 0 ? 0xc1 : 0x81]);
  header.writeUInt32BE(cmdSN, 16);
  header.writeUInt32BE(length, 20);
  header.writeUInt32BE(cmdSN, 24);
  cdb.copy(header, 32);
  return header;
}

const reads = (from: number, count: number, cdb: Buffer, length: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => command(from + i, cdb, length)));

describe('answers that nobody takes', () => {
  for (const [way, flags] of [
    ['from memory', 0],
    ['by tasks', FUA],
  ] as const) {
    test(`many sessions that read ${way} and take nothing are bounded together; one that takes is served`, async () => {
      const target = await wireTarget();
      const count = 64;
      const slow: WireSocket[] = [];
      for (let i = 0; i < count; i++) slow.push(await session(target, i + 1));
      for (const each of slow) {
        each.stuck = true;
        each.deliver(reads(2, 40, read16(0, MIB / 512, flags), MIB));
      }
      for (let i = 0; i < 200; i++) await turn();
      const waiting = [...target.server.connections].map((each) => each.send.waiting);
      const total = waiting.reduce((sum, each) => sum + each, 0);
      assert.ok(total <= ANSWER_MEMORY + count * SEND_QUEUE_LOW, `${String(total / MIB)} MiB wait`);
      assert.ok(total > ANSWER_MEMORY / 2, 'little waits: the test does not test');
      assert.ok(Math.abs(target.server.answers.used - total) <= SEND_QUEUE_HIGH, 'the account is wrong');

      const good = await session(target, 0xff);
      let bytes = 0;
      for (let i = 0; i < 64; i++) {
        good.deliver(command(2 + i, read16(0, MIB / 512, flags), MIB));
        bytes += (await good.taken()).length;
      }
      assert.ok(bytes > 64 * MIB, 'a session that takes its answers waits for those that do not');

      // Those that begin to take get everything: nobody is left behind.
      const first = slow[0] as WireSocket;
      first.stuck = false;
      bytes = first.unsent;
      for (let i = 0; i < 400; i++) {
        first.drain();
        bytes += (await first.taken()).length;
      }
      assert.ok(bytes > 40 * MIB, `${String(bytes)} of 40 answers came`);
      for (const each of slow) each.destroy();
      good.destroy();
      for (let i = 0; i < 20; i++) await turn();
      assert.equal(target.server.answers.used, 0);
    });
  }

  test('the more is in use, the less one may have; a minimum is never refused', () => {
    const memory = new AnswerMemory(64 * MIB, setImmediate);
    assert.ok(!memory.full(SEND_QUEUE_HIGH));
    assert.ok(memory.full(SEND_QUEUE_HIGH + 1));
    memory.change(40 * MIB);
    assert.ok(!memory.full(8 * MIB));
    assert.ok(memory.full(8 * MIB + 1));
    assert.ok(memory.admits(4 * MIB, 4 * MIB));
    assert.ok(!memory.admits(5 * MIB, 4 * MIB));
    memory.change(100 * MIB);
    assert.ok(!memory.full(SEND_QUEUE_LOW));
    assert.ok(memory.admits(0, SEND_QUEUE_LOW));
    assert.ok(!memory.admits(1, 1));
    assert.ok(!memory.admits(0, SEND_QUEUE_LOW + 1));
  });

  test('a large read waits for the room others give back, and is told', async () => {
    const memory = new AnswerMemory(64 * MIB, setImmediate);
    const idle = { waiting: 0, count: () => undefined };
    const gate = new ReadGate(idle, memory, new Courtesy(new ManualClock()));
    memory.change(60 * MIB);
    let entered = false;
    const large = gate.enter(16 * MIB, false)?.then(() => (entered = true));
    assert.ok(large !== undefined);
    memory.change(-4 * MIB);
    await turn();
    assert.ok(!entered);
    memory.change(-8 * MIB);
    await large;
    assert.equal(memory.used, 64 * MIB);
    gate.leave(16 * MIB, false);
    assert.equal(memory.used, 48 * MIB);
    memory.change(16 * MIB);
    const never = gate.enter(16 * MIB, false);
    assert.ok(never !== undefined);
    gate.close();
    await never;
  });
});
