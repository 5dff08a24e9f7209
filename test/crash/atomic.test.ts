// WRITE ATOMIC on a durable volume of a pool: the power fails at every operation of the disk, and afterwards all of it is
// there or nothing, whatever else was in the journal.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { MAX_ATOMIC } from '../../core/base/limits.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, readVersions, seeded, stamp } from './record.ts';

afterEach(stopAll);

/** Sectors: from within a block, over the limits of grains. */
const FIRST = 3 * (GRAIN / SECTOR) - 5;
const COUNT = MAX_ATOMIC / SECTOR;
const ALIGNED = 24 * (GRAIN / SECTOR);

test('an atomic write is there as a whole or not at all', async () => {
  let interrupted = 0;
  const outcomes = new Set<number>();
  for (let round = 0; round < 120; round++) {
    // Mostly while the first batches are on their way.
    const failAfter = 1 + (round % 8) * (1 + Math.floor(round / 60) * 4);
    const machine = new Machine(seeded(round));
    await machine.create(3);
    const running = (await machine.start(undefined, 200)) as Running;
    const id = await running.pool.create({ size: 52 * GRAIN, thick: false, created: 0 });
    const volume = running.open(id);
    await volume.write(FIRST * SECTOR, stamp(1, COUNT), 0, MAX_ATOMIC, false);
    running.power.failAt = running.power.operations + failAfter;
    const acknowledged = new Set<number>();
    const work = async (): Promise<void> => {
      for (let version = 2; version < 5; version++) {
        // The batch that is being filled has room for part of it only.
        const others = [42, 43, 44, 45, 46, 47, 48].map((grain) =>
          volume.write(grain * GRAIN + 4096, stamp(9, 152), 0, 152 * SECTOR, false),
        );
        const atomic = [FIRST, ALIGNED].map((first) =>
          volume
            .writeAtomic(first * SECTOR, stamp(version, COUNT), 0, MAX_ATOMIC, false)
            .then(() => acknowledged.add(first * 10 + version)),
        );
        await Promise.all([...others, ...atomic]);
        await running.pool.checkpoint();
      }
    };
    const over = work().then(() => true);
    const done = await Promise.race([over, running.power.failed.then(() => false)]);
    if (done) continue;
    await idle(30);
    interrupted++;
    machine.crash();
    const again = (await machine.start(undefined, 200)) as Running;
    const found = again.open(id);
    for (const first of [FIRST, ALIGNED]) {
      const versions = new Set(await readVersions(found, first, COUNT, 'the range'));
      assert.equal(versions.size, 1, `failed at ${String(failAfter)}: ${[...versions].join(' ')}`);
      const [version] = versions as unknown as [number];
      outcomes.add(version);
      for (let later = version + 1; later < 5; later++) assert.ok(!acknowledged.has(first * 10 + later));
    }
    machine.crash();
  }
  assert.ok(interrupted > 20, `${String(interrupted)} interruptions`);
  assert.ok(outcomes.size > 2, [...outcomes].join());
});
