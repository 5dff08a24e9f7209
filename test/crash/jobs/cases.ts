// What is asked of a control plane that is killed at every commit, one case for each kind of job, and what has to be true
// when the job is over all the same.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { JobRecord } from '../../../core/control/jobs/job.ts';
import { exportPool, importPool } from '../../unit/control/fixture.ts';
import type { Plane } from '../../unit/control/fixture.ts';

const MIB = 1 << 20;

export interface JobCase {
  readonly kind: string;
  /** Commits it has at least; it is killed at each, and at those that come by others. */
  readonly commits: number;
  /** Before round `at`; anything it makes is there already when a round is repeated. */
  readonly prepare?: (plane: Plane, at: number) => Promise<unknown>;
  readonly request: (plane: Plane, at: number) => object;
  /** When the job of round `at` is over. */
  readonly verify: (plane: Plane, at: number, job: JobRecord) => Promise<unknown>;
}

const numbered = (at: number): string => `v${String(at)}`;
const folderOf = (plane: Plane): string => join(plane.folder, 'elsewhere');
const usedBytes = (plane: Plane): number => plane.pools.pool('tank').allocator.used * 65_536;

async function tank(plane: Plane, folder?: string): Promise<void> {
  if (plane.catalog.pools.get('tank') === undefined) {
    await plane.pools.create({ name: 'tank', size: 16 * MIB, folder });
  }
}

/** A volume with a MiB of data. */
async function filled(plane: Plane, name: string): Promise<void> {
  await tank(plane);
  if (plane.catalog.volumes.get(name) !== undefined) return;
  await plane.provisioner.create({ name, size: 8 * MIB });
  await plane.units.unit(name)?.volume.write(0, Buffer.alloc(MIB, 7), 0, MIB, false);
}

async function holds(plane: Plane, name: string): Promise<void> {
  const into = Buffer.alloc(MIB);
  await plane.units.unit(name)?.volume.read(0, MIB, into, 0);
  assert.ok(into.equals(Buffer.alloc(MIB, 7)), name);
}

/** Nothing of deleted volumes takes space. */
async function empty(plane: Plane, name: string): Promise<void> {
  assert.equal(plane.catalog.volumes.get(name), undefined);
  await plane.pools.pool('tank').checkpoint();
  assert.equal(usedBytes(plane), 0);
}

export const JOB_CASES: readonly JobCase[] = [
  {
    kind: 'pool-create',
    commits: 9,
    // Half of them in a folder of their own, where what is left behind would be in the way.
    request: (plane, at) => {
      const place = at % 4 < 2 ? {} : { folder: join(folderOf(plane), String(at)) };
      return { name: `p${String(at)}`, size: 16 * MIB, ...place };
    },
    verify: async (plane, at) => {
      assert.equal(plane.catalog.pools.size, at);
      assert.equal(plane.pools.problem(`p${String(at)}`), undefined);
      assert.equal(readdirSync(join(plane.folder, 'pools')).length, at);
      assert.deepEqual((await plane.pools.check(`p${String(at)}`)).findings, []);
    },
  },
  {
    kind: 'pool-grow',
    commits: 3,
    prepare: (plane) => tank(plane),
    request: (plane, at) => {
      const folder = join(folderOf(plane), String(at));
      return { pool: 'tank', bytes: 16 * MIB, ...(at % 2 === 0 ? { folder } : {}) };
    },
    verify: (plane, at) => {
      assert.equal(plane.pools.pool('tank').allocator.total * 65_536, (1 + at) * 16 * MIB, 'one slab a time');
      return Promise.resolve();
    },
  },
  {
    kind: 'pool-export',
    commits: 5,
    prepare: async (plane, at) => {
      if (at > 1) await importPool(plane, { parts: [{ folder: folderOf(plane) }] });
      await tank(plane, folderOf(plane));
      await filled(plane, 'v');
      await holds(plane, 'v');
    },
    request: () => ({ pool: 'tank' }),
    verify: (plane) => {
      assert.deepEqual([plane.catalog.pools.size, plane.catalog.volumes.size, plane.views.disks()], [0, 0, []]);
      const homes = join(plane.folder, 'pools');
      const left = readdirSync(homes).filter((name) => existsSync(join(homes, name, 'meta')));
      assert.deepEqual(left, [], 'its metadata went with it');
      return Promise.resolve();
    },
  },
  {
    kind: 'pool-import',
    commits: 8,
    prepare: async (plane, at) => {
      await tank(plane, folderOf(plane));
      await filled(plane, 'v');
      if (at > 0) await exportPool(plane, 'tank');
    },
    request: (plane) => ({ parts: [{ folder: folderOf(plane) }] }),
    verify: async (plane) => {
      assert.deepEqual(
        plane.views.disks().map(({ name, state }) => [name, state]),
        [['v', 'online']],
      );
      await holds(plane, 'v');
      assert.deepEqual((await plane.pools.check('tank')).findings, []);
    },
  },
  {
    kind: 'pool-check',
    commits: 3,
    prepare: (plane) => filled(plane, 'v'),
    request: () => ({ pool: 'tank' }),
    verify: (_plane, _at, { result }) => {
      assert.deepEqual((result as { findings: unknown[] }).findings, []);
      return Promise.resolve();
    },
  },
  {
    kind: 'pool-scrub',
    commits: 3,
    prepare: (plane) => filled(plane, 'v'),
    request: () => ({ pool: 'tank' }),
    verify: (_plane, _at, { result }) => {
      const { doneBytes, damagedBlocks } = result as { doneBytes: number; damagedBlocks: number };
      assert.deepEqual([doneBytes >= MIB, damagedBlocks], [true, 0]);
      return Promise.resolve();
    },
  },
  {
    kind: 'volume-delete',
    commits: 5,
    prepare: (plane, at) => filled(plane, numbered(at)),
    request: (_plane, at) => ({ name: numbered(at), purge: true }),
    verify: (plane, at) => empty(plane, numbered(at)),
  },
  {
    kind: 'volume-purge',
    commits: 5,
    prepare: async (plane, at) => {
      await filled(plane, numbered(at));
      await plane.jobs.through('volume-delete', { name: numbered(at) }, 'delete');
    },
    request: (_plane, at) => ({ volume: numbered(at) }),
    verify: async (plane, at) => {
      assert.equal(plane.catalog.deleted.size, 0);
      await empty(plane, numbered(at));
    },
  },
  {
    kind: 'snapshot-delete',
    commits: 5,
    prepare: async (plane) => {
      await filled(plane, 'v');
      await plane.snapshots.create(['v'], 's');
      await plane.units.unit('v')?.volume.write(0, Buffer.alloc(MIB, 7), 0, MIB, false);
    },
    request: () => ({ volume: 'v', snapshot: 's' }),
    verify: async (plane) => {
      assert.deepEqual(plane.snapshots.list(), []);
      await plane.pools.pool('tank').checkpoint();
      assert.equal(usedBytes(plane), MIB);
      await holds(plane, 'v');
    },
  },
  {
    kind: 'volume-resize',
    commits: 4,
    prepare: (plane) => filled(plane, 'v'),
    request: (_plane, at) => ({ name: 'v', size: (8 + at) * MIB }),
    verify: async (plane, at) => {
      assert.equal(plane.provisioner.volume('v').size, (8 + at) * MIB);
      assert.equal(plane.units.unit('v')?.volume.info.size, (8 + at) * MIB);
      await holds(plane, 'v');
    },
  },
  {
    kind: 'clone-group',
    commits: 12,
    prepare: async (plane) => {
      for (const name of ['a', 'b']) await filled(plane, name);
    },
    request: (_plane, at) => ({ volumes: ['a', 'b'].map((source) => ({ source, name: `${source}${String(at)}` })) }),
    verify: async (plane, at) => {
      assert.deepEqual(plane.snapshots.list(), []);
      assert.equal(plane.catalog.volumes.size, 2 + 2 * at);
      for (const name of ['a', 'b']) await holds(plane, `${name}${String(at)}`);
      assert.deepEqual((await plane.pools.check('tank')).findings, []);
    },
  },
  {
    kind: 'provision',
    commits: 9,
    prepare: (plane) => tank(plane),
    request: (_plane, at) => ({
      volume: { name: numbered(at), size: 8 * MIB, maps: [{ who: 'loopback', readOnly: false }] },
      host: { name: `h${String(at)}`, iqns: [`iqn.2026-01.example.host:h${String(at)}`] },
    }),
    verify: (plane, at) => {
      assert.equal(plane.catalog.volumes.size, at);
      const maps = plane.provisioner.volume(numbered(at)).maps.map(({ who }) => who);
      assert.deepEqual(maps, ['loopback', `host:h${String(at)}`]);
      return Promise.resolve();
    },
  },
];
