// A node of a cluster while it runs: its etcd, the connection to the store, and who else is there.
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { CLUSTER_ROUND, CLUSTER_TELL, ETCD_RETRY } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Timer, World } from '../../base/world.ts';
import { EtcdStore } from '../../cluster/etcd-store.ts';
import type { StoreHealth } from '../../cluster/etcd-store.ts';
import type { Endpoint } from '../../cluster/etcd/channel.ts';
import { EtcdClient } from '../../cluster/etcd/client.ts';
import { CLUSTER_PREFIX, ETCD_CLIENT_PORT, serverNameOf } from '../../cluster/member.ts';
import type { ClusterMember, ClusterNode } from '../../cluster/member.ts';
import {
  Node,
  clusterFolder,
  readClusterFile,
  readEtcdMaterial,
  readMaterial,
  removeCluster,
  writeClusterFile,
  writeEtcdMaterial,
} from './cluster-files.ts';
import type { ClusterFile, Material } from './cluster-files.ts';
import { EtcdProcess } from './etcd-process.ts';
import { checkMaterial, externalClient, externalEndpoints, placeIn, problemOf } from './external-etcd.ts';
import type { EtcdAccess } from './external-etcd.ts';

/** Records of the cluster itself, relative to CLUSTER_PREFIX. */
export const CLUSTER_RECORD = 'cluster';
export const NODES = 'node/';
export const nodeKey = (id: string): string => `${NODES}${id}`;

/** Where the etcd of each node is asked. */
export const endpointsOf = (nodes: readonly ClusterNode[]): Endpoint[] =>
  nodes.map(({ id, address }) => ({
    host: address.host,
    port: address.port + ETCD_CLIENT_PORT,
    serverName: serverNameOf(id),
  }));

/** The etcd of a node, as its cluster file says. */
export function etcdOf(
  data: string,
  file: ClusterFile,
  world: World,
  log: Log,
  onRemoved: () => void = () => undefined,
): EtcdProcess {
  const { address, id } = file.node;
  return new EtcdProcess({
    folder: clusterFolder(data),
    name: id,
    address,
    ...file.etcd,
    clock: world.clock,
    log,
    onRemoved,
  });
}

export class Membership implements ClusterMember {
  readonly #world: World;
  readonly #log: Log;
  readonly #data: string;
  readonly #client: EtcdClient;
  /** Undefined: the cluster is in an etcd of somebody else. */
  readonly #etcd: EtcdProcess | undefined;
  readonly #listeners = new Set<() => void>();
  readonly store: EtcdStore;
  readonly tls: Material;
  readonly bootId: string;
  #access: EtcdAccess | undefined;
  #file: ClusterFile;
  #nodes: ClusterNode[];
  #timer: Timer | undefined;
  #closed = false;

  private constructor(
    parts: {
      world: World;
      log: Log;
      data: string;
      client: EtcdClient;
      etcd: EtcdProcess | undefined;
      access: EtcdAccess | undefined;
    },
    file: ClusterFile,
    { store, tls, nodes }: { store: EtcdStore; tls: Material; nodes: ClusterNode[] },
  ) {
    this.#world = parts.world;
    this.#log = parts.log;
    this.#data = parts.data;
    this.#client = parts.client;
    this.#etcd = parts.etcd;
    this.#access = parts.access;
    this.#file = file;
    this.#nodes = nodes;
    this.store = store;
    this.tls = tls;
    this.bootId = parts.world.random.bytes(8).toString('hex');
  }

  /**
   * Undefined: this node is in no cluster. Else starts etcd and waits, for however long it takes, until a majority answers:
   * what this node may serve is written there, and nowhere else.
   */
  static async open(world: World, log: Log, data: string): Promise<Membership | undefined> {
    const file = await readClusterFile(world, data);
    if (file === undefined) {
      await clearRemains(world, log, data);
      return undefined;
    }
    const tls = await readMaterial(world, data);
    const access = await accessOf(world, data, file);
    const etcd = access === undefined ? etcdOf(data, file, world, log) : undefined;
    etcd?.start();
    const { clock } = world;
    const client =
      access === undefined
        ? new EtcdClient({ endpoints: endpointsOf(file.nodes), tls, clock })
        : externalClient(clock, access);
    try {
      const again = (): Promise<EtcdAccess | undefined> => accessOf(world, data, file);
      const store = await openStore(world, log, client, access, again);
      const record = (await store.get(CLUSTER_RECORD))?.value as { uuid?: string } | undefined;
      if (record?.uuid !== file.cluster) {
        await store.close();
        throw new ServiceError('catalog-damaged', 'the configuration store belongs to another cluster');
      }
      const nodes = await readNodes(store);
      if (!nodes.some(({ id }) => id === file.node.id)) {
        await store.close();
        const what = `this node was removed from its cluster (remove the folder ${clusterFolder(data)} to use it alone)`;
        throw new ServiceError('cluster-removed', what);
      }
      const membership = new Membership({ world, log, data, client, etcd, access }, file, { store, tls, nodes });
      membership.#start();
      return membership;
    } catch (error) {
      client.close();
      etcd?.release();
      throw error;
    }
  }

  get cluster(): string {
    return this.#file.cluster;
  }

  get self(): ClusterNode {
    return this.#nodes.find(({ id }) => id === this.#file.node.id) ?? this.#file.node;
  }

  get health(): StoreHealth {
    return this.store.health;
  }

  get etcd(): EtcdClient {
    return this.#client;
  }

  /** The etcd of somebody else the cluster is in, and how it is reached; undefined: its nodes run their own. */
  get access(): EtcdAccess | undefined {
    return this.#access;
  }

  /** Reaches it in another way from now on. What it is has been examined. */
  async reach(access: EtcdAccess): Promise<void> {
    await writeEtcdMaterial(this.#world, this.#data, access.tls);
    this.#file = { ...this.#file, external: placeIn(access) };
    await writeClusterFile(this.#world, this.#data, this.#file);
    this.#access = access;
    this.#client.reconnect(externalEndpoints(access), access.tls);
  }

  nodes(): readonly ClusterNode[] {
    return this.#nodes;
  }

  watchNodes(listener: () => void): () => void {
    const own = (): void => {
      listener();
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Ends etcd: this node is no longer one of the cluster's. */
  async leaving(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#etcd?.stop();
  }

  /** `keepEtcd`: the daemon comes back in a moment. */
  async close(keepEtcd: boolean): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#listeners.clear();
    await this.store.close();
    if (keepEtcd) this.#etcd?.release();
    else await this.#etcd?.stop();
  }

  #start(): void {
    this.store.watch(NODES, ({ key }) => {
      if (key.split('/').length === 2) void this.#reread();
    });
    void this.#remember();
    if (this.#access === undefined) this.#roundLater();
  }

  async #reread(): Promise<void> {
    try {
      const nodes = await readNodes(this.store);
      if (this.#closed) return;
      this.#nodes = nodes;
      await this.#remember();
      for (const listener of [...this.#listeners]) listener();
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'the nodes of the cluster could not be read');
    }
  }

  /** The next start has to find etcd without etcd. */
  async #remember(): Promise<void> {
    if (this.#access === undefined) this.#client.setEndpoints(endpointsOf(this.#nodes));
    const file = { ...this.#file, node: Node.parse(this.self), nodes: this.#nodes.map((node) => Node.parse(node)) };
    if (JSON.stringify(file) === JSON.stringify(this.#file)) return;
    this.#file = file;
    await writeClusterFile(this.#world, this.#data, file);
  }

  #roundLater(): void {
    if (this.#closed) return;
    this.#timer = this.#world.clock.after(CLUSTER_ROUND, () => {
      void this.#round().finally(() => {
        this.#roundLater();
      });
    });
  }

  /**
   * Gives votes. With two members nobody could lose the other: the second one stays without a vote until there is a third,
   * so that the first goes on alone. (A pair without a witness has no automatic takeover.)
   */
  async #round(): Promise<void> {
    try {
      const members = await this.#client.members();
      const learner = members.find(({ isLearner, name }) => isLearner && name !== '');
      if (learner === undefined || members.length < 3) return;
      await this.#client.promote(learner.id);
      this.#log.info({ node: learner.name }, 'has a vote in the configuration store now');
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'no vote was given');
    }
  }
}

/** The nodes that the store names, in their order. */
export async function readNodes(store: EtcdStore): Promise<ClusterNode[]> {
  const records = await store.list(NODES);
  const nodes = records.filter(({ key }) => key.split('/').length === 2).map(({ value }) => Node.parse(value));
  return nodes.sort((a, b) => a.index - b.index);
}

async function accessOf(world: World, data: string, { external }: ClusterFile): Promise<EtcdAccess | undefined> {
  return external === undefined ? undefined : { ...external, tls: await readEtcdMaterial(world, data) };
}

/** `again`: what is in the folder by now. A certificate that is no longer good can only be replaced there while nobody answers. */
async function openStore(
  world: World,
  log: Log,
  client: EtcdClient,
  access: EtcdAccess | undefined,
  again: () => Promise<EtcdAccess | undefined>,
): Promise<EtcdStore> {
  const { clock } = world;
  const place = { prefix: access?.prefix ?? CLUSTER_PREFIX, shared: access !== undefined };
  let toldAt = -Infinity;
  for (let used = access; ;) {
    try {
      return await EtcdStore.open({ client, ...place, clock, log });
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'cluster-unavailable') throw error;
      await new Promise<void>((resolve) => clock.after(ETCD_RETRY, resolve));
      if (clock.now() - toldAt < CLUSTER_TELL) continue;
      const answers = used === undefined ? [] : await client.statuses();
      const found = answers.map((each) => `${each.endpoint.host}: ${problemOf(each) ?? 'answers'}`);
      // At the first start of a member, and when all nodes start at once, it takes a moment.
      if (used !== undefined) log.warn({ error: messageOf(error), members: found.join('; ') }, 'waiting for etcd');
      else if (toldAt !== -Infinity)
        log.warn({ error: messageOf(error) }, 'waiting for the other nodes of the cluster');
      toldAt = clock.now();
      try {
        const now = await again();
        if (now === undefined || JSON.stringify(now) === JSON.stringify(used)) continue;
        // Somebody may be just putting one file after the other there.
        checkMaterial(now.tls);
        client.reconnect(externalEndpoints(now), now.tls);
        used = now;
      } catch (unusable) {
        log.warn({ error: messageOf(unusable) }, 'what is there to reach etcd with cannot be used');
      }
    }
  }
}

/** What a crash in the middle of init or join has left. */
async function clearRemains(world: World, log: Log, data: string): Promise<void> {
  if (!(await world.disk.exists(join(clusterFolder(data), 'ca.pem')))) return;
  log.warn({ folder: clusterFolder(data) }, 'joining a cluster was interrupted: begun anew');
  const node = { id: '00000000', index: 0, name: '-', role: 'data' as const, address: { host: '-', port: 1 } };
  const etcd = { initialCluster: '', state: 'new' as const };
  await etcdOf(data, { version: 1, cluster: '', node, nodes: [], etcd }, world, log).stop();
  await removeCluster(world, data);
}
