import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LIVE_CLUSTER_LOOK, LIVE_LOOK_VOLUMES } from '../../../core/base/limits.ts';
import { ALONE } from '../../../core/control/cluster.ts';
import type { ClusterNodeView, ClusterView } from '../../../core/control/cluster.ts';
import { ClusterLooks, ReplicationLooks } from '../../../core/control/live/cluster-looks.ts';
import type { ReplicationView, ResyncView } from '../../../core/control/replication.ts';

const resync = (leftBytes: number): ResyncView => ({
  ...{ leftBytes, totalBytes: 1000, bytesPerSecond: leftBytes, etaSeconds: undefined },
});
const volume = (
  name: string,
  owner: string,
  more: Partial<ReplicationView['replicas'][number]> = {},
): ReplicationView => ({
  ...{
    volume: name,
    id: name,
    role: 'owner',
    owner,
    epoch: 1,
    session: 1,
    inSync: ['a'],
    forcedBy: undefined,
    why: '',
  },
  replicas: [{ node: 'b', inSync: false, state: 'joining', why: '', lacksBytes: 0, resync: undefined, ...more }],
});

/** Ids whose text is not the same in both. */
const differences = (before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): string[] =>
  [...new Set([...before.keys(), ...now.keys()])].filter((id) => before.get(id) !== now.get(id));

describe('looks at the copies of volumes', () => {
  it('see every change of state after a while, few of them at a time', () => {
    let names = Array.from({ length: 2 * LIVE_LOOK_VOLUMES + 10 }, (_, i) => `v${String(10_000 + i)}`);
    let owner = 'a';
    const looks = new ReplicationLooks(
      () => names,
      () => ({ get: (name) => (name.endsWith('7') ? undefined : volume(name, owner)) }),
    );
    let seen = looks.look();
    const mirrored = names.filter((name) => !name.endsWith('7'));
    assert.deepEqual([...seen.keys()], mirrored, 'the first look is at all of them');
    assert.deepEqual(differences(seen, looks.look()), []);
    owner = 'b';
    const told = new Set<string>();
    for (let look = 0; look < 3; look++) {
      const now = looks.look();
      const news = differences(seen, now);
      assert.ok(news.length <= LIVE_LOOK_VOLUMES);
      for (const name of news) told.add(name);
      seen = now;
    }
    assert.deepEqual([...told].sort(), mirrored);
    names = names.slice(1);
    assert.deepEqual(differences(seen, looks.look()), ['v10000'], 'one that is gone is seen at once');
    names = [];
    assert.equal(looks.look().size, 0);
  });

  it('take words and counters for no news, and of a resync a step now and then', () => {
    let view = volume('v', 'a', { resync: resync(1000) });
    const looks = new ReplicationLooks(
      () => ['v'],
      () => ({ get: () => view }),
    );
    let seen = looks.look();
    const news = (next: ReplicationView): boolean => {
      view = next;
      const now = looks.look();
      const changed = differences(seen, now).length > 0;
      seen = now;
      return changed;
    };
    assert.equal(news({ ...view, why: 'because' }), false);
    assert.equal(news(volume('v', 'a', { resync: resync(990), lacksBytes: 7, why: 'x' })), false);
    assert.equal(news(volume('v', 'a', { resync: resync(940) })), true, 'a step');
    assert.equal(news(volume('v', 'a', { resync: resync(0) })), true);
    assert.equal(news(volume('v', 'a', { state: 'sync', inSync: true })), true);
    assert.equal(news({ ...view, epoch: 2 }), true);
    assert.equal(
      new ReplicationLooks(
        () => ['v'],
        () => undefined,
      ).look().size,
      0,
      'in no cluster',
    );
  });
});

describe('looks at the nodes', () => {
  it('show the last answer, and ask only now and then, one question at a time', async () => {
    const node: ClusterNodeView = {
      ...{ id: '0a', index: 0, name: 'alpha', role: 'data', address: '192.0.2.1:1', self: true },
      ...{ vote: 'voter', leader: true, answers: true, maintenance: false },
    };
    const pending: { answer: (view: ClusterView) => void; fail: () => void }[] = [];
    let common = 'balanced';
    const cluster = () => ({
      view: (): Promise<ClusterView> =>
        new Promise((resolve, reject) => {
          pending.push({
            answer: resolve,
            fail: () => {
              reject(new Error('no answer'));
            },
          });
        }),
    });
    const looks = new ClusterLooks(cluster, () => Promise.resolve(common));
    const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const several = (count: number): string[] =>
      Array.from({ length: count }, () => [...looks.look().keys()].join(' '));
    assert.deepEqual(new Set(several(3 * LIVE_CLUSTER_LOOK)), new Set(['cluster']));
    assert.equal(pending.length, 1, 'no second question before the answer');
    pending[0]?.answer({ ...ALONE, cluster: 'c', nodes: [node] });
    await settle();
    const before = looks.look();
    assert.deepEqual([...before.keys()], ['0a', 'cluster']);
    assert.equal(looks.node('0a'), node);
    assert.equal(pending.length, 2);
    pending[1]?.fail();
    await settle();
    assert.deepEqual(looks.look(), before, 'no answer is no news');
    several(LIVE_CLUSTER_LOOK - 1);
    assert.equal(pending.length, 3);
    pending[2]?.answer({ ...ALONE, cluster: 'c', nodes: [{ ...node, maintenance: true }] });
    await settle();
    const later = looks.look();
    assert.deepEqual(differences(before, later), ['0a']);
    common = 'not balanced';
    several(LIVE_CLUSTER_LOOK - 1);
    pending[3]?.answer({ ...ALONE, cluster: 'c', nodes: [{ ...node, maintenance: true }] });
    await settle();
    assert.deepEqual(differences(later, looks.look()), ['cluster'], 'what the nodes have in common');
  });
});
