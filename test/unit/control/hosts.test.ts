import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Access } from '../../../core/control/access.ts';
import type { InitiatorRecord, VolumeRecord } from '../../../core/control/records.ts';
import { visibilityOf } from '../../../core/control/visibility.ts';
import type { Visitor } from '../../../core/scsi/device.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { KEY, codeOf, openPlane, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const A1 = 'iqn.2026-01.example.host:a1';
const A2 = 'iqn.2026-01.example.host:a2';
const B = 'iqn.2026-01.example.host:b';
const MIB = 1 << 20;

const sees = (plane: Plane, volume: string, iqn: string): string => {
  const visitor = { initiator: { name: iqn }, local: false } as unknown as Visitor;
  const maps = plane.catalog.volumes.get(volume)?.maps ?? [];
  return visibilityOf(maps, visitor, plane.hosts.standing(iqn));
};
const credentialsOf = (plane: Plane, iqn: string): string => {
  const given = new Access(plane.units, plane.initiators, plane.hosts).credentials(iqn);
  return given.method === 'none' ? 'none' : `${given.user} ${given.secret.toString()} ${given.mutual?.user ?? '-'}`;
};

describe('hosts', () => {
  it('see what is mapped to them or to a group, with all their initiators; the most specific map decides', async () => {
    await withPlane(async (plane, reopen) => {
      const { hosts, provisioner } = plane;
      await hosts.put({ name: 'a', iqns: [A1, A2.toUpperCase().replace('IQN', 'iqn')], profile: 'esxi' });
      await hosts.put({ name: 'b', iqns: [B] });
      await hosts.putGroup('all-hosts', ['b', 'a', 'a']);
      await provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: 'host:a', readOnly: false }] });
      assert.deepEqual(
        [A1, A2, B].map((iqn) => sees(plane, 'v', iqn)),
        ['read-write', 'read-write', 'hidden'],
      );
      await provisioner.map('v', 'group:all-hosts', true);
      assert.deepEqual(
        [A1, B].map((iqn) => sees(plane, 'v', iqn)),
        ['read-write', 'read-only'],
      );
      await provisioner.map('v', A2, true);
      assert.equal(sees(plane, 'v', A2), 'read-only');
      await hosts.putGroup('writers', ['b']);
      await provisioner.map('v', 'group:writers', false);
      assert.equal(sees(plane, 'v', B), 'read-write', 'of several groups the one that lets it write');
      assert.deepEqual(hosts.volumesOf('b'), ['v']);
      assert.equal(await codeOf(() => provisioner.map('v', 'host:nobody', false)), 'not-found');
      assert.equal(await codeOf(() => provisioner.map('v', 'host:BAD NAME', false)), 'bad-request');
      const bad = { name: 'w', size: 8 * MIB, maps: [{ who: 'group:none', readOnly: false }] };
      assert.equal(await codeOf(() => provisioner.create(bad)), 'not-found');
      const again = await reopen();
      assert.equal(sees(again, 'v', A1), 'read-write');
      assert.deepEqual(again.hosts.get('a').iqns, [A1, A2]);
      assert.equal(again.hosts.get('a').profile, 'esxi');
    });
  });

  it('cannot share an initiator, and cannot go while something is mapped to them', async () => {
    await withPlane(async ({ hosts, provisioner }) => {
      await hosts.put({ name: 'a', iqns: [A1] });
      assert.equal(await codeOf(() => hosts.put({ name: 'b', iqns: [A1] })), 'exists');
      assert.equal(await codeOf(() => hosts.put({ name: 'b', iqns: ['host'] })), 'bad-request');
      assert.equal(await codeOf(() => hosts.putGroup('g', ['b'])), 'not-found');
      await hosts.putGroup('g', ['a']);
      await provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: 'group:g', readOnly: false }] });
      assert.equal(await codeOf(() => hosts.remove('a')), 'in-use');
      assert.equal(await codeOf(() => hosts.removeGroup('g')), 'in-use');
      await provisioner.unmap('v', 'group:g');
      await hosts.removeGroup('g');
      await provisioner.map('v', 'host:a', false);
      assert.equal(await codeOf(() => hosts.remove('a')), 'in-use');
      await provisioner.unmap('v', 'host:a');
      await hosts.remove('a');
      assert.deepEqual(hosts.list(), []);
      await hosts.put({ name: 'b', iqns: [A1] });
      assert.equal(hosts.standing(A1).host, 'b');
    });
  });

  it('have CHAP credentials that only the key file opens; those of an initiator go first', async () => {
    const folder = temporaryFolder('hosts');
    let plane = await openPlane(folder.path);
    try {
      const { hosts, initiators } = plane;
      const chap = { user: 'alice', secret: 'correct-horse-1' };
      await hosts.put({ name: 'a', iqns: [A1, A2], chap, mutual: { user: 'storage', secret: 'battery-staple' } });
      await initiators.put({ iqn: A2, chap: { user: 'own', secret: 'another-secret-2' } });
      assert.equal(credentialsOf(plane, A1), 'alice correct-horse-1 storage');
      assert.equal(credentialsOf(plane, A2), 'own another-secret-2 -');
      assert.equal(credentialsOf(plane, B), 'none');
      assert.ok(!JSON.stringify(plane.catalog.hosts.values()).includes('correct-horse'));
      assert.ok(!plane.logged.join().includes('correct-horse'));
      await hosts.put({ name: 'a', iqns: [A1], profile: 'kvm' });
      assert.equal(credentialsOf(plane, A1), 'alice correct-horse-1 storage', 'absent keeps them');
      const same = { user: 'x', secret: 'correct-horse-1' };
      assert.equal(await codeOf(() => hosts.put({ name: 'a', iqns: [A1], mutual: same })), 'bad-request');
      await plane.close();
      assert.equal(await codeOf(() => openPlane(folder.path, Buffer.alloc(32, 9))), 'folder-unusable');
      plane = await openPlane(folder.path, KEY);
      assert.equal(credentialsOf(plane, A1), 'alice correct-horse-1 storage');
      await plane.hosts.put({ name: 'a', iqns: [A1], chap: null, mutual: null });
      assert.equal(credentialsOf(plane, A1), 'none');
    } finally {
      await plane.close();
      folder.remove();
    }
  });

  it('come beside the initiators and maps of a catalog that knew no hosts', async () => {
    // Byte for byte what the state before this one wrote for `initiator add` and `volume create --map`.
    const initiator: InitiatorRecord = { iqn: A1, created: 5 };
    const volume = JSON.parse(
      `{"name":"old","kind":"file","path":"","size":8388608,"blockSize":512,"physicalBlockSize":4096,"durability":"durable",
        "thin":true,"readOnly":false,"target":"old","lun":0,"maps":[{"who":"loopback","readOnly":false},
        {"who":"${A1}","readOnly":true}],"id":"0123456789abcdef0123456789abcdef","created":7,"state":"creating"}`,
    ) as VolumeRecord;
    const folder = temporaryFolder('old-catalog');
    const first = await openPlane(folder.path);
    await first.provisioner.create({ name: 'old', size: 8 * MIB });
    const { id } = first.provisioner.volume('old');
    await first.close();
    const store = new EmbeddedStore(`${folder.path}/catalog`);
    await store.commit([
      { key: 'volumes/old', value: { ...volume, id, state: 'ready' } as never },
      { key: `initiators/${A1}`, value: initiator as never },
    ]);
    await store.close();
    const plane = await openPlane(folder.path);
    try {
      assert.equal(sees(plane, 'old', A1), 'read-only');
      assert.equal(plane.units.unit('old') !== undefined, true);
      await plane.hosts.put({ name: 'a', iqns: [A1] });
      await plane.provisioner.map('old', 'host:a', false);
      assert.equal(sees(plane, 'old', A1), 'read-only', 'its own map still decides');
      await plane.provisioner.unmap('old', A1);
      assert.equal(sees(plane, 'old', A1), 'read-write');
      assert.equal(plane.initiators.get(A1).created, 5);
    } finally {
      await plane.close();
      folder.remove();
    }
  });
});
