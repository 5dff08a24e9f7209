import assert from 'node:assert/strict';
import { existsSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { open as openStore } from 'lmdb';
import { planOf } from '../../../core/control/pool-plan.ts';
import { poolView } from '../../../core/control/pool-views.ts';
import { SENSE } from '../../../core/scsi/sense.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { codeOf, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1024 * 1024;
const ALICE = 'iqn.2026-01.example.host:alice';
const POOL = { name: 'tank', size: 64 * MIB };

function volumeOf(plane: Plane, name: string): Volume {
  const volume = plane.units.unit(name)?.volume;
  assert.ok(volume, `${name} is not served`);
  return volume;
}

async function write(plane: Plane, name: string, position: number, length: number, value: number): Promise<void> {
  await volumeOf(plane, name).write(position, Buffer.alloc(length, value), 0, length, false);
}

/** The value all bytes of the range have; undefined: they differ. */
async function valueAt(plane: Plane, name: string, position: number, length: number): Promise<number | undefined> {
  const bytes = Buffer.alloc(length, 0xee);
  await volumeOf(plane, name).read(position, length, bytes, 0);
  return bytes.every((byte) => byte === bytes[0]) ? bytes[0] : undefined;
}

/** Until nothing is being given back any more. */
async function spaceIsBack(plane: Plane, name = 'tank'): Promise<void> {
  while (plane.pools.jobs(name).deletions().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function consistent(plane: Plane, name = 'tank'): Promise<void> {
  assert.deepEqual((await plane.pools.check(name)).findings, []);
}

describe('pools', () => {
  it('hold volumes, which keep their data and identity over a reopen', async () => {
    await withPlane(async (plane, reopen) => {
      await plane.provisioner.create({ name: 'before', size: 8 * MIB });
      assert.equal((await plane.pools.create(POOL)).state, 'ready');
      // The only pool takes what nobody sends elsewhere.
      const created = await plane.provisioner.create({ name: 'thin', size: 256 * MIB });
      assert.deepEqual([created.kind, created.pool], ['pool', 'tank']);
      await plane.provisioner.create({ name: 'lab', size: 8 * MIB, pool: 'tank', durability: 'volatile' });
      await plane.provisioner.create({ name: 'file', size: 8 * MIB, kind: 'file' });
      await write(plane, 'thin', 100 * MIB + 512, 4096, 7);
      await write(plane, 'lab', 0, 65_536, 8);
      const before = plane.views.disks();
      assert.deepEqual(
        before.map((disk) => [disk.name, disk.kind, disk.pool, disk.path === null]),
        [
          ['before', 'file', null, false],
          ['file', 'file', null, false],
          ['lab', 'pool', 'tank', true],
          ['thin', 'pool', 'tank', true],
        ],
      );
      const again = await reopen();
      const identity = (plane: Plane) =>
        plane.views.disks().map(({ name, naa, iqn, lun, size }) => ({ name, naa, iqn, lun, size }));
      assert.deepEqual(
        identity(again),
        before.map(({ name, naa, iqn, lun, size }) => ({ name, naa, iqn, lun, size })),
      );
      assert.equal(await valueAt(again, 'thin', 100 * MIB + 512, 4096), 7);
      assert.equal(await valueAt(again, 'thin', 100 * MIB, 512), 0);
      assert.equal(await valueAt(again, 'lab', 0, 65_536), 8);
      await consistent(again);
    });
  });

  it('refuse what breaks a rule, and leave nothing behind', async () => {
    await withPlane(async (plane) => {
      const { pools, provisioner, catalog, folder } = plane;
      const refusals: [string, Parameters<typeof pools.create>[0]][] = [
        ['bad-request', { name: 'Upper', size: 64 * MIB }],
        ['bad-request', { name: 'a' }],
        ['bad-request', { name: 'a', size: MIB }],
        ['bad-request', { name: 'a', size: 64 * MIB, folder: 'relative' }],
        ['bad-request', { name: 'a', size: 64 * MIB, folder: '/tmp', device: '/dev/null' }],
        ['bad-request', { name: 'a', device: '/etc/passwd' }],
        ['bad-request', { name: 'a', device: '/dev/null' }],
        ['not-found', { name: 'a', size: 64 * MIB, folder: '/proc/nothing/here' }],
      ];
      for (const [code, wanted] of refusals)
        assert.equal(await codeOf(() => pools.create(wanted)), code, JSON.stringify(wanted));
      assert.equal(catalog.pools.size, 0);
      assert.deepEqual(existsSync(join(folder, 'pools')) ? readdirSync(join(folder, 'pools')) : [], []);
      assert.equal(await codeOf(() => provisioner.create({ name: 'v', size: 8 * MIB, pool: 'none' })), 'not-found');
      assert.equal(await codeOf(() => provisioner.create({ name: 'v', size: 8 * MIB, kind: 'pool' })), 'bad-request');
      await pools.create(POOL);
      assert.equal(await codeOf(() => pools.create(POOL)), 'exists');
      const odd = 8 * MIB + 512;
      assert.equal(await codeOf(() => provisioner.create({ name: 'v', size: odd })), 'bad-request');
      assert.equal(
        await codeOf(() => provisioner.create({ name: 'v', size: 8 * MIB, kind: 'memory', pool: 'tank' })),
        'bad-request',
      );
      assert.equal(await codeOf(() => provisioner.create({ name: 'v', size: 128 * MIB, thin: false })), 'no-space');
      assert.equal(catalog.volumes.size, 0);
      await pools.create({ name: 'second', size: 16 * MIB });
      assert.equal(await codeOf(() => provisioner.create({ name: 'v', size: 8 * MIB })), 'bad-request');
      await consistent(plane);
    });
  });

  it('live in a folder of their own, which is never taken from another pool', async () => {
    const elsewhere = temporaryFolder('pool');
    try {
      await withPlane(async (plane, reopen) => {
        const place = { name: 'far', size: 16 * MIB, folder: elsewhere.path };
        writeFileSync(join(elsewhere.path, 'keep'), 'mine');
        await plane.pools.create(place);
        assert.equal(await codeOf(() => plane.pools.create({ ...place, name: 'thief' })), 'exists');
        await plane.provisioner.create({ name: 'v', size: 8 * MIB });
        await write(plane, 'v', 0, 4096, 3);
        // A crash before the other one was noticed takes nothing away.
        const record = plane.pools.record('far');
        await plane.catalog.apply(
          plane.catalog.pools.edit('thief', { ...record, name: 'thief', id: 'ff', state: 'creating' }),
        );
        const again = await reopen();
        assert.equal(again.catalog.pools.get('thief'), undefined);
        assert.equal(await valueAt(again, 'v', 0, 4096), 3);
        assert.equal(await codeOf(() => again.pools.delete('far')), 'has-volumes');
        await again.provisioner.delete('v', false);
        await again.pools.delete('far');
        assert.deepEqual(readdirSync(elsewhere.path), ['keep']);
        assert.deepEqual(readdirSync(join(again.folder, 'pools')), []);
      });
    } finally {
      elsewhere.remove();
    }
  });

  it('that cannot be opened are reported; others work', async () => {
    await withPlane(async (plane, reopen) => {
      const bad = await plane.pools.create({ name: 'bad', size: 16 * MIB });
      await plane.pools.create({ name: 'good', size: 16 * MIB });
      await plane.provisioner.create({ name: 'lost', size: 8 * MIB, pool: 'bad' });
      await plane.provisioner.create({ name: 'fine', size: 8 * MIB, pool: 'good' });
      await plane.close();
      writeFileSync(join(plane.folder, 'pools', bad.id, 'superblock'), Buffer.alloc(8192, 0x5a));
      const again = await reopen().catch(() => undefined);
      assert.ok(again);
      const [fine, lost] = again.views.disks();
      assert.equal(fine?.state, 'online');
      assert.equal(lost?.state, 'failed');
      assert.match(lost.problem ?? '', /pool 'bad' is not open: .*superblock/);
      assert.equal(poolView(again.pools, again.pools.record('bad')).state, 'failed');
      // Nothing is removed of a pool that is not there.
      assert.equal(await codeOf(() => again.provisioner.delete('lost', true)), 'io-error');
      assert.equal(again.catalog.volumes.get('lost')?.state, 'ready');
    });
  });

  it('show a volume whose record is damaged, serve the others, and give its space back when it is deleted', async () => {
    await withPlane(async (plane, reopen) => {
      await plane.pools.create(POOL);
      for (const name of ['lost', 'other']) {
        await plane.provisioner.create({ name, size: 8 * MIB });
        await write(plane, name, 0, MIB, 7);
      }
      const { id } = plane.pools.entry('tank', plane.provisioner.volume('lost').id).record;
      await plane.close();
      const [home = ''] = readdirSync(join(plane.folder, 'pools'));
      const path = join(plane.folder, 'pools', home, 'meta');
      const store = openStore<Buffer, [number, number]>({ path, encoding: 'binary' });
      const bytes = Buffer.from(store.get([1, id]) ?? Buffer.alloc(8));
      bytes[3] = (bytes[3] ?? 0) ^ 1;
      await store.put([1, id], bytes);
      await store.close();
      const again = await reopen();
      const shown = again.views.disks().map(({ name, state }) => [name, state]);
      assert.deepEqual(shown, [
        ['lost', 'failed'],
        ['other', 'online'],
      ]);
      assert.equal(await valueAt(again, 'other', 0, MIB), 7);
      const { allocator } = again.pools.pool('tank');
      assert.equal(allocator.used, 32);
      await again.provisioner.delete('lost', false);
      await spaceIsBack(again);
      assert.equal(allocator.used, 16);
      await consistent(again);
    });
  });

  it('whose metadata is damaged end nobody', async () => {
    await withPlane(async (plane, reopen) => {
      const { id } = await plane.pools.create({ name: 'bad', size: 16 * MIB });
      await plane.provisioner.create({ name: 'lost', size: 8 * MIB });
      await plane.close();
      const path = join(plane.folder, 'pools', id, 'meta', 'data.mdb');
      truncateSync(path, 8192);
      const again = await reopen().catch(() => undefined);
      assert.match(again?.views.disks()[0]?.problem ?? '', /pool 'bad' is not open: its metadata in .* is damaged/);
    });
  });

  it('grow, and volumes in them; a thick one has its room', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'thick', size: 48 * MIB, thin: false });
      const facts = () => poolView(plane.pools, plane.pools.record('tank')).facts;
      assert.deepEqual([facts()?.capacityBytes, facts()?.reservedBytes], [64 * MIB, 48 * MIB]);
      assert.equal(await codeOf(() => plane.provisioner.resize('thick', 80 * MIB, false)), 'no-space');
      assert.equal(plane.catalog.volumes.get('thick')?.size, 48 * MIB);
      await plane.pools.grow('tank', { bytes: 10 * MIB });
      assert.equal(facts()?.capacityBytes, 128 * MIB, 'whole slabs');
      assert.equal((await plane.provisioner.resize('thick', 80 * MIB, false)).size, 80 * MIB);
      assert.equal(await codeOf(() => plane.provisioner.resize('thick', 80 * MIB + 512, false)), 'bad-request');
      await write(plane, 'thick', 79 * MIB, 65_536, 9);
      assert.equal(await valueAt(plane, 'thick', 79 * MIB, 65_536), 9);
      await plane.provisioner.delete('thick', false);
      await spaceIsBack(plane);
      assert.deepEqual([facts()?.reservedBytes, facts()?.usedBytes, facts()?.quarantinedBytes], [0, 0, 0]);
      await consistent(plane);
    });
  });

  it('have journal and slabs to their size', () => {
    const GIB = 1024 * MIB;
    assert.deepEqual(planOf(16 * MIB), { size: 16 * MIB, journalBytes: 16 * MIB, slabSize: 16 * MIB });
    assert.deepEqual(planOf(GIB), { size: GIB, journalBytes: 64 * MIB, slabSize: GIB });
    assert.deepEqual(planOf(1.5 * GIB), { size: 1.5 * GIB, journalBytes: 96 * MIB, slabSize: 768 * MIB });
    assert.deepEqual(planOf(1024 * GIB), { size: 1024 * GIB, journalBytes: 512 * MIB, slabSize: GIB });
  });

  it('tell the initiators of thin volumes when they fill up, once', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create({ name: 'tank', size: 16 * MIB });
      const all = [{ who: 'all', readOnly: false }];
      await plane.provisioner.create({ name: 'v', size: 64 * MIB, maps: all });
      const device = plane.units.devices.get(plane.views.disks()[0]?.iqn ?? '');
      assert.ok(device?.ports[0]);
      const visitor = { initiator: { name: ALICE, isid: '000000000001' }, local: false };
      const nexus = [...device.attach(visitor, device.ports[0]).visible()][0];
      assert.ok(nexus);
      const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
      const told = async (): Promise<boolean> => {
        await soon();
        const found = nexus.attentions.peek() === SENSE.thinSoftThreshold;
        nexus.attentions.clear();
        return found;
      };
      nexus.attentions.clear();
      await write(plane, 'v', 0, 12 * MIB, 1);
      assert.equal(await told(), false, '75 %');
      await write(plane, 'v', 12 * MIB, MIB, 1);
      assert.equal(await told(), true, '81 %');
      await write(plane, 'v', 13 * MIB, MIB, 1);
      assert.equal(await told(), false, 'once');
      await plane.pools.pool('tank').checkpoint();
      await volumeOf(plane, 'v').unmap(12 * MIB + MIB / 2, 2 * MIB);
      await plane.pools.pool('tank').checkpoint();
      await write(plane, 'v', 12 * MIB + MIB / 2, MIB, 1);
      assert.equal(await told(), false, 'a little below is still the same occasion');
      await volumeOf(plane, 'v').unmap(8 * MIB, 8 * MIB);
      await plane.pools.pool('tank').checkpoint();
      await write(plane, 'v', 8 * MIB, 5 * MIB, 1);
      assert.equal(await told(), true, 'again, after it was over');
      const lines = plane.logged.filter((line) => line.includes('pool is filling up'));
      assert.equal(lines.length, 2, plane.logged.join('\n'));
      // What initiators see in mode page 1Ch/02h and log page 0Ch, in grains: one setting.
      const room = volumeOf(plane, 'v').resources;
      const total = plane.pools.pool('tank').allocator.total;
      assert.equal(room?.threshold, total - Math.ceil(total * 0.8));
      assert.equal(room.available, total - plane.pools.pool('tank').allocator.taken);
      assert.equal((await plane.pools.setThreshold('tank', 95)).threshold, 95);
      assert.equal(room.threshold, total - Math.ceil(total * 0.95));
      assert.equal(nexus.attentions.take(), SENSE.modeParametersChanged);
      assert.equal(poolView(plane.pools, plane.pools.record('tank')).thresholdReached, false);
    });
  });

  it('are scrubbed one at a time; damage is found with volume and place', async () => {
    await withPlane(async (plane) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'v', size: 64 * MIB });
      await write(plane, 'v', 0, 16 * MIB, 5);
      await plane.pools.pool('tank').checkpoint();
      const { jobs } = plane;
      const slow = { pool: 'tank', rate: MIB };
      const first = await jobs.submit('pool-scrub', slow);
      assert.equal(await codeOf(() => jobs.submit('pool-scrub', slow)), 'in-use');
      await jobs.wait(first.id, Infinity, ({ steps }) => steps[0]?.state === 'running');
      await jobs.cancel(first.id);
      assert.equal((await jobs.wait(first.id)).state, 'cancelled');
      assert.equal(plane.pools.jobs('tank').scrub()?.state, 'aborted');
      assert.equal(await codeOf(() => jobs.cancel(first.id)), 'not-found');
      const entry = plane.pools.entry('tank', plane.catalog.volumes.get('v')?.id ?? '');
      const flipped = Buffer.alloc(4096, 5);
      flipped[17] = 4;
      const slab = join(plane.folder, 'pools', plane.pools.record('tank').id, 'slab-00000');
      const file = await open(slab, 'r+');
      await file.write(flipped, 0, 4096, 64 * ((64 * MIB) / 65_536) + (entry.map.place(3) - 1) * 65_536 + 8192);
      await file.close();
      const { id } = await jobs.submit('pool-scrub', { pool: 'tank', rate: 1024 * MIB });
      assert.equal((await jobs.wait(id)).state, 'done');
      await plane.events.settled();
      assert.match(plane.events.list({ code: 'scrub-damage' })[0]?.text ?? '', /1 damaged block.*v at byte 204800/);
      assert.deepEqual(
        plane.pools
          .jobs('tank')
          .scrub()
          ?.damaged.map(({ volume, position }) => ({ volume, position })),
        [{ volume: 'v', position: 3 * 65_536 + 8192 }],
      );
    });
  });
});

describe('snapshots', () => {
  async function withVolumes(body: (plane: Plane, reopen: () => Promise<Plane>) => Promise<void>): Promise<void> {
    await withPlane(async (plane, reopen) => {
      await plane.pools.create(POOL);
      await plane.provisioner.create({ name: 'a', size: 32 * MIB });
      await plane.provisioner.create({ name: 'b', size: 32 * MIB });
      await body(plane, reopen);
    });
  }

  it('keep what was, are cloned and rolled back to, also after a reopen', async () => {
    await withVolumes(async (plane, reopen) => {
      await write(plane, 'a', 0, MIB, 1);
      await write(plane, 'b', 0, MIB, 2);
      const made = await plane.snapshots.create(['a', 'b'], 's');
      assert.equal(made.length, 2);
      assert.ok(made[0]?.group);
      assert.equal(made[0].group, made[1]?.group);
      await write(plane, 'a', 0, 2 * MIB, 3);
      await plane.snapshots.clone('a', 's', { name: 'old' });
      await plane.snapshots.clone('a', undefined, { name: 'now' });
      await write(plane, 'old', 4096, 4096, 4);
      const again = await reopen();
      assert.deepEqual(
        again.snapshots.list().map(({ volume, name, state }) => `${volume}@${name} ${state}`),
        ['a@s ready', 'b@s ready'],
      );
      assert.equal(await valueAt(again, 'old', 0, 4096), 1);
      assert.equal(await valueAt(again, 'old', 4096, 4096), 4);
      assert.equal(await valueAt(again, 'old', MIB, MIB), 0);
      assert.equal(await valueAt(again, 'now', 0, 2 * MIB), 3);
      await again.snapshots.rollback('a', 's');
      assert.equal(await valueAt(again, 'a', 0, MIB), 1);
      assert.equal(await valueAt(again, 'a', MIB, MIB), 0);
      assert.equal(await valueAt(again, 'now', 0, 2 * MIB), 3);
      await consistent(again);
    });
  });

  it('are refused where they cannot be what they should', async () => {
    await withVolumes(async (plane) => {
      const { snapshots, provisioner, pools, units, views } = plane;
      await provisioner.create({ name: 'file', size: 8 * MIB, kind: 'file' });
      await pools.create({ name: 'second', size: 16 * MIB });
      await provisioner.create({ name: 'c', size: 8 * MIB, pool: 'second' });
      for (const [code, volumes, name] of [
        ['bad-request', ['file'], 's'],
        ['bad-request', ['a', 'c'], 's'],
        ['bad-request', ['a', 'a'], 's'],
        ['bad-request', ['a'], 'Bad@'],
        ['bad-request', [], 's'],
        ['not-found', ['none'], 's'],
      ] as const)
        assert.equal(await codeOf(() => snapshots.create(volumes, name)), code, volumes.join());
      await snapshots.create(['a'], 's');
      assert.equal(await codeOf(() => snapshots.create(['b', 'a'], 's')), 'exists');
      assert.deepEqual(snapshots.list('b'), []);
      assert.equal(await codeOf(() => snapshots.rollback('a', 'none')), 'not-found');
      assert.equal(await codeOf(() => snapshots.clone('file', undefined, { name: 'x' })), 'bad-request');
      await provisioner.map('a', 'all', false);
      const device = units.devices.get(views.disks()[0]?.iqn ?? '');
      assert.ok(device?.ports[0]);
      const nexus = device.attach({ initiator: { name: ALICE, isid: '000000000001' }, local: false }, device.ports[0]);
      assert.equal(await codeOf(() => snapshots.rollback('a', 's')), 'in-use');
      device.detach(nexus);
      await provisioner.resize('a', 48 * MIB, false);
      assert.equal(await codeOf(() => snapshots.rollback('a', 's')), 'bad-request');
      assert.equal(units.unit('a')?.notReady, undefined);
    });
  });

  it('keep their volume from being deleted, unless they go with it; clones stay', async () => {
    await withVolumes(async (plane) => {
      await write(plane, 'a', 0, 4 * MIB, 1);
      await plane.snapshots.create(['a'], 's');
      await plane.snapshots.create(['a'], 't');
      await plane.snapshots.clone('a', 's', { name: 'clone' });
      await write(plane, 'a', 0, 4 * MIB, 2);
      assert.equal(await codeOf(() => plane.provisioner.delete('a', false)), 'has-snapshots');
      await plane.snapshots.delete('a', 't');
      assert.equal(await codeOf(() => plane.snapshots.delete('a', 't')), 'not-found');
      await plane.provisioner.delete('a', false, true);
      assert.deepEqual(plane.snapshots.list(), []);
      await spaceIsBack(plane);
      assert.equal(await valueAt(plane, 'clone', 0, 4 * MIB), 1);
      const { facts } = poolView(plane.pools, plane.pools.record('tank'));
      assert.equal(facts?.usedBytes, 4 * MIB);
      await consistent(plane);
      await plane.provisioner.create({ name: 'a', size: 32 * MIB });
      assert.equal(await valueAt(plane, 'a', 0, 4 * MIB), 0);
    });
  });

  it('are finished or taken back at the next start when a crash interrupted', async () => {
    await withVolumes(async (plane, reopen) => {
      await write(plane, 'a', 0, MIB, 1);
      const [one] = await plane.snapshots.create(['a'], 'making');
      const [two] = await plane.snapshots.create(['a'], 'going');
      assert.ok(one && two);
      const { catalog } = plane;
      const b = catalog.volumes.get('b');
      assert.ok(b);
      await catalog.apply(
        catalog.snapshots.edit('a@making', { ...one, state: 'creating' }),
        catalog.snapshots.edit('a@going', { ...two, state: 'deleting' }),
        catalog.snapshots.edit('a@never', { ...one, id: '0'.repeat(32), name: 'never', state: 'creating' }),
        catalog.volumes.edit('b', { ...b, state: 'creating' }),
      );
      const again = await reopen();
      assert.deepEqual(again.snapshots.list(), []);
      assert.deepEqual(
        again.views.disks().map((disk) => disk.name),
        ['a'],
      );
      await spaceIsBack(again);
      assert.equal(again.pools.pool('tank').entries.size, 1);
      assert.equal(await valueAt(again, 'a', 0, MIB), 1);
      await consistent(again);
    });
  });

  it('say what they take', async () => {
    await withVolumes(async (plane) => {
      await write(plane, 'a', 0, 4 * MIB, 1);
      await plane.snapshots.create(['a'], 's');
      await write(plane, 'a', 0, MIB, 2);
      await plane.snapshots.create(['a'], 't');
      await write(plane, 'a', 0, MIB, 3);
      await write(plane, 'a', 8 * MIB, MIB, 3);
      await plane.pools.pool('tank').checkpoint();
      const { snapshots, ...space } = await plane.snapshots.space('a');
      assert.deepEqual(space, {
        name: 'a',
        size: 32 * MIB,
        logicalBytes: 5 * MIB,
        exclusiveBytes: 2 * MIB,
        sharedBytes: 3 * MIB,
        snapshotBytes: 2 * MIB,
      });
      assert.deepEqual(
        snapshots.map(({ name, exclusiveBytes }) => [name, exclusiveBytes]),
        [
          ['s', MIB],
          ['t', MIB],
        ],
      );
      assert.equal(await plane.pools.snapshotBytes('tank'), 2 * MIB);
      await plane.snapshots.clone('a', 's', { name: 'clone' });
      assert.equal((await plane.snapshots.space('a')).snapshotBytes, MIB, 'the clone has what the snapshot has');
      await plane.snapshots.delete('a', 's');
      await spaceIsBack(plane);
      assert.equal((await plane.snapshots.space('a')).snapshotBytes, MIB);
      assert.equal((await plane.snapshots.space('clone')).exclusiveBytes, MIB);
    });
  });
});
