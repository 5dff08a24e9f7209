// Peers that do not play by the rules, on a clock that a test moves: half-open connections, dead peers, hoarders of memory.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  COMMAND_WINDOW,
  DATA_MEMORY,
  LOGIN_TIMEOUT,
  MAX_EARLY_BYTES,
  MAX_LOGINS_PENDING,
  NOP_INTERVAL,
  NOP_TIMEOUT,
  SESSION_WRITE_MEMORY,
} from '../../core/base/limits.ts';
import { NO_DIGESTS, split } from '../support/wire-decoder.ts';
import { wireTarget } from '../support/wire-session.ts';
import type { WireSocket, WireTarget } from '../support/wire-session.ts';
import { h } from '../vectors/hex.ts';
import { login } from '../vectors/session.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
const word = (value: number): string => value.toString(16).padStart(8, '0');
const NO_LUN = '0000000000000000';
const TUR = '00'.repeat(16);

/** Logs in with an ISID of its own and takes the unit attention. */
async function session(target: WireTarget, number = 1): Promise<WireSocket> {
  const socket = target.connect();
  const request = bytes(login('None', 'None').request);
  request.writeUInt16BE(number, 12);
  socket.deliver(request);
  await socket.taken();
  socket.deliver(bytes(h('01 81 0000 00 000000', NO_LUN, word(2), word(0), word(5), word(4), TUR)));
  assert.equal((await socket.taken()).readUInt8(3), 0x02);
  return socket;
}

/** WRITE (10) of `blocks` at LBA 0 with `data` bytes of immediate data. */
function write(itt: number, cmdSN: number, blocks: number, data: number, flags = 'a1'): Buffer {
  const cdb = h('2a 00 00000000 00', blocks.toString(16).padStart(4, '0'), '00', '00'.repeat(6));
  const segment = data.toString(16).padStart(6, '0');
  const header = h('01', flags, '0000 00', segment, NO_LUN, word(itt), word(blocks * 512), word(cmdSN), word(4), cdb);
  return Buffer.concat([bytes(header), Buffer.alloc((data + 3) & ~3, 0x5a)]);
}

const answersOf = async (socket: WireSocket): Promise<Buffer[]> => split(await socket.taken(), NO_DIGESTS);
const connections = ({ server }: WireTarget): number => server.connections.size;

describe('half-open connections', () => {
  test('who does not log in in time is closed, and makes room for others', async () => {
    const target = await wireTarget();
    const silent = Array.from({ length: MAX_LOGINS_PENDING }, () => target.connect());
    silent.slice(0, 100).forEach((each) => {
      each.deliver(bytes(login('None', 'None').request).subarray(0, 100));
    });
    assert.ok(target.connect().closed, 'one more than MAX_LOGINS_PENDING');
    target.clock.pass(LOGIN_TIMEOUT + 2000);
    await silent[0]?.taken();
    assert.ok(
      silent.every((each) => each.closed),
      'a silent peer is still there',
    );
    assert.equal(connections(target), 0);
    await session(target);
    assert.equal(target.server.sessions().length, 1);
  });

  test('a login that trickles in is closed in time too', async () => {
    const target = await wireTarget();
    const slow = target.connect();
    const request = bytes(login('None', 'None').request);
    for (let at = 0; at < 30; at++) {
      slow.deliver(request.subarray(at, at + 1));
      target.clock.pass(1000);
    }
    assert.ok(slow.closed);
  });

  test('a peer that has died is closed after its NOP-In, and what it reserved is free', async () => {
    const target = await wireTarget();
    const dead = await session(target, 1);
    const alive = await session(target, 2);
    dead.deliver(bytes(h('01 81 0000 00 000000', NO_LUN, word(3), word(0), word(6), word(4), '16', '00'.repeat(15))));
    assert.equal((await dead.taken()).readUInt8(3), 0x00);
    let cmdSN = 6;
    const read = async (): Promise<number> => {
      const cdb = h('28 00 00000000 00 0000 00', '00'.repeat(6));
      alive.deliver(bytes(h('01 81 0000 00 000000', NO_LUN, word(cmdSN), word(0), word(cmdSN++), word(4), cdb)));
      const answer = (await answersOf(alive)).find((each) => each.readUInt8(0) === 0x21);
      return answer?.readUInt8(3) ?? -1;
    };
    assert.equal(await read(), 0x18, 'reserved');
    for (let passed = 0; passed < NOP_INTERVAL + NOP_TIMEOUT + 5000; passed += 5000) {
      target.clock.pass(5000);
      await read();
    }
    assert.ok(dead.closed, 'the dead peer is still there');
    assert.ok(!alive.closed, 'the living one is not');
    assert.equal(await read(), 0x00);
  });
});

describe('hoarders', () => {
  test('commands ahead of their turn hold no more than half of the data memory', async () => {
    const target = await wireTarget();
    const { memory } = target.server;
    const sockets: WireSocket[] = [];
    const rss = process.memoryUsage().rss;
    const data = 262_144;
    const kept = 48 + data;
    // CmdSN 6 never comes: all the others have to be kept, as many of a session as MAX_EARLY_BYTES allows.
    const most = Math.floor(MAX_EARLY_BYTES / kept);
    while (memory.used <= DATA_MEMORY / 2 && sockets.length < 64) {
      const before = memory.used;
      const socket = await session(target, sockets.length + 1);
      sockets.push(socket);
      // With the one that crosses the mark it is full.
      let sent = 0;
      while (sent < most && memory.used <= DATA_MEMORY / 2) {
        socket.deliver(write(101 + sent, 7 + sent, 512, data));
        sent++;
      }
      assert.equal(memory.used - before, sent * kept, 'what is kept is not counted');
    }
    assert.ok(memory.used > DATA_MEMORY / 2, 'nothing is hoarded');
    assert.ok(memory.used <= DATA_MEMORY / 2 + kept, `${String(memory.used)} bytes are kept`);
    assert.ok(process.memoryUsage().rss - rss < 1.5 * DATA_MEMORY);
    const [first, second] = sockets;
    assert.ok(first !== undefined && second !== undefined);
    // Who finds no room is closed, and nothing of it is held.
    const full = memory.used;
    const last = await session(target, 100);
    last.deliver(write(101, 7, 512, data));
    await last.taken();
    assert.ok(last.closed, 'no room');
    assert.equal(memory.used, full);
    // When the missing one comes, those that were kept are carried out, in order.
    first.deliver(write(100, 6, 1, 512));
    const statuses = (await answersOf(first)).map((each) => [each.readUInt32BE(16), each.readUInt8(3)]);
    const good = Array.from({ length: most + 1 }, (_, i) => [100 + i, 0x00]);
    assert.deepEqual(statuses, good);
    assert.equal(memory.used, full - most * kept);
    // Now there is room, but not for more than MAX_EARLY_BYTES of one session.
    second.deliver(write(101 + most, 7 + most, 512, data));
    await second.taken();
    assert.ok(second.closed, 'more than MAX_EARLY_BYTES');
    assert.equal(memory.used, full - 2 * most * kept);
    for (const each of sockets) each.destroy();
    await last.taken();
    assert.equal(memory.used, 0, 'memory of closed connections is not given back');
  });

  test('sessions that announce data and never send it do not stop the others', async () => {
    const target = await wireTarget();
    const { memory } = target.server;
    const good = await session(target, 9);
    const fua = (opcode: string, blocks: number): string => h(opcode, '08 00000000', word(blocks), '00 00 00000000');
    // 16 MiB each, FUA so that they have to be gathered.
    const length = 32_768 * 512;
    const bad: WireSocket[] = [];
    for (let number = 1; number <= 4; number++) {
      const socket = await session(target, number);
      bad.push(socket);
      for (let i = 0; i < COMMAND_WINDOW - 1; i++) {
        socket.deliver(
          bytes(
            h('01 a1 0000 00 000000', NO_LUN, word(100 + i), word(length), word(6 + i), word(4), fua('aa', 32_768)),
          ),
        );
      }
      const answers = await answersOf(socket);
      assert.equal(answers.length, COMMAND_WINDOW - 1, 'every command is answered, by R2T or by status');
      assert.ok(answers.every((each) => each.readUInt8(0) === 0x31 || each.readUInt8(3) === 0x28));
      if (number === 1) assert.equal(memory.used, SESSION_WRITE_MEMORY, 'of one session');
    }
    assert.ok(memory.used > DATA_MEMORY / 2, 'nothing is hoarded');
    assert.ok(memory.used <= DATA_MEMORY / 2 + length, `${String(memory.used)} bytes are hoarded`);
    good.deliver(bytes(h('01 c1 0000 00 000000', NO_LUN, word(3), word(512), word(6), word(4), fua('a8', 1))));
    assert.equal((await good.taken()).toString('hex', 0, 4), '25810000', 'a read');
    const header = h('01 a1 0000 00 000200', NO_LUN, word(4), word(512), word(7), word(4), fua('aa', 1));
    good.deliver(Buffer.concat([bytes(header), Buffer.alloc(512)]));
    assert.equal((await good.taken()).toString('hex', 0, 4), '21800000', 'a small write');
    for (const each of bad) each.destroy();
    await good.taken();
    assert.equal(memory.used, 0, 'memory of closed connections is not given back');
  });

  test('writes in odd pieces hold no more than the data memory', async () => {
    const target = await wireTarget();
    const { memory } = target.server;
    const external = process.memoryUsage().arrayBuffers;
    const sockets: WireSocket[] = [];
    for (let number = 1; number <= 4; number++) {
      const socket = await session(target, number);
      // 1 MiB each, of which one byte comes with the command: the rest has to be gathered.
      // While memory is short MaxCmdSN stays where the login left it: one of the window went to TEST UNIT READY.
      for (let i = 0; i < COMMAND_WINDOW - 1; i++) socket.deliver(write(100 + i, 6 + i, 2048, 1));
      const asked = await answersOf(socket);
      assert.equal(asked.length, COMMAND_WINDOW - 1);
      assert.ok(asked.every((pdu) => pdu.readUInt8(0) === 0x31));
      if (number === 1) assert.equal(memory.used, SESSION_WRITE_MEMORY, 'of one session');
      sockets.push(socket);
    }
    const [first, , , last] = sockets;
    assert.ok(first !== undefined && last !== undefined);
    // The last command found no room; it is told so when its data, which is dropped, has come.
    const itt = 100 + COMMAND_WINDOW - 2;
    for (let sn = 0, at = 1; at < 1_048_576; sn++) {
      const size = Math.min(262_144, 1_048_576 - at);
      const flags = at + size === 1_048_576 ? '80' : '00';
      const fields = [word(itt), word(0), word(0), word(4), word(0), word(sn), word(at), word(0)];
      const header = bytes(h('05', flags, '0000 00', size.toString(16).padStart(6, '0'), NO_LUN, ...fields));
      last.deliver(Buffer.concat([header, Buffer.alloc((size + 3) & ~3)]));
      at += size;
    }
    const [full] = await answersOf(last);
    assert.deepEqual([full?.readUInt8(0), full?.readUInt8(3), full?.readUInt32BE(16)], [0x21, 0x28, itt]);
    assert.ok(
      memory.used > 0 && memory.used <= DATA_MEMORY / 2 + 1_048_576,
      `${String(memory.used)} bytes are counted`,
    );
    const growth = process.memoryUsage().arrayBuffers - external;
    assert.ok(growth < DATA_MEMORY + 200 * 1_048_576, `${String(growth)} bytes are held`);
    // LOGICAL UNIT RESET ends them all; then the first session may gather again.
    first.deliver(bytes(h('42 85 0000 00 000000', NO_LUN, word(400), 'ffffffff', word(261), word(4), '00'.repeat(16))));
    assert.equal((await first.taken()).toString('hex', 0, 3), '228000');
    assert.equal(memory.used, 0, 'memory of tasks that were ended is not given back');
    first.deliver(bytes(h('01 81 0000 00 000000', NO_LUN, word(401), word(0), word(261), word(4), TUR)));
    assert.equal((await first.taken()).readUInt8(3), 0x02, 'unit attention');
    first.deliver(write(402, 262, 2048, 1));
    assert.equal((await first.taken()).readUInt8(0), 0x31);
    assert.equal(memory.used, 1_048_576);
    for (const each of target.server.connections) each.destroy('end of test');
    await (await session(target, 9)).taken();
    assert.equal(memory.used, 0, 'memory of closed connections is not given back');
  });
});
