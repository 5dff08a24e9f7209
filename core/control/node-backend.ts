import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../base/errors.ts';
import type { World } from '../base/world.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import type { L1Cache } from '../cache/l1-cache.ts';
import { FileVolume } from '../volume/file-volume.ts';
import type { FileVolumeOptions } from '../volume/file-volume.ts';
import { MemoryVolume } from '../volume/memory-volume.ts';
import type { Volume } from '../volume/volume.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import { VolumeKind } from './records.ts';
import type { VolumeRecord } from './records.ts';
import type { PlannedVolume } from './volume-request.ts';

/** Files in one folder, block devices of this machine, memory. */
export class NodeBackend implements VolumeBackend {
  readonly #world: World;
  readonly #catalog: Catalog;
  readonly #folder: string;
  readonly #cache: L1Cache | undefined;

  /** `folder` must exist. `cache`: the RAM cache in front of files and devices, if there is one. */
  constructor(world: World, catalog: Catalog, folder: string, cache: L1Cache | undefined) {
    this.#cache = cache;
    this.#world = world;
    this.#catalog = catalog;
    this.#folder = folder;
  }

  async place(plan: PlannedVolume, id: string): Promise<string> {
    if (plan.kind === VolumeKind.memory) return '';
    // Named after the id: a name can be used again, an id cannot.
    if (plan.kind === VolumeKind.file) return join(this.#folder, `${id}.raw`);
    const wanted = plan.path ?? '';
    const path = await realpath(wanted).catch(() => undefined);
    if (path?.startsWith('/dev/') !== true) throw new ServiceError('bad-request', `${wanted} is not a block device`);
    const owner = this.#catalog.volumes.values().find((each) => each.path === path);
    if (owner !== undefined) throw new ServiceError('in-use', `${path} is volume '${owner.name}' already`);
    return path;
  }

  async create(record: VolumeRecord): Promise<Volume> {
    const { disk } = this.#world;
    if (record.kind === VolumeKind.memory) return memoryVolume(record);
    if (record.kind === VolumeKind.file) {
      return this.#cached(await FileVolume.create(disk, optionsOf(record), record.size));
    }
    return this.#openDevice(record);
  }

  async open(record: VolumeRecord): Promise<Volume> {
    if (record.kind === VolumeKind.memory) return memoryVolume(record);
    if (record.kind === VolumeKind.device) return this.#openDevice(record);
    return this.#cached(await FileVolume.open(this.#world.disk, optionsOf(record)));
  }

  #cached(volume: Volume): Volume {
    return this.#cache === undefined ? volume : new CachedVolume(volume, this.#cache, this.#world.clock);
  }

  async remove(record: VolumeRecord): Promise<void> {
    if (record.kind !== VolumeKind.file) return;
    await this.#world.disk.remove(record.path);
    await this.#world.disk.remove(`${record.path}.map`);
  }

  async #openDevice(record: VolumeRecord): Promise<Volume> {
    // Looked at read-only first: opening for writing has effects on some things below /dev.
    const file = await this.#world.disk.open(record.path, { readOnly: true });
    const { isDevice } = file;
    await file.close();
    if (!isDevice) throw new ServiceError('bad-request', `${record.path} is not a block device`);
    return this.#cached(await FileVolume.open(this.#world.disk, optionsOf(record)));
  }
}

function memoryVolume({ size, blockSize, readOnly, thin }: VolumeRecord): Volume {
  return new MemoryVolume(size, blockSize, { readOnly, thin });
}

function optionsOf({ path, blockSize, durability, readOnly, thin }: VolumeRecord): FileVolumeOptions {
  return { path, blockSize, durability, readOnly, thin };
}
