// Clearing blocks does not wait for other blocks that are on their way to their places, and nothing that was cleared comes
// back with what was on its way already.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, seeded, stamp, versions } from './record.ts';

afterEach(stopAll);

const OF_GRAIN = GRAIN / SECTOR;

test('a clear waits for what it clears, and for nothing else that is being placed', async () => {
  const machine = new Machine(seeded(5));
  await machine.create(1);
  const running = (await machine.start(undefined, 200)) as Running;
  const volume = running.open(await running.pool.create({ size: 60 * GRAIN, thick: false, created: 0 }));
  const write = (first: number, version: number): Promise<void> =>
    volume.write(first * SECTOR, stamp(version, 8), 0, 8 * SECTOR, false);
  // More than one load: the sweep goes on reading frames after the clear.
  for (let grain = 0; grain < 50; grain++) {
    await write(grain * OF_GRAIN, grain + 1);
    await write(grain * OF_GRAIN + 16, grain + 1);
  }
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let held = 0;
  const original = running.pool.slabs.write.bind(running.pool.slabs);
  running.pool.slabs.write = async (...args) => {
    held++;
    await gate;
    await original(...args);
  };
  const checkpoint = running.pool.checkpoint();
  while (held === 0) await idle(1);
  // Grain 32 is the one the sweep is looking at: four loads of 16 runs are under way, two runs of each grain.
  let cleared = false;
  const clearing = volume.unmap((32 * OF_GRAIN + 16) * SECTOR, 8 * SECTOR).then(() => (cleared = true));
  let inFlight = false;
  const other = volume.unmap(0, 8 * SECTOR).then(() => (inFlight = true));
  await idle(400);
  assert.equal(cleared, true, 'not behind the loads of others');
  assert.equal(inFlight, false, 'behind its own');
  go();
  await Promise.all([checkpoint, clearing, other]);
  await running.pool.checkpoint();
  const { pool } = running;
  await volume.close();
  const again = pool.open([...pool.entries.keys()][0] as number, {
    blockSize: 512,
    durability: 'durable',
    readOnly: true,
  });
  const bytes = Buffer.alloc(24 * SECTOR);
  await again.read(32 * GRAIN, bytes.length, bytes, 0);
  assert.deepEqual(
    versions(bytes, 'the grain'),
    Array.from({ length: 24 }, (_, i) => (i < 8 ? 33 : 0)),
  );
  await again.read(0, 4096, bytes, 0);
  assert.deepEqual(versions(bytes.subarray(0, 4096), 'the first'), Array<number>(8).fill(0));
});
