import { realpath } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { ServiceError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import type { L1Cache } from '../cache/l1-cache.ts';
import { identityOf } from '../scsi/identity.ts';
import { FileVolume } from '../volume/file-volume.ts';
import type { FileVolumeOptions } from '../volume/file-volume.ts';
import { MemoryVolume } from '../volume/memory-volume.ts';
import type { Volume } from '../volume/volume.ts';
import type { CopyPoints } from '../mirror/points.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import { PoolPoints } from './pool-points.ts';
import type { PoolManager } from './pools.ts';
import { VolumeKind } from './records.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import type { PlannedVolume } from './volume-request.ts';

/** Opens what is behind a NBD server. Rejects with a ServiceError or a VolumeError. */
export type OpenNbd = (record: VolumeRecord) => Promise<Volume>;

/** Files in one folder, block devices of this machine, memory, pools. */
export class NodeBackend implements VolumeBackend {
  readonly #world: World;
  readonly #catalog: Catalog;
  readonly #folder: string;
  readonly #cache: L1Cache | undefined;
  readonly #pools: PoolManager;
  readonly #openNbd: OpenNbd;

  /** `folder` must exist. `cache`: the RAM cache in front of files and devices, if there is one. */
  constructor(
    world: World,
    catalog: Catalog,
    folder: string,
    cache: L1Cache | undefined,
    pools: PoolManager,
    openNbd: OpenNbd,
  ) {
    this.#openNbd = openNbd;
    this.#cache = cache;
    this.#pools = pools;
    this.#world = world;
    this.#catalog = catalog;
    this.#folder = folder;
  }

  holds(): boolean {
    return true;
  }
  leads(): boolean {
    return true;
  }
  whereabouts(): undefined {
    return undefined;
  }

  async place(plan: PlannedVolume): Promise<string> {
    if (plan.pool !== undefined) this.#pools.pool(plan.pool);
    if (plan.kind === VolumeKind.nbd) return this.#placeNbd(plan.path ?? '');
    if (plan.kind !== VolumeKind.device) return '';
    const wanted = normalize(plan.path ?? '');
    const device = await realpath(wanted).catch(() => undefined);
    if (device?.startsWith('/dev/') !== true) throw new ServiceError('bad-request', `${wanted} is not a block device`);
    for (const { name, kind, path } of this.#catalog.volumes.values()) {
      if (kind !== VolumeKind.device || (path !== wanted && (await realpath(path).catch(() => path)) !== device))
        continue;
      throw new ServiceError('device-in-use', `${wanted} is volume '${name}' already`);
    }
    return wanted;
  }

  #placeNbd(uri: string): string {
    const twin = this.#catalog.volumes.values().find(({ kind, path }) => kind === VolumeKind.nbd && path === uri);
    if (twin !== undefined) throw new ServiceError('device-in-use', `${uri} is volume '${twin.name}' already`);
    return uri;
  }

  check({ pool }: VolumeRecord): void {
    if (pool !== undefined) this.#pools.pool(pool);
  }

  locate({ kind, id, path }: VolumeRecord): string | undefined {
    if (kind === VolumeKind.memory || kind === VolumeKind.pool || kind === VolumeKind.nbd) return undefined;
    // Named after the id: a name can be used again, an id cannot.
    return kind === VolumeKind.file ? join(this.#folder, `${id}.raw`) : path;
  }

  async create(record: VolumeRecord, source?: string): Promise<Volume> {
    const { disk } = this.#world;
    if (record.kind === VolumeKind.memory) return memoryVolume(record);
    if (record.kind === VolumeKind.pool) return this.#pools.createVolume(record, source);
    if (record.kind === VolumeKind.file) {
      return this.#cached(await FileVolume.create(disk, this.#optionsOf(record), record.size));
    }
    if (record.kind === VolumeKind.nbd) return this.#cached(await this.#openNbd(record));
    return this.#openDevice(record);
  }

  async open(record: VolumeRecord): Promise<Volume> {
    if (record.kind === VolumeKind.memory) return memoryVolume(record);
    if (record.kind === VolumeKind.device) return this.#openDevice(record);
    if (record.kind === VolumeKind.pool) return this.#pools.openVolume(record);
    if (record.kind === VolumeKind.nbd) return this.#cached(await this.#openNbd(record));
    return this.#cached(await FileVolume.open(this.#world.disk, this.#optionsOf(record)));
  }

  #cached(volume: Volume): Volume {
    return this.#cache === undefined ? volume : new CachedVolume(volume, this.#cache, this.#world.clock);
  }

  async remove(record: VolumeRecord): Promise<void> {
    if (record.pool !== undefined) await this.#pools.remove(record.pool, record.id, record.name);
    if (record.kind !== VolumeKind.file) return;
    const path = this.#pathOf(record);
    await this.#world.disk.remove(path);
    await this.#world.disk.remove(`${path}.map`);
  }

  tokens({ id, pool }: VolumeRecord): number {
    if (pool === undefined) return 0;
    const naa = identityOf(id).naa.toString('hex');
    let count = 0;
    for (const store of this.#pools.rodStores()) for (const rod of store.rods()) if (rod.source === naa) count += 1;
    return count;
  }

  removeSnapshot({ pool, id, volume, name }: SnapshotRecord): Promise<void> {
    return this.#pools.remove(pool, id, `${volume}@${name}`);
  }

  keeps(pool: string, id?: string): boolean {
    return id === undefined ? this.#catalog.pools.get(pool) !== undefined : this.#pools.has(pool, id);
  }

  points(record: VolumeRecord): CopyPoints | undefined {
    return record.kind === VolumeKind.pool ? new PoolPoints(this.#pools, record) : undefined;
  }

  async #openDevice(record: VolumeRecord): Promise<Volume> {
    try {
      // Looked at read-only first, so that nothing that is not a device is ever open for writing.
      const file = await this.#world.disk.open(record.path, { readOnly: true });
      const { isDevice } = file;
      await file.close();
      if (!isDevice) throw new ServiceError('bad-request', `${record.path} is not a block device`);
      return this.#cached(await FileVolume.open(this.#world.disk, this.#optionsOf(record)));
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'folder-unusable') throw error;
      const why = `${record.path} cannot be opened by the user the daemon runs as, or is read-only`;
      throw new ServiceError('bad-request', why, { cause: error });
    }
  }

  #pathOf(record: VolumeRecord): string {
    return this.locate(record) ?? '';
  }

  #optionsOf(record: VolumeRecord): FileVolumeOptions {
    const { blockSize, durability, readOnly, thin } = record;
    return { path: this.#pathOf(record), blockSize, durability, readOnly, thin };
  }
}

function memoryVolume({ size, blockSize, readOnly, thin }: VolumeRecord): Volume {
  return new MemoryVolume(size, blockSize, { readOnly, thin });
}
