// A pool is checked while everybody works with it: it finds what is wrong, and nothing that is not.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { Clock } from '../../core/base/world.ts';
import { checkPoolInSteps } from '../../core/pool/check.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, seeded, stamp } from './record.ts';

afterEach(stopAll);

/** Every look at it is a long time after the one before: the check pauses wherever it can. */
function slow(): { clock: Clock; readonly pauses: () => number } {
  let now = 0;
  let pauses = 0;
  const clock: Clock = {
    now: () => (now += 100),
    wall: () => 0,
    after: () => ({ cancel: () => undefined }),
    soon: (fn) => {
      pauses++;
      setImmediate(fn);
    },
  };
  return { clock, pauses: () => pauses };
}

async function busy(): Promise<{ running: Running; over: () => Promise<void> }> {
  const random = seeded(7);
  const machine = new Machine(random);
  await machine.create(4);
  const running = (await machine.start(undefined, 200)) as Running;
  const { pool } = running;
  const id = await pool.create({ size: 3000 * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  let stop = false;
  const write = async (): Promise<void> => {
    while (!stop) {
      const grain = Math.floor(random() * 2900);
      const position = grain * GRAIN;
      if (random() < 0.4) await volume.unmap(position, 100 * GRAIN);
      else if (random() < 0.7) await volume.write(position, stamp(grain, 8), 0, 8 * SECTOR, false);
      else await volume.write(position, stamp(grain, 256), 0, 256 * SECTOR, false);
    }
  };
  const snap = async (): Promise<void> => {
    while (!stop) {
      const [copy] = (await pool.copy([id], random() < 0.5, 0)) as [number];
      if (random() < 0.5) await pool.rollback(id, copy);
      await pool.delete(copy);
    }
  };
  const working = Promise.all([write(), write(), write(), snap()]);
  while (pool.allocator.used < 100) await idle(1);
  const over = async (): Promise<void> => {
    stop = true;
    await working;
  };
  return { running, over };
}

describe('a check of a pool in use', () => {
  test('finds nothing where nothing is wrong, in small steps', async () => {
    const { running, over } = await busy();
    let passes = 0;
    for (let round = 0; round < 12; round++) {
      const { clock, pauses } = slow();
      let last = -1;
      const result = await checkPoolInSteps(running.pool, { clock, progress: (done) => (last = done) });
      assert.deepEqual(result.findings, []);
      assert.ok(pauses() >= 3, `${String(pauses())} pauses`);
      assert.ok(last >= 0 && last <= 1);
      passes += result.unsettled > 0 ? 1 : 0;
    }
    assert.ok(passes > 0, 'there was something to be confused by');
    await over();
    const quiet = await checkPoolInSteps(running.pool, slow());
    assert.deepEqual([quiet.findings, quiet.unsettled], [[], 0]);
  });

  test('finds a reference too many and one too few', async () => {
    const { running, over } = await busy();
    const { allocator } = running.pool;
    const id = await running.pool.create({ size: GRAIN, thick: false, created: 0 });
    const volume = running.open(id);
    await volume.write(0, stamp(1, 8), 0, 8 * SECTOR, false);
    await volume.close();
    const grain = running.pool.entry(id).map.place(0) - 1;
    allocator.retain(grain);
    const more = await checkPoolInSteps(running.pool, slow());
    assert.deepEqual(more.findings, [`grain ${String(grain)} has 1 users, not 2`]);
    allocator.release(grain);
    // A copy has references to what it is about to share, for as long as it takes.
    allocator.hold(grain);
    const copying = await checkPoolInSteps(running.pool, slow());
    assert.deepEqual([copying.findings, copying.unsettled], [[], 0]);
    allocator.letGo(grain);
    const other = running.pool.entry(id).map.leaves[0];
    assert.ok(other);
    other.refs++;
    const leaf = await checkPoolInSteps(running.pool, slow());
    assert.deepEqual(leaf.findings, [`leaf ${String(other.id)} has 1 users, not 2`]);
    other.refs--;
    await over();
  });
});
