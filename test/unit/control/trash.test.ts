import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { codeOf, exportPool, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1 << 20;
const POOL = { name: 'tank', size: 64 * MIB };

async function write(plane: Plane, name: string, byte: number, length = MIB): Promise<void> {
  await plane.units.unit(name)?.volume.write(0, Buffer.alloc(length, byte), 0, length, false);
}

async function firstByte(plane: Plane, name: string): Promise<number | undefined> {
  const into = Buffer.alloc(4096);
  await plane.units.unit(name)?.volume.read(0, 4096, into, 0);
  return into[0];
}

async function remove(plane: Plane, name: string, more: object = {}): Promise<void> {
  const { id } = await plane.jobs.submit('volume-delete', { name, ...more });
  const over = await plane.jobs.wait(id);
  assert.equal(over.state, 'done', over.error?.message);
}

async function used(plane: Plane): Promise<number> {
  const pool = plane.pools.pool('tank');
  await pool.checkpoint();
  return pool.allocator.used;
}

describe('deleted volumes', () => {
  it('are gone for everybody, keep their data over a restart, and come back as they were', async () => {
    await withPlane(async (plane, reopen) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: 'loopback', readOnly: false }] });
      await plane.provisioner.create({ name: 'file', size: 8 * MIB, kind: 'file' });
      await write(plane, 'v', 7);
      await write(plane, 'file', 8);
      await plane.snapshots.create(['v'], 's');
      const before = plane.provisioner.volume('v');
      const { iqn } = plane.catalog.targets.get('v') ?? {};
      assert.equal(await codeOf(() => plane.jobs.submit('volume-delete', { name: 'v' })), 'has-snapshots');
      await remove(plane, 'v', { withSnapshots: true });
      await remove(plane, 'file');
      assert.deepEqual(plane.views.disks(), []);
      assert.equal(plane.units.unit('v'), undefined);
      assert.deepEqual(plane.snapshots.list(), []);
      assert.equal(await codeOf(() => plane.provisioner.volume('v')), 'not-found');
      assert.equal(await used(plane), 16);
      const again = await reopen();
      assert.deepEqual(
        again.trash
          .list()
          .map(({ volume }) => volume.name)
          .sort(),
        ['file', 'v'],
      );
      assert.deepEqual((await again.pools.check('tank')).findings, []);
      await again.trash.restore('v');
      await again.trash.restore('file');
      assert.deepEqual(again.provisioner.volume('v'), before);
      assert.equal(again.catalog.targets.get('v')?.iqn, iqn);
      assert.deepEqual([await firstByte(again, 'v'), await firstByte(again, 'file')], [7, 8]);
      assert.deepEqual(
        again.snapshots.list('v').map(({ name }) => name),
        ['s'],
      );
      assert.deepEqual(again.trash.list(), []);
      assert.equal(await codeOf(() => again.trash.restore('v')), 'not-found');
    });
  });

  it('come back under another name when theirs was given away, and the pool waits for them', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      for (const byte of [1, 2]) {
        await plane.provisioner.create({ name: 'v', size: 8 * MIB });
        await write(plane, 'v', byte);
        await remove(plane, 'v');
      }
      await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      assert.equal(await codeOf(() => plane.trash.restore('v')), 'exists');
      const [second, first] = plane.trash.list();
      await plane.trash.restore(first?.volume.id ?? '', 'one');
      await plane.trash.restore(second?.volume.id ?? '', 'two');
      assert.deepEqual([await firstByte(plane, 'one'), await firstByte(plane, 'two')], [1, 2]);
      const luns = plane.catalog.volumesOfTarget('v').map(({ name, lun }) => `${name} ${String(lun)}`);
      assert.deepEqual(luns.sort(), ['one 1', 'two 2', 'v 0'], 'where they were, beside who is there now');
      await remove(plane, 'one');
      for (const name of ['v', 'two']) await remove(plane, name, { purge: true });
      assert.equal(await codeOf(() => plane.pools.delete('tank')), 'has-volumes');
      assert.equal(await codeOf(() => exportPool(plane, 'tank')), 'in-use');
      await plane.trash.purge('one');
      await plane.pools.delete('tank');
    });
  });

  it('go when their time is over, at once with purge, and not at all when they are empty', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'empty', size: 8 * MIB });
      await remove(plane, 'empty');
      await plane.provisioner.create({ name: 'purged', size: 8 * MIB });
      await write(plane, 'purged', 1);
      await remove(plane, 'purged', { purge: true });
      assert.deepEqual(plane.trash.list(), []);
      assert.equal(await used(plane), 0);
      await plane.trash.setKeep(60_000);
      await plane.provisioner.create({ name: 'later', size: 8 * MIB });
      await write(plane, 'later', 1);
      await remove(plane, 'later');
      await plane.trash.collect();
      assert.equal(plane.trash.list().length, 1);
      await plane.trash.setKeep(0);
      const kept = plane.trash.get('later');
      await plane.catalog.apply(plane.catalog.deleted.edit(kept.volume.id, { ...kept, until: 1 }));
      await plane.trash.collect();
      assert.deepEqual(plane.trash.list(), []);
      await plane.provisioner.create({ name: 'never', size: 8 * MIB });
      await write(plane, 'never', 1);
      await remove(plane, 'never');
      assert.deepEqual(plane.trash.list(), []);
      assert.equal(await codeOf(() => plane.trash.setKeep(-1)), 'bad-request');
    });
  });

  it('go early, the oldest first, when their pool passes its threshold, and that is told', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      for (const name of ['first', 'second', 'user']) {
        await plane.provisioner.create({ name, size: 32 * MIB });
        await write(plane, name, 1, 16 * MIB);
        if (name !== 'user') await remove(plane, name);
      }
      await plane.trash.collect();
      assert.equal(plane.trash.list().length, 2);
      await plane.pools.setThreshold('tank', 60);
      const { threshold } = plane.pools.pool('tank');
      while (!threshold.crossed) await new Promise(setImmediate);
      while (threshold.crossed) {
        await plane.trash.collect();
        await plane.pools.pool('tank').checkpoint();
        threshold.check();
        await new Promise(setImmediate);
      }
      assert.deepEqual(
        plane.trash.list().map(({ volume }) => volume.name),
        ['second'],
      );
      await plane.events.settled();
      assert.match(plane.events.list({ code: 'purged-early' })[0]?.text ?? '', /'first' was purged early: pool 'tank'/);
    });
  });

  it('are not made of what somebody uses: every reason is named', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      await plane.snapshots.create(['v'], 's');
      const rules = [{ every: 'day', time: '02:00', keep: 1 }] as const;
      await plane.schedules.put({ name: 'nightly', volumes: ['v'], rules });
      const reservations = plane.units.unit('v')?.reservations;
      const nexus = 'n1';
      reservations?.register({ nexus, initiatorPort: 'iqn.x:host,i,0x1', relativeTargetPort: 1, key: '00'.repeat(8) });
      reservations?.setReservation({ type: 1, holder: nexus });
      await assert.rejects(plane.jobs.submit('volume-delete', { name: 'v' }), (error: Error) => {
        assert.match(
          error.message,
          /^volume 'v' is reserved by iqn\.x:host,i,0x1; it is in the snapshot schedule nightly/,
        );
        assert.match(error.message, /; it has snapshots \(s\)$/);
        return true;
      });
      assert.equal(plane.jobs.list().length, 0);
      await remove(plane, 'v', { force: true, withSnapshots: true, purge: true });
      assert.deepEqual([plane.schedules.get('nightly').volumes, plane.schedules.get('nightly').enabled], [[], false]);
    });
  });
});
