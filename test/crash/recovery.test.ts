// A start that replays a long journal on a slow disk, and that the power interrupts as well.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { checkPool } from '../../core/pool/check.ts';
import { Machine, stopAll } from './machine.ts';
import { GRAIN, SECTOR, readVersions, seeded, stamp } from './record.ts';

afterEach(stopAll);

const GRAINS = 24;
/** Milliseconds of a turn: replaying takes many times as long as CHECKPOINT_INTERVAL. */
const SLOW = 2_000;

describe('a recovery that takes longer than checkpoints are apart', () => {
  test('loses nothing when it is cut off, wherever that is', async () => {
    const machine = new Machine(seeded(7));
    await machine.create(2);
    const first = await machine.start();
    assert.ok(first !== undefined);
    const id = await first.pool.create({ size: GRAINS * GRAIN, thick: false, created: 0 });
    const volume = first.open(id);
    for (let grain = 0; grain < GRAINS; grain++) {
      await volume.write(grain * GRAIN, stamp(grain + 1, 8), 0, 8 * SECTOR, false);
    }
    machine.crash();
    let interrupted = 0;
    for (let failAt = 1; ; failAt++) {
      const copy = machine.copy(seeded(failAt));
      copy.turnTime = SLOW;
      const begun = await copy.start(failAt);
      copy.crash();
      copy.turnTime = 5;
      const next = await copy.start();
      assert.ok(next !== undefined);
      const found = next.open(id);
      for (let grain = 0; grain < GRAINS; grain++) {
        const versions = await readVersions(found, (grain * GRAIN) / SECTOR, 8, `cut off at ${String(failAt)}`);
        assert.deepEqual(versions, Array<number>(8).fill(grain + 1), `grain ${String(grain)}, ${String(failAt)}`);
      }
      assert.deepEqual(checkPool(next.pool).findings, []);
      stopAll();
      if (begun !== undefined) break;
      interrupted++;
    }
    assert.ok(interrupted > GRAINS, `${String(interrupted)} interruptions`);
  });
});
