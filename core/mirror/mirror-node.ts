// The mirror of one node: its links, its leases, and its copies of all mirrored volumes. What the daemon constructs, and the
// simulator as well.
import { ServiceError } from '../base/errors.ts';
import { DRILL_UNFIT, LEASE_GRACE, OWNER_PATIENCE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { TlsIdentity, World } from '../base/world.ts';
import type { ConfigStore } from '../cluster/config-store.ts';
import type { Durability, Volume } from '../volume/volume.ts';
import { newRecord, recordKey } from './config-record.ts';
import { Leases } from './lease.ts';
import type { BeaconThread } from './lease.ts';
import { PeerRefusal } from './link/peer-link.ts';
import type { PeerAnswer } from './link/peer-link.ts';
import { Peers } from './link/peers.ts';
import type { NodeLink, PeerAddress } from './link/peers.ts';
import { MirrorMessage, parseOperation, parseVolumeMessage } from './messages.ts';
import type { ByteRange, HandOverMessage } from './messages.ts';
import { MirroredVolume } from './mirrored-volume.ts';
import { answerLook, answerRead } from './points.ts';
import type { CopyPoints } from './points.ts';
import { RegionLog } from './region-log.ts';
import { changeReplicas } from './replica-set.ts';
import type { ReplicaChange } from './replica-set.ts';
import { isShared } from './shared.ts';
import { Steward } from './steward.ts';
import type { Ownership, ReplicaStatus } from './ownership.ts';
import { verifyCopies } from './verify.ts';
import type { VerifyOptions, VerifyReport } from './verify.ts';

export interface MirrorNodeOptions {
  readonly world: World;
  readonly store: ConfigStore;
  /** Id of the cluster: who has another one is refused. */
  readonly cluster: string;
  readonly node: string;
  /** Chosen anew at every start. */
  readonly boot: string;
  readonly log: Log;
  /** Undefined: without TLS, in tests and in the simulator. */
  readonly tls?: TlsIdentity | undefined;
  readonly listen: { readonly host: string; readonly port: number };
  readonly versions?: { readonly min: number; readonly max: number } | undefined;
  /** Called before a planned hand-over of a volume: commands on it wait when it resolves, and none runs. */
  readonly quiesce?: ((volume: string) => Promise<void>) | undefined;
  /** Sends the beacons; undefined: the loop that serves does. */
  readonly beacons?: BeaconThread | undefined;
}

export interface MirroredOptions {
  readonly id: string;
  readonly durability: Durability;
  /** Where the regions log is kept. */
  readonly folder: string;
  /** The volume is being made: its copy here is empty, and nothing is known of it. */
  readonly fresh?: boolean;
  /** The volume is being made, and what is in its copy here is not what the others have: it is compared as a whole. */
  readonly foreign?: boolean;
  /** Where points in time of the copy are kept; absent: nowhere. */
  readonly points?: CopyPoints | undefined;
}

const EMPTY: PeerAnswer = { header: Buffer.alloc(0) };

export class MirrorNode {
  readonly peers: Peers;
  readonly leases: Leases;
  readonly #options: MirrorNodeOptions;
  readonly #volumes = new Map<string, MirroredVolume>();
  readonly #listeners = new Set<(ownership: Ownership) => void>();
  readonly #told = new Map<string, string>();
  #unwatch: (() => void) | undefined;
  quiesce: (volume: string) => Promise<void>;
  /** A replica that may have had something else, and is compared, differs from the copy of this node, which serves. Bytes. */
  onDifference: (volume: string, node: string, range: ByteRange) => void = () => undefined;
  /** Told when this node did not run for longer than a lease lasts, before anything else happens. */
  stoodStill: () => void = () => undefined;

  constructor(options: MirrorNodeOptions) {
    this.#options = options;
    const { world, log, cluster, node, boot, tls, versions, beacons: thread } = options;
    this.quiesce = options.quiesce ?? (() => Promise.resolve());
    const beaconsElsewhere = thread !== undefined;
    this.peers = new Peers({ world, log, cluster, node, boot, tls, versions, beaconsElsewhere });
    this.leases = new Leases({
      clock: world.clock,
      boot,
      links: () => this.peers.all(),
      thread,
      onStall: (milliseconds) => {
        log.warn(
          { milliseconds: Math.round(milliseconds) },
          'this node did not run for a while: it asks who owns what',
        );
        this.stoodStill();
        for (const each of this.#volumes.values()) each.steward.stalled();
      },
      onBeat: () => {
        for (const each of this.#volumes.values()) each.steward.beat();
      },
    });
  }

  get node(): string {
    return this.#options.node;
  }

  /** Listens for the other nodes, and begins to send beacons. Rejects with a ServiceError. */
  async start(): Promise<void> {
    const { listen, store } = this.#options;
    await this.peers.listen(listen.host, listen.port);
    this.#unwatch = store.watch('volume/', ({ key }) => {
      const id = /^volume\/(.*)\/cfg$/.exec(key)?.[1];
      if (id !== undefined) this.#volumes.get(id)?.steward.look();
    });
    this.leases.start();
  }

  /** Makes the link to another node of the cluster. */
  addPeer(peer: PeerAddress): NodeLink {
    const present = this.peers.get(peer.node);
    if (present !== undefined) return present;
    const link = this.peers.add(peer);
    this.#options.beacons?.add(peer);
    this.leases.serve(link);
    this.#serve(link);
    link.onUp(() => {
      for (const each of this.#volumes.values()) each.steward.linkUp(peer.node);
    });
    link.onDown(() => {
      for (const each of this.#volumes.values()) each.steward.linkDown(peer.node);
    });
    return link;
  }

  removePeer(node: string): void {
    this.#options.beacons?.remove(node);
    this.peers.remove(node);
  }

  /**
   * Opens this node's copy of a volume. The node serves it, follows who does, or waits, as the record says. Rejects with a
   * ServiceError; the copy is not closed then.
   */
  async open(
    { id, durability, folder, fresh = false, foreign = false, points }: MirroredOptions,
    backing: Volume,
  ): Promise<MirroredVolume> {
    if (this.#volumes.has(id)) throw new ServiceError('exists', `${id} is open already`);
    const { world, store, node, boot, log } = this.#options;
    await world.disk.makeFolder(folder);
    if (foreign) await RegionLog.remove(world, `${folder}/${id}`);
    const regions = await RegionLog.open(world, `${folder}/${id}`, backing.info.size, fresh, isShared(backing));
    const steward = new Steward({
      ...{ id, node, boot, log, store, backing, regions, durability, points },
      clock: world.clock,
      leases: this.leases,
      linkTo: (other) => this.peers.get(other),
      sourceOf: (other) => this.#volumes.get(other)?.backing,
      onChange: () => {
        this.#changed(id);
      },
      quiesce: () => this.quiesce(id),
      onDifference: (other, range) => {
        this.onDifference(id, other, range);
      },
    });
    const volume = new MirroredVolume(steward);
    this.#volumes.set(id, volume);
    steward.look();
    return volume;
  }

  /**
   * Writes the record of a volume that is being made. `replicas`: nodes with a copy; the first one serves it. `inSync`: those
   * whose copies are the same, all when absent.
   */
  async create(id: string, replicas: readonly string[], owner = '', inSync = replicas): Promise<void> {
    const value = { ...newRecord(replicas, owner), inSync };
    const { ok } = await this.#options.store.commit(
      [{ key: recordKey(id), value }],
      [{ key: recordKey(id), revision: 0 }],
    );
    if (!ok) throw new ServiceError('exists', `there is a mirrored volume ${id} already`);
  }

  /** Closes this node's copy: nothing of it is served here any more. */
  async close(id: string): Promise<void> {
    const volume = this.#volumes.get(id);
    this.#volumes.delete(id);
    this.#told.delete(id);
    await volume?.close();
  }

  /** The copy of this node, if it is open. */
  get(id: string): MirroredVolume | undefined {
    return this.#volumes.get(id);
  }
  volumes(): MirroredVolume[] {
    return [...this.#volumes.values()];
  }

  ownership(id: string): Ownership | undefined {
    return this.#volumes.get(id)?.ownership;
  }
  /** The other replicas as their owner sees them; empty elsewhere. */
  replicas(id: string): ReplicaStatus[] {
    return this.#volumes.get(id)?.steward.replicas ?? [];
  }

  /** Calls `listener` whenever the ownership of a volume changes, in the turn in which it does. */
  onOwnership(listener: (ownership: Ownership) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Hands a volume over. Resolves with the milliseconds in which nobody served it. Rejects with a ServiceError. */
  async handOver(id: string, to: string): Promise<number> {
    return await this.#known(id).steward.handOver(to);
  }

  /** A person takes this copy for the one that counts. `by`: who. Rejects with a ServiceError. */
  async promote(id: string, by: string): Promise<void> {
    await this.#known(id).steward.promote(by);
  }

  /** Another node gets a copy, or one has none any more. At the owner only. Rejects with a ServiceError or a VolumeError. */
  async changeReplicas(id: string, change: ReplicaChange): Promise<void> {
    const { term } = this.#known(id).steward;
    if (term?.isOver !== false) throw new ServiceError('in-use', `${id} is served by another node: ask it there`);
    await changeReplicas(term, change);
  }

  /**
   * A drill: this node, which serves the volume, stops to from one moment to the next, as if it had died; after the time in which
   * others may not take over from a dead node, one of them does. What was under way is not acknowledged. Throws ServiceError.
   */
  playDead(id: string): void {
    const { steward } = this.#known(id);
    if (steward.term?.isOver !== false)
      throw new ServiceError('in-use', `${id} is served by another node: ask it there`);
    steward.idleUntil = this.#options.world.clock.now() + LEASE_GRACE;
    steward.unfitUntil = steward.idleUntil + DRILL_UNFIT;
    steward.term.depose('a failover drill');
  }

  /** Compares the copies. At the owner only. Rejects with a ServiceError or a VolumeError. */
  async verify(id: string, options: VerifyOptions): Promise<VerifyReport> {
    const { term } = this.#known(id).steward;
    if (term?.isOver !== false) throw new ServiceError('in-use', `${id} is served by another node: ask it there`);
    if (term.isShared) throw new ServiceError('bad-request', `${id} is in one place for all nodes: nothing to compare`);
    return await verifyCopies(term, options);
  }

  /** Bytes a second of a resync while hosts are busy. */
  setResyncRate(id: string, rate: number): void {
    this.#known(id).steward.resyncRate = rate;
  }

  /** Hands over what others can serve, closes everything. */
  async stop(): Promise<void> {
    const given = this.volumes().map(async ({ steward }) => {
      const to = steward.replicas.find(({ inSync }) => inSync)?.node;
      if (to !== undefined) await steward.handOver(to).catch(() => undefined);
    });
    const patience = new Promise<void>((resolve) => this.#options.world.clock.after(OWNER_PATIENCE * 2, resolve));
    await Promise.race([Promise.all(given), patience]);
    this.#unwatch?.();
    for (const { id } of this.volumes()) await this.close(id);
    this.leases.close();
    await this.#options.beacons?.close();
    await this.peers.close();
  }

  /** Ends everything at once, as if the power were gone; for tests. Files stay open until what runs on them is over. */
  async halt(): Promise<void> {
    this.#unwatch?.();
    this.leases.close();
    // The terms end first: nothing is noted of links that break only now.
    const ended = this.volumes().map(({ steward }) => steward.close());
    await this.#options.beacons?.close();
    await this.peers.close();
    await Promise.all(ended);
    this.#volumes.clear();
  }

  #known(id: string): MirroredVolume {
    const volume = this.#volumes.get(id);
    if (volume === undefined) throw new ServiceError('not-found', `there is no mirrored volume ${id} on this node`);
    return volume;
  }

  #changed(id: string): void {
    const ownership = this.ownership(id);
    if (ownership === undefined) return;
    const text = JSON.stringify(ownership);
    if (this.#told.get(id) === text) return;
    this.#told.set(id, text);
    for (const each of [...this.#listeners]) each(ownership);
  }

  /** Who answers what the other node asks about volumes. */
  #serve(link: NodeLink): void {
    const from = link.node;
    link.handleLent(MirrorMessage.operation, (header, data) => {
      const operation = parseOperation(header);
      return this.#open(operation.volume).steward.replica.operation(from, operation, data);
    });
    const forReplica = (type: number, what: 'promise' | 'confirm' | 'admit' | 'digest' | 'read'): void => {
      link.handle(type, (header) => {
        const { volume, epoch } = parseVolumeMessage(header);
        const { steward } = this.#open(volume);
        const { term } = steward;
        // Nobody becomes owner in a later epoch but by the record.
        if (what === 'promise' && term?.isOver === false && epoch > term.epoch)
          term.depose(`${from} owns it in epoch ${String(epoch)}`);
        return steward.replica[what](from, header);
      });
    };
    forReplica(MirrorMessage.promise, 'promise');
    forReplica(MirrorMessage.confirm, 'confirm');
    forReplica(MirrorMessage.admit, 'admit');
    forReplica(MirrorMessage.digest, 'digest');
    forReplica(MirrorMessage.read, 'read');
    link.handle(MirrorMessage.pointLook, (header) => answerLook(header, (id) => this.#points(id)));
    link.handle(MirrorMessage.pointRead, (header) => answerRead(header, (id) => this.#points(id)));
    link.handle(MirrorMessage.handOver, async (header) => {
      const message = JSON.parse(header.toString()) as HandOverMessage;
      await this.#open(message.volume).steward.asked(from, message);
      return EMPTY;
    });
  }

  #points(id: string): CopyPoints | undefined {
    return this.#open(id).steward.options.points;
  }

  #open(id: string): MirroredVolume {
    const volume = this.#volumes.get(id);
    if (volume === undefined) throw new PeerRefusal('not-open', `${id.slice(0, 64)} is not open here`);
    return volume;
  }
}
