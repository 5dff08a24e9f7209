// Three members of etcd in network namespaces, with cables that are pulled: everything ends in bounded time, nothing that was
// said is wrong, and watchers hear of everything in the end.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ServiceError } from '../../core/base/errors.ts';
import { ETCD_PATIENCE } from '../../core/base/limits.ts';
import { silentLog } from '../../core/base/log.ts';
import { OutcomeUnknownError } from '../../core/cluster/config-store.ts';
import { EtcdStore } from '../../core/cluster/etcd-store.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { startEtcd } from '../support/etcd.ts';
import type { TestEtcd } from '../support/etcd.ts';
import { needsAll } from '../support/needs.ts';
import { mayMakeNamespaces, openSwitch } from '../support/switch.ts';
import type { Switch } from '../support/switch.ts';

const world = await nodeWorld();
const { clock } = world;
const pause = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve));
const skip = mayMakeNamespaces()
  ? needsAll(['etcd', 'etcd-server'], ['ip', 'iproute2'])
  : 'network namespaces take root; run npm test as root';
/** Milliseconds an operation may take beyond its own limit on a busy machine. */
const SLACK = 6_000;

type Outcome = 'done' | 'not done' | 'unknown';

describe('a store of three members', { skip }, () => {
  let cables: Switch;
  let etcd: TestEtcd;
  let store: EtcdStore;
  let next = 0;
  const outcomes = new Map<string, Outcome>();
  const told = new Set<string>();

  /** One record more; what is said of it is checked at the end. */
  const attempt = async (): Promise<Outcome> => {
    const key = `seq/${next++}`;
    const start = clock.now();
    let outcome: Outcome;
    try {
      const { ok } = await store.commit([{ key, value: key }], [{ key, revision: 0 }]);
      assert.equal(ok, true, key);
      outcome = 'done';
    } catch (error) {
      if (error instanceof OutcomeUnknownError) outcome = 'unknown';
      else {
        assert.ok(error instanceof ServiceError && error.code === 'cluster-unavailable', String(error));
        outcome = 'not done';
      }
    }
    const took = clock.now() - start;
    assert.ok(took < 2 * ETCD_PATIENCE + SLACK, `a commit took ${took} ms`);
    outcomes.set(key, outcome);
    return outcome;
  };
  const untilDone = async (what: string): Promise<number> => {
    const start = clock.now();
    while ((await attempt()) !== 'done') {
      assert.ok(clock.now() - start < 60_000, what);
      await pause(50);
    }
    return clock.now() - start;
  };
  const leader = async (): Promise<number> => {
    const client = etcd.client();
    try {
      for (;;) {
        const statuses = await client.statuses();
        const found = statuses.findIndex(({ status }) => status !== undefined && status.leader === status.memberId);
        if (found >= 0) return found;
        await pause(100);
      }
    } finally {
      client.close();
    }
  };

  before(async () => {
    cables = openSwitch(3);
    etcd = await startEtcd(world, cables.places);
    for (let tries = 0; ; tries++) {
      try {
        store = await EtcdStore.open({ client: etcd.client(), prefix: '/gemel/v1/', clock, log: silentLog });
        break;
      } catch (error) {
        if (tries === 10) throw error;
      }
    }
    store.watch('seq/', ({ key }) => told.add(key));
  });
  after(async () => {
    await store.close();
    await etcd.end();
    cables.close();
  });

  test('goes on when a follower is cut off', async () => {
    const at = await leader();
    const follower = (at + 1) % 3;
    cables.cut(follower);
    for (let i = 0; i < 20; i++) await attempt();
    await untilDone('with two of three');
    cables.heal(follower);
  });

  test('goes on when its leader is cut off', async () => {
    const at = await leader();
    cables.cut(at);
    await untilDone('with another leader');
    for (let i = 0; i < 10; i++) await attempt();
    cables.heal(at);
    await untilDone('with all of them');
  });

  test('goes on when its leader is killed', async () => {
    const { pid } = etcd.members[await leader()]?.process ?? {};
    assert.ok(pid);
    process.kill(pid, 'SIGKILL');
    await untilDone('with another leader');
  });

  test('says so when this node is cut off, in bounded time, and goes on afterwards', async () => {
    await untilDone('before');
    const running = Promise.all([attempt(), attempt(), attempt()]);
    cables.cut('self');
    await running;
    assert.notEqual(await attempt(), 'done');
    const start = clock.now();
    await assert.rejects(
      store.get('seq/0'),
      (error) => error instanceof ServiceError && error.code === 'cluster-unavailable',
    );
    assert.ok(clock.now() - start < ETCD_PATIENCE + SLACK, 'a read ends');
    while (store.health.answers) await pause(100);
    cables.heal('self');
    await untilDone('afterwards');
    while (!store.health.answers) await pause(100);
  });

  test('has kept everything it said was done, nothing it said was not, and told its watchers', async () => {
    const there = new Set((await store.list('seq/')).map(({ key }) => key));
    for (const [key, outcome] of outcomes) {
      if (outcome === 'done') assert.ok(there.has(key), `${key} was done, and is not there`);
      if (outcome === 'not done') assert.ok(!there.has(key), `${key} was not done, and is there`);
    }
    const missing = (): string[] => [...there].filter((key) => !told.has(key));
    for (const end = clock.now() + 30_000; missing().length > 0 && clock.now() < end;) await pause(100);
    assert.deepEqual(missing(), [], 'records no watcher was told of');
    assert.ok([...outcomes.values()].some((outcome) => outcome !== 'done'));
  });
});
