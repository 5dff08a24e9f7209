// What streams of events show of each kind of record, and what they look at that changes without one.
import { LIVE_STATS_VOLUMES } from '../../base/limits.ts';
import type { Catalog } from '../catalog.ts';
import type { ServedCertificate } from '../certificate-view.ts';
import type { ClusterControl } from '../cluster.ts';
import { poolFacts, poolView } from '../pool-views.ts';
import type { PoolManager } from '../pools.ts';
import { replicationShown } from '../replication.ts';
import type { Replication } from '../replication.ts';
import type { SessionSource, SessionView } from '../sessions.ts';
import type { Units } from '../units.ts';
import type { Views } from '../views.ts';
import { ClusterLooks, ReplicationLooks } from './cluster-looks.ts';
import type { LiveOptions } from './live.ts';
import type { StatsInterval } from './topics.ts';

export interface LiveSources {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly units: Units;
  readonly views: Views;
  readonly server: () => SessionSource | undefined;
  readonly certificate: () => ServedCertificate | undefined;
  readonly cluster: () => ClusterControl;
  /** Undefined: this node is in no cluster. */
  readonly replication: () => Replication | undefined;
  /** Whether what the nodes serve is balanced. Undefined: this node is in no cluster. */
  readonly balanced: () => boolean | undefined;
  readonly now: () => number;
}

export function liveSources(sources: LiveSources): Pick<LiveOptions, 'views' | 'looks' | 'stats'> {
  const { catalog, pools, units, views, server, certificate, cluster, replication, balanced } = sources;
  const { volumes, snapshots, targets, initiators, events } = catalog;
  const sessionOf = (id: string): SessionView | undefined =>
    (server()?.sessions() ?? []).find((session) => sessionId(session) === id);
  const copies = new ReplicationLooks(() => volumes.ids(), replication);
  /** The switch of balancing, the latest drill, and what was found to differ. */
  const common = async (): Promise<string> => {
    const known = replication();
    if (known === undefined) return '';
    const drills = await known.drills();
    const reports = known.reports().map(({ id, epoch }) => `${id} ${String(epoch)}`);
    return JSON.stringify([balanced(), drills.at(-1)?.time, reports]);
  };
  const nodes = new ClusterLooks(cluster, common);
  return {
    views: {
      volumes: (name) => shown(volumes.get(name), (record) => views.disk(record)),
      maps: (name) => shown(volumes.get(name), (record) => views.disk(record).maps),
      // Without the id inside of the pool, which is nobody's business.
      snapshots: (id) =>
        shown(snapshots.get(id), ({ created, ...record }) => ({ ...record, created: new Date(created).toISOString() })),
      pools: (name) => shown(catalog.pools.get(name), (record) => poolView(pools, record)),
      targets: (name) => targets.get(name),
      initiators: (iqn) => shown(initiators.get(iqn), (record) => views.initiator(record)),
      sessions: (id) =>
        shown(sessionOf(id), (each) => ({ ...each, alias: each.alias ?? null, target: each.target ?? null })),
      events: (id) => events.get(id),
      cluster: (id) => nodes.node(id),
      replication: (name) => shown(replication()?.get(name), replicationShown),
    },
    looks: {
      volumes: () => new Map(volumes.values().map(({ name }) => [name, units.problem(name) ?? views.stateOf(name)])),
      pools: () =>
        new Map(
          catalog.pools
            .values()
            .map(({ name }) => [name, pools.problem(name) ?? String(pools.pool(name).trouble?.message)]),
        ),
      sessions: () => new Map((server()?.sessions() ?? []).map((each) => [sessionId(each), each.target ?? ''])),
      settings: () => new Map(certificateState(certificate())),
      cluster: () => nodes.look(),
      replication: () => copies.look(),
    },
    stats: statsSince(sources),
  };
}

/** The certificate is a setting that comes from files. */
const certificateState = (served: ServedCertificate | undefined): [string, string][] =>
  served === undefined ? [] : [['certificate', `${served.subject} ${String(served.notAfter)} ${served.problem ?? ''}`]];

/** Unique among those of a node as long as it runs. */
const sessionId = ({ initiator, isid, tsih }: SessionView): string => `${initiator},${isid},${String(tsih)}`;

const shown = <T, V>(record: T | undefined, view: (record: T) => V): V | undefined =>
  record === undefined ? undefined : view(record);

/** Counters of the volumes that have moved since the last call for the same interval; up to LIVE_STATS_VOLUMES of them, in turn. */
function statsSince({ catalog, pools, units, views, server, now }: LiveSources): (interval: StatsInterval) => unknown {
  const told = new Map<StatsInterval, Map<string, number>>();
  return (interval) => {
    const before = told.get(interval) ?? new Map<string, number>();
    const moved: string[] = [];
    for (const { record, lu } of units.all()) {
      const { reads, writes, others, errors } = lu.counters;
      const sum = reads + writes + others + errors;
      if (before.get(record.name) === sum || moved.length >= LIVE_STATS_VOLUMES) continue;
      moved.push(record.name);
      before.set(record.name, sum);
    }
    for (const name of before.keys()) if (units.unit(name) === undefined) before.delete(name);
    told.set(interval, before);
    const open = catalog.pools.values().filter(({ name }) => pools.problem(name) === undefined);
    return {
      at: new Date(now()).toISOString(),
      interval,
      sessions: server()?.sessions().length ?? 0,
      volumes: moved.flatMap((name) => views.statsOf(name) ?? []),
      pools: open.map(({ name }) => ({ name, ...poolFacts(pools, name) })),
    };
  };
}
