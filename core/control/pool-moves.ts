// Pools that leave this node and pools that come to it, with the names, identities and mappings of their volumes.
import { isAbsolute, normalize } from 'node:path';
import { ServiceError } from '../base/errors.ts';
import { MAX_VOLUMES } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { findMembers, lookAtExport } from '../pool/moving.ts';
import type { MemberRecord } from '../pool/pool-meta.ts';
import { DeviceFiles, FolderFiles } from '../pool/pool-files.ts';
import type { SavedReservations } from '../scsi/reservations/store.ts';
import type { Catalog } from './catalog.ts';
import type { Edit } from './collection.ts';
import { checkName } from './names.ts';
import { devicePath } from './pool-plan.ts';
import type { PoolManager } from './pools.ts';
import type { Provisioner } from './provision.ts';
import type { PoolRecord, SnapshotRecord, TargetRecord, VolumeRecord } from './records.ts';

/** What the catalog knows of a pool; it travels with it. A field that is added later must be optional. */
export interface PoolNote {
  readonly pool: PoolRecord;
  readonly volumes: readonly VolumeRecord[];
  readonly snapshots: readonly SnapshotRecord[];
  readonly targets: readonly TargetRecord[];
  readonly reservations: readonly { readonly id: string; readonly saved: SavedReservations }[];
}

export interface ImportPool {
  /** The one it had when absent. */
  readonly name?: string | undefined;
  /** Where it is: the place with the superblock, then its other parts in any order. */
  readonly parts: readonly { readonly folder?: string | undefined; readonly device?: string | undefined }[];
}

/** A pool that is to leave. */
export interface PlannedExport {
  readonly name: string;
  /** Of its record: a pool that gets the name later is another one. */
  readonly id: string;
  readonly force: boolean;
  readonly parts: readonly { readonly kind: string; readonly path: string }[];
}

/** A pool that is to come. */
export interface PlannedImport {
  readonly name: string;
  /** Of its record here. */
  readonly id: string;
  readonly first: Pick<MemberRecord, 'kind' | 'path'>;
  readonly others: readonly Pick<MemberRecord, 'kind' | 'path'>[];
}

export interface PoolMovesOptions {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly provisioner: Provisioner;
  readonly world: World;
  readonly log: Log;
}

function noteOf(catalog: Catalog, pool: PoolRecord): PoolNote {
  const volumes = catalog.volumesOfPool(pool.name);
  const targets = [...new Set(volumes.map((volume) => volume.target))];
  return {
    pool,
    volumes,
    snapshots: catalog.snapshots.values().filter((snapshot) => snapshot.pool === pool.name),
    targets: targets.flatMap((name) => catalog.targets.get(name) ?? []),
    reservations: volumes.flatMap(({ id }) => {
      const saved = catalog.reservations.get(id);
      return saved === undefined ? [] : [{ id, saved }];
    }),
  };
}

/** The edits after which the catalog knows nothing of the pool and its volumes. */
export function forgetPool(catalog: Catalog, name: string): Edit[] {
  const edits: Edit[] = [catalog.pools.edit(name, undefined)];
  const volumes = catalog.volumesOfPool(name);
  for (const { name: volume, id } of volumes) {
    edits.push(catalog.volumes.edit(volume, undefined));
    if (catalog.reservations.get(id) !== undefined) edits.push(catalog.reservations.edit(id, undefined));
    if (catalog.sanitizing.get(id) !== undefined) edits.push(catalog.sanitizing.edit(id, undefined));
  }
  for (const snapshot of catalog.snapshots.values()) {
    if (snapshot.pool !== name) continue;
    edits.push(catalog.snapshots.edit(`${snapshot.volume}@${snapshot.name}`, undefined));
  }
  for (const target of new Set(volumes.map((volume) => volume.target))) {
    const others = catalog.volumesOfTarget(target).some((volume) => volume.pool !== name);
    if (!others) edits.push(catalog.targets.edit(target, undefined));
  }
  return edits;
}

export class PoolMoves {
  readonly #options: PoolMovesOptions;

  constructor(options: PoolMovesOptions) {
    this.#options = options;
  }

  /**
   * What is to leave: the places the data is in, the one with the superblock first. Rejects with in-use while sessions see a
   * volume of it, unless `force`.
   */
  async planExport(name: string, force: boolean): Promise<PlannedExport> {
    const { catalog, pools, provisioner } = this.#options;
    const record = pools.record(name);
    const members = pools.members(name);
    if (!force) for (const volume of catalog.volumesOfPool(name)) await provisioner.sessionsEnd(volume.name);
    const parts = [{ kind: record.kind as string, path: pools.where(record) }, ...members];
    await provisioner.turn.run(() => {
      this.#refuseExport(name, force);
      return Promise.resolve();
    });
    return { name, id: record.id, force, parts: parts.map(({ kind, path }) => ({ kind, path })) };
  }

  /** Takes the pool and its volumes off this node; served as before when that fails. Can be repeated after a crash. */
  async release({ name, id, force }: PlannedExport): Promise<void> {
    const { catalog, pools, provisioner, log } = this.#options;
    const record = catalog.pools.get(name);
    // It had left, and the start has noted that.
    if (record?.id !== id) return;
    if (!force) for (const volume of catalog.volumesOfPool(name)) await provisioner.sessionsEnd(volume.name);
    const volumes = catalog.volumesOfPool(name).length;
    try {
      await provisioner.turn.run(async () => {
        this.#refuseExport(name, force);
        const note = noteOf(catalog, record);
        for (const volume of catalog.volumesOfPool(name)) await provisioner.withdraw(volume);
        await pools.release(name, note);
      });
    } catch (error) {
      for (const volume of catalog.volumesOfPool(name)) {
        if (!provisioner.isServed(volume.name)) await provisioner.reopen(volume.name, true).catch(() => undefined);
      }
      throw error;
    }
    log.info({ pool: name, volumes, path: pools.where(record) }, 'pool exported');
  }

  /** Throws ServiceError in-use that says what keeps the pool here. */
  #refuseExport(name: string, force: boolean): void {
    const { catalog, provisioner } = this.#options;
    const kept = catalog.deletedOfPool(name)[0]?.name;
    if (kept !== undefined) {
      const what = `pool '${name}' keeps the deleted volume '${kept}': restore or purge it first`;
      throw new ServiceError('in-use', what);
    }
    for (const volume of catalog.volumesOfPool(name)) {
      if (volume.state !== 'ready') {
        throw new ServiceError('in-use', `volume '${volume.name}' of pool '${name}' is ${volume.state}`);
      }
      if (catalog.sanitizing.get(volume.id) !== undefined) {
        throw new ServiceError('in-use', `volume '${volume.name}' is being sanitized`);
      }
      if (!force) provisioner.refuseUsed(volume.name);
    }
  }

  /** What is to come: looked at and found free of conflicts. Rejects with a ServiceError. */
  async planImport(wanted: ImportPool): Promise<PlannedImport> {
    const { catalog, world } = this.#options;
    const [first, ...others] = await Promise.all(wanted.parts.map(placeOf));
    if (first === undefined) throw new ServiceError('bad-request', 'say where the pool is');
    const planned = { id: world.random.bytes(8).toString('hex'), first, others };
    const { note } = await this.#look(planned);
    const name = checkName(wanted.name ?? note.pool.name, 'pool');
    refuseConflicts(catalog, name, note);
    return { ...planned, name };
  }

  async #look({ first: { kind, path }, others }: Omit<PlannedImport, 'name'>): Promise<{
    note: PoolNote;
    members: MemberRecord[];
  }> {
    const { world } = this.#options;
    const files = kind === 'device' ? new DeviceFiles(world, path) : new FolderFiles(world, path);
    const found = await lookAtExport(files);
    const members = await findMembers(world, found.poolId, found.state.members ?? [], others);
    return { note: found.note as PoolNote, members };
  }

  /** Makes the pool and its volumes ours. Nothing has changed when that fails. Can be repeated after a crash. */
  async adopt(planned: PlannedImport): Promise<void> {
    const { catalog, pools, provisioner, log } = this.#options;
    await provisioner.turn.run(async () => {
      const { name, id, first } = planned;
      if (await pools.adopted(name, id)) return;
      const { note, members } = await this.#look(planned);
      refuseConflicts(catalog, name, note);
      const { threshold, created } = note.pool;
      const kept = threshold === undefined ? {} : { threshold };
      await pools.adopt({ name, id, ...first, ...kept, created, state: 'creating' }, members, [
        ...note.volumes.map((volume) => catalog.volumes.edit(volume.name, { ...volume, pool: name })),
        ...note.snapshots.map((each) => catalog.snapshots.edit(`${each.volume}@${each.name}`, { ...each, pool: name })),
        ...note.targets.map((target) => catalog.targets.edit(target.name, target)),
        ...note.reservations.map((each) => catalog.reservations.edit(each.id, each.saved)),
      ]);
      log.info({ pool: name, volumes: note.volumes.length, path: first.path }, 'pool imported');
    });
  }

  /** Throws ServiceError io-error when adopt() went so far that the pool is this node's and cannot be given back. */
  refuseAdopted({ name, id }: PlannedImport): void {
    const record = this.#options.catalog.pools.get(name);
    if (record?.id !== id || record.state === 'creating') return;
    throw new ServiceError(
      'io-error',
      `pool '${name}' belongs to this node now; its next start tries to open it again`,
    );
  }

  /** Serves the volumes of a pool under their names and identities; what cannot be served is reported like after a start. */
  async serve(name: string): Promise<number> {
    const { catalog, provisioner } = this.#options;
    const volumes = catalog.volumesOfPool(name);
    for (const volume of volumes) {
      if (!provisioner.isServed(volume.name)) await provisioner.reopen(volume.name, true).catch(() => undefined);
    }
    return volumes.length;
  }
}

async function placeOf({ folder, device }: ImportPool['parts'][number]): Promise<Pick<MemberRecord, 'kind' | 'path'>> {
  if (device !== undefined && folder === undefined) return { kind: 'device', path: await devicePath(device) };
  if (folder === undefined || device !== undefined || !isAbsolute(folder)) {
    throw new ServiceError('bad-request', 'a part of a pool is an absolute folder or a device');
  }
  return { kind: 'folder', path: normalize(folder) };
}

/** Throws ServiceError exists or limit-reached that names what is in the way. */
function refuseConflicts(catalog: Catalog, name: string, note: PoolNote): void {
  if (catalog.pools.get(name) !== undefined) {
    throw new ServiceError('exists', `there is a pool '${name}' already: import it under another name`);
  }
  if (catalog.volumes.size + note.volumes.length > MAX_VOLUMES) {
    throw new ServiceError('limit-reached', `there can be ${String(MAX_VOLUMES)} volumes`);
  }
  const ids = new Set(catalog.volumes.values().map((volume) => volume.id));
  for (const volume of note.volumes) {
    if (catalog.volumes.get(volume.name) !== undefined) {
      throw new ServiceError('exists', `the pool has a volume '${volume.name}', and so has this node`);
    }
    if (ids.has(volume.id)) throw new ServiceError('exists', `the identity of '${volume.name}' is in use on this node`);
  }
  for (const { name: target, iqn } of note.targets) {
    if (catalog.targets.values().some((each) => each.name === target || each.iqn === iqn)) {
      throw new ServiceError('exists', `the pool has disks of target '${target}', and so has this node`);
    }
  }
}
