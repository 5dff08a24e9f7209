// The pools of this node: made, opened at the start, grown, scrubbed, closed. A pool that cannot be opened is reported, its
// volumes are not served; everybody else is.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_POOL, MAX_POOLS, MIN_POOL_CACHE, POOL_CACHE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { formatSize } from '../base/sizes.ts';
import { Turn } from '../base/turn.ts';
import type { World } from '../base/world.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import { L1Cache } from '../cache/l1-cache.ts';
import type { CheckResult } from '../pool/check.ts';
import { growPool, openPool } from '../pool/open.ts';
import type { PoolDisks } from '../pool/members.ts';
import { attachPool, exportPool, importMeta, isExported } from '../pool/moving.ts';
import type { MemberRecord } from '../pool/pool-meta.ts';
import type { Pool, PoolEntry } from '../pool/pool.ts';
import { PoolRodStore } from '../pool/rod-store.ts';
import { isHidden } from '../pool/rod-table.ts';
import { GRAIN } from '../volume/grain.ts';
import type { RodSource } from '../volume/rod.ts';
import type { Volume } from '../volume/volume.ts';
import type { Catalog } from './catalog.ts';
import type { Edit } from './collection.ts';
import { isBeingMade } from './jobs/pool-life-kinds.ts';
import { PoolJobs } from './pool-jobs.ts';
import { forgetPool } from './pool-moves.ts';
import { newMember } from './pool-plan.ts';
import type { CreatePool, GrowPool } from './pool-plan.ts';
import { PoolSite } from './pool-site.ts';
import type { PlannedPool } from './pool-site.ts';
import { thresholdChanged, watchThreshold } from './pool-threshold.ts';
import { nobodys, snapshotBytes } from './pool-views.ts';
import { DRAFT_TAG } from './records.ts';
import type { PoolRecord, VolumeRecord } from './records.ts';
import type { Units } from './units.ts';
import { noPool } from './volume-request.ts';

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
  readonly disks: PoolDisks;
  readonly jobs: PoolJobs;
  readonly rods: PoolRodStore;
  /** By the id of the volume or snapshot: its id in the pool. */
  readonly ids: Map<string, number>;
}

export class PoolManager {
  readonly #options: PoolManagerOptions;
  readonly #opened = new Map<string, Opened>();
  /** Why a pool is not open, by name. */
  readonly #problems = new Map<string, string>();
  readonly #turn = new Turn();
  /** A snapshot that is read is neither copied nor deleted meanwhile. */
  readonly reads = new Turn();
  readonly #site: PoolSite;
  #cache: L1Cache | undefined;

  constructor(options: PoolManagerOptions) {
    this.#options = options;
    const { cache } = options;
    this.#site = new PoolSite(options);
    this.#cache = cache !== undefined && cache.frames * GRAIN >= MIN_POOL_CACHE ? cache : undefined;
  }

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
    const { catalog } = this.#options;
    for (const record of catalog.pools.values()) {
      try {
        if (record.state === 'ready') {
          this.#options.checkMeta(join(this.#site.home(record), 'meta'));
          await this.#open(record);
        } else if (record.state === 'exporting') await this.#finishExport(record);
        else if (record.state === 'importing') await this.#finishImport(record);
        else if (record.state === 'deleting') await this.#site.forget(record);
        else if (!isBeingMade(catalog, record)) await this.#site.takeBack(record);
      } catch (error) {
        this.#problems.set(record.name, messageOf(error));
        this.#options.log.error({ pool: record.name, error: messageOf(error) }, 'pool is not open');
      }
    }
  }

  /** Rejects with bad-request, exists, limit-reached, device-in-use, no-space or io-error; nothing is left behind then. */
  async create(wanted: CreatePool): Promise<PoolRecord> {
    const planned = await this.plan(wanted);
    try {
      await this.reserve(planned);
      await this.format(planned);
      return await this.begin(planned);
    } catch (error) {
      // On a full disk this fails as well: the next start takes it back then.
      await this.undoCreate(planned).catch(() => undefined);
      throw error;
    }
  }

  // The steps of create(); each can be repeated after a crash.

  plan(wanted: CreatePool): Promise<PlannedPool> {
    return this.#site.plan(wanted);
  }

  reserve(planned: PlannedPool): Promise<void> {
    return this.#turn.run(() => this.#site.reserve(planned));
  }

  format(planned: PlannedPool): Promise<void> {
    return this.#turn.run(() => this.#site.format(planned));
  }

  /** The pool is in service when it resolves. */
  begin({ record, isDefault }: PlannedPool): Promise<PoolRecord> {
    return this.#turn.run(async () => {
      const { catalog, log } = this.#options;
      const known = catalog.pools.get(record.name);
      if (known?.id === record.id && known.state === 'ready' && this.#opened.has(record.name)) return known;
      const ready: PoolRecord = { ...record, ...(isDefault ? { isDefault } : {}), state: 'ready' };
      await this.#open(ready);
      await catalog.apply(...this.#unmark(ready), catalog.pools.edit(record.name, ready));
      log.info({ pool: record.name, path: this.where(record) }, 'pool created');
      return ready;
    });
  }

  /** Takes a pool that was not begun back, as far as it went. */
  undoCreate(planned: PlannedPool): Promise<void> {
    return this.#turn.run(async () => {
      const { name, id } = planned.record;
      const { catalog } = this.#options;
      if (catalog.pools.get(name)?.id !== id) return;
      if (catalog.volumesOfPool(name).length > 0) throw new ServiceError('has-volumes', `pool '${name}' has volumes`);
      await this.#close(name).catch(() => undefined);
      await this.#site.undo(planned);
      this.#problems.delete(name);
    });
  }

  /** For people. */
  where(record: PoolRecord): string {
    return this.#site.where(record);
  }

  async #open(record: PoolRecord): Promise<void> {
    const { world, log } = this.#options;
    const place = this.#site.place(record);
    const { pool, disks, recovery } = await openPool(place);
    const ids = new Map<string, number>();
    for (const { record: volume } of pool.entries.values()) {
      if (volume.tag !== undefined && !volume.deleting && !isHidden(volume.tag)) ids.set(volume.tag, volume.id);
    }
    for (const [tag, id] of [...ids]) {
      if (!tag.startsWith(DRAFT_TAG)) continue;
      // A crash has ended it; it is begun again.
      ids.delete(tag);
      await pool.delete(id);
    }
    const known = new Set(this.#options.catalog.stored().map((each) => each.id));
    const strangers = [...ids.keys()].filter((id) => !known.has(id)).length;
    if (strangers > 0) log.warn({ pool: record.name, volumes: strangers }, 'the catalog does not know all in the pool');
    const jobs = new PoolJobs(record.name, pool, world.clock, log);
    const rods = await PoolRodStore.open({ id: record.id, pool, clock: world.clock, log: place.log }).catch(
      async (error: unknown) => {
        await pool.close().catch(() => undefined);
        throw error;
      },
    );
    this.#opened.set(record.name, { pool, disks, jobs, rods, ids });
    this.#problems.delete(record.name);
    watchThreshold(record, pool, this.#options);
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
    await opened.rods.close();
    await opened.pool.close();
  }

  /** Adds room: `bytes` of volume data at least, what devices have grown by, another folder or device. */
  grow(name: string, wanted: GrowPool): Promise<void> {
    return this.#turn.run(async () => {
      const { pool, disks } = this.#get(name);
      const { bytes, folder, device } = wanted;
      const total = pool.allocator.total * GRAIN;
      if (total + (bytes ?? 0) > MAX_POOL) {
        throw new ServiceError('bad-request', `a pool has at most ${formatSize(MAX_POOL)}`);
      }
      if (folder !== undefined || device !== undefined) {
        const { kind, path } = await newMember(this.record(name), wanted);
        await disks.add(pool, kind, path, bytes ?? 0);
      } else if (bytes !== undefined) await growPool(disks, pool, bytes);
      else if (!(await disks.useGrown(pool))) {
        throw new ServiceError('bad-request', `no device of pool '${name}' has grown: say how much, or add a disk`);
      }
      const to = pool.allocator.total * GRAIN;
      this.#options.log.info({ pool: name, from: total, to }, 'pool has grown');
      thresholdChanged(name, this.#options.units);
    });
  }

  /** It takes the disks for which nobody names a pool. */
  isDefault(name: string): boolean {
    return this.#options.catalog.defaultPool?.name === name;
  }

  /** The pool takes the disks for which nobody names one. */
  setDefault(name: string): Promise<PoolRecord> {
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      const record: PoolRecord = { ...this.record(name), isDefault: true };
      await catalog.apply(...this.#unmark(record), catalog.pools.edit(name, record));
      return record;
    });
  }

  /** The default is no other than this one, if it is. */
  #unmark({ name, isDefault }: PoolRecord): Edit[] {
    const { pools } = this.#options.catalog;
    const marked = pools.values().filter((each) => isDefault === true && each.isDefault === true && each.name !== name);
    return marked.map((each) => pools.edit(each.name, { ...each, isDefault: false }));
  }

  /** Initiators are told when `percent` of the pool are in use. */
  setThreshold(name: string, percent: number): Promise<PoolRecord> {
    return this.#turn.run(async () => {
      const { catalog, units } = this.#options;
      const record: PoolRecord = { ...this.record(name), threshold: percent };
      await catalog.apply(catalog.pools.edit(name, record));
      const opened = this.#opened.get(name);
      if (opened !== undefined) watchThreshold(record, opened.pool, this.#options);
      thresholdChanged(name, units);
      return record;
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
      const kept = catalog.deletedOfPool(name).map((volume) => `${volume.name}, deleted but kept`);
      const users = [...catalog.volumesOfPool(name).map((volume) => volume.name), ...kept];
      if (users.length > 0) {
        const list = users.slice(0, 3).join(', ') + (users.length > 3 ? ' …' : '');
        throw new ServiceError('has-volumes', `pool '${name}' has volumes (${list})`);
      }
      const opened = this.#opened.get(name);
      const erase = { poolId: opened?.disks.poolId.toString('hex') ?? '', members: opened?.pool.members ?? [] };
      const deleting: PoolRecord = { ...record, erase, state: 'deleting' };
      await catalog.apply(catalog.pools.edit(name, deleting));
      await this.#close(name).catch(() => undefined);
      await this.#site.forget(deleting);
      this.#problems.delete(name);
      log.info({ pool: name }, 'pool deleted');
    });
  }

  /** The disks of the pool besides the one with the superblock. */
  members(name: string): readonly MemberRecord[] {
    return this.pool(name).members;
  }

  /** Closes the pool, whose volumes are closed, and lets it go with `note`. It stays when that fails. */
  release(name: string, note: object): Promise<void> {
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      const record = this.record(name);
      this.pool(name);
      await catalog.apply(catalog.pools.edit(name, { ...record, state: 'exporting' }));
      try {
        await this.#close(name);
        await exportPool(this.#site.place(record), note);
      } catch (error) {
        await this.#finishExport(record);
        throw error;
      }
      await this.#finishExport(record);
    });
  }

  /** It has left, or goes on here. */
  async #finishExport(record: PoolRecord): Promise<void> {
    const { catalog } = this.#options;
    if (await isExported(this.#site.place(record).files)) {
      // Its metadata travels with it. Before the record goes, or a crash in between would leave them here for ever.
      await rm(join(this.#site.home(record), record.path === '' ? 'meta' : ''), { recursive: true, force: true });
      await catalog.apply(...forgetPool(catalog, record.name));
      return;
    }
    const ready: PoolRecord = { ...record, state: 'ready' };
    await this.#open(ready);
    await catalog.apply(catalog.pools.edit(record.name, ready));
  }

  /** Makes an exported pool ours, and `edits` with it. Nothing has changed when that fails. */
  adopt(record: PoolRecord, members: readonly MemberRecord[], edits: readonly Edit[]): Promise<void> {
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      if (catalog.pools.size >= MAX_POOLS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_POOLS)} pools already`);
      }
      const importing: PoolRecord = { ...record, state: 'importing' };
      await catalog.apply(catalog.pools.edit(record.name, record));
      try {
        await this.#site.makeHome(record);
        await importMeta(this.#site.place(record), members);
        await catalog.apply(catalog.pools.edit(record.name, importing), ...edits);
      } catch (error) {
        await this.#site.takeBack(record).catch(() => undefined);
        throw error;
      }
      await this.#finishImport(importing);
    });
  }

  /** Goes on with adopt() where a crash or a failure ended it. False: it was not begun, or taken back. */
  adopted(name: string, id: string): Promise<boolean> {
    return this.#turn.run(async () => {
      const record = this.#options.catalog.pools.get(name);
      if (record?.id !== id || record.state === 'creating') return false;
      if (record.state === 'importing') await this.#finishImport(record);
      else this.pool(name);
      return true;
    });
  }

  async #finishImport(record: PoolRecord): Promise<void> {
    const { catalog } = this.#options;
    await attachPool(this.#site.place(record).files);
    const ready: PoolRecord = { ...record, state: 'ready' };
    await this.#open(ready);
    await catalog.apply(catalog.pools.edit(record.name, ready));
  }

  // ---- volumes

  /** The volume or snapshot with this id in the pool. Throws ServiceError io-error when the pool does not have it. */
  entry(name: string, id: string): PoolEntry {
    const { pool, ids } = this.#get(name);
    const inside = ids.get(id);
    if (inside === undefined) throw new ServiceError('io-error', `pool '${name}' does not have its data`);
    return pool.entry(inside);
  }

  /** Whether the pool is open and has the volume or snapshot with this id. */
  has(name: string, id: string): boolean {
    const opened = this.#opened.get(name);
    const inside = opened?.ids.get(id);
    return inside !== undefined && opened?.pool.entries.get(inside)?.record.deleting === false;
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
    await this.reads.run(async () => {
      const { pool, ids } = this.#get(name);
      const inside = sources.map((id) => this.entry(name, id).record.id);
      const made = await pool.copy(inside, writable, created, copies);
      copies.forEach((id, i) => ids.set(id, made[i] as number));
    });
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
    const pool = this.pool(name);
    const volume = pool.open(inside, { blockSize, durability, readOnly });
    this.#cache ??= new L1Cache(POOL_CACHE, POOL_CACHE / 2);
    return new CachedVolume(volume, this.#cache, this.#options.world.clock, pool.threshold);
  }

  /** Deletes a volume (not open) or snapshot, if it is there: gone when it resolves; its space comes back later. */
  async remove(name: string, id: string, label: string): Promise<void> {
    await this.reads.run(async () => {
      const { pool, jobs, ids } = this.#get(name);
      const inside = ids.get(id);
      const gone = inside === undefined ? nobodys(this.#options.catalog, name, id, pool) : [inside];
      for (const each of gone) jobs.giveBack(await pool.beginDelete(each), label);
      ids.delete(id);
    });
  }

  /** Where points in time of a volume are made; undefined: it is not in a pool, or not open. */
  rodSource(name: string): RodSource | undefined {
    const record = this.#options.catalog.volumes.get(name);
    const opened = this.#opened.get(record?.pool ?? '');
    const inside = opened?.ids.get(record?.id ?? '');
    if (opened === undefined || inside === undefined) return undefined;
    const { pool, rods } = opened;
    const volume = pool.entries.get(inside)?.open;
    return volume === undefined ? undefined : { store: rods, make: (wanted) => rods.make(volume, wanted) };
  }

  /** Those of all open pools. */
  rodStores(): Iterable<PoolRodStore> {
    return [...this.#opened.values()].map(({ rods }) => rods);
  }
}
