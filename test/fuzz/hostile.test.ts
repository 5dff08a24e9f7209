// Peers that do not play by the rules, on a clock that a test moves: half-open connections, dead peers, hoarders of memory.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  COMMAND_WINDOW,
  DATA_MEMORY,
  LOGIN_TIMEOUT,
  MAX_LOGINS_PENDING,
  NOP_INTERVAL,
  NOP_TIMEOUT,
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
    // CmdSN 6 never comes: all the others have to be kept.
    for (let number = 1; memory.used <= DATA_MEMORY / 2 && number <= 16; number++) {
      const socket = await session(target, number);
      sockets.push(socket);
      for (let i = 1; i < COMMAND_WINDOW; i++) socket.deliver(write(100 + i, 6 + i, 512, data));
    }
    assert.ok(sockets.length < 16, 'what is kept is not counted');
    const last = await session(target, 20);
    for (let i = 1; i < 4; i++) last.deliver(write(100 + i, 6 + i, 512, data));
    assert.ok(memory.used <= DATA_MEMORY / 2 + data);
    assert.ok(process.memoryUsage().rss - rss < 1.5 * DATA_MEMORY);
    // When the missing one comes, those that found no room are told to come again, in order.
    last.deliver(write(100, 6, 1, 512));
    const statuses = (await answersOf(last)).map((each) => [each.readUInt32BE(16), each.readUInt8(3)]);
    assert.deepEqual(statuses, [
      [100, 0x00],
      [101, 0x28],
      [102, 0x28],
      [103, 0x28],
    ]);
    for (const each of sockets) each.destroy();
    await last.taken();
    assert.equal(memory.used, 0, 'memory of closed connections is not given back');
  });

  test('a session that announces data and never sends it does not stop the others', async () => {
    const target = await wireTarget();
    const bad = await session(target, 1);
    const good = await session(target, 2);
    const fua = (opcode: string, blocks: number): string => h(opcode, '08 00000000', word(blocks), '00 00 00000000');
    // 16 MiB each, FUA so that they have to be gathered.
    for (let i = 0; i < COMMAND_WINDOW; i++) {
      const length = word(32_768 * 512);
      bad.deliver(
        bytes(h('01 a1 0000 00 000000', NO_LUN, word(100 + i), length, word(6 + i), word(4), fua('aa', 32_768))),
      );
    }
    await bad.taken();
    assert.ok(target.server.memory.used > DATA_MEMORY / 4, 'nothing is hoarded');
    good.deliver(bytes(h('01 c1 0000 00 000000', NO_LUN, word(3), word(512), word(6), word(4), fua('a8', 1))));
    assert.equal((await good.taken()).toString('hex', 0, 4), '25810000', 'a read');
    const header = h('01 a1 0000 00 000200', NO_LUN, word(4), word(512), word(7), word(4), fua('aa', 1));
    good.deliver(Buffer.concat([bytes(header), Buffer.alloc(512)]));
    assert.equal((await good.taken()).toString('hex', 0, 4), '21800000', 'a small write');
  });

  test('writes in odd pieces hold no more than the data memory', async () => {
    const target = await wireTarget();
    const { memory } = target.server;
    const external = process.memoryUsage().arrayBuffers;
    let last: WireSocket | undefined;
    for (let number = 1; number <= 4; number++) {
      const socket = await session(target, number);
      // 1 MiB each, of which one byte comes with the command: the rest has to be gathered.
      for (let i = 0; i < COMMAND_WINDOW; i++) socket.deliver(write(100 + i, 6 + i, 2048, 1));
      const asked = await answersOf(socket);
      assert.ok(asked.every((pdu) => pdu.readUInt8(0) === 0x31));
      last = socket;
    }
    assert.ok(last !== undefined);
    // The last command found no room; it is told so when its data, which is dropped, has come.
    for (let sn = 0, at = 1; at < 1_048_576; sn++) {
      const size = Math.min(262_144, 1_048_576 - at);
      const flags = at + size === 1_048_576 ? '80' : '00';
      const fields = [word(355), word(0), word(0), word(4), word(0), word(sn), word(at), word(0)];
      const header = bytes(h('05', flags, '0000 00', size.toString(16).padStart(6, '0'), NO_LUN, ...fields));
      last.deliver(Buffer.concat([header, Buffer.alloc((size + 3) & ~3)]));
      at += size;
    }
    const [full] = await answersOf(last);
    assert.deepEqual([full?.readUInt8(0), full?.readUInt8(3), full?.readUInt32BE(16)], [0x21, 0x28, 355]);
    assert.ok(memory.used > 0 && memory.used <= DATA_MEMORY, `${String(memory.used)} bytes are counted`);
    const growth = process.memoryUsage().arrayBuffers - external;
    assert.ok(growth < DATA_MEMORY + 200 * 1_048_576, `${String(growth)} bytes are held`);
    for (const each of target.server.connections) each.destroy('end of test');
    await (await session(target, 9)).taken();
    assert.equal(memory.used, 0, 'memory of closed connections is not given back');
  });
});
