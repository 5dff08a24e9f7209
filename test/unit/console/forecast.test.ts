import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Cluster, ClusterNode, Replication } from '../../../core/console/api/cluster-types.ts';
import { forecast } from '../../../core/console/parts/forecast.ts';

const node = (id: string, more: Partial<ClusterNode> = {}): ClusterNode => ({
  ...{
    id,
    index: 0,
    name: id,
    role: 'data',
    address: `${id}:7490`,
    self: id === 'a',
    vote: 'voter',
    leader: id === 'a',
  },
  answers: true,
  maintenance: false,
  ...more,
});
const witness = node('w', { role: 'witness' });
const cluster = (nodes: readonly ClusterNode[], more: Partial<Cluster> = {}): Cluster => ({
  ...{
    cluster: 'c',
    node: 'a',
    nodes: [...nodes],
    store: { answers: true, problem: null, external: null },
    takeover: 'automatic',
    advice: null,
  },
  ...more,
});
const volume = (name: string, owner: string | null, inSync: readonly string[]): Replication => ({
  ...{
    volume: name,
    id: name,
    role: 'owner',
    owner,
    epoch: 1,
    session: 1,
    inSync: [...inSync],
    forcedBy: null,
    why: '',
  },
  replicas: ['a', 'b'].map((id) => ({
    node: id,
    inSync: inSync.includes(id),
    state: id === owner ? 'owner' : inSync.includes(id) ? 'sync' : 'out',
    why: '',
    lacksBytes: 0,
    resync: null,
  })),
});

describe('what would happen if a node died now', () => {
  const three = cluster([node('a'), node('b'), witness]);

  it('volumes it serves go on where they are in step', () => {
    const result = forecast(three, [volume('v', 'a', ['a', 'b']), volume('lonely', 'a', ['a'])], 'a');
    assert.deepEqual(result.goOn, ['v']);
    assert.deepEqual(result.stop, [{ volume: 'lonely', why: 'no other node has all that was acknowledged' }]);
    assert.deepEqual(result.lessSafe, []);
  });

  it('volumes others serve lose a copy, if it had one', () => {
    const result = forecast(three, [volume('v', 'b', ['a', 'b']), volume('theirs', 'b', ['b'])], 'a');
    assert.deepEqual(result, { goOn: [], stop: [], lessSafe: ['v'] });
  });

  it('a witness is missed by nobody while the others have the majority', () => {
    const result = forecast(three, [volume('v', 'a', ['a', 'b'])], 'w');
    assert.deepEqual(result, { goOn: [], stop: [], lessSafe: [] });
  });

  it('without a majority of votes nothing goes on, though the data is there', () => {
    const two = cluster([node('a'), node('b')], { takeover: 'none' });
    const both = [volume('mine', 'a', ['a', 'b']), volume('yours', 'b', ['a', 'b'])];
    const result = forecast(two, both, 'a');
    assert.deepEqual(
      result.stop.map(({ volume: name }) => name),
      ['mine', 'yours'],
    );
    const silent = cluster([node('a'), node('b'), { ...witness, answers: false }]);
    assert.equal(forecast(silent, both, 'a').stop.length, 2);
  });

  it('a node that does not answer takes nothing over', () => {
    const result = forecast(
      cluster([node('a'), node('b', { answers: false }), witness]),
      [volume('v', 'a', ['a', 'b'])],
      'a',
    );
    assert.deepEqual(result.stop, [{ volume: 'v', why: 'no other node has all that was acknowledged' }]);
  });

  it('nor does anybody whom nothing lets take over', () => {
    const result = forecast({ ...three, takeover: 'none' }, [volume('v', 'a', ['a', 'b'])], 'a');
    assert.deepEqual(result.stop, [{ volume: 'v', why: 'nobody takes over by itself' }]);
  });

  it('what nobody serves stays so', () => {
    const result = forecast(three, [volume('v', null, ['b'])], 'a');
    assert.deepEqual(result.stop, [{ volume: 'v', why: 'nobody serves it even now' }]);
  });
});
