// Making data stable beside a sync that is already running.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DiskFile } from '../../../core/base/world.ts';
import { Slabs } from '../../../core/pool/slabs.ts';
import { Power, SimDisk, SimStorage } from '../../crash/sim-disk.ts';

describe('dataSync of the slabs', () => {
  it('covers what a sync that runs has taken on but not made stable', async () => {
    const disk = new SimDisk(new SimStorage(), new Power(), () => 0.5);
    const file: DiskFile = await disk.open('slab', { create: true });
    await file.truncate(64 * 65_536 + 4096);
    const slabs = new Slabs();
    slabs.add({ file, position: 0, grains: 64 });
    await slabs.write(0, 0, 4096, Buffer.alloc(4096, 1), 0, [1]);
    let syncs = 0;
    const original = file.dataSync.bind(file);
    let fail: () => void = () => undefined;
    const stalled = new Promise<void>((_, reject) => {
      fail = (): void => {
        reject(new Error('EIO'));
      };
    });
    file.dataSync = async () => {
      // The one that runs does not come back.
      if (++syncs === 1) await stalled;
      await original();
    };
    const running = slabs.sync();
    while (syncs === 0) await new Promise((resolve) => setImmediate(resolve));
    await slabs.dataSync();
    assert.equal(syncs, 2, 'the data is stable although the other sync is not over');
    fail();
    await assert.rejects(running);
    await slabs.dataSync();
    assert.equal(syncs, 3, 'what failed is not stable');
    await slabs.sync();
    await slabs.dataSync();
    assert.equal(syncs, 4, 'nothing is left');
  });
});
