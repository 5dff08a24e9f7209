// Pools of several disks, and pools that move between nodes.
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { poolView } from '../../../core/control/pool-views.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { codeOf, exportPool, importPool, openPlane, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1024 * 1024;

async function write(plane: Plane, name: string, value: number, length: number): Promise<void> {
  for (let done = 0; done < length; done += MIB) {
    await plane.units.unit(name)?.volume.write(done, Buffer.alloc(MIB, value), 0, MIB, false);
  }
}

async function holds(plane: Plane, name: string, value: number, length: number): Promise<void> {
  const bytes = Buffer.alloc(length);
  const volume = plane.units.unit(name)?.volume;
  assert.ok(volume, `${name} is not served: ${plane.views.disk(plane.provisioner.volume(name)).problem ?? ''}`);
  await volume.read(0, length, bytes, 0);
  assert.ok(bytes.equals(Buffer.alloc(length, value)), name);
}

async function withFolders(names: readonly string[], body: (paths: string[]) => Promise<void>): Promise<void> {
  const root = temporaryFolder('members');
  try {
    await body(names.map((name) => join(root.path, name)));
  } finally {
    root.remove();
  }
}

/** A pool of 16 MiB with `folders` added, and a volume that fills more than one disk. */
async function spread(plane: Plane, folders: readonly string[]): Promise<void> {
  await plane.pools.create({ name: 'tank', size: 16 * MIB });
  for (const folder of folders) await plane.pools.grow('tank', { folder, bytes: 16 * MIB });
  await plane.provisioner.create({ name: 'v', size: 64 * MIB });
  await write(plane, 'v', 7, 30 * MIB);
}

describe('a pool of several disks', () => {
  it('keeps what it has in a folder in which somebody wants to make another pool', async () => {
    await withFolders(['one'], async ([one = '']) => {
      await withPlane(async (plane, reopen) => {
        await spread(plane, [one]);
        const before = readdirSync(one).sort();
        assert.equal(await codeOf(() => plane.pools.create({ name: 'x', size: 16 * MIB, folder: one })), 'exists');
        assert.equal(plane.catalog.pools.get('x'), undefined);
        assert.deepEqual(readdirSync(one).sort(), before);
        await holds(await reopen(), 'v', 7, 30 * MIB);
      });
    });
  });

  it('spreads over them, grows where it has least, and is deleted from all', async () => {
    await withFolders(['one', 'two'], async ([one = '', two = '']) => {
      await withPlane(async (plane, reopen) => {
        await spread(plane, [one]);
        await plane.pools.grow('tank', { folder: two, bytes: MIB });
        const parts = (of: Plane) =>
          poolView(of.pools, of.pools.record('tank')).parts.map(({ index, path, bytes }) => [index, path, bytes / MIB]);
        const home = join(plane.folder, 'pools', plane.pools.record('tank').id);
        assert.deepEqual(parts(plane), [
          [0, home, 16],
          [1, one, 16],
          [2, two, 16],
        ]);
        await plane.pools.grow('tank', { bytes: 32 * MIB });
        assert.deepEqual(
          parts(plane).map((part) => part[2]),
          [32, 32, 16],
        );
        await plane.pools.grow('tank', { bytes: MIB });
        const again = await reopen();
        assert.deepEqual(
          parts(again).map((part) => part[2]),
          [32, 32, 32],
        );
        await holds(again, 'v', 7, 30 * MIB);
        assert.deepEqual((await again.pools.check('tank')).findings, []);
        for (const folder of [one, home]) {
          assert.equal(await codeOf(() => again.pools.grow('tank', { folder, bytes: MIB })), 'exists', folder);
        }
        await again.pools.create({ name: 'other', size: 16 * MIB });
        assert.equal(await codeOf(() => again.pools.grow('other', { folder: two, bytes: MIB })), 'exists');
        assert.equal(await codeOf(() => again.pools.create({ name: 'x', size: 16 * MIB, folder: two })), 'exists');
        assert.equal(await codeOf(() => again.pools.grow('tank', {})), 'bad-request');
        await again.provisioner.delete('v', true);
        writeFileSync(join(two, 'mine'), '');
        await again.pools.delete('tank');
        assert.deepEqual([readdirSync(one), readdirSync(two)], [[], ['mine']]);
      });
    });
  });

  it('is not opened without one of them, or with another one in its place', async () => {
    await withFolders(['one', 'two', 'away'], async ([one = '', two = '', away = '']) => {
      await withPlane(async (plane, reopen) => {
        await spread(plane, [one, two]);
        const problem = (of: Plane): string => of.pools.problem('tank') ?? '';
        await plane.close();
        renameSync(one, away);
        const without = await reopen().catch((error: unknown) => assert.fail(String(error)));
        assert.match(problem(without), new RegExp(`part 1 of the pool, ${one}, is missing: .*does not exist`));
        assert.equal(without.views.disks()[0]?.state, 'failed');
        await without.close();
        cpSync(two, one, { recursive: true });
        const twice = await reopen();
        assert.match(problem(twice), new RegExp(`part 1 of the pool, ${one}, is missing: part 2 is there`));
        await twice.close();
        writeFileSync(join(one, 'member'), Buffer.alloc(4096));
        assert.match(problem(await reopen()), /is missing: no part of a pool is there/);
      });
    });
  });

  it('takes up a place where adding a disk was cut short', async () => {
    await withFolders(['one', 'two'], async ([one = '', two = '']) => {
      await withPlane(async (plane) => {
        await spread(plane, [one]);
        // The header of a second disk that the metadata never got to know.
        cpSync(one, two, { recursive: true });
        const header = Buffer.alloc(4096);
        writeFileSync(join(two, 'member'), header);
        await plane.pools.grow('tank', { folder: two, bytes: 16 * MIB });
        assert.equal(plane.pools.members('tank').length, 2);
        assert.deepEqual((await plane.pools.check('tank')).findings, []);
      });
    });
  });
});

describe('a pool that moves', () => {
  it('keeps names, identities, data and snapshots on the other node', async () => {
    await withFolders(['main', 'one', 'moved', 'node'], async ([main = '', one = '', moved = '', node = '']) => {
      await withPlane(async (plane) => {
        await plane.pools.create({ name: 'tank', size: 16 * MIB, folder: main });
        await plane.pools.grow('tank', { folder: one, bytes: 16 * MIB });
        await plane.provisioner.create({ name: 'v', size: 64 * MIB, maps: [{ who: 'loopback', readOnly: true }] });
        await plane.provisioner.create({ name: 'f', size: 8 * MIB, kind: 'file' });
        await write(plane, 'v', 7, 20 * MIB);
        await plane.snapshots.create(['v'], 's');
        await write(plane, 'v', 8, MIB);
        const facts = (of: Plane) => {
          const disk = of.views.disks().find(({ name }) => name === 'v');
          assert.ok(disk);
          const { naa, serial, iqn, lun, size, maps, state } = disk;
          return { naa, serial, iqn, lun, size, maps, state };
        };
        const before = facts(plane);
        const { parts } = await exportPool(plane, 'tank');
        assert.deepEqual(
          parts.map((part) => part.path),
          [main, one],
        );
        assert.deepEqual([plane.catalog.pools.size, plane.views.disks().length], [0, 1]);
        assert.equal(await codeOf(() => plane.pools.create({ name: 'x', size: 16 * MIB, folder: main })), 'exists');
        renameSync(one, moved);
        const other = await openPlane(node);
        try {
          const wanted = { parts: [{ folder: main }, { folder: moved }] };
          const missing = { parts: [{ folder: main }] };
          assert.equal(await codeOf(() => importPool(other, missing)), 'bad-request');
          await other.provisioner.create({ name: 'v', size: 8 * MIB });
          assert.equal(await codeOf(() => importPool(other, wanted)), 'exists');
          assert.equal(other.catalog.pools.size, 0);
          await other.provisioner.delete('v', false);
          assert.equal(await importPool(other, { ...wanted, name: 'lake' }), 'lake');
          assert.deepEqual(facts(other), before);
          await holds(other, 'v', 8, MIB);
          assert.deepEqual((await other.pools.check('lake')).findings, []);
          assert.equal(await codeOf(() => importPool(plane, wanted)), 'in-use', 'one node at a time');
          const nowhere = { parts: [{ folder: plane.folder }] };
          await assert.rejects(importPool(plane, nowhere), { code: 'not-found', message: /^there is no pool in / });
          assert.ok(!existsSync(join(plane.folder, 'superblock')), 'looking at a folder leaves nothing in it');
          await other.snapshots.rollback('v', 's');
          await holds(other, 'v', 7, 20 * MIB);
          // And back again, from a pool that has never been anything but imported.
          await exportPool(other, 'lake');
          await importPool(plane, { ...wanted, name: 'tank' });
          assert.deepEqual(facts(plane), before);
          await holds(plane, 'v', 7, 20 * MIB);
        } finally {
          await other.close();
        }
      });
    });
  });

  it('out of the data folder stays where it is, and an interrupted export is finished', async () => {
    await withPlane(async (plane, reopen) => {
      await plane.pools.create({ name: 'tank', size: 16 * MIB });
      await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      await write(plane, 'v', 5, MIB);
      const record = plane.pools.record('tank');
      const home = plane.pools.where(record);
      // The intention alone is taken back.
      await plane.catalog.apply(plane.catalog.pools.edit('tank', { ...record, state: 'exporting' }));
      const again = await reopen();
      assert.equal(again.pools.record('tank').state, 'ready');
      await holds(again, 'v', 5, MIB);
      await exportPool(again, 'tank');
      assert.ok(!existsSync(join(home, 'meta')));
      await importPool(again, { parts: [{ folder: home }] });
      await holds(again, 'v', 5, MIB);
    });
  });
});
