// Keeps what this node serves in line with the catalog of the cluster, whoever has changed it, and with who owns what.
import { ServiceError, messageOf } from '../base/errors.ts';
import { CLUSTER_LOOK, HAND_OVER_ASKED, HAND_OVER_PATIENCE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { ClusterMember, ClusterNode } from '../cluster/member.ts';
import { PeerRefusal } from '../mirror/link/peer-link.ts';
import { MirrorMessage } from '../mirror/messages.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { Ownership } from '../mirror/ownership.ts';
import type { Catalog } from './catalog.ts';
import { Copies } from './copies.ts';
import { Divergence } from './divergence.ts';
import type { DivergenceReport } from './divergence.ts';
import { Drill } from './drill.ts';
import type { DrillReport } from './drill.ts';
import type { Forwarding } from './forwarding.ts';
import type { MirrorBackend } from './mirror-backend.ts';
import { Maintenance } from './maintenance.ts';
import type { RebootView } from './maintenance.ts';
import type { MirrorSnapshots } from './mirror-snapshots.ts';
import { PeerRequests } from './peer-requests.ts';
import type { Provisioner } from './provision.ts';
import { isMirrored, preferredOf } from './records.ts';
import type { VolumeRecord } from './records.ts';
import type { ReplicaView, Replication, ReplicationView } from './replication.ts';
import type { SessionSource } from './sessions.ts';
import type { Units } from './units.ts';

export interface ClusterVolumesOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly provisioner: Provisioner;
  readonly backend: MirrorBackend;
  readonly mirror: MirrorNode;
  readonly member: ClusterMember;
  readonly forwarding: Forwarding;
  readonly snapshots: MirrorSnapshots;
  readonly clock: Clock;
  readonly log: Log;
  readonly server: () => SessionSource | undefined;
}

export class ClusterVolumes implements Replication {
  readonly copies: Copies;
  readonly divergence: Divergence;
  readonly drill: Drill;
  readonly maintenance: Maintenance;
  readonly #options: ClusterVolumesOptions;
  readonly #requests: PeerRequests;
  readonly #ends: (() => void)[] = [];
  readonly #byId: (id: string) => VolumeRecord[];
  /** By id, as initiators were told last. */
  readonly #sizes = new Map<string, number>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: ClusterVolumesOptions) {
    this.#options = options;
    this.#byId = options.catalog.volumes.index(({ id }) => [id]);
    const { member, mirror } = options;
    const requests = (this.#requests = new PeerRequests(member, (node) => mirror.peers.get(node)));
    requests.handle('give', async ({ volume, to }) => ({ pauseMs: await this.#give(String(volume), String(to)) }));
    this.#serveResizes();
    this.copies = new Copies({ ...options, requests });
    this.drill = new Drill({ ...options, requests });
    this.divergence = new Divergence(options);
    this.maintenance = new Maintenance({ ...options, requests });
  }

  /** Before volumes are opened: nobody may be told that this node owns one before the mirror says so. */
  prepare(): void {
    const { mirror, forwarding, member } = this.#options;
    this.#ends.push(
      mirror.onOwnership((ownership) => {
        this.#tell(ownership);
      }),
    );
    mirror.quiesce = async (id) => {
      if (await forwarding.handOver(id, HAND_OVER_PATIENCE)) return;
      throw new ServiceError('in-use', 'commands that run on it do not end');
    };
    mirror.stoodStill = () => {
      forwarding.stoodStill();
    };
    this.divergence.prepare();
    this.#connect();
    this.#ends.push(
      member.watchNodes(() => {
        this.#connect();
      }),
    );
  }

  /** When everything of the catalog is open. */
  async start(): Promise<void> {
    const { catalog, units, backend, snapshots } = this.#options;
    this.#ends.push(
      catalog.watch(({ kind, id }) => {
        if (kind === 'volumes') this.#reconcile(id);
        else if (kind === 'hosts' || kind === 'host-groups') units.reconsiderAll();
      }),
    );
    await backend.start();
    await this.maintenance.start();
    await this.divergence.start();
    snapshots.start();
    this.#look();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const end of this.#ends.splice(0)) end();
    this.maintenance.stop();
    this.divergence.stop();
    await this.#options.backend.stop();
  }

  /** Ids of the nodes for a volume with `count` copies, this one first. Throws ServiceError bad-request. */
  placement(count: number | undefined): string[] {
    const { member } = this.#options;
    const others = member.nodes().filter(({ id, role }) => role === 'data' && id !== member.self.id);
    const wanted = count ?? Math.min(2, others.length + 1);
    if (wanted > others.length + 1) {
      const what = `${String(wanted)} copies of a volume take as many nodes, and there are ${String(others.length + 1)}`;
      throw new ServiceError('bad-request', what);
    }
    return [member.self.id, ...others.slice(0, wanted - 1).map(({ id }) => id)];
  }

  // ---- what people see and do

  list(): ReplicationView[] {
    return this.#options.catalog.volumes.values().flatMap(({ name }) => this.get(name) ?? []);
  }

  get(volume: string): ReplicationView | undefined {
    const { catalog, mirror, member } = this.#options;
    const record = catalog.volumes.get(volume);
    const known = record === undefined ? undefined : mirror.ownership(record.id);
    if (record === undefined || known === undefined) return undefined;
    const server = this.#server(known);
    const seen = new Map(mirror.replicas(record.id).map((each) => [each.node, each]));
    const replicas = known.replicas.map((node): ReplicaView => {
      const inSync = known.inSync.includes(node);
      const status = seen.get(node);
      if (status === undefined) {
        const own = node === member.self.id ? this.#named(known.why) : '';
        return {
          node,
          inSync,
          state: node === server ? 'owner' : 'unknown',
          why: own,
          lacksBytes: 0,
          resync: undefined,
        };
      }
      const { resync, state, why, lacks } = status;
      const progress =
        resync === undefined
          ? undefined
          : {
              ...{ leftBytes: resync.left, totalBytes: resync.total, bytesPerSecond: resync.rate },
              etaSeconds: resync.secondsLeft,
            };
      return { node, inSync: status.inSync, state, why: this.#named(why), lacksBytes: lacks, resync: progress };
    });
    const { role, epoch, session, inSync, forcedBy } = known;
    const why = this.#named(known.why);
    const shown = { role, owner: server, epoch, session, inSync, forcedBy, why };
    return { volume, id: record.id, ...shown, replicas };
  }

  async handOver(volume: string, to: string): Promise<number> {
    const { mirror, member } = this.#options;
    const { id } = this.#mirrored(volume);
    const node = member.nodes().find((each) => each.id === to || each.name === to);
    if (node === undefined) throw new ServiceError('not-found', `there is no node '${to}'`);
    const { owner = '', inSync = [], replicas = [] } = mirror.ownership(id) ?? {};
    if (!replicas.includes(node.id)) {
      throw new ServiceError('replica-state', `${node.name} has no copy of '${volume}'`);
    }
    if (owner === '') throw new ServiceError('replica-state', `nobody serves '${volume}'`);
    if (owner === node.id) return 0;
    if (this.maintenance.has(node.id)) {
      throw new ServiceError('replica-state', `${node.name} is in maintenance (gemel cluster maintenance off)`);
    }
    if (!inSync.includes(node.id)) {
      throw new ServiceError('replica-state', `${node.name} does not have everything of '${volume}' yet`);
    }
    try {
      return await (owner === member.self.id ? this.#give(id, node.id) : this.#askFor(id, node.id, owner));
    } catch (error) {
      throw this.#explained(error, volume, id);
    }
  }

  reports(): DivergenceReport[] {
    return this.divergence.list();
  }

  runDrill(volume: string, hard: boolean, by: string): Promise<DrillReport> {
    return this.drill.run(this.#mirrored(volume), hard, by);
  }
  drills(): Promise<DrillReport[]> {
    return this.drill.history();
  }

  safeToReboot(node: string): Promise<RebootView> {
    return this.maintenance.look(this.#dataNode(node));
  }
  beginMaintenance(node: string, by: string, force: boolean): Promise<string[]> {
    return this.maintenance.begin(this.#dataNode(node), by, force);
  }
  endMaintenance(node: string): Promise<void> {
    return this.maintenance.end(this.#dataNode(node));
  }
  inMaintenance(node: string): boolean {
    return this.maintenance.has(node);
  }
  #dataNode(node: string): ClusterNode {
    return node === '' ? this.#options.member.self : this.copies.node(node);
  }

  async promote(volume: string, by: string): Promise<void> {
    const { id } = this.#mirrored(volume);
    const before = this.#options.mirror.ownership(id);
    try {
      await this.#options.mirror.promote(id, by);
      if (before !== undefined && before.role !== 'owner') this.divergence.promoted(before, by);
    } catch (error) {
      throw this.#explained(error, volume, id);
    }
  }

  /** A volume is resized by the node that serves it, whichever was asked. */
  #serveResizes(): void {
    const { provisioner, mirror, member } = this.#options;
    this.#requests.handle('resize', async ({ volume, size, force }) => {
      const [record] = this.#byId(String(volume));
      if (record === undefined || typeof size !== 'number')
        throw new ServiceError('not-found', 'there is no such volume');
      await provisioner.resizeHere(record.name, size, force === true);
      return undefined;
    });
    provisioner.resizeElsewhere = async ({ id, name }, size, force) => {
      const owner = mirror.ownership(id)?.owner ?? '';
      if (owner === '' || owner === member.self.id) return undefined;
      await this.#requests.ask(owner, 'resize', { volume: id, size, force });
      // What the owner has written may not have come here yet.
      return { ...provisioner.volume(name), size };
    };
  }

  /** This node owns it. */
  async #give(id: string, to: string): Promise<number> {
    const { mirror } = this.#options;
    try {
      return await mirror.handOver(id, to);
    } finally {
      // Also when it failed: commands wait until somebody is known to be the owner.
      const ownership = mirror.ownership(id);
      if (ownership !== undefined) this.#tell(ownership);
    }
  }

  /** Another node owns it: a person may ask at any. */
  async #askFor(id: string, to: string, owner: string): Promise<number> {
    const link = this.#options.mirror.peers.get(owner);
    if (link?.up !== true) throw new ServiceError('peer-unreachable', `${owner} serves it, and does not answer`);
    const question = Buffer.from(JSON.stringify({ volume: id, to }));
    const { header } = await link.request(MirrorMessage.giveTo, question, [], HAND_OVER_ASKED);
    return (JSON.parse(header.toString()) as { pauseMs: number }).pauseMs;
  }

  /** With the names people know, and a code for what the state of the copies does not allow. */
  #explained(error: unknown, volume: string, id: string): ServiceError {
    const message = this.#named(messageOf(error)).replaceAll(id, `'${volume}'`);
    const code =
      error instanceof ServiceError ? error.code : error instanceof PeerRefusal ? 'in-use' : 'peer-unreachable';
    return new ServiceError(code === 'in-use' ? 'replica-state' : code, message, { cause: error });
  }

  /**
   * This node is the one that tells people what is wrong with the volume: the one that serves it, or the first that could. Of
   * what only one node sees, that one does.
   */
  speaksFor(name: string): boolean {
    const { catalog, mirror, member } = this.#options;
    const record = catalog.volumes.get(name);
    const known = record === undefined ? undefined : mirror.ownership(record.id);
    if (record === undefined || known === undefined || !isMirrored(record)) return true;
    const server = this.#server(known);
    if (server !== undefined) return server === member.self.id;
    const there = member
      .nodes()
      .filter(({ id }) => known.replicas.includes(id) && (id === member.self.id || mirror.peers.get(id)?.up === true));
    return there[0]?.id === member.self.id;
  }

  /** Who serves it as far as is known here: the record goes on naming one that is gone. */
  #server({ owner, role }: Ownership): string | undefined {
    const { member, mirror } = this.#options;
    if (owner === '') return undefined;
    if (owner === member.self.id) return role === 'owner' || role === 'changing' ? owner : undefined;
    return mirror.leases.isSilent(owner) ? undefined : owner;
  }

  /** Names in place of the ids of nodes. */
  #named(text: string): string {
    const { member } = this.#options;
    return text.replaceAll(/\b[\da-f]{8}\b/g, (id) => member.nodes().find((node) => node.id === id)?.name ?? id);
  }

  #mirrored(volume: string): VolumeRecord {
    const record = this.#options.provisioner.volume(volume);
    if (isMirrored(record)) return record;
    throw new ServiceError('bad-request', `volume '${volume}' has one copy`);
  }

  // ---- keeping in line

  /** The links to the other data nodes, and what goes over them. */
  #connect(): void {
    const { member, mirror, forwarding, units, snapshots } = this.#options;
    const others = member.nodes().filter(({ id, role }) => role === 'data' && id !== member.self.id);
    for (const { id, address } of others) {
      if (mirror.peers.get(id) !== undefined) continue;
      const link = mirror.addPeer({ node: id, ...address });
      forwarding.addPeer(link);
      snapshots.serve(link);
      this.#requests.serve(link);
      link.handle(MirrorMessage.giveTo, async (header) => {
        const asked = JSON.parse(header.toString()) as { volume: string; to: string };
        try {
          return { header: Buffer.from(JSON.stringify({ pauseMs: await this.#give(asked.volume, asked.to) })) };
        } catch (error) {
          throw new PeerRefusal('not-given', messageOf(error));
        }
      });
    }
    const known = new Set(others.map(({ id }) => id));
    for (const { node } of mirror.peers.all()) if (!known.has(node)) mirror.removePeer(node);
    units.portsChanged();
  }

  /** This node is told that it is the owner only when it may serve. */
  #tell({ volume, role, owner, replicas }: Ownership): void {
    const { forwarding, member } = this.#options;
    const elsewhere = owner !== '' && owner !== member.self.id ? owner : undefined;
    const serves = role === 'owner' ? member.self.id : role === 'changing' ? undefined : elsewhere;
    const [record] = this.#byId(volume);
    const preferred = record === undefined ? replicas[0] : preferredOf(record);
    forwarding.setOwner(volume, serves, preferred, role === 'replica');
  }

  #look(): void {
    if (this.#stopped) return;
    for (const name of this.#options.catalog.volumes.ids()) this.#reconcile(name);
    this.#timer = this.#options.clock.after(CLUSTER_LOOK, () => {
      this.#look();
    });
  }

  /** Serves what should be served, and ends what should not. What this node itself is doing comes first: it has the turn. */
  #reconcile(name: string): void {
    const { provisioner, catalog, units, backend, log } = this.#options;
    const served = units.unit(name);
    const record = catalog.volumes.get(name);
    const wanted = record?.state === 'ready' && backend.holds(record);
    const right = served === undefined ? !wanted : wanted && served.identity.id === record.id;
    if (record !== undefined && served !== undefined && right) {
      units.reconsider(this.#iqnOf(record));
      // Another node has resized it, here as well.
      if ((this.#sizes.get(record.id) ?? record.size) !== record.size) served.capacityChanged();
      this.#sizes.set(record.id, record.size);
      // Where it should be may be somewhere else by now.
      const ownership = this.#options.mirror.ownership(record.id);
      if (ownership !== undefined) this.#tell(ownership);
      if (ownership?.role === 'owner' && record.resizing !== undefined) {
        void provisioner.finishResize(name).catch((error: unknown) => {
          log.warn({ volume: name, why: messageOf(error) }, 'a resize that was interrupted is not finished yet');
        });
      }
    }
    if (right) return;
    const gone = served !== undefined && served.identity.id !== record?.id ? served.identity.id : undefined;
    if (gone !== undefined) {
      this.#sizes.delete(gone);
      void provisioner
        .withdrawGone(name, gone)
        .catch(() => undefined)
        .then(() => {
          log.info({ volume: name }, 'volume was deleted at another node');
        });
    }
    void provisioner.turn.run(async () => {
      if (this.#stopped) return;
      const now = catalog.volumes.get(name);
      if (now?.state !== 'ready' || !backend.holds(now) || units.unit(name) !== undefined) return;
      await provisioner.serve(now);
      if (units.unit(name) !== undefined) log.info({ volume: name }, 'volume is served');
    });
  }

  #iqnOf({ target }: VolumeRecord): string {
    const { catalog } = this.#options;
    return catalog.targets.get(target)?.iqn ?? catalog.iqnOf(target);
  }
}

/** The nodes as target ports, with the number of portal groups each has. */
export const portNodes = (
  nodes: readonly ClusterNode[],
  groups: (node: string) => number,
): { node: string; index: number; portalGroups: number }[] =>
  nodes.filter(({ role }) => role === 'data').map(({ id, index }) => ({ node: id, index, portalGroups: groups(id) }));
