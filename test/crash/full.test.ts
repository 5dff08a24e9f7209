// A pool without a single free grain: what was acknowledged gets into its place all the same, and giving space back works,
// whatever the order in which things come.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, readVersions, seeded, stamp } from './record.ts';
import { share } from './share.ts';

afterEach(stopAll);

const GRAINS = 64;
const OF_GRAIN = GRAIN / SECTOR;

const full = (error: unknown): boolean => error instanceof VolumeError && error.fault === VolumeFault.noSpace;

const write = (volume: CachedVolume, first: number, count: number, version: number): Promise<void> =>
  volume.write(first * SECTOR, stamp(version, count), 0, count * SECTOR, false);

interface Setting {
  readonly machine: Machine;
  readonly running: Running;
  readonly id: number;
  readonly volume: CachedVolume;
}

/** A pool of 64 grains, and a volume twice as large that has written its first block of each grain but `spare`. */
async function setting(spare = 0, thick = 0): Promise<Setting> {
  const machine = new Machine(seeded(3));
  await machine.create(1);
  const running = (await machine.start(undefined, 300)) as Running;
  assert.equal(running.pool.allocator.total, GRAINS);
  if (thick > 0) await running.pool.create({ size: thick * GRAIN, thick: true, created: 0 });
  const id = await running.pool.create({ size: 2 * GRAINS * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  for (let grain = 0; grain < GRAINS - spare - thick; grain++) await write(volume, grain * OF_GRAIN, 8, grain + 1);
  await running.pool.checkpoint();
  assert.equal(running.pool.allocator.available, spare);
  return { machine, running, id, volume };
}

async function restart({ machine, running }: Setting): Promise<Running> {
  running.power.stop();
  machine.crash();
  const again = await machine.start(undefined, 300);
  assert.ok(again !== undefined);
  return again;
}

const sound = ({ pool }: Running): void => {
  assert.deepEqual(checkPool(pool).findings, []);
};

describe('a pool without a free grain', () => {
  test('keeps what a write has left that found the pool full half way', async () => {
    for (let round = 0; round < 10; round++) {
      const set = await setting(1);
      // Two grains, one of which there is.
      const first = (GRAINS - 1) * OF_GRAIN + 8;
      await assert.rejects(write(set.volume, first, OF_GRAIN, 100), full);
      const before = await readVersions(set.volume, first, OF_GRAIN, 'after the failed write');
      assert.ok(before.includes(100), 'the first half is there');
      const again = (await restart(set)).open(set.id);
      assert.deepEqual(await readVersions(again, first, OF_GRAIN, 'after the crash'), before);
      await again.close();
    }
  });

  test('places what was written beside the last block of a grain that goes', async () => {
    for (const crash of [false, true]) {
      const set = await setting();
      const { running, id, volume } = set;
      await write(volume, 16, 8, 100);
      await volume.unmap(0, 8 * SECTOR);
      await assert.rejects(write(volume, GRAINS * OF_GRAIN, 8, 101), full, 'no grain has become free');
      let now = running;
      let found = volume;
      if (crash) {
        now = await restart(set);
        found = now.open(id);
      } else {
        await running.pool.checkpoint();
      }
      assert.deepEqual(await readVersions(found, 0, 24, 'the grain'), [...stampOf(0, 16), ...stampOf(100, 8)]);
      sound(now);
      assert.equal(now.pool.allocator.available, 0);
      await found.close();
    }
  });

  test('gives a grain back when what was written beside the block that went goes too', async () => {
    for (const crash of [false, true]) {
      const set = await setting();
      const { running, volume, id } = set;
      await write(volume, 16, 8, 100);
      await volume.unmap(0, 8 * SECTOR);
      if (crash) await running.pool.create({ size: 4096, thick: false, created: 0 });
      await volume.unmap(16 * SECTOR, 8 * SECTOR);
      const now = crash ? await restart(set) : running;
      const found = crash ? now.open(id) : volume;
      // The first block of a grain that has none yet.
      await write(found, GRAINS * OF_GRAIN, 8, 101);
      await assert.rejects(write(found, (GRAINS + 1) * OF_GRAIN, 8, 102), full);
      await now.pool.checkpoint();
      sound(now);
      assert.equal(now.pool.allocator.used, GRAINS);
    }
  });

  test('places zeros and data of one grain in any order', async () => {
    // Of a grain that is there, and of one that is promised.
    for (const [spare, grain] of [
      [0, 0],
      [1, GRAINS],
    ] as const) {
      const { running, volume } = await setting(spare);
      await write(volume, grain * OF_GRAIN, 8, 0);
      await write(volume, grain * OF_GRAIN + 16, 8, 100);
      if (spare > 0) await write(volume, (grain + 1) * OF_GRAIN, 8, 101).catch(() => undefined);
      await running.pool.checkpoint();
      assert.deepEqual(await readVersions(volume, grain * OF_GRAIN, 24, 'the grain'), [
        ...stampOf(0, 16),
        ...stampOf(100, 8),
      ]);
      sound(running);
      assert.equal(running.pool.allocator.promised, 0);
    }
  });

  test('does not give a thick volume what was promised to another', async () => {
    const { running, volume } = await setting(1, 4);
    const [thickId] = running.pool.entries.keys();
    const thick = running.open(thickId as number);
    for (let grain = 0; grain < 4; grain++) await write(thick, grain * OF_GRAIN, 8, 50 + grain);
    await running.pool.checkpoint();
    // Its grains are in quarantine; the last free one is promised to the other.
    await thick.unmap(0, 4 * GRAIN);
    await write(volume, GRAINS * OF_GRAIN, 8, 100);
    for (let grain = 0; grain < 4; grain++) await write(thick, grain * OF_GRAIN + 8, 8, 60 + grain);
    await running.pool.checkpoint();
    assert.deepEqual(await readVersions(volume, GRAINS * OF_GRAIN, 8, 'the thin one'), stampOf(100, 8));
    assert.deepEqual(await readVersions(thick, 8, 8, 'the thick one'), stampOf(60, 8));
    sound(running);
  });

  test('can be used again at once after UNMAP and after a deletion', async () => {
    const { running, id, volume } = await setting();
    const { pool } = running;
    // A snapshot: nothing can be written in place any more.
    const [snapshot] = (await pool.copy([id], false, 0)) as [number];
    await assert.rejects(write(volume, 0, 8, 100), full);
    await volume.unmap(OF_GRAIN * SECTOR, GRAIN);
    assert.deepEqual(await readVersions(volume, OF_GRAIN, 8, 'unmapped'), stampOf(0, 8));
    await pool.delete(snapshot);
    await write(volume, OF_GRAIN, 8, 101);
    await volume.unmap(8 * GRAIN, 8 * GRAIN);
    for (let grain = 8; grain < 16; grain++) await write(volume, grain * OF_GRAIN, 8, 200 + grain);
    await assert.rejects(write(volume, GRAINS * OF_GRAIN, 8, 102), full);
    // Zeros at the edges of what is not whole blocks may need a grain: one of those that are given back.
    const [another] = (await pool.copy([id], false, 0)) as [number];
    await share(pool, id, 16 * GRAIN, id, 20 * GRAIN, GRAIN);
    await volume.unmap(16 * GRAIN, GRAIN);
    await pool.delete(another);
    await volume.unmap(20 * GRAIN + SECTOR, 4 * GRAIN);
    assert.deepEqual(await readVersions(volume, 20 * OF_GRAIN, 2, 'the edge'), [17, 0]);
    sound(running);
    await volume.close();
    await pool.delete(id);
    assert.equal(pool.allocator.available, GRAINS);
    assert.equal(pool.allocator.reserved, 0);
    await pool.close();
  });
});

const stampOf = (version: number, count: number): number[] => Array<number>(count).fill(version);
