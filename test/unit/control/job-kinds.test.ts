import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../support/cleanup.ts';
import { codeOf, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';
import type { JobRecord } from '../../../core/control/jobs/job.ts';

const MIB = 1 << 20;
const POOL = { name: 'tank', size: 64 * MIB };
const IQN = 'iqn.2026-01.example.host:a';

async function run(plane: Plane, kind: string, asked: object, key?: string): Promise<JobRecord> {
  const { id } = await plane.jobs.submit(kind, asked, key);
  return plane.jobs.wait(id);
}

describe('jobs of the control plane', () => {
  it('provision a volume for a host with its credentials, once for one key', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      const secret = 'correct-horse-battery';
      const asked = {
        volume: { name: 'v', size: 8 * MIB, maps: [{ who: 'loopback', readOnly: true }] },
        host: { name: 'esx1', iqns: [IQN], profile: 'esxi', chap: { user: 'esx', secret } },
      };
      const over = await run(plane, 'provision', asked, 'wizard-1');
      assert.equal(over.state, 'done', over.error?.message);
      const { name, naa } = over.result as { name: string; naa: string };
      assert.deepEqual([name, naa], ['v', plane.views.disk(plane.provisioner.volume('v')).naa]);
      assert.deepEqual(plane.provisioner.volume('v').maps, [
        { who: 'loopback', readOnly: true },
        { who: 'host:esx1', readOnly: false },
      ]);
      assert.equal(plane.hosts.credentials(IQN).method, 'chap');
      assert.equal((await plane.jobs.submit('provision', asked, 'wizard-1')).id, over.id);
      const other = { ...asked, volume: { ...asked.volume, size: 16 * MIB } };
      assert.equal(await codeOf(() => plane.jobs.submit('provision', other, 'wizard-1')), 'key-reused');
      const kept = JSON.stringify([plane.catalog.jobs.values(), plane.logged, plane.jobs.view(over)]);
      assert.ok(!kept.includes(secret));
      assert.equal(await codeOf(() => plane.jobs.submit('provision', asked)), 'exists');
    });
  });

  it('take a volume and a host back when the mapping fails', async () => {
    await withPlane(async (plane) => {
      await plane.hosts.put({ name: 'old', iqns: [IQN], profile: 'kvm' });
      const volume = { name: 'v', size: 8 * MIB, maps: [{ who: 'host:gone', readOnly: false }] };
      assert.equal(await codeOf(() => plane.jobs.submit('provision', { volume })), 'not-found');
      // The host it is to be mapped to goes away after the request was found sound.
      await plane.hosts.put({ name: 'gone', iqns: [] });
      const host = { name: 'old', iqns: ['iqn.2026-01.example.host:new'], profile: 'esxi' };
      const { id } = await plane.jobs.submit('provision', { volume, host });
      await plane.hosts.remove('gone');
      const over = await plane.jobs.wait(id);
      assert.deepEqual([over.state, over.error?.code], ['failed', 'not-found']);
      assert.deepEqual(
        over.steps.map(({ state }) => state),
        ['undone', 'undone', 'undone', 'waiting'],
      );
      assert.equal(plane.catalog.volumes.get('v'), undefined);
      assert.deepEqual([plane.hosts.get('old').iqns, plane.hosts.get('old').profile], [[IQN], 'kvm']);
    });
  });

  it('clone a group at one instant, and leave nothing of it when a name is taken', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      for (const name of ['a', 'b']) {
        await plane.provisioner.create({ name, size: 8 * MIB });
        await plane.units.unit(name)?.volume.write(0, Buffer.alloc(65_536, 5), 0, 65_536, false);
      }
      const volumes = ['a', 'b'].map((source) => ({ source, name: `${source}-copy` }));
      const over = await run(plane, 'clone-group', { volumes });
      assert.deepEqual([over.state, over.result], ['done', { volumes: ['a-copy', 'b-copy'] }]);
      assert.deepEqual(plane.snapshots.list(), []);
      const into = Buffer.alloc(4096);
      await plane.units.unit('b-copy')?.volume.read(0, 4096, into, 0);
      assert.equal(into[0], 5);
      assert.equal(await codeOf(() => plane.jobs.submit('clone-group', { volumes })), 'exists');
      const twice = ['a', 'b'].map((source) => ({ source, name: 'same' }));
      const failed = await run(plane, 'clone-group', { volumes: twice });
      assert.deepEqual([failed.state, failed.error?.code], ['failed', 'exists']);
      assert.equal(plane.catalog.volumes.get('same'), undefined);
      assert.deepEqual(plane.snapshots.list(), []);
      assert.deepEqual((await plane.pools.check('tank')).findings, []);
    });
  });

  it('grow a volume and a pool, check, and delete a snapshot with its space', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      assert.equal((await run(plane, 'volume-resize', { name: 'v', size: 16 * MIB })).state, 'done');
      assert.equal(plane.provisioner.volume('v').size, 16 * MIB);
      assert.equal((await run(plane, 'volume-resize', { name: 'v', size: 17 })).error?.code, 'bad-request');
      assert.equal((await run(plane, 'pool-grow', { pool: 'tank', bytes: MIB })).state, 'done');
      const volume = plane.units.unit('v')?.volume;
      await volume?.write(0, Buffer.alloc(MIB, 1), 0, MIB, false);
      await plane.snapshots.create(['v'], 's');
      await volume?.write(0, Buffer.alloc(MIB, 2), 0, MIB, false);
      const { allocator } = plane.pools.pool('tank');
      await plane.pools.pool('tank').checkpoint();
      assert.equal(allocator.used, 32);
      assert.equal((await run(plane, 'snapshot-delete', { volume: 'v', snapshot: 's' })).state, 'done');
      assert.equal(allocator.used, 16, 'its space is free when the job is over');
      const checked = await run(plane, 'pool-check', { pool: 'tank' });
      assert.deepEqual((checked.result as { findings: unknown[] }).findings, []);
      for (const kind of ['pool-check', 'pool-scrub', 'pool-grow'])
        assert.equal(await codeOf(() => plane.jobs.submit(kind, { pool: 'none' })), 'not-found');
    });
  });

  it('make a pool, make it larger, take it away and bring it back', async () => {
    const root = temporaryFolder('pool-jobs');
    try {
      const folder = join(root.path, 'tank');
      await withPlane(async (plane) => {
        const made = await run(plane, 'pool-create', { ...POOL, folder }, 'k');
        assert.deepEqual([made.state, made.error], ['done', undefined]);
        assert.equal((await plane.jobs.submit('pool-create', { ...POOL, folder }, 'k')).id, made.id);
        assert.equal(await codeOf(() => plane.jobs.submit('pool-create', POOL)), 'exists');
        // Somebody else's pool in the same place is the reason, and stays.
        const second = await run(plane, 'pool-create', { name: 'other', size: POOL.size, folder });
        assert.deepEqual([second.state, second.error?.code, second.steps[0]?.state], ['failed', 'exists', 'undone']);
        assert.equal(plane.catalog.pools.get('other'), undefined);
        await plane.provisioner.create({ name: 'v', size: 8 * MIB });
        await plane.units.unit('v')?.volume.write(0, Buffer.alloc(MIB, 5), 0, MIB, false);
        const grown = await run(plane, 'pool-grow', { pool: 'tank', bytes: MIB });
        const { from, to } = grown.result as { from: number; to: number };
        assert.ok(from >= POOL.size && to > from);
        const out = await run(plane, 'pool-export', { pool: 'tank' });
        assert.deepEqual(out.result, { name: 'tank', parts: [{ kind: 'folder', path: folder }] });
        assert.deepEqual([plane.catalog.pools.size, plane.catalog.volumes.size], [0, 0]);
        const back = await run(plane, 'pool-import', { name: 'lake', parts: [{ folder }] });
        assert.deepEqual(back.result, { name: 'lake', volumes: 1 });
        const into = Buffer.alloc(4096);
        await plane.units.unit('v')?.volume.read(0, 4096, into, 0);
        assert.equal(into[0], 5);
        const { steps } = await plane.jobs.submit('pool-export', { pool: 'lake' });
        assert.equal(steps.length, 1);
      });
    } finally {
      root.remove();
    }
  });

  it('stop making a pool when they are told to, and leave nothing of it', async () => {
    const root = temporaryFolder('pool-jobs');
    try {
      const folder = join(root.path, 'tank');
      await withPlane(async (plane) => {
        const { id } = await plane.jobs.submit('pool-create', { ...POOL, folder });
        await plane.jobs.cancel(id);
        const over = await plane.jobs.wait(id);
        assert.equal(over.state, 'cancelled');
        assert.equal(plane.catalog.pools.get('tank'), undefined);
        assert.deepEqual(existsSync(folder) ? readdirSync(folder) : [], []);
        assert.equal((await run(plane, 'pool-create', { ...POOL, folder })).state, 'done');
      });
    } finally {
      root.remove();
    }
  });
});
