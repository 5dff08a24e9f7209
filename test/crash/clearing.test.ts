// Clearing blocks does not wait for other blocks that are on their way to their places, and nothing that was cleared comes
// back with what was on its way already.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { viewGuard } from '../../core/base/view-guard.ts';
import { Places } from '../../core/pool/places.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, seeded, stamp, versions } from './record.ts';

afterEach(stopAll);

const OF_GRAIN = GRAIN / SECTOR;

/** Writes to the slabs wait from now on until open(). */
function gated({ pool }: Running): { readonly reached: () => Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  let held = 0;
  const original = pool.slabs.write.bind(pool.slabs);
  pool.slabs.write = async (...args) => {
    held++;
    await gate;
    await original(...args);
  };
  const reached = async (): Promise<void> => {
    while (held === 0) await idle(1);
  };
  return { reached, open };
}

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
  const slabs = gated(running);
  const checkpoint = running.pool.checkpoint();
  await slabs.reached();
  // Grain 32 is the one the sweep is looking at: four loads of 16 runs are under way, two runs of each grain.
  let cleared = false;
  const clearing = volume.unmap((32 * OF_GRAIN + 16) * SECTOR, 8 * SECTOR).then(() => (cleared = true));
  let inFlight = false;
  const other = volume.unmap(0, 8 * SECTOR).then(() => (inFlight = true));
  await idle(400);
  assert.equal(cleared, true, 'not behind the loads of others');
  assert.equal(inFlight, false, 'behind its own');
  slabs.open();
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

test('a grain may be cleared while the sweep that is about to place it waits', async () => {
  const machine = new Machine(seeded(8));
  await machine.create(1);
  const running = (await machine.start(undefined, 200)) as Running;
  const id = await running.pool.create({ size: 60 * GRAIN, thick: false, created: 0 });
  const volume = running.open(id, 'volatile');
  for (let grain = 0; grain < 50; grain++) {
    for (const at of [0, 16]) await volume.write((grain * OF_GRAIN + at) * SECTOR, stamp(1, 8), 0, 8 * SECTOR, false);
  }
  const slabs = gated(running);
  const flushing = volume.flush();
  await slabs.reached();
  // As above: four loads are under way, and 32 is the grain the next one begins with.
  await volume.unmap(32 * GRAIN, GRAIN);
  slabs.open();
  await flushing;
  const bytes = Buffer.alloc(2 * GRAIN);
  await volume.read(32 * GRAIN, bytes.length, bytes, 0);
  const found = versions(bytes, 'the grains');
  assert.deepEqual([found[0], found[16], found[OF_GRAIN], found[OF_GRAIN + 16]], [0, 0, 1, 1]);
});

test('a write that comes while a clear waits for memory that is being sent has one place in the order', async () => {
  const machine = new Machine(seeded(6));
  await machine.create(1);
  // All frames of the cache are being sent, so that nothing can move; what is beside the clearing is dirty.
  const running = (await machine.start(undefined, 16)) as Running;
  const id = await running.pool.create({ size: 60 * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  for (const grain of [0, 1, 2]) await volume.write(grain * GRAIN + 60 * 1024, stamp(1, 8), 0, 4096, false);
  const view = (first: number, end: number): void => {
    for (let grain = first; grain < end; grain++) assert.ok(volume.viewNow(grain * GRAIN + 60 * 1024, 4096, []));
  };
  const others = viewGuard.hold();
  view(0, 16);
  viewGuard.release(viewGuard.hold());
  const edge = viewGuard.hold();
  view(2, 3);
  const clearing = volume.unmap(0, 2 * GRAIN + 4096);
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  viewGuard.release(others);
  await Promise.all([clearing, volume.write(0, stamp(2, 8), 0, 4096, false)]);
  viewGuard.release(edge);
  const found = async (from: typeof volume): Promise<number[]> => {
    const bytes = Buffer.alloc(3 * GRAIN);
    await from.read(0, bytes.length, bytes, 0);
    return versions(bytes, 'the range');
  };
  const before = await found(volume);
  assert.equal(before[2 * OF_GRAIN + 120], 1, 'what is beside it stays');
  machine.crash();
  const again = (await machine.start()) as Running;
  assert.deepEqual(await found(again.open(id)), before);
});

test('what large writes and copies replace is forgotten at once, also while it is being sent', async () => {
  const machine = new Machine(seeded(7));
  await machine.create(1);
  const running = (await machine.start(undefined, 16)) as Running;
  const id = await running.pool.create({ size: 60 * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  const pool = running.pool.entry(id).open;
  assert.ok(pool);
  for (let grain = 0; grain < 3; grain++) await volume.write(grain * GRAIN, stamp(1, 8), 0, 4096, false);
  const sent = viewGuard.hold();
  for (let grain = 0; grain < 16; grain++) assert.ok(volume.viewNow(grain * GRAIN, 4096, []));
  // Nothing in here waits: a write behind it, which is behind it in the journal too, cannot be forgotten with it.
  assert.equal(pool.setPlaces(0, new Places(3)), true);
  assert.ok(volume.quiet(0, 3 * GRAIN));
  viewGuard.release(sent);
  const bytes = Buffer.alloc(3 * GRAIN);
  await volume.read(0, bytes.length, bytes, 0);
  assert.ok(versions(bytes, 'the range').every((version) => version === 0));
});
