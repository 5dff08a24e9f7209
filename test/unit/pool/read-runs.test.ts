// Grains that lie one behind the other in the pool are read in one piece, and each of their blocks is checked all the same.
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { Durability, VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import { Machine, stopAll } from '../../crash/machine.ts';
import type { Running } from '../../crash/machine.ts';

const MIB = 1024 * 1024;
const GRAIN = 65_536;
const BLOCK = 4096;

/** Block n is full of n + 1. */
function pattern(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += BLOCK) data.fill(at / BLOCK + 1, at, at + BLOCK);
  return data;
}

/** A volume with ten grains that were written at once, and the pool started again: nothing of it is in the cache. */
async function written(): Promise<{ machine: Machine; running: Running; id: number }> {
  const machine = new Machine(() => 0.5);
  await machine.create(1);
  const first = (await machine.start()) as Running;
  const id = await first.pool.create({ size: 2 * MIB, thick: false, created: 0 });
  const volume = first.open(id);
  await volume.write(0, pattern(10 * GRAIN), 0, 10 * GRAIN, false);
  await volume.close();
  await first.pool.close();
  return { machine, running: (await machine.start()) as Running, id };
}

/** What was read of slabs while `work` ran: positions. */
async function readsOf({ disk }: Running, work: () => Promise<void>): Promise<number> {
  let reads = 0;
  disk.fault = (operation, path, position) => {
    // The first block is the table of checksums.
    if (operation === 'read' && path.includes('slab') && position >= BLOCK) reads++;
    return undefined;
  };
  await work();
  disk.fault = () => undefined;
  return reads;
}

describe('reading several grains of a pool', () => {
  afterEach(stopAll);

  it('takes a read for every four of them, also from the middle of a grain on', async () => {
    const { running, id } = await written();
    const volume = running.open(id);
    const target = Buffer.alloc(9 * GRAIN);
    const from = GRAIN / 2 + 512;
    const reads = await readsOf(running, () => volume.read(from, 9 * GRAIN, target, 0));
    assert.ok(target.equals(pattern(10 * GRAIN).subarray(from, from + 9 * GRAIN)));
    assert.equal(reads, 3);
  });

  it('reads around holes', async () => {
    const { running, id } = await written();
    const volume = running.open(id);
    await volume.unmap(2 * GRAIN + BLOCK, BLOCK);
    await volume.unmap(5 * GRAIN, GRAIN);
    const target = Buffer.alloc(12 * GRAIN, 0xff);
    await volume.read(0, target.length, target, 0);
    const expected = Buffer.concat([pattern(10 * GRAIN), Buffer.alloc(2 * GRAIN)]);
    expected.fill(0, 2 * GRAIN + BLOCK, 2 * GRAIN + 2 * BLOCK).fill(0, 5 * GRAIN, 6 * GRAIN);
    assert.ok(target.equals(expected));
  });

  it('without a promise, takes what is whole, there and right, and leaves the rest to a read', async () => {
    const { machine, id } = await written();
    stopAll();
    const data = pattern(10 * GRAIN).subarray(35 * BLOCK, 36 * BLOCK);
    assert.ok(machine.damage('slab-00000', machine.findBytes('slab-00000', data)));
    const running = (await machine.start()) as Running;
    const volume = running.pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
    const target = Buffer.alloc(4 * BLOCK);
    const soon = (position: number, length: number): Promise<boolean | 'not begun'> =>
      new Promise((resolve) => {
        let returned = false;
        const done = (whole: boolean): void => {
          assert.ok(returned, 'told before it was begun');
          resolve(whole);
        };
        if (!volume.readSoon(position, length, target, 0, done)) resolve('not begun');
        returned = true;
      });
    assert.equal(await soon(BLOCK, 2 * BLOCK), 'not begun', 'the checksums are not in memory');
    await volume.read(0, BLOCK, target, 0);
    assert.equal(await soon(BLOCK, 2 * BLOCK), true);
    assert.ok(target.subarray(0, 2 * BLOCK).equals(pattern(4 * BLOCK).subarray(BLOCK, 3 * BLOCK)));
    assert.equal(await soon(34 * BLOCK, 2 * BLOCK), false, 'a flipped bit');
    assert.equal(await soon(512, BLOCK), 'not begun', 'no whole blocks');
    assert.equal(await soon(15 * BLOCK, 2 * BLOCK), 'not begun', 'two grains');
    assert.equal(await soon(10 * GRAIN, BLOCK), 'not begun', 'a hole');
    running.disk.fault = (operation) => (operation === 'read' ? new Error('EIO') : undefined);
    assert.equal(await soon(BLOCK, BLOCK), false);
    running.disk.fault = () => undefined;
    // A grain that goes elsewhere meanwhile: what was read may be somebody else's by then.
    const moving = soon(BLOCK, BLOCK);
    await volume.unmap(0, GRAIN);
    assert.equal(await moving, false);
  });

  it('brings several grains into the cache without a promise, with as many reads', async () => {
    const { running, id } = await written();
    const volume = running.open(id);
    const soon = (position: number, length: number): Promise<boolean | 'not begun'> =>
      new Promise((resolve) => {
        if (!volume.bringSoon(position, length, resolve)) resolve('not begun');
      });
    assert.equal(await soon(0, 9 * GRAIN), 'not begun', 'the checksums are not in memory');
    await volume.read(9 * GRAIN, BLOCK, Buffer.alloc(BLOCK), 0);
    const target = Buffer.alloc(7 * GRAIN);
    const from = GRAIN / 2;
    const reads = await readsOf(running, async () => {
      assert.equal(await soon(from, 7 * GRAIN), true);
    });
    assert.equal(reads, 2);
    assert.ok(volume.readNow(from, target.length, target, 0));
    assert.ok(target.equals(pattern(10 * GRAIN).subarray(from, from + target.length)));
    assert.equal(await soon(9 * GRAIN, 2 * GRAIN), 'not begun', 'a hole');
  });

  it('without a promise, says so when one of several grains is wrong, cannot be read, or has moved', async () => {
    const { machine, id } = await written();
    stopAll();
    const data = pattern(10 * GRAIN).subarray(35 * BLOCK, 36 * BLOCK);
    assert.ok(machine.damage('slab-00000', machine.findBytes('slab-00000', data)));
    const running = (await machine.start()) as Running;
    const volume = running.pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
    const memory = Buffer.alloc(10 * GRAIN);
    await volume.read(0, BLOCK, memory, 0);
    const soon = (first: number, grains: number): Promise<boolean> =>
      new Promise((resolve, reject) => {
        const places = Array.from({ length: grains }, (_, i) => {
          return { position: (first + i) * GRAIN, length: GRAIN, memory, at: i * GRAIN };
        });
        if (!volume.readPlacesSoon(places, resolve)) reject(new Error('not begun'));
      });
    assert.equal(await soon(3, 6), true);
    assert.ok(memory.subarray(0, 6 * GRAIN).equals(pattern(10 * GRAIN).subarray(3 * GRAIN, 9 * GRAIN)));
    assert.equal(await soon(0, 6), false, 'a flipped bit');
    let reads = 0;
    running.disk.fault = (operation) => (operation === 'read' && ++reads === 2 ? new Error('EIO') : undefined);
    assert.equal(await soon(3, 6), false);
    running.disk.fault = () => undefined;
    const moving = soon(3, 6);
    await volume.unmap(4 * GRAIN, GRAIN);
    assert.equal(await moving, false);
  });

  it('finds the flipped bit in the middle of a run, and says where', async () => {
    const { machine, id } = await written();
    stopAll();
    // Block 35 of the volume, block 3 of its third grain; the first slab begins with its checksums.
    const data = pattern(10 * GRAIN).subarray(35 * BLOCK, 36 * BLOCK);
    assert.ok(machine.damage('slab-00000', machine.findBytes('slab-00000', data)));
    const running = (await machine.start()) as Running;
    const volume = running.open(id);
    await assert.rejects(
      volume.read(0, 10 * GRAIN, Buffer.alloc(10 * GRAIN), 0),
      (error) => error instanceof VolumeError && error.fault === VolumeFault.readError && error.position === 35 * BLOCK,
    );
    await volume.read(0, 2 * GRAIN, Buffer.alloc(2 * GRAIN), 0);
  });
});
