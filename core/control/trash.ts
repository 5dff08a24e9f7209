// Deleted volumes that are kept for a while: nobody sees them, their names and LUNs are free, their data is still there.
import { ServiceError, messageOf } from '../base/errors.ts';
import {
  KEEP_DELETED,
  MAX_DELETED_VOLUMES,
  MAX_KEEP_DELETED,
  MAX_SNAPSHOTS,
  MAX_VOLUMES,
  TRASH_INTERVAL,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { Edit } from './collection.ts';
import type { Events } from './events.ts';
import { withoutLease } from './leases.ts';
import { checkName, printable } from './names.ts';
import type { PoolManager } from './pools.ts';
import type { Provisioner } from './provision.ts';
import { VolumeKind } from './records.ts';
import type { DeletedVolume, VolumeRecord } from './records.ts';
import { Rounds } from './rounds.ts';
import type { Units } from './units.ts';
import { cacheCounters } from './views.ts';
import { freeLun } from './volume-request.ts';

export interface TrashOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly pools: PoolManager;
  readonly backend: VolumeBackend;
  readonly provisioner: Provisioner;
  readonly events: Events;
  readonly world: World;
  readonly log: Log;
}

export class Trash {
  readonly #options: TrashOptions;
  readonly #rounds: Rounds;

  constructor(options: TrashOptions) {
    this.#options = options;
    this.#rounds = new Rounds(options.world.clock, TRASH_INTERVAL, () => this.collect());
  }

  /** Milliseconds a deleted volume with data is kept. */
  get keep(): number {
    return this.#options.catalog.node.keepDeleted ?? KEEP_DELETED;
  }

  /** Rejects with bad-request. What is deleted already keeps its time. */
  async setKeep(ms: number): Promise<void> {
    if (!Number.isSafeInteger(ms) || ms < 0 || ms > MAX_KEEP_DELETED) {
      throw new ServiceError('bad-request', `deleted volumes are kept for 0 to ${String(MAX_KEEP_DELETED)} ms`);
    }
    await this.#options.catalog.setKeepDeleted(ms);
  }

  /**
   * How long this volume is kept when it is deleted now, milliseconds; 0: not at all. Only what holds data is worth it; a
   * device keeps its data anyway, and what was being sanitized was to be destroyed.
   */
  keepFor(record: VolumeRecord): number {
    const { catalog, units } = this.#options;
    if (record.kind !== VolumeKind.file && record.kind !== VolumeKind.pool) return 0;
    if (catalog.sanitizing.get(record.id) !== undefined) return 0;
    const lu = units.unit(record.name);
    const isEmpty = lu !== undefined && !mayHoldData(lu);
    return isEmpty && catalog.snapshotsOf(record.name).length === 0
      ? 0
      : (catalog.policyOf(record)?.keepDeleted ?? this.keep);
  }

  /** Latest deletion first. */
  list(): DeletedVolume[] {
    return this.#options.catalog.deleted.values().sort((a, b) => b.deleted - a.deleted);
  }

  /** By its id, or the latest with this name; undefined: there is none. */
  find(which: string): DeletedVolume | undefined {
    return this.#options.catalog.deleted.get(which) ?? this.list().find(({ volume }) => volume.name === which);
  }

  /** By its id, or the latest with this name. Throws ServiceError not-found. */
  get(which: string): DeletedVolume {
    const found = this.find(which);
    if (found !== undefined) return found;
    const why = 'those that held no data, or were deleted with --purge, are not kept';
    throw new ServiceError('not-found', `there is no deleted volume '${printable(which)}' (${why})`);
  }

  /**
   * Serves a deleted volume again, with its identity, data, snapshots and maps, as `name` when that is given. Its LUN is the
   * one it had, if that is free. Rejects with not-found, exists or limit-reached.
   */
  restore(which: string, name?: string): Promise<VolumeRecord> {
    const { catalog, provisioner, log } = this.#options;
    return provisioner.turn.run(async () => {
      const deleted = this.get(which);
      const volume = this.#restored(deleted, name ?? deleted.volume.name);
      const target = catalog.targets.get(volume.target) ?? { name: volume.target, iqn: deleted.iqn };
      const snapshots = deleted.snapshots.map((each) => ({ ...each, volume: volume.name }));
      await catalog.apply(
        catalog.volumes.edit(volume.name, volume),
        catalog.targets.edit(target.name, target),
        ...snapshots.map((each) => catalog.snapshots.edit(`${volume.name}@${each.name}`, each)),
        catalog.deleted.edit(volume.id, undefined),
      );
      await provisioner.serve(volume);
      log.info({ volume: volume.name }, 'deleted volume is back');
      return volume;
    });
  }

  #restored({ volume, iqn }: DeletedVolume, wanted: string): VolumeRecord {
    const { catalog } = this.#options;
    const name = checkName(wanted, 'volume');
    if (catalog.volumes.get(name) !== undefined) {
      throw new ServiceError('exists', `there is a volume '${name}' again: restore the deleted one under another name`);
    }
    if (catalog.volumes.size >= MAX_VOLUMES) {
      throw new ServiceError('limit-reached', `there are ${String(MAX_VOLUMES)} volumes already`);
    }
    // Initiators know it by its target: another one of the same name would be a different place.
    const taken = (catalog.targets.get(volume.target)?.iqn ?? iqn) !== iqn;
    const target = taken ? name : volume.target;
    const maps = volume.maps.filter(({ who }) => catalog.knowsSubject(who));
    // Whoever had it lost it when it was deleted.
    const { policy, ...known } = withoutLease(volume);
    // It may be gone as well.
    const restored = catalog.policyOf(volume) === undefined || policy === undefined ? known : { ...known, policy };
    return { ...restored, name, target, lun: freeLun(catalog, target, volume.lun), maps, state: 'ready' };
  }

  /** Gives the space of a deleted volume and its snapshots back. Can be repeated after a crash. */
  purge(which: string): Promise<void> {
    const { catalog, provisioner, backend, log } = this.#options;
    return provisioner.turn.run(async () => {
      const { volume, snapshots } = this.get(which);
      backend.check(volume);
      for (const snapshot of snapshots) await backend.removeSnapshot(snapshot);
      await backend.remove(volume);
      await catalog.apply(catalog.deleted.edit(volume.id, undefined));
      log.info({ volume: volume.name }, 'deleted volume purged');
    });
  }

  /** Looks every now and then what has been kept long enough. */
  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  /** Purges what has been kept long enough, and in a pool above its threshold the oldest until that is enough. */
  async collect(): Promise<void> {
    const { catalog, pools, events, log, world } = this.#options;
    const failed = new Set<string>();
    for (const { volume, until } of this.list().reverse()) {
      if (this.#rounds.stopped) return;
      if (!this.#options.backend.leads(volume)) continue;
      const pool =
        volume.pool !== undefined && pools.problem(volume.pool) === undefined ? pools.pool(volume.pool) : undefined;
      if (volume.pool !== undefined && pool === undefined) continue;
      const full = pool?.threshold.crossed === true && pools.jobs(volume.pool ?? '').deletions().length === 0;
      const tooMany = catalog.deleted.size > MAX_DELETED_VOLUMES;
      if (world.clock.wall() < until && !full && !tooMany) continue;
      try {
        await this.purge(volume.id);
      } catch (error) {
        if (!failed.has(volume.id)) log.error({ volume: volume.name, error: messageOf(error) }, 'purging failed');
        failed.add(volume.id);
        continue;
      }
      if (!full || world.clock.wall() >= until) continue;
      const text = `deleted volume '${volume.name}' was purged early: pool '${volume.pool ?? ''}' is filling up`;
      events.post({ severity: 'warning', code: 'purged-early', object: { kind: 'volume', name: volume.name }, text });
    }
  }
}

/** What was written may be in the cache only, where the storage below does not see it yet. */
function mayHoldData({ volume, counters }: LogicalUnit): boolean {
  const cached = cacheCounters(volume);
  const below = volume.allocatedBytes();
  return below > 0 || counters.writes > 0 || (cached?.dirtyBytes ?? 0) > 0 || (cached?.destagedBytes ?? 0) > 0;
}

/** The edits that make a volume (not served any more) a deleted one. */
export function intoTrash(catalog: Catalog, record: VolumeRecord, iqn: string, now: number, keep: number): Edit[] {
  const snapshots = catalog.snapshotsOf(record.name).slice(0, MAX_SNAPSHOTS);
  const kept: DeletedVolume = { volume: record, iqn, snapshots, deleted: now, until: now + keep };
  return [catalog.deleted.edit(record.id, kept), ...forgetVolume(catalog, record)];
}

/** The edits after which nothing but its storage is left of a volume. */
export function forgetVolume(catalog: Catalog, record: VolumeRecord): Edit[] {
  const edits: Edit[] = [catalog.volumes.edit(record.name, undefined)];
  for (const { name } of catalog.snapshotsOf(record.name)) {
    edits.push(catalog.snapshots.edit(`${record.name}@${name}`, undefined));
  }
  if (catalog.reservations.get(record.id) !== undefined) edits.push(catalog.reservations.edit(record.id, undefined));
  if (catalog.sanitizing.get(record.id) !== undefined) edits.push(catalog.sanitizing.edit(record.id, undefined));
  if (catalog.volumesOfTarget(record.target).length === 1) edits.push(catalog.targets.edit(record.target, undefined));
  for (const schedule of catalog.schedules.values()) {
    if (!schedule.volumes.includes(record.name)) continue;
    const volumes = schedule.volumes.filter((name) => name !== record.name);
    edits.push(
      catalog.schedules.edit(schedule.name, { ...schedule, volumes, enabled: schedule.enabled && volumes.length > 0 }),
    );
  }
  return edits;
}
