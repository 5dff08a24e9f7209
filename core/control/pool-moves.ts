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
   * Takes the pool and its volumes off this node, so that it can be imported into another one. Refused while sessions see
   * a volume of it, unless `force`. The places its data is in, the one with the superblock first.
   */
  async export(name: string, force: boolean): Promise<{ name: string; parts: { kind: string; path: string }[] }> {
    const { catalog, pools, provisioner, log } = this.#options;
    const record = pools.record(name);
    const volumes = catalog.volumesOfPool(name);
    if (!force) for (const volume of volumes) await provisioner.sessionsEnd(volume.name);
    const parts = [{ kind: record.kind as string, path: pools.where(record) }, ...pools.members(name)].map(
      ({ kind, path }) => ({ kind, path }),
    );
    try {
      await provisioner.turn.run(async () => {
        const inside = catalog.volumesOfPool(name);
        const kept = catalog.deletedOfPool(name)[0]?.name;
        if (kept !== undefined) {
          throw new ServiceError(
            'in-use',
            `pool '${name}' keeps the deleted volume '${kept}': restore or purge it first`,
          );
        }
        const { id, state } = inside.find((volume) => volume.state !== 'ready') ?? { id: '', state: 'ready' };
        if (state !== 'ready') throw new ServiceError('in-use', `volume ${id} of pool '${name}' is ${state}`);
        for (const volume of inside) {
          if (catalog.sanitizing.get(volume.id) !== undefined) {
            throw new ServiceError('in-use', `volume '${volume.name}' is being sanitized`);
          }
          if (!force) provisioner.refuseUsed(volume.name);
        }
        const note = noteOf(catalog, record);
        for (const volume of inside) await provisioner.withdraw(volume);
        await pools.release(name, note);
      });
    } catch (error) {
      for (const volume of catalog.volumesOfPool(name)) {
        if (!provisioner.isServed(volume.name)) await provisioner.reopen(volume.name, true).catch(() => undefined);
      }
      throw error;
    }
    log.info({ pool: name, volumes: volumes.length, paths: parts.map((part) => part.path).join(' ') }, 'pool exported');
    return { name, parts };
  }

  /** Attaches an exported pool and serves its volumes under their names and identities. Rejects with a ServiceError. */
  async import(wanted: ImportPool): Promise<PoolRecord> {
    const { catalog, pools, provisioner, world, log } = this.#options;
    const [first, ...others] = await Promise.all(wanted.parts.map(placeOf));
    if (first === undefined) throw new ServiceError('bad-request', 'say where the pool is');
    const volumes = await provisioner.turn.run(async () => {
      const { kind, path } = first;
      const files = kind === 'device' ? new DeviceFiles(world, path) : new FolderFiles(world, path);
      const found = await lookAtExport(files);
      const note = found.note as PoolNote;
      const name = checkName(wanted.name ?? note.pool.name, 'pool');
      const members = await findMembers(world, found.poolId, found.state.members ?? [], others);
      refuseConflicts(catalog, name, note);
      const { threshold, created } = note.pool;
      const id = world.random.bytes(8).toString('hex');
      const kept = threshold === undefined ? {} : { threshold };
      await pools.adopt({ name, id, kind, path, ...kept, created, state: 'creating' }, members, [
        ...note.volumes.map((volume) => catalog.volumes.edit(volume.name, { ...volume, pool: name })),
        ...note.snapshots.map((each) => catalog.snapshots.edit(`${each.volume}@${each.name}`, { ...each, pool: name })),
        ...note.targets.map((target) => catalog.targets.edit(target.name, target)),
        ...note.reservations.map((each) => catalog.reservations.edit(each.id, each.saved)),
      ]);
      log.info({ pool: name, volumes: note.volumes.length, path }, 'pool imported');
      return catalog.volumesOfPool(name);
    });
    // What cannot be served is reported like after a start.
    for (const { name } of volumes) await provisioner.reopen(name, true).catch(() => undefined);
    return pools.record(volumes[0]?.pool ?? wanted.name ?? this.#recordAt(first.path).name);
  }

  #recordAt(path: string): PoolRecord {
    const { pools } = this.#options.catalog;
    const record = pools.values().find((each) => each.path === path);
    if (record === undefined) throw new ServiceError('not-found', `there is no pool in ${path}`);
    return record;
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
