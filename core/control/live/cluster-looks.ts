// What streams of events look at of clusters: none of it is a record of the catalog. A look has to be cheap, and so has what
// comes of it: of many volumes each look takes some, in turn, and the nodes are asked only every few looks.
import { LIVE_CLUSTER_LOOK, LIVE_LOOK_VOLUMES, LIVE_RESYNC_STEP } from '../../base/limits.ts';
import { ALONE } from '../cluster.ts';
import type { ClusterControl, ClusterView } from '../cluster.ts';
import type { Replication, ReplicationView, ResyncView } from '../replication.ts';

/** Id, among those of nodes, of what the nodes have in common. */
export const WHOLE_CLUSTER = 'cluster';

export class ReplicationLooks {
  readonly #names: () => readonly string[];
  readonly #replication: () => Pick<Replication, 'get'> | undefined;
  #seen: ReadonlyMap<string, string> | undefined;
  /** Place of the volume the next look begins with. */
  #next = 0;

  /** `names`: of all volumes, in order; `replication` undefined: this node is in no cluster. */
  constructor(names: () => readonly string[], replication: () => Pick<Replication, 'get'> | undefined) {
    this.#names = names;
    this.#replication = replication;
  }

  /**
   * By volume what state it is in on the nodes. The first look is at all volumes, later ones are at LIVE_LOOK_VOLUMES of them:
   * so that many are told, at most, when a node goes.
   */
  look(): ReadonlyMap<string, string> {
    const replication = this.#replication();
    if (replication === undefined) return new Map();
    const names = this.#names();
    const before = this.#seen;
    const first = before === undefined ? 0 : this.#next;
    const count = before === undefined ? names.length : Math.min(names.length, LIVE_LOOK_VOLUMES);
    const looked = new Set(Array.from({ length: count }, (_, i) => names[(first + i) % names.length] ?? ''));
    this.#next = names.length === 0 ? 0 : (first + count) % names.length;
    const now = new Map<string, string>();
    for (const name of names) {
      const view = looked.has(name) ? replication.get(name) : undefined;
      const text = looked.has(name) ? view && stateOf(view) : before?.get(name);
      if (text !== undefined) now.set(name, text);
    }
    this.#seen = now;
    return now;
  }
}

/** What is news when it changes: neither words nor counters, and of a resync every LIVE_RESYNC_STEP percent of it. */
const stateOf = ({ role, owner, epoch, session, inSync, replicas, forcedBy }: ReplicationView): string =>
  JSON.stringify([
    ...[role, owner, epoch, session, inSync, forcedBy],
    ...replicas.map(({ node, state, inSync: has, resync }) => [node, state, has, resync && stepOf(resync)]),
  ]);

const stepOf = ({ leftBytes, totalBytes }: ResyncView): number =>
  Math.ceil(((leftBytes / Math.max(totalBytes, 1)) * 100) / LIVE_RESYNC_STEP);

export class ClusterLooks {
  readonly #cluster: () => Pick<ClusterControl, 'view'>;
  readonly #common: () => Promise<string>;
  #view: ClusterView = ALONE;
  #shared = '';
  #looks = 0;
  #asking = false;

  /** `common`: what else the nodes have in common, as a text that is another one when it has changed. */
  constructor(cluster: () => Pick<ClusterControl, 'view'>, common: () => Promise<string>) {
    this.#cluster = cluster;
    this.#common = common;
  }

  /** By id of the node how it is, and (WHOLE_CLUSTER) what they have in common; as of the last answer, which may be some seconds old. */
  look(): ReadonlyMap<string, string> {
    this.#ask();
    const { nodes, cluster, store, takeover, advice } = this.#view;
    const all = nodes.map((node) => [node.id, JSON.stringify(node)] as const);
    return new Map([
      ...all,
      [WHOLE_CLUSTER, JSON.stringify([cluster, store.answers, takeover, advice, this.#shared])] as const,
    ]);
  }

  /** What is shown of a node; undefined: it is none. */
  node(id: string): object | undefined {
    return this.#view.nodes.find((node) => node.id === id);
  }

  #ask(): void {
    if (this.#looks++ % LIVE_CLUSTER_LOOK !== 0 || this.#asking) return;
    this.#asking = true;
    void Promise.all([this.#cluster().view(), this.#common()])
      .then(([view, shared]) => {
        this.#view = view;
        this.#shared = shared;
      })
      // That it cannot be said now is no news either.
      .catch(() => undefined)
      .finally(() => {
        this.#asking = false;
      });
  }
}
