// The pools of this node: made, opened at the start, grown, scrubbed, closed. A pool that cannot be opened is reported, its
// volumes are not served; everybody else is.
import { readdir, realpath, rm } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import {
  DEFAULT_THRESHOLD,
  MAX_POOL,
  MAX_POOLS,
  MIN_JOURNAL,
  MIN_POOL,
  MIN_POOL_CACHE,
  POOL_CACHE,
  POOL_JOURNAL,
  POOL_JOURNAL_SHARE,
  POOL_SLAB,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { formatSize } from '../base/sizes.ts';
import { Turn } from '../base/turn.ts';
import type { World } from '../base/world.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import { L1Cache } from '../cache/l1-cache.ts';
import type { CheckResult } from '../pool/check.ts';
import { createPool, erasePool, growPool, openPool } from '../pool/open.ts';
import type { NewPool, PoolPlace } from '../pool/open.ts';
import { DeviceFiles, FolderFiles } from '../pool/pool-files.ts';
import type { PoolFiles } from '../pool/pool-files.ts';
import { LmdbMeta } from '../pool/pool-meta.ts';
import type { Pool, PoolEntry } from '../pool/pool.ts';
import { SENSE } from '../scsi/sense.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import type { Volume } from '../volume/volume.ts';
import type { Catalog } from './catalog.ts';
import { checkName } from './names.ts';
import { PoolJobs } from './pool-jobs.ts';
import { snapshotBytes } from './pool-views.ts';
import type { PoolRecord, VolumeRecord } from './records.ts';
import type { Units } from './units.ts';
import { noPool } from './volume-request.ts';

/** Grains of a slab are a multiple of this many bytes, see Slabs.add. */
const SLAB_UNIT = 64 * GRAIN;

export interface CreatePool {
  readonly name: string;
  /** Bytes for volumes; undefined only for a device, which is used as a whole. */
  readonly size?: number | undefined;
  /** Absolute; when absent, the pool is in the data folder. */
  readonly folder?: string | undefined;
  readonly device?: string | undefined;
}

export interface PoolManagerOptions {
  readonly world: World;
  readonly catalog: Catalog;
  readonly units: Units;
  readonly log: Log;
  /** `pools` in the data folder. */
  readonly folder: string;
  /** The RAM cache of the node, if it has one. */
  readonly cache: L1Cache | undefined;
  /** Throws unless the metadata in this folder can be read: LMDB does not say so, it ends the process. */
  readonly checkMeta: (folder: string) => void;
}

interface Opened {
  readonly pool: Pool;
  readonly files: PoolFiles;
  readonly jobs: PoolJobs;
  /** By the id of the volume or snapshot: its id in the pool. */
  readonly ids: Map<string, number>;
}

export class PoolManager {
  readonly #options: PoolManagerOptions;
  readonly #opened = new Map<string, Opened>();
  /** Why a pool is not open, by name. */
  readonly #problems = new Map<string, string>();
  readonly #turn = new Turn();
  #cache: L1Cache | undefined;

  constructor(options: PoolManagerOptions) {
    this.#options = options;
    const { cache } = options;
    this.#cache = cache !== undefined && cache.frames * GRAIN >= MIN_POOL_CACHE ? cache : undefined;
  }

  // ---- pools

  /** Throws ServiceError not-found. */
  record(name: string): PoolRecord {
    const record = this.#options.catalog.pools.get(name);
    if (record === undefined) throw noPool(name);
    return record;
  }

  /** The open pool. Throws ServiceError not-found, or io-error when it could not be opened. */
  pool(name: string): Pool {
    return this.#get(name).pool;
  }

  jobs(name: string): PoolJobs {
    return this.#get(name).jobs;
  }

  /** Why the pool is not open; undefined: it is. */
  problem(name: string): string | undefined {
    return this.#opened.has(name) ? undefined : (this.#problems.get(name) ?? 'it is being created or deleted');
  }

  #get(name: string): Opened {
    const opened = this.#opened.get(name);
    if (opened !== undefined) return opened;
    this.record(name);
    throw new ServiceError('io-error', `pool '${name}' is not open: ${this.problem(name) ?? ''}`);
  }

  /** Opens every pool of the catalog, after taking back what a crash interrupted. */
  async openAll(): Promise<void> {
    for (const record of this.#options.catalog.pools.values()) {
      try {
        if (record.state === 'ready') {
          this.#options.checkMeta(join(this.#home(record), 'meta'));
          await this.#open(record);
        } else if (record.state === 'creating') await this.#takeBack(record);
        else await this.#forget(record);
      } catch (error) {
        this.#problems.set(record.name, messageOf(error));
        this.#options.log.error({ pool: record.name, error: messageOf(error) }, 'pool is not open');
      }
    }
  }

  /** Rejects with bad-request, exists, limit-reached, device-in-use, no-space or io-error; nothing is left behind then. */
  create(wanted: CreatePool): Promise<PoolRecord> {
    return this.#turn.run(async () => {
      const { catalog, world, log } = this.#options;
      const { record, plan } = await this.#plan(wanted);
      await catalog.apply(catalog.pools.edit(record.name, record));
      const ready: PoolRecord = { ...record, state: 'ready' };
      let made = false;
      try {
        await world.disk.makeFolder(this.#options.folder);
        await world.disk.makeFolder(this.#home(record));
        await createPool(this.#place(record), plan);
        made = true;
        await this.#open(ready);
        await catalog.apply(catalog.pools.edit(record.name, ready));
      } catch (error) {
        await this.#close(record.name).catch(() => undefined);
        // On a full disk this fails as well: the next start takes it back then.
        await (made ? this.#forget(record) : this.#takeBack(record)).catch(() => undefined);
        throw error;
      }
      log.info({ pool: record.name, path: this.where(record) }, 'pool created');
      return ready;
    });
  }

  async #plan(wanted: CreatePool): Promise<{ record: PoolRecord; plan: NewPool }> {
    const { catalog, world } = this.#options;
    const name = checkName(wanted.name, 'pool');
    if (catalog.pools.get(name) !== undefined) throw new ServiceError('exists', `there is a pool '${name}' already`);
    if (catalog.pools.size >= MAX_POOLS) {
      throw new ServiceError('limit-reached', `there are ${String(MAX_POOLS)} pools already`);
    }
    const { folder, device } = wanted;
    if (folder !== undefined && device !== undefined) {
      throw new ServiceError('bad-request', 'a pool is in a folder or on a device, not both');
    }
    if (folder !== undefined && !isAbsolute(folder))
      throw new ServiceError('bad-request', 'the folder is not absolute');
    const path = device === undefined ? (folder === undefined ? '' : normalize(folder)) : await devicePath(device);
    const id = world.random.bytes(8).toString('hex');
    const kind = device === undefined ? 'folder' : 'device';
    const record = { name, id, kind, path, state: 'creating', created: world.clock.wall() } as const;
    const size = device === undefined ? sizeOf(wanted.size) : await this.#deviceSize(path, wanted.size);
    return { record, plan: planOf(size) };
  }

  async #deviceSize(path: string, size: number | undefined): Promise<number> {
    if (size !== undefined) throw new ServiceError('bad-request', 'a device is used as a whole; leave the size out');
    // Looked at read-only first, so that nothing that is not a device is ever open for writing.
    const file = await this.#options.world.disk.open(path, { readOnly: true });
    try {
      if (!file.isDevice) throw new ServiceError('bad-request', `${path} is not a block device`);
      return file.size();
    } finally {
      await file.close();
    }
  }

  /** Where the metadata is, and the rest too unless it was to be elsewhere. */
  #home(record: PoolRecord): string {
    return join(this.#options.folder, record.id);
  }

  /** For people. */
  where(record: PoolRecord): string {
    return record.path === '' ? this.#home(record) : record.path;
  }

  #place(record: PoolRecord): PoolPlace {
    const { world, log } = this.#options;
    const path = this.where(record);
    const files = record.kind === 'device' ? new DeviceFiles(world, path) : new FolderFiles(world, path);
    const meta = (): LmdbMeta => new LmdbMeta(join(this.#home(record), 'meta'));
    return { world, files, meta, log: log.child({ pool: record.name }) };
  }

  async #open(record: PoolRecord): Promise<void> {
    const { world, log } = this.#options;
    const place = this.#place(record);
    const { pool, recovery } = await openPool(place);
    const ids = new Map<string, number>();
    for (const { record: volume } of pool.entries.values()) {
      if (volume.tag !== undefined && !volume.deleting) ids.set(volume.tag, volume.id);
    }
    const { volumes, snapshots } = this.#options.catalog;
    const known = new Set([...volumes.values(), ...snapshots.values()].map((each) => each.id));
    const strangers = [...ids.keys()].filter((id) => !known.has(id)).length;
    if (strangers > 0) log.warn({ pool: record.name, volumes: strangers }, 'the catalog does not know all in the pool');
    pool.nameOf = (id) => this.nameOf(pool, id);
    const jobs = new PoolJobs(record.name, pool, world.clock, log);
    this.#opened.set(record.name, { pool, files: place.files, jobs, ids });
    this.#problems.delete(record.name);
    this.#watch(record, pool);
    const { unclean, batches, dataBytes } = recovery;
    const fields = { pool: record.name, batches, bytes: dataBytes };
    if (unclean) log.warn(fields, 'pool was not closed in an orderly way: its journal was replayed');
    else log.info({ pool: record.name }, 'pool opened');
  }

  /** Volumes first: all of them must be closed. */
  async close(): Promise<void> {
    await this.#turn.run(async () => {
      for (const name of [...this.#opened.keys()]) {
        await this.#close(name).catch((error: unknown) => {
          this.#options.log.error({ pool: name, error: messageOf(error) }, 'pool was not closed cleanly');
        });
      }
    });
  }

  async #close(name: string): Promise<void> {
    const opened = this.#opened.get(name);
    if (opened === undefined) return;
    this.#opened.delete(name);
    await opened.jobs.stop();
    await opened.pool.close();
  }

  /** Adds room for at least `bytes` of volume data. */
  grow(name: string, bytes: number): Promise<void> {
    return this.#turn.run(async () => {
      const { pool, files } = this.#get(name);
      const total = pool.allocator.total * GRAIN;
      if (total + bytes > MAX_POOL) throw new ServiceError('bad-request', `a pool has at most ${formatSize(MAX_POOL)}`);
      await growPool(files, pool, bytes);
      const to = pool.allocator.total * GRAIN;
      this.#options.log.info({ pool: name, from: total, to }, 'pool has grown');
    });
  }

  /** Initiators are told when `percent` of the pool are in use. */
  setThreshold(name: string, percent: number): Promise<PoolRecord> {
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      const record: PoolRecord = { ...this.record(name), threshold: percent };
      await catalog.apply(catalog.pools.edit(name, record));
      const opened = this.#opened.get(name);
      if (opened !== undefined) this.#watch(record, opened.pool);
      return record;
    });
  }

  #watch({ name, threshold = DEFAULT_THRESHOLD }: PoolRecord, pool: Pool): void {
    const { log, units } = this.#options;
    pool.threshold.watch(threshold, (crossed) => {
      const { taken, total } = pool.allocator;
      const fields = { pool: name, percent: Math.floor((taken / total) * 100), threshold };
      if (!crossed) {
        log.info(fields, 'pool is below its threshold again');
        return;
      }
      log.warn(fields, 'pool is filling up: free space in it, or grow it (gemel pool grow)');
      for (const { record, lu } of units.all()) {
        // SBC-3 4.7.3.8: THIN PROVISIONING SOFT THRESHOLD REACHED. A thick volume has its space.
        if (record.pool === name && record.thin) lu.attentionAll(SENSE.thinSoftThreshold);
      }
    });
  }

  /** Counts every reference anew and compares. */
  check(name: string): Promise<CheckResult> {
    return this.jobs(name).check();
  }

  /** What its facts leave out because it takes a look at all maps of snapshots: bytes that only snapshots use. */
  snapshotBytes(name: string): Promise<number> {
    return snapshotBytes(this.pool(name), this.#options.world.clock);
  }

  /** Removes an empty pool. A device can be used for something else then. */
  delete(name: string): Promise<void> {
    return this.#turn.run(async () => {
      const { catalog, log } = this.#options;
      const record = this.record(name);
      const users = catalog.volumesOfPool(name).map((volume) => volume.name);
      if (users.length > 0) {
        const list = users.slice(0, 3).join(', ') + (users.length > 3 ? ' …' : '');
        throw new ServiceError('in-use', `pool '${name}' has volumes (${list}); delete them first`);
      }
      await catalog.apply(catalog.pools.edit(name, { ...record, state: 'deleting' }));
      await this.#close(name).catch(() => undefined);
      await this.#forget(record);
      log.info({ pool: name }, 'pool deleted');
    });
  }

  /** Removes what is on the disks, then the record. Can be repeated after a crash. */
  async #forget(record: PoolRecord): Promise<void> {
    if (record.kind === 'device') await erasePool(this.#place(record));
    else if (record.path !== '') await removeFiles(record.path);
    await this.#strike(record);
  }

  /** The pool was not finished. A finished one in the same place is somebody else's, or as good as that: it stays. */
  async #takeBack(record: PoolRecord): Promise<void> {
    if (record.kind === 'folder' && record.path !== '') {
      const superblock = await this.#options.world.disk.readFile(join(record.path, 'superblock'));
      if (superblock?.every((byte) => byte === 0) !== false) await removeFiles(record.path);
    }
    await this.#strike(record);
  }

  /** Our own folder, and the record. */
  async #strike(record: PoolRecord): Promise<void> {
    const { catalog } = this.#options;
    await rm(this.#home(record), { recursive: true, force: true });
    await catalog.apply(catalog.pools.edit(record.name, undefined));
    this.#problems.delete(record.name);
  }

  // ---- volumes

  /** The volume or snapshot with this id in the pool. Throws ServiceError io-error when the pool does not have it. */
  entry(name: string, id: string): PoolEntry {
    const { pool, ids } = this.#get(name);
    const inside = ids.get(id);
    if (inside === undefined) throw new ServiceError('io-error', `pool '${name}' does not have its data`);
    return pool.entry(inside);
  }

  /** A new volume, or (with `source`) a writable copy of the volume or snapshot with that id. */
  async createVolume(record: VolumeRecord, source: string | undefined): Promise<Volume> {
    const { pool, ids } = this.#get(record.pool ?? '');
    if (source === undefined) {
      const { size, thin, created, id: tag } = record;
      ids.set(tag, await pool.create({ size, thick: !thin, created, tag }));
    } else {
      await this.copy(record.pool ?? '', [source], [record.id], true, record.created);
    }
    return this.openVolume(record);
  }

  /** Copies of volumes or snapshots as they are at one instant, under new ids; `writable`: volumes, else snapshots. */
  async copy(
    name: string,
    sources: readonly string[],
    copies: readonly string[],
    writable: boolean,
    created: number,
  ): Promise<void> {
    const { pool, ids } = this.#get(name);
    const inside = sources.map((id) => this.entry(name, id).record.id);
    const made = await pool.copy(inside, writable, created, copies);
    copies.forEach((id, i) => ids.set(id, made[i] as number));
  }

  /** The volume becomes what the snapshot is. */
  async rollback(name: string, volume: string, snapshot: string): Promise<void> {
    const ids = [volume, snapshot].map((id) => this.entry(name, id).record.id) as [number, number];
    await this.pool(name).rollback(...ids);
  }

  openVolume(record: VolumeRecord): Volume {
    const name = record.pool ?? '';
    const { blockSize, durability, readOnly } = record;
    const inside = this.entry(name, record.id).record.id;
    const volume = this.pool(name).open(inside, { blockSize, durability, readOnly });
    this.#cache ??= new L1Cache(POOL_CACHE, POOL_CACHE / 2);
    return new CachedVolume(volume, this.#cache, this.#options.world.clock);
  }

  /** Deletes a volume (not open) or snapshot, if it is there: gone when it resolves; its space comes back later. */
  async remove(name: string, id: string, label: string): Promise<void> {
    const { pool, jobs, ids } = this.#get(name);
    const inside = ids.get(id);
    if (inside === undefined) return;
    const entry = await pool.beginDelete(inside);
    ids.delete(id);
    jobs.giveBack(entry, label);
  }

  /** Name of a volume or `VOLUME@SNAPSHOT` of the pool, for people. */
  nameOf(pool: Pool, inside: number): string {
    const tag = pool.entries.get(inside)?.record.tag;
    const { volumes, snapshots } = this.#options.catalog;
    const volume = volumes.values().find((each) => each.id === tag);
    const snapshot = snapshots.values().find((each) => each.id === tag);
    if (volume !== undefined) return volume.name;
    return snapshot === undefined ? `(${String(inside)})` : `${snapshot.volume}@${snapshot.name}`;
  }
}

/** The files of a pool, and nothing else of the folder. */
async function removeFiles(folder: string): Promise<void> {
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names.filter((each) => /^(journal|slab-\d{5,})$/.test(each))) await rm(join(folder, name));
  // Last: without it the rest is no pool.
  await rm(join(folder, 'superblock'), { force: true });
}

/** Throws ServiceError bad-request. */
async function devicePath(device: string): Promise<string> {
  const wanted = normalize(device);
  const found = await realpath(wanted).catch(() => undefined);
  if (found?.startsWith('/dev/') === true) return wanted;
  throw new ServiceError('bad-request', `${wanted} is not a block device`);
}

function sizeOf(size: number | undefined): number {
  if (size === undefined) throw new ServiceError('bad-request', 'the size is missing');
  if (Number.isSafeInteger(size) && size >= MIN_POOL && size <= MAX_POOL) return size;
  throw new ServiceError('bad-request', `a pool has ${formatSize(MIN_POOL)} to ${formatSize(MAX_POOL)}`);
}

/** Journal and slabs of a pool with `size` bytes: as large as they may be, smaller where the pool is small. */
export function planOf(size: number): NewPool {
  const share = Math.floor(size / POOL_JOURNAL_SHARE / BLOCK) * BLOCK;
  const slabs = Math.ceil(size / POOL_SLAB);
  return {
    size,
    journalBytes: Math.max(MIN_JOURNAL, Math.min(POOL_JOURNAL, share)),
    slabSize: Math.ceil(size / slabs / SLAB_UNIT) * SLAB_UNIT,
  };
}
