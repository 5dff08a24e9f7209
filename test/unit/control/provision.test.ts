import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../support/cleanup.ts';
import { codeOf, openPlane, withPlane } from './fixture.ts';

const MIB = 1024 * 1024;
const ALICE = 'iqn.2026-01.example.host:alice';
const BOB = 'iqn.2026-01.example.host:bob';

const visitor = (name: string, local = false) => ({ initiator: { name, isid: '000000000001' }, local });

describe('provisioning', () => {
  it('keeps volumes, identities and maps over a reopen', async () => {
    await withPlane(async (plane, reopen) => {
      const created = await plane.provisioner.create({
        name: 'one',
        size: 8 * MIB,
        maps: [{ who: ALICE, readOnly: true }],
      });
      await plane.provisioner.create({ name: 'two', size: 8 * MIB, target: 'one' });
      const before = plane.views.disks();
      const again = await reopen();
      assert.deepEqual(again.views.disks(), before);
      assert.equal(again.catalog.volumes.get('one')?.id, created.id);
      assert.deepEqual(
        before.map((disk) => [disk.name, disk.lun, disk.state]),
        [
          ['one', 0, 'online'],
          ['two', 1, 'online'],
        ],
      );
      assert.equal(before[0]?.iqn, before[1]?.iqn);
      assert.match(before[0]?.iqn ?? '', /^iqn\.2026-01\.example\.gemel:[0-9a-f]{8}:one$/);
      assert.match(before[0]?.naa ?? '', /^naa\.6[0-9a-f]{31}$/);
    });
  });

  it('refuses what breaks a rule, and leaves nothing behind', async () => {
    await withPlane(async ({ provisioner, catalog, folder }) => {
      const size = 8 * MIB;
      const refusals: [string, Parameters<typeof provisioner.create>[0]][] = [
        ['bad-request', { name: 'Upper', size }],
        ['bad-request', { name: '../up', size }],
        ['bad-request', { name: 'a'.repeat(64), size }],
        ['bad-request', { name: 'a', size: 1000 }],
        ['bad-request', { name: 'a', size: size + 1 }],
        ['bad-request', { name: 'a', size: size + 512, blockSize: 4096 }],
        ['bad-request', { name: 'a', size, blockSize: 4096, physicalBlockSize: 512 }],
        ['bad-request', { name: 'a', size, blockSize: 1024 }],
        ['bad-request', { name: 'a', size, lun: 256 }],
        ['bad-request', { name: 'a', size, path: '/etc/passwd' }],
        ['bad-request', { name: 'a', kind: 'device', path: '/etc/passwd' }],
        ['bad-request', { name: 'a', kind: 'device', path: '/dev/../etc/passwd' }],
        ['bad-request', { name: 'a', kind: 'device', path: '/dev/null' }],
        ['bad-request', { name: 'a', kind: 'memory', size, durability: 'durable' }],
        ['bad-request', { name: 'a', size, maps: [{ who: 'somebody', readOnly: false }] }],
        [
          'bad-request',
          { name: 'a', size, maps: [ALICE, ALICE.toUpperCase()].map((who) => ({ who, readOnly: false })) },
        ],
      ];
      for (const [code, wanted] of refusals)
        assert.equal(await codeOf(() => provisioner.create(wanted)), code, JSON.stringify(wanted));
      assert.equal(catalog.volumes.size, 0);
      assert.equal(catalog.targets.size, 0);
      assert.deepEqual(readdirSync(join(folder, 'volumes')), []);
      await provisioner.create({ name: 'a', size });
      assert.equal(await codeOf(() => provisioner.create({ name: 'a', size })), 'exists');
      assert.equal(await codeOf(() => provisioner.create({ name: 'b', size, target: 'a', lun: 0 })), 'exists');
    });
  });

  it('shows a LUN only to whom it is mapped; the most specific map decides', async () => {
    await withPlane(async ({ provisioner, units, views }) => {
      const record = await provisioner.create({
        name: 'v',
        size: 8 * MIB,
        maps: [{ who: 'loopback', readOnly: false }],
      });
      const iqn = views.disk(record).iqn;
      const visibility = (name: string, local = false): string | undefined =>
        units.devices.get(iqn)?.entries[0]?.visibility(visitor(name, local));
      assert.equal(visibility(ALICE), 'hidden');
      assert.equal(visibility(ALICE, true), 'read-write');
      await provisioner.map('v', ALICE.toUpperCase(), true);
      assert.equal(visibility(ALICE), 'read-only');
      assert.equal(visibility(ALICE, true), 'read-only');
      assert.equal(visibility(BOB), 'hidden');
      await provisioner.map('v', 'all', false);
      assert.equal(visibility(BOB), 'read-write');
      assert.equal(visibility(ALICE), 'read-only');
      await provisioner.unmap('v', 'all');
      await provisioner.unmap('v', ALICE);
      assert.equal(visibility(ALICE), 'hidden');
      assert.equal(await codeOf(() => provisioner.unmap('v', ALICE)), 'not-found');
    });
  });

  it('refuses to delete a volume in use, and to shrink a mapped one, unless forced', async () => {
    await withPlane(async ({ provisioner, units, views, catalog, folder }) => {
      const record = await provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: ALICE, readOnly: false }] });
      assert.equal(await codeOf(() => provisioner.resize('v', 4 * MIB, false)), 'in-use');
      assert.equal((await provisioner.resize('v', 4 * MIB, true)).size, 4 * MIB);
      assert.equal((await provisioner.resize('v', 16 * MIB, false)).size, 16 * MIB);
      assert.equal(statSync(views.disk(record).path ?? '').size, 16 * MIB);
      const device = units.devices.get(views.disk(record).iqn);
      assert.ok(device?.ports[0]);
      assert.deepEqual(
        device.ports.map((port) => [port.portalGroup, port.relativeId]),
        [
          [1, 1],
          [2, 2],
        ],
      );
      const nexus = device.attach(visitor(ALICE), device.ports[0]);
      assert.equal(await codeOf(() => provisioner.delete('v', false)), 'in-use');
      await provisioner.delete('v', true);
      assert.deepEqual([...nexus.visible()], []);
      assert.equal(catalog.targets.size, 0);
      assert.deepEqual(readdirSync(join(folder, 'volumes')), []);
    });
  });

  it('waits a moment for a session that is just ending', async () => {
    await withPlane(async ({ provisioner, units, views, catalog }) => {
      const record = await provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: 'all', readOnly: false }] });
      const device = units.devices.get(views.disk(record).iqn);
      assert.ok(device?.ports[0]);
      const nexus = device.attach(visitor(ALICE), device.ports[0]);
      const deleted = provisioner.delete('v', false);
      setTimeout(() => {
        device.detach(nexus);
      }, 50);
      await deleted;
      assert.equal(catalog.volumes.size, 0);
    });
  });

  it('finishes or takes back at the next start what a crash interrupted', async () => {
    await withPlane(async (plane, reopen) => {
      const { provisioner, catalog } = plane;
      const records = new Map(
        await Promise.all(
          ['creating', 'deleting', 'resizing'].map(async (name) => {
            return [name, await provisioner.create({ name, size: 8 * MIB })] as const;
          }),
        ),
      );
      const [creating, deleting, resizing] = [...records.values()];
      assert.ok(creating && deleting && resizing);
      await catalog.apply(
        catalog.volumes.edit('creating', { ...creating, state: 'creating' }),
        catalog.volumes.edit('deleting', { ...deleting, state: 'deleting' }),
        catalog.volumes.edit('resizing', { ...resizing, resizing: 12 * MIB }),
      );
      const again = await reopen();
      assert.deepEqual(
        again.views.disks().map((disk) => [disk.name, disk.size, disk.state]),
        [['resizing', 12 * MIB, 'online']],
      );
      assert.deepEqual(readdirSync(join(again.folder, 'volumes')), [`${resizing.id}.raw`]);
      assert.equal(statSync(again.views.disk(resizing).path ?? '').size, 12 * MIB);
      assert.deepEqual(
        again.catalog.targets.values().map((target) => target.name),
        ['resizing'],
      );
    });
  });

  it('serves the other volumes when one has lost data', async () => {
    await withPlane(async (plane, reopen) => {
      const short = await plane.provisioner.create({ name: 'short', size: 8 * MIB });
      await plane.provisioner.create({ name: 'whole', size: 8 * MIB });
      await plane.close();
      writeFileSync(plane.views.disk(short).path ?? '', 'gone');
      const again = await reopen().catch(() => undefined);
      assert.ok(again);
      const [first, second] = again.views.disks();
      assert.equal(first?.state, 'failed');
      assert.match(first.problem ?? '', /missing/);
      assert.equal(second?.state, 'online');
    });
  });

  it('shows the size initiators see when a file has grown meanwhile', async () => {
    await withPlane(async (plane, reopen) => {
      const record = await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      await plane.close();
      truncateSync(plane.views.disk(record).path ?? '', 12 * MIB);
      const again = await reopen().catch(() => undefined);
      assert.ok(again);
      assert.deepEqual([again.views.disks()[0]?.size, again.units.unit('v')?.volume.info.size], [12 * MIB, 12 * MIB]);
    });
  });

  it('finds its data in a folder that was moved, and never that of another folder', async () => {
    await withPlane(async (plane) => {
      const record = await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      const before = plane.views.disk(record);
      assert.equal(before.path, join(plane.folder, 'volumes', `${record.id}.raw`));
      await plane.close();
      const elsewhere = temporaryFolder('moved');
      try {
        cpSync(plane.folder, elsewhere.path, { recursive: true });
        const copy = await openPlane(elsewhere.path);
        const path = join(elsewhere.path, 'volumes', `${record.id}.raw`);
        const { allocatedBytes } = copy.views.disk(record);
        assert.deepEqual(copy.views.disks(), [{ ...before, path, allocatedBytes }]);
        await copy.provisioner.delete('v', false);
        await copy.close();
        assert.ok(existsSync(before.path) && !existsSync(path));
      } finally {
        elsewhere.remove();
      }
    });
  });

  it('keeps APTPL reservations and forgets them with the volume', async () => {
    await withPlane(async (plane, reopen) => {
      const { id } = await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      const state = {
        generation: 3,
        registrations: [{ nexus: 'n', initiatorPort: 'p', relativeTargetPort: 1, key: '0'.repeat(16) }],
      };
      await plane.catalog.apply(plane.catalog.reservations.edit(id, state));
      const again = await reopen();
      assert.deepEqual(again.catalog.reservations.get(id), state);
      await again.provisioner.delete('v', false);
      assert.equal(again.catalog.reservations.size, 0);
    });
  });
});
