// Room that is added to a pool is used when the metadata knows of it, not before: after a crash the journal must not name what
// nobody knows.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Machine } from '../../crash/machine.ts';

const MIB = 1024 * 1024;

it('a pool that grows uses the new slab after the commit that names it', async () => {
  const machine = new Machine(() => 0.5);
  await machine.create(2);
  const running = await machine.start();
  assert.ok(running);
  const { pool, power, disk } = running;
  try {
    const before = pool.allocator.total;
    let seen: number | undefined;
    disk.fault = (operation) => {
      if (operation === 'commit') seen ??= pool.allocator.total;
      return undefined;
    };
    await machine.grow(running);
    assert.equal(seen, before, 'while the metadata is being committed');
    assert.equal(pool.allocator.total, before + (4 * MIB) / 65_536);
  } finally {
    power.failAt = 0;
    power.tick();
  }
});
