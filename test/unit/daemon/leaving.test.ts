// A node leaves a cluster that goes on without it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import type { UserRecord } from '../../../core/control/security-records.ts';
import type { VolumeRecord } from '../../../core/control/records.ts';
import { Tokens } from '../../../core/control/tokens.ts';
import { ClusterManager } from '../../../core/daemon/cluster/cluster-manager.ts';
import { copyRecords } from '../../../core/daemon/cluster/joining.ts';
import { peerUrl } from '../../../core/daemon/cluster/etcd-process.ts';
import { nodeKey } from '../../../core/daemon/cluster/membership.ts';
import type { Membership } from '../../../core/daemon/cluster/membership.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

/** What is good at the node after it has left: secrets of its own that were, `revoked` in the cluster and not; and its users. */
async function leftBy(
  index: number,
  othersVote = true,
): Promise<{ kept: boolean; revoked: boolean; users: string[]; volumes: string[] }> {
  const folder = temporaryFolder('leaving');
  const world = await nodeWorld();
  const [own, shared] = ['own', 'shared'].map((name) => new EmbeddedStore(join(folder.path, name)));
  assert.ok(own !== undefined && shared !== undefined);
  const open = (more?: EmbeddedStore) => Catalog.open(own, world.random, 'iqn.x', world.clock.wall(), more);
  try {
    const before = await open();
    const tokens = new Tokens(before, world);
    const [kept, revoked] = [
      await tokens.create({ name: 'kept', role: 'viewer' }, 'x'.repeat(43)),
      await tokens.create({ name: 'revoked', role: 'admin' }, 'x'.repeat(43)),
    ];
    const { users } = before.security;
    await before.apply(...['ann', 'bob'].map((name) => users.edit(name, { name } as UserRecord)));
    const moved = { name: 'moved', target: 'moved', maps: [] } as unknown as VolumeRecord;
    if (index === 0) await before.apply(before.volumes.edit('moved', moved));
    // As it does who begins a cluster; who joins one brings nothing.
    if (index === 0) await copyRecords(own, shared, before.sharedPrefixes, (_, value) => value);
    const node = (at: number) => ({
      ...{ id: `0000000${String(at)}`, index: at, name: `n${String(at)}`, role: 'data' as const },
    });
    const catalog = await open(shared);
    if (index === 0) {
      await new Tokens(catalog, world).revoke('revoked');
      await catalog.apply(catalog.security.users.edit('bob', undefined));
      await catalog.apply(catalog.volumes.edit('moved', { ...moved, replicas: [node(7).id] }));
    }
    const self = { ...node(index), address: { host: '127.0.0.1', port: 7481 } };
    await shared.commit([{ key: nodeKey(self.id), value: self }]);
    const members = [
      { id: 1n, peerUrls: [peerUrl(self.address)], isLearner: false },
      { id: 2n, peerUrls: ['https://192.0.2.1:7483'], isLearner: !othersVote },
    ];
    let busy = true;
    const member = {
      ...{ self, store: shared, nodes: () => [self, node(7)] },
      etcd: {
        members: () => Promise.resolve(members),
        removeMember: () => (busy ? Promise.reject(new Error('unhealthy')) : Promise.resolve()),
      },
      leaving: () => Promise.resolve(),
    } as unknown as Membership;
    let restarted = false;
    const manager = new ClusterManager({
      ...{ world, log: silentLog, data: folder.path, catalog, own, member, admission: undefined },
      ...{ copies: () => undefined, inMaintenance: () => false, reaches: () => true },
      restart: () => {
        restarted = true;
      },
    });
    if (!othersVote) {
      await assert.rejects(manager.leave(), /no node but n\d has a vote yet/);
      assert.ok((await shared.get(nodeKey(self.id))) !== undefined && !restarted, 'it is a node as before');
    } else {
      await assert.rejects(manager.leave(), /unhealthy/);
      assert.deepEqual(
        (await shared.get(nodeKey(self.id)))?.value,
        self,
        'etcd does not let it go: it is a node as before',
      );
      busy = false;
      await manager.leave();
      assert.ok((await shared.get(nodeKey(self.id))) === undefined && restarted);
    }
    const alone = await open();
    const now = new Tokens(alone, world);
    return {
      kept: now.check(kept.secret) !== undefined,
      revoked: now.check(revoked.secret) !== undefined,
      users: alone.security.users.ids(),
      volumes: alone.volumes.ids(),
    };
  } finally {
    await own.close();
    await shared.close();
    folder.remove();
  }
}

test('who began the cluster lets in whom the cluster still lets in, and nobody it has shut out since; its disks are elsewhere', async () => {
  assert.deepEqual(await leftBy(0), { kept: true, revoked: false, users: ['ann'], volumes: [] });
});

test('who joined has what it had before', async () => {
  assert.deepEqual(await leftBy(1), { kept: true, revoked: true, users: ['ann', 'bob'], volumes: [] });
});

test('the only one with a vote does not leave others behind', async () => {
  assert.deepEqual(await leftBy(0, false), { kept: true, revoked: true, users: ['ann', 'bob'], volumes: ['moved'] });
});
