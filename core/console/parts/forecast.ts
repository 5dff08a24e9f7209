// What would happen if a node died now, out of what is known of each volume: who has every acknowledged write, and whether
// anybody takes over by itself.
import type { Cluster, Replication } from '../api/cluster-types.ts';

export interface Forecast {
  /** Volumes that go on elsewhere, by themselves. */
  readonly goOn: readonly string[];
  /** Volumes that nobody serves until the node is back, or somebody decides. */
  readonly stop: readonly { readonly volume: string; readonly why: string }[];
  /** Volumes that go on as they are, with one replica less. */
  readonly lessSafe: readonly string[];
}

/** `node`: the id of the one that dies. */
export function forecast(cluster: Cluster, volumes: readonly Replication[], node: string): Forecast {
  const alive = new Set(cluster.nodes.filter((each) => each.id !== node && each.answers).map(({ id }) => id));
  const voters = cluster.nodes.filter(({ vote }) => vote === 'voter');
  const left = voters.filter(({ id }) => alive.has(id)).length;
  // Where somebody else looks after etcd, the nodes have no votes; who runs beside a member of it is in `takeover`.
  const hasMajority = cluster.store.external === null ? left * 2 > voters.length : cluster.takeover === 'automatic';
  const decides = hasMajority && cluster.store.answers;
  const goOn: string[] = [];
  const stop: { volume: string; why: string }[] = [];
  const lessSafe: string[] = [];
  for (const { volume, owner, inSync } of volumes) {
    if (owner === null) {
      stop.push({ volume, why: 'nobody serves it even now' });
    } else if (owner === node) {
      const heirs = inSync.filter((id) => id !== node && alive.has(id));
      if (heirs.length === 0) stop.push({ volume, why: 'no other node has all that was acknowledged' });
      else if (!decides) stop.push({ volume, why: 'the nodes that are left have no majority of votes' });
      else if (cluster.takeover === 'none') stop.push({ volume, why: 'nobody takes over by itself' });
      else goOn.push(volume);
    } else if (inSync.includes(node)) {
      // The owner has to strike the dead one off the record before it acknowledges more.
      if (decides) lessSafe.push(volume);
      else stop.push({ volume, why: 'without a majority of votes its owner cannot go on alone' });
    }
  }
  return { goOn, stop, lessSafe };
}
