// What the API and the command line can do about clusters.
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { formatHostPort, parseHostPort } from '../../base/host-port.ts';
import { Turn } from '../../base/turn.ts';
import type { ConfigStore } from '../../cluster/config-store.ts';
import type { MemberAnswer } from '../../cluster/etcd/client.ts';
import type { Catalog } from '../../control/catalog.ts';
import { ALONE } from '../../control/cluster.ts';
import type {
  ClusterControl,
  ClusterNodeView,
  ClusterView,
  EtcdMemberView,
  EtcdRequest,
  ExternalEtcdView,
  JoinToken,
  Membership as As,
} from '../../control/cluster.ts';
import type { Copies } from '../../control/copies.ts';
import type { Admission } from './admission.ts';
import { COMMON_KEYS, Node, clusterFolder, removeCluster } from './cluster-files.ts';
import { peerUrl } from './etcd-process.ts';
import { erase, etcdEndpoints, etcdPrefix, examine, externalClient, problemOf } from './external-etcd.ts';
import type { EtcdAccess } from './external-etcd.ts';
import { copyRecords, enter, found, nodeAddress, nodeName, withReplicas } from './joining.ts';
import type { Place } from './joining.ts';
import { CLUSTER_RECORD, nodeKey, readNodes } from './membership.ts';
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
  /** There is a connection to that node. */
  readonly reaches: (node: string) => boolean;
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
      const status = statuses.find(({ endpoint }) => endpoint.serverName?.startsWith(`${id}.`))?.status;
      const self = id === member.self.id;
      const isLeading = status !== undefined && status.leader !== 0n;
      return {
        ...{ id, index, name, role, address: formatHostPort(address.host, address.port), self },
        vote: own === undefined ? 'none' : own.isLearner ? 'learner' : 'voter',
        leader: isLeading && status.leader === status.memberId,
        answers: member.access === undefined ? isLeading : self || this.#options.reaches(id),
        maintenance: this.#options.inMaintenance(id),
      };
    });
    const { access } = member;
    const external = access && { prefix: access.prefix, members: statuses.map(memberShown) };
    const survives =
      access === undefined ? majorityIsLeft(nodes) : survivesIn(nodes, health.answers, members, statuses);
    const store = { answers: health.answers, problem: health.problem, external };
    const takeover = survives ? 'automatic' : 'none';
    const advice = adviceFor(nodes, survives, external);
    return { cluster: member.cluster, node: member.self.id, nodes, store, takeover, advice };
  }

  init({ address, name }: As, etcd?: EtcdRequest): Promise<{ cluster: string }> {
    return this.#turn.run(async () => {
      const { member, catalog, own, restart, ...place } = this.#options;
      if (member !== undefined) throw alreadyIn(member);
      const where = nodeAddress(address);
      const who = { id: catalog.node.id, name: nodeName(name), address: where };
      const access = etcd && { ...accessFrom(etcd), prefix: etcdPrefix(etcd.prefix) };
      const cluster = await found(place, who, own, catalog.sharedPrefixes, access);
      restart();
      return { cluster };
    });
  }

  reachEtcd(etcd: Omit<EtcdRequest, 'prefix'>): Promise<void> {
    return this.#turn.run(async () => {
      const { member, world } = this.#options;
      if (member === undefined) throw notIn();
      if (member.access === undefined) {
        throw new ServiceError('cluster-state', 'the nodes of this cluster run their own etcd, and look after it');
      }
      const access = { ...accessFrom(etcd), prefix: member.access.prefix };
      const client = externalClient(world.clock, access);
      try {
        await examine(client, access);
        const { kvs } = await client.range({ key: `${access.prefix}${CLUSTER_RECORD}` });
        const { uuid } = JSON.parse(kvs[0]?.value.toString() ?? '{}') as { uuid?: string };
        if (uuid !== member.cluster) {
          throw new ServiceError('etcd-unusable', `this etcd does not have the cluster ${member.cluster.slice(0, 8)}`);
        }
      } finally {
        client.close();
      }
      await member.reach(access);
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
      if (member.access === undefined) {
        const members = await member.etcd.members();
        const own = members.find(({ peerUrls }) => peerUrls.includes(peerUrl(node.address)));
        if (own !== undefined) await member.etcd.removeMember(own.id);
      }
      await member.store.commit([{ key: nodeKey(node.id), value: undefined }]);
    });
  }

  leave(): Promise<void> {
    return this.#turn.run(async () => {
      const { member, catalog, own, restart, world, data, log } = this.#options;
      if (member === undefined) throw notIn();
      /** Whose records go with the last node. */
      let last: { readonly access: EtcdAccess; readonly revision: number } | undefined;
      const others = member.nodes().filter(({ id }) => id !== member.self.id);
      if (others.some(({ role }) => role === 'data')) {
        refuseReplicas(catalog, member.self.id, member.self.name, 'gemel cluster leave --move');
        const members = member.access === undefined ? await member.etcd.members() : [];
        const mine = members.find(({ peerUrls }) => peerUrls.includes(peerUrl(member.self.address)));
        // Before anything has happened: etcd would refuse, and the node would be half out.
        const othersVote = members.some((each) => each !== mine && !each.isLearner);
        if (member.access === undefined && !othersVote) throw onlyVote(member);
        await settleOwn(member, own, catalog);
        const { self, store, etcd } = member;
        await store.commit([{ key: nodeKey(self.id), value: undefined }]);
        try {
          if (mine !== undefined) await etcd.removeMember(mine.id);
        } catch (error) {
          // Etcd does not let it go now: it stays a node, and can leave later.
          await store.commit([{ key: nodeKey(self.id), value: Node.parse(self) }]);
          throw error;
        }
      } else {
        if (others.length > 0) {
          throw new ServiceError(
            'in-use',
            `the last data node leaves last: gemel cluster remove ${others[0]?.name ?? ''}`,
          );
        }
        // A node that is being let in changes this record: if one comes in now, nothing of its cluster is removed.
        const record = await member.store.get(CLUSTER_RECORD);
        if ((await readNodes(member.store)).length > 1) throw new ServiceError('in-use', 'a node is just coming in');
        await copyRecords(member.store, own, catalog.sharedPrefixes, (key, value) =>
          withReplicas(key, value, undefined),
        );
        for (const name of COMMON_KEYS) await rename(join(clusterFolder(data), name), join(data, name));
        if (member.access !== undefined && record !== undefined)
          last = { access: member.access, revision: record.revision };
      }
      await member.leaving();
      await removeCluster(world, data);
      // Only now: a crash may leave records that nobody needs, never a node without them.
      if (last !== undefined) {
        const { prefix } = last.access;
        const gone = await erase(member.etcd, prefix, CLUSTER_RECORD, last.revision).catch(messageOf);
        if (gone !== true) log.warn({ prefix, gone }, 'the records of the cluster are left in etcd: remove them there');
      }
      restart();
    });
  }
}

const notIn = (): ServiceError => new ServiceError('cluster-state', 'this node is in no cluster');
const alreadyIn = ({ cluster }: Membership): ServiceError =>
  new ServiceError('cluster-state', `this node is in the cluster ${cluster.slice(0, 8)} already`);

const onlyVote = ({ self }: Membership): ServiceError =>
  new ServiceError(
    'cluster-state',
    `no node but ${self.name} has a vote yet: the others leave first, or a witness (gemel witness) gives them one`,
  );

/**
 * The node that began the cluster has its records of before it. By now the cluster may have revoked a token, removed a user or
 * changed a password, and nothing of that is to be good again here; and its disks are elsewhere (refuseReplicas). Others had
 * their own, which the cluster has never known.
 */
async function settleOwn({ self, store }: Membership, own: ConfigStore, catalog: Catalog): Promise<void> {
  if (self.index !== 0) return;
  const { tokens, security, volumes, snapshots, deleted, reservations, sanitizing } = catalog;
  const prefixesOf = (...all: { readonly prefix: string }[]): string[] => all.map(({ prefix }) => prefix);
  const callers = prefixesOf(tokens, security.users, security.sessions);
  await copyRecords(store, own, callers, (_, value) => value);
  const nothing = { list: () => Promise.resolve([]) };
  const disks = prefixesOf(volumes, snapshots, deleted, reservations, sanitizing);
  await copyRecords(nothing, own, disks, (_, value) => value);
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

/** Of etcds the nodes run: is a majority left when any one of those that answer is gone? */
function majorityIsLeft(nodes: readonly ClusterNodeView[]): boolean {
  const voters = nodes.filter(({ vote }) => vote === 'voter');
  const alive = voters.filter(({ answers }) => answers).length;
  return alive - 1 > voters.length / 2;
}

/** Of an etcd of somebody else: is there another node, and a majority of members that do not run beside a node that is gone? */
function survivesIn(
  nodes: readonly ClusterNodeView[],
  answers: boolean,
  members: Members,
  statuses: readonly MemberAnswer[],
): boolean {
  const data = nodes.filter((node) => node.role === 'data' && node.answers);
  if (!answers || data.length < 2) return false;
  const voters = members.filter(({ isLearner }) => !isLearner);
  const silent = statuses.filter(({ status }) => status === undefined).map(({ endpoint }) => endpoint.host);
  const hostsOf = ({ clientUrls }: Members[number]): string[] => clientUrls.map(hostOfUrl);
  return data.every(({ address }) => {
    const gone = new Set([parseHostPort(address, 'node').host, ...silent]);
    const left = voters.filter((voter) => !hostsOf(voter).some((host) => gone.has(host)));
    return left.length > voters.length / 2 || voters.length === 0;
  });
}

const hostOfUrl = (url: string): string => (URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : url);

function memberShown(answer: MemberAnswer): EtcdMemberView {
  const { endpoint, status } = answer;
  return {
    address: formatHostPort(endpoint.host, endpoint.port),
    answers: status !== undefined && status.leader !== 0n,
    version: status?.version,
    leader: status !== undefined && status.leader !== 0n && status.leader === status.memberId,
    problem: problemOf(answer),
  };
}

const accessFrom = ({ endpoints, ca, cert, privateKey }: Omit<EtcdRequest, 'prefix'>) => ({
  endpoints: etcdEndpoints(endpoints),
  tls: { ca, cert, key: privateKey },
});

function adviceFor(
  nodes: readonly ClusterNodeView[],
  survives: boolean,
  external: ExternalEtcdView | undefined,
): string | undefined {
  const silent = nodes.filter(({ answers }) => !answers).map(({ name }) => name);
  if (silent.length > 0) return `bring back ${silent.join(', ')}`;
  const wrong = external?.members.filter(({ problem }) => problem !== undefined).map(({ address }) => address) ?? [];
  if (wrong.length > 0) return `look after etcd at ${wrong.join(', ')}`;
  if (survives) return undefined;
  const data = nodes.filter(({ role }) => role === 'data').length;
  if (data < 2) return 'add a second node: gemel cluster token here, gemel cluster join there';
  if (external !== undefined) return 'have a majority of the members of etcd on machines that are no nodes';
  return nodes.length < 3
    ? 'add a witness (gemel witness): without a third vote there is no automatic takeover'
    : undefined;
}
