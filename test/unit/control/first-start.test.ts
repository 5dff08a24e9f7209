import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FIRST_POOL, firstStart, sizeFor } from '../../../core/control/first-start.ts';
import { codeOf, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const begin = (plane: Plane, demoSize: number | undefined, poolSize: number | undefined = 32 * MIB): Promise<void> =>
  firstStart({ ...plane, demoSize, poolSize });

describe('the first start', () => {
  it('makes a pool and a thin disk in it, once', async () => {
    await withPlane(async (plane, reopen) => {
      await begin(plane, 10 * GIB);
      const [demo] = plane.catalog.volumes.values();
      assert.deepEqual(
        [demo?.name, demo?.kind, demo?.pool, demo?.thin, demo?.size],
        ['demo', 'pool', FIRST_POOL, true, 10 * GIB],
      );
      // Made by hand later, another pool does not take the disks of nobody in particular, unless it is told to.
      await plane.pools.create({ name: 'tank', size: 16 * MIB });
      assert.equal((await plane.provisioner.create({ name: 'a', size: MIB })).pool, FIRST_POOL);
      await plane.pools.setDefault('tank');
      assert.equal((await plane.provisioner.create({ name: 'b', size: MIB })).pool, 'tank');
      assert.equal(plane.catalog.pools.get(FIRST_POOL)?.isDefault, false, 'one at most is the default');
      await plane.provisioner.delete('demo', true);
      const again = await reopen();
      await begin(again, 10 * GIB);
      assert.equal(again.catalog.volumes.get('demo'), undefined, 'what was deleted stays away');
      assert.equal(again.catalog.pools.size, 2);
    });
  });

  it('goes on where a crash interrupted it', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create({ name: FIRST_POOL, size: 16 * MIB, isDefault: true });
      await begin(plane, GIB);
      assert.equal(plane.catalog.pools.size, 1);
      assert.equal(plane.catalog.volumes.get('demo')?.pool, FIRST_POOL);
    });
  });

  it('makes nothing when it is not wanted, and nothing in a folder that has disks', async () => {
    await withPlane(async (plane, reopen) => {
      await begin(plane, undefined);
      assert.deepEqual([plane.catalog.pools.size, plane.catalog.volumes.size], [0, 0]);
      assert.equal((await plane.provisioner.create({ name: 'old', size: MIB })).kind, 'file');
      const again = await reopen();
      await begin(again, GIB);
      assert.deepEqual([again.catalog.pools.size, again.catalog.volumes.size], [0, 1]);
      assert.equal((await again.provisioner.create({ name: 'new', size: MIB })).kind, 'file');
    });
  });

  it('takes what the file system has, but not all of it', async () => {
    for (const free of [48 * MIB, GIB, 100 * GIB, 3 * 1024 * GIB]) {
      const size = sizeFor(free, '/data');
      assert.equal(size % (4 * MIB), 0);
      const journal = Math.max(16 * MIB, Math.min(256 * MIB, size / 32));
      const all = size + size / 1024 + journal;
      assert.ok(all <= free * 0.9, `${String(free)}: ${String(size)} leave a tenth`);
      assert.ok(all >= free * 0.8 - 24 * MIB, `${String(free)}: ${String(size)} are not too few`);
    }
    assert.equal(sizeFor(100 * 1024 * GIB, '/data'), 4 * 1024 * GIB);
    assert.equal(await codeOf(() => sizeFor(24 * MIB, '/data')), 'no-space');
  });
});
