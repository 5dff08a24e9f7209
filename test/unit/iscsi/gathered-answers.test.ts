// Small answers out of the cache that are sent from where they lie.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Gather } from '../../../core/base/gather.ts';
import { useMemoryAddresses } from '../../../core/base/memory-address.ts';
import { viewGuard } from '../../../core/base/view-guard.ts';
import type { Socket } from '../../../core/base/world.ts';
import { CachedVolume } from '../../../core/cache/cached-volume.ts';
import { L1Cache } from '../../../core/cache/l1-cache.ts';
import { AnswerMemory } from '../../../core/iscsi/answer-memory.ts';
import { Answers } from '../../../core/iscsi/answers.ts';
import { SendBuffer, SlabPool } from '../../../core/iscsi/send-buffer.ts';
import type { Session } from '../../../core/iscsi/session.ts';
import { Durability, WriteNow } from '../../../core/volume/volume.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { Scheduler, SlowVolume, seeded } from '../cache/slow-volume.ts';

const BLOCK = 4096;
const FRAME = 65_536;
const SIZE = 8 * FRAME;
/** So many bytes of commands are a batch. */
const BATCH = 4800;

/** Keeps what it is given, and takes no more than `takes` of what is gathered. */
class GatheringSocket implements Socket {
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localAddress = '';
  readonly localPort = 0;
  readonly gather: Gather | undefined;
  unsent = 0;
  takes = Infinity;
  calls = 0;
  /** Copies of what was taken; the memory of what was not. */
  taken = Buffer.alloc(0);
  waiting: readonly Buffer[] = [];

  constructor(gather: Gather | undefined) {
    this.gather = gather;
  }
  write(data: Buffer): void {
    this.writeAll([data]);
  }
  writeAll(pieces: readonly Buffer[]): void {
    this.calls++;
    this.taken = Buffer.concat([this.taken, ...pieces]);
  }
  sendGathered(gather: Gather): void {
    const sent = Math.min(this.takes, gather.bytes);
    const rest = gather.rest(sent);
    this.writeAll([Buffer.concat(gather.rest(0)).subarray(0, sent)]);
    this.waiting = rest;
    this.unsent = gather.bytes - sent;
  }
  start(): void {
    throw new Error('not used');
  }
  resume(): void {
    throw new Error('not used');
  }
  end(): void {
    throw new Error('not used');
  }
  destroy(): void {
    throw new Error('not used');
  }
}

interface Setup {
  readonly volume: CachedVolume;
  readonly socket: GatheringSocket;
  readonly send: SendBuffer;
  readonly answers: Answers;
  readonly read: (itt: number, block: number) => void;
}

const session = {
  expCmdSN: 7,
  maxCmdSN: 70,
  parameters: { headerDigest: true, dataDigest: false, maxRecvInitiator: 262_144, maxBurst: 1_048_576 },
} as unknown as Session;

function setup(gather: Gather | undefined): Setup {
  const backing = new SlowVolume(new Scheduler(seeded(1)), SIZE, Durability.volatile);
  // Time stands still: nothing is written back.
  const volume = new CachedVolume(backing, new L1Cache(64 * FRAME, 64 * FRAME), new ManualClock());
  for (let at = 0; at < SIZE; at += BLOCK) {
    assert.equal(volume.writeNow(at, Buffer.alloc(BLOCK, 1 + at / BLOCK), 0, BLOCK), WriteNow.done);
  }
  const socket = new GatheringSocket(gather);
  const send = new SendBuffer(socket, new SlabPool(), new AnswerMemory(1_073_741_824, setImmediate));
  const answers = new Answers(send);
  answers.enterFullFeature(session, 1);
  const read = (itt: number, block: number): void => {
    if (answers.dataInGathered(itt, volume, block * BLOCK, BLOCK)) return;
    assert.ok(answers.dataInFrom(itt, volume, block * BLOCK, BLOCK));
  };
  return { volume, socket, send, answers, read };
}

beforeEach(() => {
  // Nobody looks there: a different place for each piece of memory is all that is asked for.
  let next = 0;
  useMemoryAddresses(() => (next += 4_294_967_296));
});
afterEach(() => {
  useMemoryAddresses(undefined);
});

test('what is gathered is, byte for byte, what is copied, whatever comes between, in one call', () => {
  const gather = new Gather();
  const [gathered, copied] = [setup(gather), setup(undefined)].map(({ volume, socket, send, answers, read }) => {
    send.beginBatch(BATCH);
    for (let i = 0; i < 20; i++) read(i, (i * 37) % (SIZE / BLOCK));
    answers.scsiResponse(20, 0, 0, undefined, 0);
    read(21, 3);
    assert.equal(gather.count > 0, socket.gather !== undefined);
    send.flush();
    assert.equal(socket.calls, 1);
    // Something large in the middle.
    send.beginBatch(BATCH);
    read(22, 5);
    assert.ok(answers.dataInViews(23, volume, 0, FRAME));
    read(24, 6);
    send.flush();
    assert.deepEqual([gather.count, viewGuard.unsent, viewGuard.oldest], [0, undefined, Infinity]);
    return socket.taken;
  });
  assert.ok(gathered?.equals(copied ?? Buffer.alloc(0)));
  assert.equal(gathered?.length, 23 * (52 + BLOCK) + 52 + 52 + FRAME);
});

test('a single command is copied', () => {
  const gather = new Gather();
  const { send, socket, read } = setup(gather);
  send.beginBatch(48);
  read(1, 1);
  assert.equal(gather.count, 0);
  send.flush();
  assert.equal(socket.taken.length, 52 + BLOCK);
});

test('a write to what has been gathered sends it first', () => {
  const gather = new Gather();
  const { volume, send, socket, read } = setup(gather);
  send.beginBatch(BATCH);
  read(1, 9);
  assert.equal(socket.calls, 0);
  assert.equal(volume.writeNow(9 * BLOCK, Buffer.alloc(BLOCK, 99), 0, BLOCK), WriteNow.done);
  assert.equal(socket.calls, 1);
  read(2, 9);
  send.flush();
  assert.deepEqual([socket.taken[52], socket.taken.at(-1)], [10, 99]);
});

test('what the network has not taken stays as it is until it has', () => {
  const gather = new Gather();
  for (const takes of [0, 20, 52, 300, 52 + BLOCK, 52 + BLOCK + 53]) {
    const { volume, send, socket, read } = setup(gather);
    socket.takes = takes;
    send.beginBatch(BATCH);
    read(1, 9);
    read(2, 10);
    send.flush();
    assert.equal(socket.unsent, 2 * (52 + BLOCK) - takes);
    volume.writeNow(9 * BLOCK, Buffer.alloc(2 * BLOCK, 99), 0, 2 * BLOCK);
    const all = Buffer.concat([socket.taken, ...socket.waiting]);
    assert.ok(all.subarray(52, 52 + BLOCK).equals(Buffer.alloc(BLOCK, 10)));
    assert.ok(all.subarray(104 + BLOCK).equals(Buffer.alloc(BLOCK, 11)));
    assert.notEqual(viewGuard.oldest, Infinity);
    socket.unsent = 0;
    send.drained();
    assert.equal(viewGuard.oldest, Infinity);
  }
});

test('more answers than a vector has places for leave in several calls, and a connection that goes takes nothing along', () => {
  const gather = new Gather();
  const { send, socket, read } = setup(gather);
  const count = 700;
  send.beginBatch(count * 48);
  for (let i = 0; i < count; i++) {
    read(i, i % 100);
    send.flushIfFull();
  }
  send.flush();
  assert.equal(socket.taken.length, count * (52 + BLOCK));
  for (let i = 0; i < count; i++) assert.equal(socket.taken[(i + 1) * (52 + BLOCK) - 1], 1 + (i % 100), String(i));
  read(1, 1);
  send.release();
  assert.deepEqual([gather.count, viewGuard.unsent, viewGuard.oldest], [0, undefined, Infinity]);
});

test('what is not there is left to who copies it: looked for, and counted, once', () => {
  const { answers, send } = setup(new Gather());
  const backing = new SlowVolume(new Scheduler(seeded(1)), SIZE, Durability.volatile);
  backing.refuses = 0;
  let asked = 0;
  const readNow = backing.readNow.bind(backing);
  backing.readNow = (...of) => {
    asked++;
    return readNow(...of);
  };
  const volume = new CachedVolume(backing, new L1Cache(64 * FRAME, 64 * FRAME), new ManualClock());
  send.beginBatch(BATCH);
  assert.equal(answers.dataInGathered(1, volume, 0, BLOCK), false);
  assert.deepEqual([asked, volume.counters().misses], [0, 0]);
  assert.ok(answers.dataInFrom(1, volume, 0, BLOCK));
  assert.ok(answers.dataInGathered(2, volume, 0, BLOCK));
  assert.deepEqual([asked, volume.counters().misses, volume.counters().hits], [1, 1, 1]);
  send.flush();
});
