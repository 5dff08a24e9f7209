// EtcdStore on a real etcd: one member over mutual TLS.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ServiceError } from '../../core/base/errors.ts';
import { silentLog } from '../../core/base/log.ts';
import { EtcdStore } from '../../core/cluster/etcd-store.ts';
import { EtcdClient } from '../../core/cluster/etcd/client.ts';
import { certify, newAuthority, newKeyPair } from '../../core/daemon/cluster/authority.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { OutcomeUnknownError } from '../../core/cluster/config-store.ts';
import { CONTRACT } from '../support/config-store-contract.ts';
import { startEtcd } from '../support/etcd.ts';
import type { TestEtcd } from '../support/etcd.ts';
import { needs } from '../support/needs.ts';

const world = await nodeWorld();
const { clock } = world;
const pause = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));

describe('EtcdStore is a ConfigStore', { skip: needs('etcd', 'etcd-server') }, () => {
  let etcd: TestEtcd;
  let store: EtcdStore;
  const open = async (client = etcd.client()): Promise<EtcdStore> => {
    for (let tries = 0; ; tries++) {
      try {
        return await EtcdStore.open({ client, prefix: '/gemel/v1/', clock, log: silentLog });
      } catch (error) {
        if (tries === 10) throw error;
      }
    }
  };
  before(async () => {
    etcd = await startEtcd(world, [{ host: '127.0.0.1' }]);
    store = await open();
  });
  after(async () => {
    await store.close();
    await etcd.end();
  });
  for (const [name, run] of CONTRACT) test(name, () => run(store));

  test('two clients see the same, and what one changes the other is told', async () => {
    const other = await open();
    try {
      const told = new Promise((resolve) => other.watch('two/', resolve));
      const { revision } = await store.commit([{ key: 'two/1', value: 'x' }]);
      assert.deepEqual(await told, { key: 'two/1', value: 'x', revision });
      assert.deepEqual(await other.get('two/1'), { key: 'two/1', value: 'x', revision });
    } finally {
      await other.close();
    }
  });

  test('whoever has no certificate of the cluster gets nothing', async () => {
    const foreign = newAuthority(world, 'f'.repeat(32));
    const pair = newKeyPair();
    const cert = certify(world, foreign, '0000000f', '127.0.0.1', pair.publicKey);
    const endpoints = etcd.members.map(({ endpoint }) => endpoint);
    for (const ca of [etcd.tls.ca, foreign.cert]) {
      const client = new EtcdClient({ endpoints, tls: { ca, cert, key: pair.key }, clock });
      await assert.rejects(
        client.range({ key: '/gemel/v1/two/1' }),
        (error) => error instanceof ServiceError && error.code === 'cluster-unavailable',
      );
      client.close();
    }
  });

  test('a member that is killed is started again, and watchers miss nothing', async () => {
    const seen: string[] = [];
    const end = store.watch('kill/', ({ value }) => seen.push(JSON.stringify(value)));
    await store.commit([{ key: 'kill/1', value: 'before' }]);
    const { pid = 0 } = etcd.members[0]?.process ?? {};
    process.kill(pid, 'SIGKILL');
    for (let tries = 0; ; tries++) {
      try {
        await store.commit([{ key: 'kill/1', value: 'after' }]);
        break;
      } catch (error) {
        // The same value again: it does not matter whether the one before was made.
        assert.ok(error instanceof ServiceError || error instanceof OutcomeUnknownError, String(error));
        if (tries === 100) throw error;
        await pause(100);
      }
    }
    while (seen.at(-1) !== '"after"') await pause(20);
    end();
    assert.equal(seen[0], '"before"');
    assert.notEqual(etcd.members[0]?.process.pid, pid);
  });
});
