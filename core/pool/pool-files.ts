// Where superblock, journal and slabs are: files of a folder, or parts of a block device.
import { ServiceError } from '../base/errors.ts';
import type { DiskFile, World } from '../base/world.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import { GRAINS_OF_SUMS, SUMS_OF_GRAIN, slabBytes, sumsBytes } from './format.ts';
import { PartFile } from './part.ts';
import type { SlabRecord } from './pool-meta.ts';

/** On a device everything begins at a multiple of this many bytes. */
const ALIGNMENT = 1_048_576;

export interface PoolFiles {
  /** For people. */
  readonly name: string;
  readonly isDevice: boolean;
  /** Makes what is missing. Rejects with ServiceError exists when there is a pool already. */
  prepare(): Promise<void>;
  /** Rejects with ServiceError not-found when there is none, unless it is to be made. */
  superblock(create?: boolean): Promise<DiskFile>;
  /** `bytes` is known from the superblock. Writes are stable when they return. */
  journal(bytes: number): Promise<DiskFile>;
  /** By which a member of a pool is known (members.ts). Rejects with ServiceError not-found, unless it is to be made. */
  header(create?: boolean): Promise<DiskFile>;
  removeHeader(): Promise<void>;
  /**
   * Makes slab number `index` of the pool with about `grains` grains, beside those that are `present` in this place; how many
   * it has. Rejects with ServiceError; bad-request: a device has no room behind them.
   */
  makeSlab(
    index: number,
    grains: number,
    journalBytes: number,
    present: readonly SlabRecord[],
  ): Promise<{ name: string; grains: number }>;
  removeSlabs(present: readonly SlabRecord[]): Promise<void>;
  slab(name: string, grains: number, journalBytes: number): Promise<DiskFile>;
  /** Slabs a new pool of `bytes` has. */
  slabCount(bytes: number, slabGrains: number): number;
  close(): Promise<void>;
}

/** A pool in a folder; the file system gives slabs space as they are written, but for their checksums. */
export class FolderFiles implements PoolFiles {
  readonly name: string;
  readonly isDevice = false;
  readonly #world: World;

  constructor(world: World, folder: string) {
    this.#world = world;
    this.name = folder;
  }

  async prepare(): Promise<void> {
    await this.#world.disk.makeFolder(this.name);
    if (await this.#world.disk.exists(`${this.name}/superblock`)) {
      throw new ServiceError('exists', `${this.name} holds a pool already`);
    }
  }

  header(create = false): Promise<DiskFile> {
    return this.#world.disk.open(`${this.name}/member`, { create });
  }

  removeHeader(): Promise<void> {
    return this.#world.disk.remove(`${this.name}/member`);
  }

  async removeSlabs(present: readonly SlabRecord[]): Promise<void> {
    for (const { name } of present) await this.#world.disk.remove(`${this.name}/${name}`);
  }

  async superblock(create = false): Promise<DiskFile> {
    const file = await this.#world.disk.open(`${this.name}/superblock`, { create });
    if (file.size() < 2 * BLOCK) await file.truncate(2 * BLOCK);
    return file;
  }

  async journal(bytes: number): Promise<DiskFile> {
    const file = await this.#world.disk.open(`${this.name}/journal`, { create: true, syncWrites: true });
    if (file.size() < bytes) await file.truncate(bytes);
    return file;
  }

  async makeSlab(index: number, grains: number): Promise<{ name: string; grains: number }> {
    const name = `slab-${String(index).padStart(5, '0')}`;
    const file = await this.#world.disk.open(`${this.name}/${name}`, { create: true });
    try {
      await file.truncate(slabBytes(grains));
      // Of a full file system, checksums are not to be the victim: they are of all volumes.
      const zeros = Buffer.alloc(Math.min(sumsBytes(grains), 1_048_576));
      for (let done = 0; done < sumsBytes(grains); done += zeros.length) {
        await file.write(zeros, 0, Math.min(zeros.length, sumsBytes(grains) - done), done);
      }
      await file.dataSync();
    } catch (error) {
      await file.close();
      await this.removeSlabs([{ name, grains }]).catch(() => undefined);
      throw error;
    }
    await file.close();
    return { name, grains };
  }

  slab(name: string): Promise<DiskFile> {
    return this.#world.disk.open(`${this.name}/${name}`);
  }

  slabCount(bytes: number, slabGrains: number): number {
    return Math.max(1, Math.ceil(bytes / (slabGrains * GRAIN)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A pool that has a block device for itself: superblocks, journal, one slab. */
export class DeviceFiles implements PoolFiles {
  readonly name: string;
  readonly isDevice = true;
  readonly #world: World;
  #device: DiskFile | undefined;

  constructor(world: World, path: string) {
    this.#world = world;
    this.name = path;
  }

  async #open(): Promise<DiskFile> {
    this.#device ??= await this.#world.disk.open(this.name);
    return this.#device;
  }

  async prepare(): Promise<void> {
    const device = await this.#open();
    if (!device.isDevice) throw new ServiceError('bad-request', `${this.name} is not a block device`);
  }

  async header(): Promise<DiskFile> {
    return new PartFile(await this.#open(), 0, BLOCK, false);
  }

  removeHeader(): Promise<void> {
    return Promise.resolve();
  }

  removeSlabs(): Promise<void> {
    return Promise.resolve();
  }

  async superblock(): Promise<DiskFile> {
    return new PartFile(await this.#open(), 0, 2 * BLOCK, false);
  }

  async journal(bytes: number): Promise<DiskFile> {
    return new PartFile(await this.#open(), ALIGNMENT, bytes, true);
  }

  /** The first slab begins behind the journal, further ones where the device ended before it grew. */
  async makeSlab(
    _index: number,
    _grains: number,
    journalBytes: number,
    present: readonly SlabRecord[],
  ): Promise<{ name: string; grains: number }> {
    const base = present.reduce(
      (end, { name, grains }) => Math.max(end, placeOf(name, journalBytes) + slabBytes(grains)),
      slabBase(journalBytes),
    );
    const room = (await this.#open()).size() - base;
    const grains = Math.floor(room / (GRAIN + SUMS_OF_GRAIN) / GRAINS_OF_SUMS) * GRAINS_OF_SUMS;
    if (present.length === 0) {
      if (grains < GRAINS_OF_SUMS) throw new ServiceError('no-space', `${this.name} is too small for a pool`);
      return { name: FIRST_ON_DEVICE, grains };
    }
    if (grains < GRAINS_OF_SUMS) {
      throw new ServiceError('bad-request', `${this.name} belongs to the pool as a whole already`);
    }
    return { name: `${FIRST_ON_DEVICE}@${String(base)}`, grains };
  }

  async slab(name: string, grains: number, journalBytes: number): Promise<DiskFile> {
    return new PartFile(await this.#open(), placeOf(name, journalBytes), slabBytes(grains), false);
  }

  slabCount(): number {
    return 1;
  }

  async close(): Promise<void> {
    await this.#device?.close();
    this.#device = undefined;
  }
}

const FIRST_ON_DEVICE = 'device';

/** Where the slab with this name begins on its device; bytes. */
const placeOf = (name: string, journalBytes: number): number =>
  name === FIRST_ON_DEVICE ? slabBase(journalBytes) : Number(name.slice(FIRST_ON_DEVICE.length + 1));

const slabBase = (journalBytes: number): number => ALIGNMENT + Math.ceil(journalBytes / ALIGNMENT) * ALIGNMENT;
