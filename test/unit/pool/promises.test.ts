// The promise of a grain is kept for as long as what was admitted waits for it, also where nobody stands above the volume.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { GRAIN } from '../../../core/volume/grain.ts';
import { Durability, WriteNow } from '../../../core/volume/volume.ts';
import { Machine } from '../../crash/machine.ts';

it('a write that waits for the journal keeps its promise when promises are tidied', async () => {
  const machine = new Machine(() => 0.5);
  await machine.create(2);
  const running = await machine.start();
  assert.ok(running);
  const { pool, power } = running;
  try {
    const id = await pool.create({ size: 1_048_576, thick: false, created: 0 });
    const volume = pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
    const writing = volume.write(0, Buffer.alloc(4096, 7), 0, 4096);
    volume.tidy(true);
    assert.equal(pool.allocator.promised, 1);
    await writing;
    volume.tidy(true);
    assert.equal(pool.allocator.promised, 0);
    assert.equal(pool.allocator.reserved, 0);
  } finally {
    power.failAt = 0;
    power.tick();
  }
});

it('a write over two grains of a full pool keeps the promise for the first when it needs one for the second', async () => {
  const machine = new Machine(() => 0.5);
  await machine.create(1);
  const running = await machine.start();
  assert.ok(running);
  const { pool, power } = running;
  const { allocator } = pool;
  try {
    await pool.create({ size: (allocator.total - 3) * GRAIN, thick: true, created: 0 });
    const volume = running.open(await pool.create({ size: 1_048_576, thick: false, created: 0 }));
    await volume.write(9 * GRAIN, Buffer.alloc(4096, 6), 0, 4096, false);
    await pool.checkpoint();
    // Both grains that are left are promised to data that is gone again.
    for (const grain of [0, 5]) {
      await volume.write(grain * GRAIN, Buffer.alloc(4096, 7), 0, 4096, false);
      await volume.unmap(grain * GRAIN, 4096);
    }
    assert.equal(allocator.promised, 2);
    assert.equal(volume.writeNow(GRAIN - 4096, Buffer.alloc(8192, 8), 0, 8192), WriteNow.placed);
    assert.equal(allocator.promised, 2);
  } finally {
    power.failAt = 0;
    power.tick();
  }
});
