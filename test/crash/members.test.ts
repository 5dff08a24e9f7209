// The power fails at every step of adding a disk to a pool and of writing to it: the pool opens again, with the disk or
// without it, has what was acknowledged, and the disk can be added once more.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { checkPool } from '../../core/pool/check.ts';
import { Machine, stopAll } from './machine.ts';
import { GRAIN, seeded } from './record.ts';

const SLAB = 4_194_304;
const OTHER = '/other';

describe('adding a disk', () => {
  after(stopAll);

  it('is done or not done when the power fails at any step of it', async () => {
    const random = seeded(7);
    const origin = new Machine(random, SLAB);
    await origin.create(1);
    let added = 0;
    let absent = 0;
    for (let failAt = 1, over = false; !over; failAt++) {
      assert.ok(failAt < 1000, 'it ends');
      const machine = origin.copy(seeded(failAt));
      const running = await machine.start();
      assert.ok(running);
      const { pool, disks, power } = running;
      const id = await pool.create({ size: 2 * SLAB, thick: false, created: 0 });
      const volume = running.open(id);
      power.failAt = power.operations + failAt;
      let acknowledged = 0;
      const work = async (): Promise<void> => {
        await disks.add(pool, 'folder', OTHER, SLAB);
        // More than the first slab has.
        for (; acknowledged < 96; acknowledged += 8) {
          await volume.write(acknowledged * GRAIN, Buffer.alloc(8 * GRAIN, 5), 0, 8 * GRAIN, false);
        }
        over = true;
      };
      await Promise.race([work(), power.failed]);
      machine.crash();
      const again = await machine.start();
      assert.ok(again);
      assert.deepEqual(checkPool(again.pool).findings, [], `failed at ${String(failAt)}`);
      const read = Buffer.alloc(acknowledged * GRAIN);
      if (read.length > 0) await again.open(id).read(0, read.length, read, 0);
      assert.ok(read.equals(Buffer.alloc(read.length, 5)), `failed at ${String(failAt)}`);
      if (again.pool.members.length === 1) added++;
      else {
        absent++;
        assert.equal(acknowledged, 0);
        await again.disks.add(again.pool, 'folder', OTHER, SLAB);
        assert.equal(again.pool.allocator.total, (2 * SLAB) / GRAIN);
      }
      machine.crash();
    }
    assert.ok(added > 3 && absent > 1, `with it ${String(added)} times, without it ${String(absent)} times`);
  });
});
