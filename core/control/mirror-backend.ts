// Where the data of volumes lives in a cluster: on the nodes of `replicas`, each with storage of its own.
import { ServiceError, messageOf } from '../base/errors.ts';
import { DROPPED_POINTS, REPLICA_PATIENCE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { World } from '../base/world.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember } from '../cluster/member.ts';
import { readRecord, recordKey } from '../mirror/config-record.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { MirroredVolume } from '../mirror/mirrored-volume.ts';
import type { CopyPoints } from '../mirror/points.ts';
import { RegionLog } from '../mirror/region-log.ts';
import type { Volume } from '../volume/volume.ts';
import type { VolumeBackend } from './backend.ts';
import type { Images } from './images.ts';
import { VolumeKind, isMirrored, preferredOf } from './records.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import type { PlannedVolume } from './volume-request.ts';

/** What a node has to do, or has done, about its copy of a volume: `volume/<id>/replica/<node>`. */
type Order =
  | {
      readonly state: 'make';
      readonly record: VolumeRecord;
      /** Id of the volume or snapshot it is a copy of. */
      readonly source?: string | undefined;
    }
  /** `alike`: the copy has what the source has (absent: yes); else it is empty, because this node does not have the source. */
  | { readonly state: 'made'; readonly alike?: boolean }
  | { readonly state: 'failed'; readonly why: string }
  | {
      readonly state: 'remove';
      readonly record: VolumeRecord;
      /** That go with it. */
      readonly snapshots?: readonly SnapshotRecord[];
    };

const VOLUMES = 'volume/';
const orderKey = (id: string, node: string): string => `${VOLUMES}${id}/replica/${node}`;
/** A snapshot a node has to forget: `volume/<id>/drop/<snapshot>/<node>`. */
const dropKey = ({ of = '', id }: SnapshotRecord, node: string): string => `${VOLUMES}${of}/drop/${id}/${node}`;
const asJson = (order: Order): Json => order as unknown as Json;

export interface MirrorBackendOptions {
  /** The storage of this node. */
  readonly local: VolumeBackend;
  readonly member: ClusterMember;
  readonly mirror: MirrorNode;
  readonly images: Images;
  /** For the region logs. */
  readonly folder: string;
  readonly world: World;
  readonly log: Log;
  /** Ends serving a volume whose copy is to be removed. */
  readonly withdraw: (record: VolumeRecord) => Promise<void>;
}

export class MirrorBackend implements VolumeBackend {
  readonly #options: MirrorBackendOptions;
  /** Copies that were made for volumes which are not served yet. */
  readonly #made = new Map<string, MirroredVolume>();
  /** Ids of snapshots that were deleted: what is still on its way does not make them again. */
  readonly #dropped = new Set<string>();
  /** One order after the other. */
  readonly #turn = new Turn();
  #unwatch: (() => void) | undefined;

  constructor(options: MirrorBackendOptions) {
    this.#options = options;
  }

  /** Carries out what other nodes want of this one, now and from now on. */
  async start(): Promise<void> {
    const { member } = this.#options;
    const own = `/replica/${member.self.id}`;
    const told = (key: string, value: Json | undefined): void => {
      if (value === undefined) return;
      if (key.endsWith(own)) this.#later(key, value as unknown as Order);
      else if (/\/drop\/[^/]*\/([^/]*)$/.exec(key)?.[1] === member.self.id) this.#dropLater(key, value);
    };
    this.#unwatch = member.store.watch(VOLUMES, ({ key, value }) => {
      told(key, value);
    });
    for (const { key, value } of await member.store.list(VOLUMES)) told(key, value);
  }

  async stop(): Promise<void> {
    this.#unwatch?.();
    await this.#turn.run(() => Promise.resolve());
  }

  holds({ replicas }: VolumeRecord): boolean {
    return replicas === undefined || replicas.includes(this.#options.member.self.id);
  }

  /** Of a mirrored volume its owner, as long as that is known here; else the first of its nodes. */
  leads(record: VolumeRecord): boolean {
    const { id, replicas } = record;
    const { member, mirror } = this.#options;
    const known = isMirrored(record) ? mirror.ownership(id) : undefined;
    if (known !== undefined && known.owner !== '') return known.role === 'owner';
    return replicas === undefined || replicas[0] === member.self.id;
  }

  whereabouts(record: VolumeRecord): string | undefined {
    if (this.holds(record)) return undefined;
    return (record.replicas ?? []).map((node) => this.#nameOf(node)).join(', ');
  }

  #nameOf(node: string): string {
    return this.#options.member.nodes().find(({ id }) => id === node)?.name ?? node;
  }

  place(plan: PlannedVolume): Promise<string> {
    return this.#options.local.place(plan);
  }
  locate(record: VolumeRecord): string | undefined {
    return this.#options.local.locate(record);
  }
  check(record: VolumeRecord): void {
    this.#options.local.check(record);
  }
  tokens(record: VolumeRecord): number {
    return this.#options.local.tokens(record);
  }
  async removeSnapshot(snapshot: SnapshotRecord): Promise<void> {
    const { local, member } = this.#options;
    if (snapshot.of === undefined) return local.removeSnapshot(snapshot);
    const others = member.nodes().filter(({ id, role }) => role === 'data' && id !== member.self.id);
    const value = { ...snapshot } as unknown as Json;
    await member.store.commit(others.map(({ id }) => ({ key: dropKey(snapshot, id), value })));
    await this.#drop(snapshot);
  }

  keeps(pool: string, id?: string): boolean {
    return this.#options.local.keeps(pool, id);
  }

  points(record: VolumeRecord): CopyPoints | undefined {
    const points = this.#options.local.points(record);
    if (points === undefined) return undefined;
    const make: CopyPoints['make'] = async (id, created) => {
      if (this.#dropped.has(id)) throw new ServiceError('not-found', 'the snapshot has been deleted');
      await points.make(id, created);
    };
    return {
      make,
      has: (id) => points.has(id),
      rollback: (id) => points.rollback(id),
      read: (id, work) => points.read(id, work),
      draft: (id, size, near) => points.draft(id, size, near),
    };
  }

  async #drop(snapshot: SnapshotRecord): Promise<void> {
    const { local, mirror } = this.#options;
    this.#dropped.add(snapshot.id);
    for (const old of this.#dropped) {
      if (this.#dropped.size <= DROPPED_POINTS) break;
      this.#dropped.delete(old);
    }
    // It may be being made just now.
    await mirror.get(snapshot.of ?? '')?.steward.replica.drain();
    if (local.keeps(snapshot.pool)) await local.removeSnapshot(snapshot);
  }

  async create(wanted: VolumeRecord, source?: string): Promise<Volume> {
    const { local, mirror, member, images } = this.#options;
    if (!isMirrored(wanted)) return local.create(wanted, source);
    // One image for all nodes; each has notes of its own about it.
    const record = wanted.kind === VolumeKind.image ? { ...wanted, size: await images.make(wanted) } : wanted;
    const { id, replicas = [] } = record;
    const others = replicas.filter((node) => node !== member.self.id);
    await this.#order(others.map((node) => [orderKey(id, node), { state: 'make', record, source }]));
    const { volume } = await this.#make(record, source);
    try {
      const alike = await Promise.all(others.map((node) => this.#awaitMade(id, node)));
      const inSync = [member.self.id, ...others.filter((_, i) => alike[i] === true)];
      const preferred = preferredOf(record) ?? member.self.id;
      await mirror.create(id, replicas, inSync.includes(preferred) ? preferred : member.self.id, inSync);
    } catch (error) {
      await mirror.close(id).catch(() => undefined);
      throw error;
    }
    return volume;
  }

  async open(record: VolumeRecord): Promise<Volume> {
    const { local, mirror, member } = this.#options;
    if (!this.holds(record)) throw new ServiceError('bad-request', 'its data is on another node');
    if (!isMirrored(record)) return local.open(record);
    const made = this.#made.get(record.id);
    this.#made.delete(record.id);
    if (made !== undefined) return made;
    // What the layers above have closed is still known to the mirror.
    await mirror.close(record.id).catch(() => undefined);
    const backing = await local.open(record);
    try {
      return await mirror.open(this.#mirrored(record, false), backing);
    } catch (error) {
      await backing.close().catch(() => undefined);
      throw new ServiceError('io-error', `${member.self.name}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Of a mirrored volume on all nodes; those that do not answer do it when they are back. */
  async remove(record: VolumeRecord): Promise<void> {
    const { local, member } = this.#options;
    const { id, replicas = [] } = record;
    if (!isMirrored(record)) {
      if (this.holds(record)) await local.remove(record);
      else
        await this.#order(replicas.map((node): [string, Order] => [orderKey(id, node), { state: 'remove', record }]));
      return;
    }
    const others = replicas.filter((node) => node !== member.self.id);
    await this.#order([
      ...others.map((node): [string, Order] => [orderKey(id, node), { state: 'remove', record }]),
      [orderKey(id, member.self.id), undefined],
      [recordKey(id), undefined],
    ]);
    await this.#removeHere(record);
    if (record.kind === VolumeKind.image) await this.#options.images.destroy(record);
  }

  // ---- copies that come and go

  /** Has the node make a fresh copy of a volume that is served already. Rejects with a ServiceError; an attempt is repeated as a whole. */
  async makeCopy(record: VolumeRecord, node: string): Promise<void> {
    const { store } = this.#options.member;
    const key = orderKey(record.id, node);
    const before = (await store.get(key))?.value as unknown as Order | undefined;
    if (before?.state === 'made') return;
    await this.#order([[key, { state: 'make', record }]]);
    await this.#awaitMade(record.id, node);
  }

  /** Has the node remove its copy, when it is there; of one that `isGone` for good nothing is expected. */
  async dropCopy(
    record: VolumeRecord,
    node: string,
    isGone = false,
    snapshots: readonly SnapshotRecord[] = [],
  ): Promise<void> {
    const order: Order = { state: 'remove', record, snapshots };
    await this.#order([[orderKey(record.id, node), isGone ? undefined : order]]);
  }

  /**
   * A volume this node has alone is known to the mirror from now on: its record there is written, and where the copy is noted.
   * It has to be closed, and is opened anew afterwards. `unitState`: what its unit goes on with (reservations). Can be repeated.
   * Rejects with a ServiceError.
   */
  async beginMirror({ id, replicas = [], size }: VolumeRecord, unitState: Buffer | undefined): Promise<void> {
    const { mirror, member, world, folder } = this.#options;
    if ((await member.store.get(recordKey(id))) !== undefined) return;
    // Of an earlier time in which it was mirrored: what it says is not true any more.
    await world.disk.makeFolder(folder);
    await RegionLog.begin(world, `${folder}/${id}`, size, unitState);
    await mirror.create(id, replicas, member.self.id);
  }

  #mirrored(record: VolumeRecord, fresh: boolean): Parameters<MirrorNode['open']>[0] {
    const { id, durability } = record;
    return { id, durability, folder: this.#options.folder, fresh, points: this.points(record) };
  }

  /** `alike`: it has what the source has; this node may not have the source. */
  async #make(record: VolumeRecord, source?: string): Promise<{ volume: MirroredVolume; alike: boolean }> {
    const { local, mirror } = this.#options;
    const alike = source === undefined || local.keeps(record.pool ?? '', source);
    const backing = await local.create(record, alike ? source : undefined);
    try {
      const volume = await mirror.open({ ...this.#mirrored(record, alike), foreign: !alike }, backing);
      return { volume, alike };
    } catch (error) {
      await backing.close().catch(() => undefined);
      await local.remove(record).catch(() => undefined);
      throw error;
    }
  }

  async #removeHere(record: VolumeRecord): Promise<void> {
    const { local, mirror } = this.#options;
    this.#made.delete(record.id);
    await mirror.close(record.id).catch(() => undefined);
    await local.remove(record);
  }

  async #order(orders: readonly (readonly [key: string, order: Order | undefined])[]): Promise<void> {
    const { store } = this.#options.member;
    await store.commit(orders.map(([key, order]) => ({ key, value: order === undefined ? undefined : asJson(order) })));
  }

  /** Whether the copy has what it should have. Rejects with ServiceError unless the other node has made it in time. */
  async #awaitMade(id: string, node: string): Promise<boolean> {
    const { member, world } = this.#options;
    const { clock } = world;
    const name = this.#nameOf(node);
    const key = orderKey(id, node);
    for (const end = clock.now() + REPLICA_PATIENCE; ;) {
      const order = (await member.store.get(key))?.value as unknown as Order | undefined;
      if (order?.state === 'made') return order.alike !== false;
      if (order?.state === 'failed') throw new ServiceError('io-error', `on node ${name}: ${order.why}`);
      if (clock.now() > end) throw new ServiceError('peer-unreachable', `node ${name} does not make its copy`);
      await new Promise<void>((resolve) => {
        const timer = clock.after(250, resolve);
        const end = member.store.watch(key, () => {
          timer.cancel();
          end();
          resolve();
        });
        clock.after(300, end);
      });
    }
  }

  #dropLater(key: string, value: Json): void {
    const { log, member } = this.#options;
    const snapshot = value as unknown as SnapshotRecord;
    const work = async (): Promise<void> => {
      await this.#drop(snapshot);
      await member.store.commit([{ key, value: undefined }]);
    };
    void this.#turn.run(work).catch((error: unknown) => {
      const fields = { volume: snapshot.volume, snapshot: snapshot.name, error: messageOf(error) };
      log.error(fields, 'a deleted snapshot was not removed here; the next start tries again');
    });
  }

  #later(key: string, order: Order): void {
    if (order.state !== 'make' && order.state !== 'remove') return;
    const { log } = this.#options;
    void this.#turn
      .run(() => this.#carryOut(key, order))
      .catch((error: unknown) => {
        log.error({ volume: order.record.name, error: messageOf(error) }, `a copy was not ${order.state}d`);
      });
  }

  async #carryOut(key: string, order: Extract<Order, { record: VolumeRecord }>): Promise<void> {
    const { withdraw, log } = this.#options;
    const { record } = order;
    if (order.state === 'remove') {
      await withdraw(record);
      for (const snapshot of order.snapshots ?? []) {
        const { local } = this.#options;
        if (local.keeps(snapshot.pool, snapshot.id)) await local.removeSnapshot(snapshot);
      }
      await this.#removeHere(record);
      await this.#order([[key, undefined]]);
      log.info({ volume: record.name }, 'the copy of a deleted volume was removed');
      return;
    }
    if (this.#made.has(record.id)) return;
    const known = await readRecord(this.#options.member.store, record.id);
    if (known?.record.replicas.includes(this.#options.member.self.id) === true) {
      // The one there is counts: it was made, and whoever wanted it has not heard of that.
      await this.#order([[key, { state: 'made' }]]);
      return;
    }
    try {
      // What an interrupted attempt left behind was never used.
      await this.#removeHere(record).catch(() => undefined);
      const { volume, alike } = await this.#make(record, order.source);
      this.#made.set(record.id, volume);
      await this.#order([[key, { state: 'made', alike }]]);
    } catch (error) {
      await this.#order([[key, { state: 'failed', why: messageOf(error) }]]);
    }
  }
}
