// What the API and the command line can do about clusters.
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../../base/errors.ts';
import { formatHostPort } from '../../base/host-port.ts';
import { Turn } from '../../base/turn.ts';
import type { ConfigStore } from '../../cluster/config-store.ts';
import type { Catalog } from '../../control/catalog.ts';
import { ALONE } from '../../control/cluster.ts';
import type {
  ClusterControl,
  ClusterNodeView,
  ClusterView,
  JoinToken,
  Membership as As,
} from '../../control/cluster.ts';
import type { Copies } from '../../control/copies.ts';
import type { Admission } from './admission.ts';
import { clusterFolder, COMMON_KEYS, removeCluster } from './cluster-files.ts';
import { peerUrl } from './etcd-process.ts';
import { copyRecords, enter, found, nodeAddress, nodeName, withReplicas } from './joining.ts';
import type { Place } from './joining.ts';
import { nodeKey } from './membership.ts';
import type { Membership } from './membership.ts';

export interface ClusterManagerOptions extends Place {
  readonly catalog: Catalog;
  /** The embedded store of this node. */
  readonly own: ConfigStore;
  readonly member: Membership | undefined;
  readonly admission: Admission | undefined;
  /** Of the volumes; undefined: this node is in no cluster. */
  readonly copies: () => Copies | undefined;
  readonly inMaintenance: (node: string) => boolean;
  /** Starts the daemon again, as soon as the request has been answered. */
  readonly restart: () => void;
}

type Members = Awaited<ReturnType<Membership['etcd']['members']>>;

export class ClusterManager implements ClusterControl {
  readonly #options: ClusterManagerOptions;
  readonly #turn = new Turn();
  /** As they were when the store answered last. */
  #members: Members = [];

  constructor(options: ClusterManagerOptions) {
    this.#options = options;
  }

  async view(): Promise<ClusterView> {
    const { member } = this.#options;
    if (member === undefined) return ALONE;
    const { health } = member;
    const asked = member.etcd.members().catch(() => this.#members);
    const [members, statuses] = await Promise.all([asked, member.etcd.statuses()]);
    this.#members = members;
    const nodes = member.nodes().map((node): ClusterNodeView => {
      const { id, index, name, role, address } = node;
      const own = members.find((each) => each.peerUrls.includes(peerUrl(address)));
      const status = statuses.find(({ endpoint }) => endpoint.serverName.startsWith(`${id}.`))?.status;
      return {
        ...{ id, index, name, role, address: formatHostPort(address.host, address.port), self: id === member.self.id },
        vote: own === undefined ? 'none' : own.isLearner ? 'learner' : 'voter',
        leader: status !== undefined && status.leader !== 0n && status.leader === status.memberId,
        answers: status !== undefined && status.leader !== 0n,
        maintenance: this.#options.inMaintenance(id),
      };
    });
    const voters = nodes.filter(({ vote }) => vote === 'voter');
    const alive = voters.filter(({ answers }) => answers).length;
    // A majority is left when any one of those that answer is gone.
    const survives = alive - 1 > voters.length / 2;
    const store = { answers: health.answers, problem: health.problem };
    const takeover = survives ? 'automatic' : 'none';
    return {
      cluster: member.cluster,
      node: member.self.id,
      nodes,
      store,
      takeover,
      advice: adviceFor(nodes, survives),
    };
  }

  init({ address, name }: As): Promise<{ cluster: string }> {
    return this.#turn.run(async () => {
      const { member, catalog, own, restart, ...place } = this.#options;
      if (member !== undefined) throw alreadyIn(member);
      const where = nodeAddress(address);
      const who = { id: catalog.node.id, name: nodeName(name), address: where };
      const cluster = await found(place, who, own, catalog.sharedPrefixes);
      restart();
      return { cluster };
    });
  }

  token(): Promise<JoinToken> {
    const { admission } = this.#options;
    if (admission === undefined) return Promise.reject(notIn());
    return admission.token();
  }

  join(token: string, { address, name }: As): Promise<void> {
    return this.#turn.run(async () => {
      const { member, catalog, restart, ...place } = this.#options;
      if (member !== undefined) throw alreadyIn(member);
      refuseRecords(catalog);
      const who = { id: catalog.node.id, name: nodeName(name), address: nodeAddress(address), role: 'data' as const };
      await enter(place, token, who);
      restart();
    });
  }

  remove(name: string, dropCopies: boolean): Promise<void> {
    return this.#turn.run(async () => {
      const { member, catalog, copies } = this.#options;
      if (member === undefined) throw notIn();
      const node = member.nodes().find((each) => each.name === name || each.id === name);
      if (node === undefined) throw new ServiceError('not-found', `there is no node '${name}'`);
      if (node.id === member.self.id) {
        throw new ServiceError('bad-request', 'this is the node you are asking: gemel cluster leave');
      }
      if (dropCopies && node.role === 'data') await copies()?.forget(node.id);
      refuseReplicas(catalog, node.id, name, `gemel cluster remove ${name} --drop-copies`);
      const members = await member.etcd.members();
      const own = members.find(({ peerUrls }) => peerUrls.includes(peerUrl(node.address)));
      if (own !== undefined) await member.etcd.removeMember(own.id);
      await member.store.commit([{ key: nodeKey(node.id), value: undefined }]);
    });
  }

  leave(): Promise<void> {
    return this.#turn.run(async () => {
      const { member, catalog, own, restart, world, data } = this.#options;
      if (member === undefined) throw notIn();
      const others = member.nodes().filter(({ id }) => id !== member.self.id);
      if (others.some(({ role }) => role === 'data')) {
        refuseReplicas(catalog, member.self.id, member.self.name, 'gemel cluster leave --move');
        await keepCallers(member, own, catalog);
        const members = await member.etcd.members();
        const mine = members.find(({ peerUrls }) => peerUrls.includes(peerUrl(member.self.address)));
        await member.store.commit([{ key: nodeKey(member.self.id), value: undefined }]);
        if (mine !== undefined) await member.etcd.removeMember(mine.id);
      } else {
        if (others.length > 0) {
          throw new ServiceError(
            'in-use',
            `the last data node leaves last: gemel cluster remove ${others[0]?.name ?? ''}`,
          );
        }
        await copyRecords(member.store, own, catalog.sharedPrefixes, (key, value) =>
          withReplicas(key, value, undefined),
        );
        for (const name of COMMON_KEYS) await rename(join(clusterFolder(data), name), join(data, name));
      }
      await member.leaving();
      await removeCluster(world, data);
      restart();
    });
  }
}

const notIn = (): ServiceError => new ServiceError('cluster-state', 'this node is in no cluster');
const alreadyIn = ({ cluster }: Membership): ServiceError =>
  new ServiceError('cluster-state', `this node is in the cluster ${cluster.slice(0, 8)} already`);

/**
 * The node that began the cluster has who could do what before it: by now the cluster may have revoked a token, removed a user or
 * changed a password, and nothing of that is to be good again here. Others had their own, which the cluster has never known.
 */
async function keepCallers(
  { self, store }: Membership,
  own: ConfigStore,
  { tokens, security }: Catalog,
): Promise<void> {
  if (self.index !== 0) return;
  const prefixes = [tokens, security.users, security.sessions].map(({ prefix }) => prefix);
  await copyRecords(store, own, prefixes, (_, value) => value);
}

/** Names and identities come from the cluster; what a node brings along could collide with them. */
function refuseRecords({ volumes, deleted, hosts, hostGroups, initiators }: Catalog): void {
  const found = [
    ['volumes', volumes.size],
    ['deleted volumes', deleted.size],
    ['hosts', hosts.size],
    ['groups of hosts', hostGroups.size],
    ['initiators', initiators.size],
  ] as const;
  const there = found.filter(([, count]) => count > 0).map(([what, count]) => `${String(count)} ${what}`);
  if (there.length === 0) return;
  throw new ServiceError(
    'has-volumes',
    `a node that joins brings nothing but pools, and this one has ${there.join(', ')} (or begin the cluster here)`,
  );
}

/** Throws ServiceError has-volumes while data of the cluster is on the node. */
function refuseReplicas({ volumes, deleted }: Catalog, node: string, name: string, how: string): void {
  const all = [...volumes.values(), ...deleted.values().map(({ volume }) => volume)];
  const held = all.filter(({ replicas }) => replicas?.includes(node) === true).map((volume) => volume.name);
  if (held.length === 0) return;
  const some = held.slice(0, 5).join(', ');
  const count = held.length === 1 ? 'one volume' : `${String(held.length)} volumes`;
  const what = `${name} has copies of ${count} (${some}${held.length > 5 ? ', …' : ''})`;
  throw new ServiceError('has-volumes', `${what}; with them: ${how}`);
}

function adviceFor(nodes: readonly ClusterNodeView[], survives: boolean): string | undefined {
  const silent = nodes.filter(({ answers }) => !answers).map(({ name }) => name);
  if (silent.length > 0) return `bring back ${silent.join(', ')}`;
  if (survives) return undefined;
  const data = nodes.filter(({ role }) => role === 'data').length;
  if (data < 2) return 'add a second node: gemel cluster token here, gemel cluster join there';
  return nodes.length < 3
    ? 'add a witness (gemel witness): without a third vote there is no automatic takeover'
    : undefined;
}
