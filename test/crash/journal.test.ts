// The ring of the journal for itself: round and round, and cut off.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { JOURNAL_EARLY, JOURNAL_QUIET } from '../../core/base/limits.ts';
import type { DiskFile } from '../../core/base/world.ts';
import { Journal } from '../../core/pool/journal.ts';
import type { JournalMark } from '../../core/pool/journal.ts';
import { Places } from '../../core/pool/places.ts';
import { readJournal } from '../../core/pool/replay.ts';
import type { Replay } from '../../core/pool/replay.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { seeded, stamp } from './record.ts';
import { Power, SimDisk, SimStorage } from './sim-disk.ts';
import type { Random } from './sim-disk.ts';

const SIZE = 16_777_216;
const POOL = Buffer.alloc(16, 5);
const BLOCK = 4096;

const clock = new ManualClock();

async function ring(storage: SimStorage, random: Random): Promise<{ disk: SimDisk; file: DiskFile }> {
  const disk = new SimDisk(storage, new Power(), random);
  const file = await disk.open('journal', { create: true, syncWrites: true });
  await file.truncate(SIZE);
  return { disk, file };
}

const journalOn = (file: DiskFile, generation: number, start: JournalMark): Journal =>
  new Journal(file, { poolId: POOL, generation, size: SIZE, start, clock, pressure: () => undefined });

const replay = (file: DiskFile, generation: number, from: JournalMark): Promise<Replay> =>
  readJournal(file, { poolId: POOL, generation, size: SIZE, from, fence: () => 0, mapped: () => [] });

/** Blocks of volume 1 that a replay has: their numbers. */
function blocksOf({ volumes }: Replay): number[] {
  const found: number[] = [];
  for (const [grain, { data }] of volumes.get(1) ?? []) for (const block of data.keys()) found.push(grain * 16 + block);
  return found.sort((a, b) => a - b);
}

describe('the ring of the journal', () => {
  for (const seed of [1, 2, 3]) {
    test(`has everything behind the mark, wherever it wraps (seed ${String(seed)})`, async () => {
      const random = seeded(seed);
      const { file } = await ring(new SimStorage(), random);
      let mark: JournalMark = { position: 0, seq: 1 };
      const journal = journalOn(file, 1, mark);
      let next = 0;
      let kept = 0;
      let laps = 0;
      let last = 0;
      while (laps < 3) {
        const blocks = 1 + Math.floor(random() * 200);
        const data = Buffer.concat(Array.from({ length: blocks }, (_, i) => stamp(next + i, 8)));
        if (!journal.ready || !journal.data(1, next, data, 0, blocks)) {
          await journal.stable();
          if (journal.usedBytes < SIZE / 2) continue;
          mark = await journal.mark();
          kept = next;
          journal.trim(mark);
          assert.equal(journal.usedBytes, 0);
          continue;
        }
        next += blocks;
        if (random() < 0.5) continue;
        await journal.stable();
        if (random() < 0.1) {
          const found = await replay(file, 1, mark);
          assert.deepEqual(
            blocksOf(found),
            Array.from({ length: next - kept }, (_, i) => kept + i),
          );
          assert.equal(found.damaged, undefined);
          if (found.next.position < last) laps++;
          last = found.next.position;
          const page = Buffer.alloc(BLOCK);
          for (const [grain, { data: places }] of found.volumes.get(1) ?? []) {
            for (const [block, position] of places) {
              if (random() > 0.02) continue;
              await file.read(page, 0, BLOCK, position);
              assert.ok(page.equals(stamp(grain * 16 + block, 8)));
            }
          }
        }
      }
    });
  }

  test('goes on at its beginning when a batch ends exactly where the ring does', async () => {
    const { file } = await ring(new SimStorage(), seeded(1));
    let furthest = 0;
    const original = file.write.bind(file);
    file.write = (from, at, length, position) => {
      furthest = Math.max(furthest, position + length);
      return original(from, at, length, position);
    };
    const journal = journalOn(file, 1, { position: 0, seq: 1 });
    // With its header a batch has 1 MiB.
    const blocks = 255;
    let mark = await journal.mark();
    for (let batch = 0; batch < 40; batch++) {
      assert.ok(journal.data(1, batch * blocks, stamp(batch, blocks * 8), 0, blocks));
      await journal.stable();
      const first = batch - (batch % 8);
      const found = await replay(file, 1, mark);
      assert.deepEqual(
        blocksOf(found),
        Array.from({ length: (batch + 1 - first) * blocks }, (_, i) => first * blocks + i),
        `batch ${String(batch)}`,
      );
      if (batch % 8 < 7) continue;
      mark = await journal.mark();
      journal.trim(mark);
    }
    assert.equal(furthest, SIZE);
  });

  test('begins to append what is much while the rest of the turn comes in, and what is little in one append', async () => {
    const { file } = await ring(new SimStorage(), seeded(6));
    const begun: number[] = [];
    const watched: DiskFile = Object.create(file, {
      write: {
        value: (from: Buffer, at: number, length: number, position: number): Promise<void> => {
          begun.push(length / BLOCK - 1);
          return file.write(from, at, length, position);
        },
      },
    }) as DiskFile;
    const journal = journalOn(watched, 1, { position: 0, seq: 1 });
    const write = (count: number): Promise<void>[] =>
      Array.from({ length: count }, (_, i) => {
        journal.data(1, i, stamp(i, 8), 0, 1);
        return journal.stable();
      });
    const little = write(JOURNAL_EARLY / BLOCK - 2);
    assert.deepEqual(begun, []);
    await Promise.all(little);
    assert.deepEqual(begun, [14]);
    // Two commands in one batch; the others of the turn in the next, however many.
    const much = write(40);
    assert.deepEqual(begun, [14, 15]);
    await Promise.all(much);
    assert.deepEqual(begun, [14, 15, 25]);
    // Not in the middle of a command, which may want to be in one batch.
    assert.ok(journal.together(32, 2));
    for (let i = 0; i < 32; i++) journal.data(1, i, stamp(i, 8), 0, 1);
    assert.equal(begun.length, 3);
    await journal.stable();
    assert.deepEqual(begun, [14, 15, 25, 32]);
  });

  test('takes all of a write that it admitted, also when its first part fills a batch', async () => {
    const { file } = await ring(new SimStorage(), seeded(1));
    const journal = journalOn(file, 1, { position: 0, seq: 1 });
    const data = stamp(1, 240 * 8);
    let rounds = 0;
    while (journal.ready) {
      assert.ok(journal.data(1, 0, data, 0, 240));
      assert.ok(journal.ready);
      // The first part does not fit beside the 240: their batch is sealed, and takes its room in the ring.
      assert.ok(journal.data(1, 240, data, 0, 100), `first part, round ${String(rounds)}`);
      assert.ok(journal.data(1, 340, data, 0, 100), `second part, round ${String(rounds)}`);
      await journal.stable();
      assert.ok(journal.usedBytes <= SIZE);
      rounds++;
    }
    assert.ok(rounds > 5);
  });

  test('a header with one bit that is another is damage, whatever it says, but for one that says nothing', async () => {
    const places = new Places(2);
    places.put(0, 7, 0xffff);
    const adds: (((journal: Journal) => boolean) | undefined)[] = [
      (journal) => journal.data(1, 32, stamp(1, 8), 0, 1),
      (journal) => journal.map(1, 2, places),
      (journal) => journal.clear(1, 32, 16),
      undefined,
    ];
    for (const add of adds) {
      const { file } = await ring(new SimStorage(), seeded(1));
      const clock = new ManualClock();
      const start = { position: 0, seq: 1 };
      const options = { poolId: POOL, generation: 1, size: SIZE, start, clock, pressure: (): void => undefined };
      const journal = new Journal(file, options);
      assert.ok(journal.data(1, 0, stamp(1, 8), 0, 1));
      await journal.stable();
      const { position } = await journal.mark();
      if (add === undefined) clock.advance(JOURNAL_QUIET);
      else assert.ok(add(journal));
      await journal.stable();
      assert.equal((await replay(file, 1, start)).next.seq, 3);
      // In the number of records, or in one of them.
      const byte = Buffer.alloc(1);
      const at = position + (add === undefined ? 15 : 50);
      await file.read(byte, 0, 1, at);
      await file.write(Buffer.of((byte[0] as number) ^ 0x10), 0, 1, at);
      const found = await replay(file, 1, start);
      assert.deepEqual([found.next.seq, found.damaged?.seq], [2, add && 2]);
    }
  });

  test('what a crash has cut out of it stays out, whatever later lives write', async () => {
    // Two batches are on their way; the second reaches the disk, the first does not.
    const storage = new SimStorage();
    const { disk, file } = await ring(storage, seeded(1));
    const journal = journalOn(file, 1, { position: 0, seq: 1 });
    let acknowledged = 0;
    const wait = (): void => {
      journal.wait({
        stable: (error) => {
          if (error === undefined) acknowledged++;
        },
      });
    };
    let stall: () => void = () => undefined;
    const stalled = new Promise<void>((resolve) => (stall = resolve));
    const original = file.write.bind(file);
    let writes = 0;
    file.write = async (from, at, length, position) => {
      if (++writes === 1) await stalled;
      await original(from, at, length, position);
    };
    journal.data(1, 0, stamp(1, 8), 0, 1);
    wait();
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    journal.data(1, 1, stamp(2, 8), 0, 1);
    wait();
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(writes, 2, 'both are on their way');
    assert.equal(acknowledged, 0, 'the second is not acknowledged before the first');
    disk.power.stop();
    stall();
    storage.crash(() => 0);
    const second = await ring(storage, seeded(2));
    const found = await replay(second.file, 1, { position: 0, seq: 1 });
    assert.deepEqual([blocksOf(found), found.next.seq, found.damaged], [[], 1, undefined]);
    // The next life gives the same number to its first batch, which is as long as the one that is missing.
    const again = journalOn(second.file, 2, { position: 0, seq: found.next.seq });
    again.data(1, 100, stamp(3, 8), 0, 1);
    await again.stable();
    assert.deepEqual(blocksOf(await replay(second.file, 2, { position: 0, seq: 1 })), [100]);
  });
});
