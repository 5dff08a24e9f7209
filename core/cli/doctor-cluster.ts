// Checks of a cluster: votes, the configuration store, takeover, and the copies of the disks.
import { formatSize } from '../base/sizes.ts';
import type { Cluster, Disk, Replication } from './answers.ts';
import type { Finding } from './doctor.ts';
import { nameIn } from './replication-commands.ts';

/** Nodes, votes, and whether one takes over from another. */
export function clusterFindings({ cluster, nodes, store, takeover, advice }: Cluster): Finding[] {
  const check = 'cluster';
  if (cluster === null) return [{ check, level: 'ok', text: 'this node is in no cluster' }];
  const found: Finding[] = [];
  if (!store.answers) {
    found.push({
      ...{
        check,
        level: 'error',
        text: `the configuration store does not answer: ${store.problem ?? 'nobody knows why'}`,
      },
      remedy:
        store.external === null
          ? 'Bring back nodes until a majority of the votes answers; disks that are in step are served on meanwhile.'
          : 'Bring back a majority of the members of etcd; disks that are in step are served on meanwhile.',
    });
  }
  for (const { address, problem, answers } of store.external?.members ?? []) {
    if (problem === null) continue;
    found.push({
      ...{ check, level: answers ? 'warning' : 'error', text: `etcd at ${address}: ${problem}` },
      remedy:
        'Put it right there; other certificates or addresses: gemel cluster etcd (docs/cluster.md, "An etcd that is there already").',
    });
  }
  for (const { name, address, role, answers } of nodes) {
    if (answers) continue;
    const start = role === 'witness' ? 'gemel witness' : 'the daemon';
    found.push({
      ...{ check, level: 'error', text: `${name} (${address}, ${role}) does not answer` },
      remedy: `Start ${start} there, and look at the network; gone for good: gemel cluster remove ${name}`,
    });
  }
  const voters = nodes.filter(({ vote }) => vote === 'voter');
  const without = nodes.filter(({ vote }) => vote !== 'voter').map(({ name }) => name);
  // The second of two has none on purpose (docs/cluster.md, Votes).
  if (without.length > 0 && nodes.length > 2 && store.external === null) {
    found.push({
      ...{ check, level: 'warning', text: `${without.join(', ')} has no vote yet` },
      remedy: 'It gets one as soon as it answers and has caught up; cluster/etcd.log in its data folder says more.',
    });
  }
  const asked = store.external?.members ?? voters;
  const count = `${String(asked.filter(({ answers }) => answers).length)} of ${String(asked.length)}`;
  const votes = store.external === null ? `${count} votes answer` : `${count} members of etcd answer`;
  if (takeover === 'automatic') {
    found.push({ check, level: 'ok', text: `${votes}; when a node dies, another one takes over` });
  } else {
    const remedy = advice === null ? 'gemel cluster status says who is missing.' : `${capital(advice)}.`;
    found.push({ check, level: 'warning', text: `${votes}; nobody takes over when a node dies`, remedy });
  }
  return found;
}

/** The copies of the disks of a cluster. */
export function replicaFindings(
  cluster: Cluster,
  volumes: readonly Replication[],
  disks: readonly Pick<Disk, 'name'>[],
): Finding[] {
  const check = 'replicas';
  if (cluster.cluster === null) return [];
  const inStep = volumes.filter(({ owner, inSync, replicas }) => owner !== null && inSync.length === replicas.length);
  const mirrored = new Set(volumes.map(({ volume }) => volume));
  const single = disks.filter(({ name }) => !mirrored.has(name)).length;
  const alone = single === 0 ? '' : `; ${String(single)} with one copy only`;
  return [
    {
      check,
      level: 'ok',
      text: `${String(inStep.length)} of ${String(volumes.length)} mirrored disks are in step${alone}`,
    },
    ...volumes.flatMap((volume) => troubleOf(cluster, volume)),
  ];
}

function troubleOf(cluster: Cluster, { volume, owner, inSync, replicas, why }: Replication): Finding[] {
  const check = 'replicas';
  const show = `gemel replication show ${volume}`;
  if (owner === null) {
    const text = `nobody serves ${volume}${why === '' ? '' : `: ${why}`}`;
    const has = inSync.map((id) => nameIn(cluster, id)).join(' or ');
    return [
      { check, level: 'error', text, remedy: `Bring back ${has === '' ? 'its nodes' : has}. ${show} says more.` },
    ];
  }
  return replicas
    .filter(({ inSync: has }) => !has)
    .map(({ node, resync, why: because }): Finding => {
      const name = nameIn(cluster, node);
      if (resync !== null) {
        const text = `${volume}: ${name} catches up, ${formatSize(resync.leftBytes)} of ${formatSize(resync.totalBytes)} to copy`;
        return { check, level: 'warning', text, remedy: `Wait until it is done (${show}); keep the other node on.` };
      }
      const text = `${volume}: ${name} does not have everything${because === '' ? '' : ` (${because})`}`;
      return {
        check,
        level: 'warning',
        text,
        remedy: `Bring ${name} back; it catches up by itself. ${show} says more.`,
      };
    });
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
