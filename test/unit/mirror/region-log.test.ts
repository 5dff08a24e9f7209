import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  HOT_REGIONS,
  HOT_RUN,
  HOT_RUN_SHARE,
  MAX_REGIONS,
  MAX_VOLUME,
  MAX_WIDE_NOTES,
  REGION_BYTES,
  REGION_LOG_BYTES,
} from '../../../core/base/limits.ts';
import type { DiskFile, World } from '../../../core/base/world.ts';
import { RegionLog, regionBytesFor } from '../../../core/mirror/region-log.ts';
import { RegionSet } from '../../../core/mirror/region-set.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';

const SIZE = 1_073_741_824;
const R = REGION_BYTES;

describe('the log of regions', { timeout: 60_000 }, () => {
  let world: World;
  const folder = mkdtempSync(join(tmpdir(), 'gemel-regions-'));
  let files = 0;
  const fresh = (): string => join(folder, String(++files));
  // As of a small volume, in which regions are noted one by one.
  const open = (path: string, isNew = false, size = HOT_RUN_SHARE * R): Promise<RegionLog> =>
    RegionLog.open(world, path, size, isNew);
  before(async () => {
    world = await nodeWorld();
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test('what a term that is over has left half done is forgotten when all copies are the same, and not before', async () => {
    const log = await open(fresh(), true);
    await log.beginWide(100 * R, 300 * R);
    await log.heat(3 * R, R);
    log.begin(3 * R, R);
    log.coolAll();
    assert.equal(log.intents(SIZE).length, 2, 'it may still be under way');
    log.termOver();
    assert.equal(log.intents(SIZE).length, 2, 'nobody knows what became of it');
    await log.beginWide(500 * R, 300 * R);
    log.coolWide();
    assert.deepEqual(log.intents(SIZE), [
      [3 * R, R],
      [500 * R, 300 * R],
    ]);
    // Of what was begun in the earlier term.
    log.endWide(100 * R, 300 * R);
    log.end(3 * R, R);
    log.coolAll();
    assert.deepEqual(log.intents(SIZE), [[500 * R, 300 * R]], 'that is under way');
    log.endWide(500 * R, 300 * R);
    await log.update({});
    assert.deepEqual(log.intents(SIZE), []);
    await log.close();
  });

  test('a large range that is written to once more stays noted when the note of before goes with the same record', async () => {
    const path = fresh();
    const log = await open(path, true);
    await log.beginWide(100 * R, 300 * R);
    log.endWide(100 * R, 300 * R);
    log.coolWide();
    await log.beginWide(100 * R, 300 * R);
    for (const each of [log, await open(path)]) assert.deepEqual(each.intents(SIZE), [[100 * R, 300 * R]]);
    await log.close();
  });

  test('what a replica has noted since it promised stays noted when it is admitted', async () => {
    const log = await open(fresh(), true);
    await log.heat(3 * R, R);
    log.begin(3 * R, R);
    await log.noteWide(100 * R, 300 * R);
    log.termOver();
    await log.heat(5 * R, R);
    log.begin(5 * R, R);
    log.end(5 * R, R);
    await log.noteWide(500 * R, 300 * R);
    log.coolEarlier();
    assert.deepEqual(log.intents(SIZE), [
      [5 * R, R],
      [500 * R, 300 * R],
    ]);
    await log.close();
  });

  test('of large ranges a replica notes the latest, each once', async () => {
    const log = await open(fresh(), true);
    const note = (i: number): Promise<void> => log.noteWide(i * 300 * R, 300 * R);
    const size = 2 * MAX_WIDE_NOTES * 300 * R;
    await Promise.all(Array.from({ length: MAX_WIDE_NOTES }, (_, i) => note(i)));
    for (const i of [0, MAX_WIDE_NOTES, MAX_WIDE_NOTES + 1]) await note(i);
    const noted = new Set(log.intents(size).map(([position]) => position / 300 / R));
    assert.deepEqual(
      [noted.size, noted.has(0), noted.has(1), noted.has(2), noted.has(3)],
      [MAX_WIDE_NOTES, true, false, false, true],
    );
    await log.close();
  });

  test('what was noted for the time being is taken back, and nothing that was noted before', async () => {
    const path = fresh();
    const log = await open(path, true);
    await log.markDirty(['b'], [[12 * R, 2 * R]]);
    await log.markUnsettled(['c'], [[15 * R, R]]);
    const undo = await log.markForNow(['b', 'c'], 10 * R, 10 * R);
    assert.ok(log.isDirty('b', 10 * R, 10 * R) && log.isDirty('c', 10 * R, 10 * R));
    undo();
    await log.update({});
    for (const each of [log, await open(path)]) {
      assert.deepEqual([each.dirty('b').count, each.isDirty('b', 12 * R, 2 * R)], [2, true]);
      assert.deepEqual([each.dirty('c').count, each.isDirty('c', 15 * R, R)], [1, true]);
    }
    assert.ok(log.unsettled.has(15), 'it is still compared');
    await log.close();
  });

  test('keeps everything over a loss of power', async () => {
    const path = fresh();
    const log = await open(path, true);
    assert.equal(log.isLost, false);
    await log.heat(3 * R, 2 * R);
    log.begin(3 * R, 2 * R);
    await log.markDirty(['b', 'c'], [[10 * R, R + 1]]);
    log.copied('c', 10 * R, R);
    await log.update({ promised: { epoch: 4, session: 2, owner: 'x', revision: 9 }, tracks: { b: '1.1' } });
    await log.beginWide(100 * R, 1000 * R);
    // Nothing is closed.
    const again = await open(path);
    assert.equal(again.isLost, false);
    assert.ok(again.isHot(3 * R, 2 * R) && !again.isHot(2 * R, R) && !again.isHot(5 * R, 1));
    assert.deepEqual(again.intents(SIZE), [
      [3 * R, 2 * R],
      [100 * R, 1000 * R],
    ]);
    assert.ok(again.isDirty('b', 10 * R, 2 * R));
    assert.deepEqual([again.isDirty('c', 10 * R, R), again.isDirty('c', 11 * R, R)], [false, true]);
    assert.deepEqual(again.promised, { epoch: 4, session: 2, owner: 'x', revision: 9 });
    assert.deepEqual(again.facts.tracks, { b: '1.1' });
  });

  test('a copy without it, or with a damaged one, is of unknown content', async () => {
    assert.equal((await open(fresh())).isLost, true);
    const path = fresh();
    const log = await open(path, true);
    await log.update({ promised: { epoch: 7, session: 1, owner: 'x', revision: 0 } });
    for (let i = 0; i < 4; i++) await log.heat(i * R, R);
    const bytes = readFileSync(`${path}.log`);
    const second = Buffer.from(bytes);
    second.writeUInt8(second.readUInt8(4096 + 40) ^ 1, 4096 + 40);
    writeFileSync(`${path}.log`, second);
    const damaged = await open(path);
    assert.equal(damaged.isLost, true);
    assert.deepEqual(damaged.facts.stamps, []);
  });

  test('what was torn at the end was promised to nobody', async () => {
    const path = fresh();
    const log = await open(path, true);
    await log.heat(0, R);
    await log.heat(5 * R, R);
    truncateSync(`${path}.log`, 4096 + 50);
    const again = await open(path);
    assert.deepEqual([again.isLost, again.isHot(0, R), again.isHot(5 * R, R)], [false, true, false]);
    await again.heat(6 * R, R);
    assert.ok((await open(path)).isHot(6 * R, R));
  });

  test('regions that are used least are forgotten, never those that are being written to', async () => {
    const log = await open(fresh(), true);
    await log.heat(0, R);
    log.begin(0, R);
    for (let i = 1; i < HOT_REGIONS + 600; i += 2048) await log.heat(i * R, 2048 * R);
    assert.ok(log.isHot(0, R));
    assert.equal(log.isHot(R, R), false);
    assert.ok(log.isHot((HOT_REGIONS + 500) * R, R));
    log.end(0, R);
    for (let i = 80_000; i < 80_000 + HOT_REGIONS + 600; i += 2048) await log.heat(i * R, 2048 * R);
    assert.equal(log.isHot(0, R), false);
  });

  test('of what an earlier term was writing nothing is forgotten before it has been compared', async () => {
    const log = await open(fresh(), true);
    await log.heat(0, R);
    log.termOver();
    await log.update({ joining: true });
    for (let i = 1; i < HOT_REGIONS + 600; i += 2048) await log.heat(i * R, 2048 * R);
    assert.deepEqual([log.isHot(0, R), log.isHot(R, R)], [true, false]);
    await log.close();
  });

  test('of a large volume neighbours are noted together', async () => {
    const path = fresh();
    const log = await open(path, true, SIZE);
    await log.heat((HOT_RUN + 3) * R, R);
    for (const each of [log, await open(path, false, SIZE)]) {
      assert.ok(each.isHot(HOT_RUN * R, HOT_RUN * R));
      assert.deepEqual(each.intents(SIZE), [[HOT_RUN * R, HOT_RUN * R]]);
    }
    const size = readFileSync(`${path}.log`).length;
    await log.heat(HOT_RUN * R, R);
    assert.equal(readFileSync(`${path}.log`).length, size);
  });

  test('begins anew when it is long, and loses nothing', async () => {
    const path = fresh();
    const log = await open(path, true);
    const records = REGION_LOG_BYTES / 4096 + 10;
    for (let i = 0; i < records; i++) await log.markDirty(['b'], [[i * R, R]]);
    assert.ok(readFileSync(`${path}.log`).length <= REGION_LOG_BYTES + 4096);
    const again = await open(path);
    assert.deepEqual([again.isLost, again.dirty('b').count], [false, records]);
  });

  test('a write that fails fails who waits for it; afterwards everything is as it was', async () => {
    const path = fresh();
    let isBad = false;
    const bad: World = {
      ...world,
      disk: {
        ...world.disk,
        open: async (...args) => {
          const file: { write: DiskFile['write'] } & DiskFile = await world.disk.open(...args);
          const write = file.write.bind(file);
          file.write = (...what) => (isBad ? Promise.reject(new Error('EIO')) : write(...what));
          return file;
        },
      },
    };
    const log = await RegionLog.open(bad, path, HOT_RUN_SHARE * R, true);
    await log.heat(0, R);
    isBad = true;
    await assert.rejects(log.heat(R, R), /EIO/);
    assert.equal(log.isHot(R, R), false);
    isBad = false;
    await log.heat(2 * R, R);
    const again = await open(path);
    assert.deepEqual(
      [again.isLost, again.isHot(0, R), again.isHot(R, R), again.isHot(2 * R, R)],
      [false, true, false, true],
    );
  });

  test('the largest volume has no more regions than are allowed', () => {
    assert.equal(regionBytesFor(SIZE), REGION_BYTES);
    assert.ok(MAX_VOLUME / regionBytesFor(MAX_VOLUME) <= MAX_REGIONS);
  });

  test('a set of regions is a set', () => {
    const region = fc.integer({ min: 0, max: 100_000 });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), region)), (steps) => {
        const set = new RegionSet();
        const model = new Set<number>();
        for (const [add, each] of steps) {
          if (add) set.add(each);
          else set.remove(each);
          if (add) model.add(each);
          else model.delete(each);
        }
        const found: number[] = [];
        for (let at = set.next(0); at !== undefined; at = set.next(at + 1)) found.push(at);
        assert.deepEqual(
          found,
          [...model].sort((a, b) => a - b),
        );
        const again = RegionSet.fromJson(set.toJson());
        assert.deepEqual([set.count, again.count, again.next(0)], [model.size, model.size, set.next(0)]);
      }),
    );
  });
});
