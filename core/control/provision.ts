// Volumes come, change and go. Whatever takes two steps writes its intention first, so that a crash between them is
// finished or taken back at the next start.
import { ServiceError, messageOf } from '../base/errors.ts';
import { DELETE_PATIENCE, HAND_OVER_PATIENCE, MAX_MAPS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { formatSize } from '../base/sizes.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { Durability, VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import { checkMapSubject, printable } from './names.ts';
import { VolumeKind, isMirrored } from './records.ts';
import type { LeaseRecord, MapRecord, VolumeRecord } from './records.ts';
import type { SessionSource } from './sessions.ts';
import { forgetVolume, intoTrash } from './trash.ts';
import { refuseDeletion, refuseUsed, usersOf } from './uses.ts';
import { Turn } from '../base/turn.ts';
import type { Units } from './units.ts';
import { checkSize, checkSubject, isElsewhere, planVolume, sizeUnit } from './volume-request.ts';
import type { CreateVolume, PlannedVolume } from './volume-request.ts';

export interface ProvisionerOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly backend: VolumeBackend;
  readonly world: World;
  readonly log: Log;
  /** Nodes for a volume with so many copies, in a cluster. */
  readonly placement?: ((copies: number | undefined) => readonly string[]) | undefined;
  /** Which of these nodes should serve a new volume, in a cluster. */
  readonly ownerOfNew?: ((nodes: readonly string[]) => string) | undefined;
  /** The running server; undefined before it listens. */
  readonly server: () => SessionSource | undefined;
}

export class Provisioner {
  readonly #catalog: Catalog;
  readonly #units: Units;
  readonly #backend: VolumeBackend;
  readonly #world: World;
  readonly #log: Log;
  readonly #server: () => SessionSource | undefined;
  readonly #placement: ProvisionerOptions['placement'];
  readonly #ownerOfNew: ProvisionerOptions['ownerOfNew'];
  /** Whatever changes volumes, or what belongs to them, happens one after the other. */
  readonly turn = new Turn();
  /** Resizes a volume that another node serves, there; undefined when none does. */
  resizeElsewhere: (record: VolumeRecord, size: number, force: boolean) => Promise<VolumeRecord | undefined> = () =>
    Promise.resolve(undefined);

  constructor(options: ProvisionerOptions) {
    this.#catalog = options.catalog;
    this.#units = options.units;
    this.#backend = options.backend;
    this.#world = options.world;
    this.#log = options.log;
    this.#server = options.server;
    this.#placement = options.placement;
    this.#ownerOfNew = options.ownerOfNew;
  }

  /** 32 random hexadecimal digits. */
  newId(): string {
    return this.#world.random.bytes(16).toString('hex');
  }

  /** Throws ServiceError not-found. */
  volume(name: string): VolumeRecord {
    const record = this.#catalog.volumes.get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no volume '${printable(name)}'`);
    return record;
  }

  /** Serves every volume of the catalog, after finishing what a crash interrupted. A volume that fails is reported. */
  async openAll(): Promise<void> {
    for (const record of this.#catalog.volumes.values()) {
      if (!this.#backend.holds(record)) continue;
      try {
        if (record.state === 'ready') await this.#openOne(record);
        else if (this.#backend.leads(record)) await this.#erase(record);
      } catch (error) {
        this.#units.setProblem(record.name, messageOf(error));
        this.#log.error(
          { volume: record.name, path: this.#backend.locate(record), error: messageOf(error) },
          'volume is not served',
        );
      }
    }
  }

  /**
   * Makes a volume and serves it; `source`: id of the volume or snapshot of the same pool it is a copy of; `id`: the one it
   * is to have; `nodes`: ids of those that are to have the copy, this one first. Rejects with bad-request, exists, limit-reached, no-space or io-error.
   */
  create(wanted: CreateVolume, source?: string, id = this.newId(), nodes?: readonly string[]): Promise<VolumeRecord> {
    return this.turn.run(async () => {
      const { copies, ...planned } = planVolume(this.#catalog, wanted);
      const replicas = nodes ?? this.#replicas(planned, source === undefined ? copies : 1);
      if (planned.durability === Durability.mirroredRam && (replicas?.length ?? 1) < 2) {
        const what = 'mirrored-ram acknowledges a write when it is in the memory of two nodes';
        throw new ServiceError('bad-request', `${what}: it takes a cluster (gemel cluster init) and two copies`);
      }
      const plan = replicas === undefined ? planned : { ...planned, replicas, ...this.#preference(replicas) };
      const path = await this.#backend.place(plan);
      const created = this.#world.clock.wall();
      const creating: VolumeRecord = { ...plan, id, path, created, state: 'creating' };
      const target = this.#catalog.targets.get(plan.target) ?? {
        name: plan.target,
        iqn: this.#catalog.iqnOf(plan.target),
      };
      await this.#catalog.apply(
        this.#catalog.volumes.edit(plan.name, creating),
        this.#catalog.targets.edit(plan.target, target),
      );
      let volume: Volume;
      try {
        volume = await this.#backend.create(creating, source);
      } catch (error) {
        await this.#erase(creating);
        throw storageError(error, `volume '${plan.name}' could not be made`);
      }
      const record: VolumeRecord = { ...creating, size: volume.info.size, state: 'ready' };
      try {
        await this.#catalog.apply(this.#catalog.volumes.edit(record.name, record));
      } catch (error) {
        await volume.close();
        // On a full disk this fails as well: the next start takes it back then.
        await this.#erase(creating).catch(() => undefined);
        throw error;
      }
      this.#units.expose(record, target.iqn, volume);
      this.#log.info({ volume: record.name, bytes: record.size, path: this.#backend.locate(record) }, 'volume created');
      return record;
    });
  }

  /**
   * Grows or shrinks (bytes), at the node that serves it. Shrinking loses data, so a mapped volume shrinks only with `force`.
   * Rejects with a ServiceError.
   */
  async resize(name: string, size: number, force: boolean): Promise<VolumeRecord> {
    return (await this.resizeElsewhere(this.volume(name), size, force)) ?? (await this.resizeHere(name, size, force));
  }

  /** As resize, at this node. */
  resizeHere(name: string, size: number, force: boolean): Promise<VolumeRecord> {
    return this.turn.run(async () => {
      const record = this.volume(name);
      const lu = this.#units.unit(name);
      if (isElsewhere(record.kind))
        throw new ServiceError('bad-request', 'it has the size its device, or its server, has');
      if (lu === undefined) throw new ServiceError('io-error', this.#notServed(record));
      checkSize(size, sizeUnit(record.kind, record.blockSize));
      if (size === record.size) return record;
      if (size < record.size && !force && (record.maps.length > 0 || lu.nexuses.size > 0)) {
        const what = `shrinking '${name}' from ${formatSize(record.size)} to ${formatSize(size)} cuts off data`;
        throw new ServiceError('in-use', `${what}, and initiators are mapped to it`);
      }
      await this.#catalog.apply(this.#catalog.volumes.edit(name, { ...record, resizing: size }));
      try {
        await lu.volume.resize(size);
      } catch (error) {
        await this.#catalog.apply(this.#catalog.volumes.edit(name, record));
        throw storageError(error, `volume '${name}' could not be resized`);
      }
      // Also when nobody knows whether that can be put on record: it has happened, and `resizing` is finished by whoever looks.
      lu.capacityChanged();
      const resized: VolumeRecord = { ...record, size };
      await this.#catalog.apply(this.#catalog.volumes.edit(name, resized));
      this.#log.info({ volume: name, from: record.size, to: size }, 'volume resized');
      return resized;
    });
  }

  /**
   * Deletes the volume and its data (a device keeps its data), or keeps that for `keep` milliseconds (Trash). Refused while
   * somebody would notice (refuseDeletion), unless `force`, and while it has snapshots, unless they go `withSnapshots`.
   */
  async delete(name: string, force: boolean, withSnapshots = false, keep = 0): Promise<void> {
    if (!force) await this.sessionsEnd(name);
    await this.turn.run(async () => {
      const record = this.volume(name);
      this.#backend.check(record);
      this.refuseDeletion(record, force, withSnapshots);
      if (keep > 0 && record.state === 'ready') {
        await this.#intoTrash(record, keep);
        return;
      }
      const deleting: VolumeRecord = { ...record, state: 'deleting' };
      await this.#catalog.apply(this.#catalog.volumes.edit(name, deleting));
      try {
        await this.#erase(deleting);
      } catch (error) {
        throw storageError(error, `volume '${name}' could not be deleted (the next start tries again)`);
      }
      this.#log.info({ volume: name, forced: force }, 'volume deleted');
    });
  }

  /** Throws ServiceError in-use or has-snapshots: why the volume should not be deleted. */
  refuseDeletion(record: VolumeRecord, force: boolean, withSnapshots: boolean): void {
    const options = { catalog: this.#catalog, units: this.#units, backend: this.#backend };
    refuseDeletion(options, record, withSnapshots, force);
  }

  async #intoTrash(record: VolumeRecord, keep: number): Promise<void> {
    const iqn = this.#iqnOf(record);
    await this.withdraw(record).catch((error: unknown) => {
      this.#log.warn({ volume: record.name, error: messageOf(error) }, 'closing a deleted volume');
    });
    try {
      await this.#catalog.apply(...intoTrash(this.#catalog, record, iqn, this.#world.clock.wall(), keep));
    } catch (error) {
      // It is still there: whoever used it goes on.
      await this.serve(record);
      throw error;
    }
    this.#units.forgetProblem(record.name);
    this.#log.info({ volume: record.name, keptMs: keep }, 'volume deleted; its data is kept for a while');
  }

  /** Opens and exposes a volume of the catalog that is not served; reports why when that fails. In the turn. */
  async serve(record: VolumeRecord): Promise<void> {
    try {
      await this.#openOne(record);
    } catch (error) {
      this.#units.setProblem(record.name, messageOf(error));
      const fields = { volume: record.name, path: this.#backend.locate(record), error: messageOf(error) };
      this.#log.error(fields, 'volume is not served');
    }
  }

  /**
   * Closes the storage of a volume, if it is open, and opens it again: after trouble that kept it from being served, or
   * from taking writes. Sessions keep the LUN and learn of it as of a power cycle of the disk (reservations without APTPL
   * are gone); that interrupts them, so while sessions see the volume it wants `force`. Rejects with a ServiceError when
   * the storage cannot be opened; the volume is not served then. `between` is done while it is
   * closed, and gives its record; then hosts are told BUSY instead of interrupted.
   */
  reopen(
    name: string,
    force: boolean,
    between?: (record: VolumeRecord, before: LogicalUnit | undefined) => Promise<VolumeRecord>,
  ): Promise<VolumeRecord> {
    return this.turn.run(async () => {
      const record = this.volume(name);
      if (record.state !== 'ready') throw new ServiceError('io-error', this.#notServed(record));
      const users = this.#users(name);
      if (!force && users.length > 0) {
        throw new ServiceError('in-use', `reopening '${name}' interrupts ${String(users.length)} initiator(s)`);
      }
      if (between !== undefined) await this.#units.unit(name)?.calm(HAND_OVER_PATIENCE);
      const lu = this.#units.suspend(record);
      // What could not be made stable before is why it is opened again.
      await lu?.volume.close().catch((error: unknown) => {
        this.#log.warn({ volume: name, error: messageOf(error) }, 'closing a volume to open it again');
      });
      try {
        await this.#openOne((await between?.(record, lu)) ?? record);
      } catch (error) {
        const iqn = this.#iqnOf(record);
        this.#units.withdraw(record, iqn);
        if (!this.#units.devices.has(iqn)) this.#server()?.closeTarget(iqn);
        this.#units.setProblem(name, messageOf(error));
        throw storageError(error, `volume '${name}' could not be opened`);
      }
      this.#log.info({ volume: name, forced: force }, 'volume opened again');
      return this.volume(name);
    });
  }

  /** Lets an initiator (or `loopback`, `all`) see the volume; changes the access when it does already. */
  map(name: string, who: string, readOnly: boolean): Promise<VolumeRecord> {
    return this.#changeMaps(name, (maps) => {
      const subject = checkSubject(this.#catalog, who);
      const others = maps.filter((map) => map.who !== subject);
      if (others.length >= MAX_MAPS) {
        throw new ServiceError('limit-reached', `volume '${name}' is mapped to ${String(MAX_MAPS)} initiators already`);
      }
      return [...others, { who: subject, readOnly }];
    });
  }

  /** Takes the volume away from an initiator, at once. Rejects with not-found when it was not mapped. */
  unmap(name: string, who: string): Promise<VolumeRecord> {
    const subject = checkMapSubject(who);
    return this.#changeMaps(name, (maps) => {
      const others = maps.filter((map) => map.who !== subject);
      if (others.length < maps.length) return others;
      throw new ServiceError('not-found', `volume '${name}' is not mapped to ${subject}`);
    });
  }

  /** Changes the lease of the volume. Rejects with not-found, or with what `change` throws. */
  changeLease(
    name: string,
    change: (lease: LeaseRecord | undefined) => LeaseRecord | undefined,
  ): Promise<VolumeRecord> {
    return this.turn.run(async () => {
      const { lease: before, ...record } = this.volume(name);
      const lease = change(before);
      const changed: VolumeRecord = lease === undefined ? record : { ...record, lease };
      if (lease !== before) await this.#catalog.apply(this.#catalog.volumes.edit(name, changed));
      return changed;
    });
  }

  /** Waits for what is running, then closes every volume. */
  async close(): Promise<void> {
    await this.turn.run(async () => {
      for (const [volume, error] of await this.#units.closeAll()) {
        this.#log.error({ volume, error: messageOf(error) }, 'volume was not closed cleanly');
      }
    });
  }

  // ---- internals

  /** Where the data goes in a cluster; undefined: this node is alone. Throws ServiceError bad-request. */
  #replicas({ kind }: Pick<PlannedVolume, 'kind'>, wanted: number | undefined): readonly string[] | undefined {
    if (this.#placement === undefined) {
      if (wanted === undefined || wanted === 1) return undefined;
      throw new ServiceError('bad-request', 'copies on several nodes take a cluster (gemel cluster init)');
    }
    if (!isElsewhere(kind)) return this.#placement(wanted);
    if (wanted === undefined || wanted === 1) return this.#placement(1);
    throw new ServiceError('bad-request', 'what lies outside of Gemel has no copies on other nodes');
  }

  #preference(replicas: readonly string[]): { preferred?: string } {
    const preferred = replicas.length > 1 ? this.#ownerOfNew?.(replicas) : undefined;
    return preferred === undefined ? {} : { preferred };
  }

  #changeMaps(name: string, change: (maps: readonly MapRecord[]) => MapRecord[]): Promise<VolumeRecord> {
    return this.turn.run(async () => {
      const record = this.volume(name);
      const changed: VolumeRecord = { ...record, maps: change(record.maps) };
      await this.#catalog.apply(this.#catalog.volumes.edit(name, changed));
      this.#units.reconsider(this.#iqnOf(record));
      this.#log.info({ volume: name, maps: changed.maps.map((map) => map.who).join(' ') }, 'mapping changed');
      return changed;
    });
  }

  async #openOne(record: VolumeRecord): Promise<void> {
    const volume = await this.#backend.open(record);
    const size = record.resizing ?? record.size;
    let current = record;
    if (isMirrored(record) && record.kind !== VolumeKind.image) {
      // A copy that was away has the size it had then; who serves the volume brings it to what it is.
    } else if (record.resizing !== undefined) {
      if (volume.info.size !== size) await volume.resize(size);
      current = await this.#resized(record, size);
    } else if (volume.info.size > size) {
      // Somebody has grown the device or the file while we were not looking; initiators will see what is there.
      current = { ...record, size: volume.info.size };
      await this.#catalog.apply(this.#catalog.volumes.edit(record.name, current));
      this.#log.warn({ volume: record.name, from: size, to: current.size }, 'the storage of a volume has grown');
    } else if (volume.info.size < size) {
      // Why it cannot be closed is not why it is not served.
      await volume.close().catch(() => undefined);
      const found = formatSize(volume.info.size);
      throw new ServiceError('io-error', `its data has only ${found} of ${formatSize(size)}: part of it is missing`);
    }
    this.#units.expose(current, this.#iqnOf(current), volume);
  }

  /** Finishes the resize of a mirrored volume that a crash has interrupted; this node serves it. Rejects with a ServiceError. */
  finishResize(name: string): Promise<void> {
    return this.turn.run(async () => {
      const record = this.#catalog.volumes.get(name);
      const lu = this.#units.unit(name);
      if (record?.resizing === undefined || lu === undefined) return;
      try {
        if (lu.volume.info.size !== record.resizing) await lu.volume.resize(record.resizing);
      } catch (error) {
        throw storageError(error, `volume '${name}' could not be resized`);
      }
      await this.#resized(record, record.resizing);
      lu.capacityChanged();
    });
  }

  async #resized({ resizing, ...rest }: VolumeRecord, size: number): Promise<VolumeRecord> {
    const record: VolumeRecord = { ...rest, size };
    await this.#catalog.apply(this.#catalog.volumes.edit(rest.name, record));
    this.#log.warn({ volume: rest.name, bytes: resizing }, 'finished a resize that was interrupted');
    return record;
  }

  /** Ends serving a volume whose record is gone, or is another one's by now, and closes it. */
  withdrawGone(name: string, id: string): Promise<void> {
    return this.turn.run(async () => {
      const found = this.#units.unit(name)?.identity.id === id ? this.#units.gone(name) : undefined;
      if (found === undefined) return;
      if (!this.#units.devices.has(found.iqn)) this.#server()?.closeTarget(found.iqn);
      await found.lu.volume.close();
    });
  }

  /** Ends serving, and closes the volume. Rejects when what was written could not be made stable. In the turn. */
  async withdraw(record: VolumeRecord): Promise<void> {
    const iqn = this.#iqnOf(record);
    const lu = this.#units.withdraw(record, iqn);
    if (lu === undefined) return;
    if (!this.#units.devices.has(iqn)) this.#server()?.closeTarget(iqn);
    await lu.volume.close();
  }

  isServed(name: string): boolean {
    return this.#units.unit(name) !== undefined;
  }

  /** Ends serving, removes the storage and then every record of the volume. Can be repeated after a crash. */
  async #erase(record: VolumeRecord): Promise<void> {
    // What a closing volume could not make stable is deleted anyway.
    await this.withdraw(record).catch((error: unknown) => {
      this.#log.warn({ volume: record.name, error: messageOf(error) }, 'closing a deleted volume');
    });
    const snapshots = this.#catalog.snapshotsOf(record.name);
    for (const snapshot of snapshots) await this.#backend.removeSnapshot(snapshot);
    await this.#backend.remove(record);
    await this.#catalog.apply(...forgetVolume(this.#catalog, record));
    this.#units.forgetProblem(record.name);
  }

  #iqnOf(record: VolumeRecord): string {
    return this.#catalog.targets.get(record.target)?.iqn ?? this.#catalog.iqnOf(record.target);
  }

  #notServed(record: VolumeRecord): string {
    const where = this.#backend.whereabouts(record);
    if (where !== undefined) return `volume '${record.name}' is on ${where}: ask there`;
    return `volume '${record.name}' is not served: ${this.#units.problem(record.name) ?? 'it is being deleted'}`;
  }

  /** Throws ServiceError in-use while a session sees the volume. */
  refuseUsed(name: string): void {
    refuseUsed(this.#units, name);
  }

  #users(name: string): string[] {
    return usersOf(this.#units, name);
  }

  /** An initiator that has just gone is not "in use": gives closing connections a moment. */
  async sessionsEnd(name: string): Promise<void> {
    const clock = this.#world.clock;
    const end = clock.now() + DELETE_PATIENCE;
    while (this.#users(name).length > 0 && clock.now() < end) {
      await new Promise<void>((resolve) => clock.after(25, resolve));
    }
  }
}

/** A failure of the storage as a ServiceError that says what was attempted. */
export function storageError(error: unknown, attempt: string): ServiceError {
  const message = `${attempt}: ${messageOf(error)}`;
  if (error instanceof ServiceError) return new ServiceError(error.code, message, { cause: error });
  const full = error instanceof VolumeError && error.fault === VolumeFault.noSpace;
  return new ServiceError(full ? 'no-space' : 'io-error', message, { cause: error });
}
