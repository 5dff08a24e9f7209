// Snapshots of volumes of a pool: made (several at one instant), rolled back to, cloned, deleted, and what they take.
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_GROUP, MAX_SNAPSHOTS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { countSpace } from '../pool/space.ts';
import type { VolumeMap } from '../pool/volume-map.ts';
import { ScsiError, SENSE } from '../scsi/sense.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { MirrorSnapshots } from './mirror-snapshots.ts';
import { checkName, printable } from './names.ts';
import type { PoolManager } from './pools.ts';
import { storageError } from './provision.ts';
import type { Provisioner } from './provision.ts';
import { VolumeKind } from './records.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import type { Units } from './units.ts';
import type { CreateVolume } from './volume-request.ts';
import { isMirrored } from './records.ts';

export interface SnapshotsOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly pools: PoolManager;
  readonly backend: VolumeBackend;
  readonly provisioner: Provisioner;
  readonly world: World;
  readonly log: Log;
  /** In a cluster: those of volumes with copies on several nodes. */
  readonly mirrored?: MirrorSnapshots | undefined;
}

/** What a clone may have of its own; the rest is as the source has it. */
export type CloneVolume = Pick<CreateVolume, 'name' | 'target' | 'lun' | 'maps' | 'readOnly' | 'durability'>;

/** Bytes. */
export interface SpaceView {
  readonly name: string;
  readonly size: number;
  /** Of blocks that hold data. */
  readonly logicalBytes: number;
  /** What only the volume uses. */
  readonly exclusiveBytes: number;
  /** What its snapshots, clones or copies use too. */
  readonly sharedBytes: number;
  /** What only its snapshots use: comes back when all of them are deleted. */
  readonly snapshotBytes: number;
  /** `exclusiveBytes` comes back when this one is deleted. */
  readonly snapshots: readonly { readonly name: string; readonly exclusiveBytes: number; readonly created: string }[];
}

const keyOf = ({ volume, name }: { readonly volume: string; readonly name: string }): string => `${volume}@${name}`;

export class Snapshots {
  readonly #options: SnapshotsOptions;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    const { mirrored } = options;
    if (mirrored !== undefined) mirrored.rollbackHere = (volume, name) => this.rollback(volume, name);
  }

  /** Throws ServiceError not-found. */
  get(volume: string, name: string): SnapshotRecord {
    const record = this.#options.catalog.snapshots.get(keyOf({ volume, name }));
    if (record !== undefined) return record;
    throw new ServiceError('not-found', `volume '${printable(volume)}' has no snapshot '${printable(name)}'`);
  }

  /** Names of the nodes that have a copy of the volume, and not (yet) of this snapshot. */
  missingOn(record: SnapshotRecord): string[] {
    return this.#options.mirrored?.missingOn(record) ?? [];
  }

  /** Those of one volume, or all; oldest first. */
  list(volume?: string): SnapshotRecord[] {
    const { catalog, provisioner } = this.#options;
    if (volume !== undefined) return catalog.snapshotsOf(provisioner.volume(volume).name);
    return catalog.snapshots.values().sort((a, b) => a.created - b.created);
  }

  /** Finishes or takes back what a crash interrupted. When the pools are open, before the volumes are. */
  async recover(): Promise<void> {
    for (const record of this.#options.catalog.snapshots.values()) {
      if (record.state === 'ready' || !this.#recovers(record)) continue;
      await this.#erase([record]).catch((error: unknown) => {
        const fields = { volume: record.volume, snapshot: record.name, error: messageOf(error) };
        this.#options.log.error(fields, 'an interrupted change of a snapshot could not be finished');
      });
    }
  }

  #recovers({ volume: name, of, by }: SnapshotRecord): boolean {
    const { catalog, backend, mirrored } = this.#options;
    if (of !== undefined && mirrored !== undefined) return by === mirrored.self;
    const volume = catalog.volumes.get(name);
    return volume === undefined || backend.leads(volume);
  }

  /** Snapshots of the volumes, all of one pool, as they all are at one instant; `schedule`: what takes them. */
  create(volumes: readonly string[], name: string, schedule?: SnapshotRecord['schedule']): Promise<SnapshotRecord[]> {
    const { catalog, provisioner, log } = this.#options;
    return provisioner.turn.run(async () => {
      const sources = this.#sources(volumes, checkName(name, 'snapshot'));
      const by = schedule === undefined ? {} : { schedule };
      const creating = await this.#take(sources, name, by);
      const ready = creating.map((record): SnapshotRecord => ({ ...record, state: 'ready' }));
      try {
        await this.#put(ready);
      } catch (error) {
        await this.#erase(creating).catch(() => undefined);
        throw storageError(error, `snapshot '${name}' could not be made`);
      }
      log.info({ volumes: volumes.join(' '), snapshot: name }, 'snapshot created');
      return ready.map((record) => catalog.snapshots.get(keyOf(record)) ?? record);
    });
  }

  /** Takes them, as the records say that are returned; nobody sees them before they are ready. In the turn. */
  async #take(
    sources: readonly (VolumeRecord & { readonly pool: string })[],
    name: string,
    by: Pick<SnapshotRecord, 'schedule'>,
  ): Promise<SnapshotRecord[]> {
    const { pools, world, mirrored } = this.#options;
    const pool = sources[0]?.pool ?? '';
    const isMirror = sources.some(isMirrored);
    if (!isMirror) pools.pool(pool);
    const created = world.clock.wall();
    const newId = (): string => world.random.bytes(16).toString('hex');
    const group = sources.length > 1 ? { group: newId() } : {};
    const creating = sources.map(({ name: volume, size, id: of }): SnapshotRecord => {
      const facts = { name, volume, pool, id: newId(), ...group, ...by, size, created };
      return { ...facts, ...(isMirror ? { of, ...this.#byUs } : {}), state: 'creating' };
    });
    await this.#put(creating);
    const ids = (records: readonly { readonly id: string }[]): string[] => records.map((record) => record.id);
    try {
      if (!isMirror) {
        await pools.copy(pool, ids(sources), ids(creating), false, created);
        return creating;
      }
      const lacking = (await mirrored?.take(creating, created)) ?? [];
      return creating.map((record, i) =>
        (lacking[i] ?? []).length === 0 ? record : { ...record, lacking: lacking[i] ?? [] },
      );
    } catch (error) {
      await this.#erase(creating).catch(() => undefined);
      throw storageError(error, `snapshot '${name}' could not be made`);
    }
  }

  get #byUs(): Pick<SnapshotRecord, 'by'> {
    const { mirrored } = this.#options;
    return mirrored === undefined ? {} : { by: mirrored.self };
  }

  #sources(volumes: readonly string[], name: string): (VolumeRecord & { readonly pool: string })[] {
    const { catalog, provisioner } = this.#options;
    if (volumes.length === 0 || volumes.length > MAX_GROUP || new Set(volumes).size < volumes.length) {
      throw new ServiceError('bad-request', `a snapshot is of 1 to ${String(MAX_GROUP)} different volumes`);
    }
    const sources = volumes.map((volume) => this.#ofPool(provisioner.volume(volume)));
    if (sources.some(isMirrored) && !sources.every(isMirrored)) {
      throw new ServiceError('bad-request', 'volumes with one copy and with several cannot be caught at one instant');
    }
    for (const { name: volume, pool } of sources) {
      if (pool !== sources[0]?.pool) {
        throw new ServiceError('bad-request', 'volumes of different pools cannot be caught at one instant');
      }
      if (catalog.snapshots.get(keyOf({ volume, name })) !== undefined) {
        throw new ServiceError('exists', `volume '${volume}' has a snapshot '${name}' already`);
      }
      if (catalog.snapshotsOf(volume).length >= MAX_SNAPSHOTS) {
        throw new ServiceError('limit-reached', `volume '${volume}' has ${String(MAX_SNAPSHOTS)} snapshots already`);
      }
    }
    return sources;
  }

  #ofPool(record: VolumeRecord): VolumeRecord & { readonly pool: string } {
    const { pool } = record;
    if (!this.#options.backend.holds(record)) {
      throw new ServiceError('bad-request', `the data of volume '${record.name}' is on another node: ask that one`);
    }
    if (pool !== undefined && record.state === 'ready') return { ...record, pool };
    throw new ServiceError(
      'bad-request',
      `volume '${record.name}' is not in a pool: only those have snapshots and clones`,
    );
  }

  /** Its space comes back in the background. */
  delete(volume: string, name: string): Promise<void> {
    return this.#options.provisioner.turn.run(async () => {
      const record = this.get(volume, name);
      if (record.of === undefined) this.#options.pools.pool(record.pool);
      await this.#put([{ ...record, ...(record.of === undefined ? {} : this.#byUs), state: 'deleting' }]);
      try {
        await this.#erase([record]);
      } catch (error) {
        throw storageError(error, `snapshot '${name}' could not be deleted (the next start tries again)`);
      }
      this.#options.log.info({ volume, snapshot: name }, 'snapshot deleted');
    });
  }

  /** The volume is again what it was. Refused while a session sees it: no initiator would know that its data is gone. */
  async rollback(volume: string, name: string): Promise<VolumeRecord> {
    const { provisioner, pools, units, log, mirrored } = this.#options;
    await provisioner.sessionsEnd(volume);
    const asked = this.#ofPool(provisioner.volume(volume));
    if (isMirrored(asked) && mirrored !== undefined) {
      this.get(volume, name);
      provisioner.refuseUsed(volume);
      if (!(await mirrored.isHere(asked, name))) return asked;
    }
    return provisioner.turn.run(async () => {
      const record = this.#ofPool(provisioner.volume(volume));
      const snapshot = this.get(volume, name);
      provisioner.refuseUsed(volume);
      const lu = units.unit(volume);
      const before = lu?.notReady;
      // Whoever logs in meanwhile waits.
      lu?.setNotReady(new ScsiError(SENSE.becomingReady));
      try {
        if (!isMirrored(record)) await pools.rollback(record.pool, record.id, snapshot.id);
        else await mirrored?.rollback(record, snapshot);
      } catch (error) {
        throw storageError(error, `volume '${volume}' could not be rolled back`);
      } finally {
        lu?.setNotReady(before);
      }
      log.info({ volume, snapshot: name }, 'volume rolled back');
      return record;
    });
  }

  /** A writable volume with the content of `volume`, now or (with `snapshot`) as it was; independent of both. */
  async clone(volume: string, snapshot: string | undefined, wanted: CloneVolume, id?: string): Promise<VolumeRecord> {
    const { provisioner, mirrored } = this.#options;
    const record = this.#ofPool(provisioner.volume(volume));
    if (!isMirrored(record) || mirrored === undefined) {
      return this.#clone(record, snapshot === undefined ? record : this.get(volume, snapshot), wanted, id);
    }
    if (snapshot !== undefined) {
      const from = this.get(volume, snapshot);
      mirrored.need(from);
      return this.#clone(record, from, wanted, id);
    }
    // One instant for all nodes; a crash on the way leaves nothing of it, because it never becomes ready.
    const name = `clone-${provisioner.newId().slice(0, 16)}`;
    const [from] = await provisioner.turn.run(() => this.#take([record], name, {}));
    if (from === undefined) throw new ServiceError('internal', 'no snapshot was taken');
    try {
      mirrored.need(from);
      return await this.#clone(record, from, wanted, id);
    } finally {
      await this.#erase([from]).catch(() => undefined);
    }
  }

  #clone(
    record: VolumeRecord & { readonly pool: string },
    from: VolumeRecord | SnapshotRecord,
    wanted: CloneVolume,
    id: string | undefined,
  ): Promise<VolumeRecord> {
    const { provisioner, mirrored } = this.#options;
    const others = (record.replicas ?? []).filter((node) => node !== mirrored?.self);
    const nodes = isMirrored(record) && mirrored !== undefined ? [mirrored.self, ...others] : undefined;
    const { pool, blockSize, physicalBlockSize, durability, policy = null } = record;
    const geometry = { kind: VolumeKind.pool, pool, size: from.size, blockSize, physicalBlockSize, thin: true };
    return provisioner.create(
      { ...wanted, ...geometry, policy, durability: wanted.durability ?? wantable(durability) },
      from.id,
      id,
      nodes,
    );
  }

  /** Who uses how much for this volume. */
  async space(volume: string): Promise<SpaceView> {
    const { catalog, pools, provisioner, world } = this.#options;
    const record = this.#ofPool(provisioner.volume(volume));
    const { allocator } = pools.pool(record.pool);
    const mapOf = (id: string): VolumeMap => pools.entry(record.pool, id).map;
    const snapshots = catalog
      .snapshotsOf(volume)
      .filter((snapshot) => snapshot.state === 'ready' && pools.has(snapshot.pool, snapshot.id));
    const own = mapOf(record.id);
    const { exclusive, shared } = await countSpace(allocator, [own], world.clock);
    const maps = snapshots.map((snapshot) => mapOf(snapshot.id));
    const together = await countSpace(allocator, maps, world.clock);
    const each: { name: string; exclusiveBytes: number; created: string }[] = [];
    for (const [i, { name, created }] of snapshots.entries()) {
      const count = await countSpace(allocator, maps.slice(i, i + 1), world.clock);
      each.push({ name, exclusiveBytes: count.exclusive * GRAIN, created: new Date(created).toISOString() });
    }
    return {
      name: volume,
      size: record.size,
      logicalBytes: own.blocks * BLOCK,
      exclusiveBytes: exclusive * GRAIN,
      sharedBytes: shared * GRAIN,
      snapshotBytes: together.exclusive * GRAIN,
      snapshots: each,
    };
  }

  async #put(records: readonly SnapshotRecord[]): Promise<void> {
    const { catalog } = this.#options;
    await catalog.apply(...records.map((record) => catalog.snapshots.edit(keyOf(record), record)));
  }

  async #erase(records: readonly SnapshotRecord[]): Promise<void> {
    const { catalog, backend } = this.#options;
    for (const record of records) await backend.removeSnapshot(record);
    await catalog.apply(...records.map((record) => catalog.snapshots.edit(keyOf(record), undefined)));
  }
}

const wantable = (durability: string): 'durable' | 'volatile' => (durability === 'volatile' ? 'volatile' : 'durable');
