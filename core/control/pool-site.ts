// What a pool is on the disks of this node, as it is made and as it goes: steps that can be repeated after a crash.
import { rm } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { ServiceError } from '../base/errors.ts';
import { MAX_POOLS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { eraseMembers, isMember, memberAt } from '../pool/members.ts';
import { createPool, erasePool } from '../pool/open.ts';
import type { NewPool, PoolPlace } from '../pool/open.ts';
import { DeviceFiles, FolderFiles } from '../pool/pool-files.ts';
import type { PoolFiles } from '../pool/pool-files.ts';
import { LmdbMeta } from '../pool/pool-meta.ts';
import { poolIdAt } from '../pool/superblocks.ts';
import type { Catalog } from './catalog.ts';
import { checkName } from './names.ts';
import { nameInPool } from './pool-views.ts';
import { devicePath, deviceSize, isFull, planOf, poolSize, removeFiles } from './pool-plan.ts';
import type { CreatePool } from './pool-plan.ts';
import type { PoolRecord } from './records.ts';

/** A pool that is to be made: everything that must not change when a step is repeated. */
export interface PlannedPool {
  readonly record: PoolRecord & { readonly state: 'creating' };
  readonly plan: Pick<NewPool, 'size' | 'journalBytes' | 'slabSize'>;
  /** Its identity on the disks, 32 hexadecimal digits: what is found there is this pool, or somebody else's. */
  readonly poolId: string;
  readonly isDefault: boolean;
}

export class PoolSite {
  readonly #world: World;
  readonly #catalog: Catalog;
  readonly #log: Log;
  readonly #folder: string;

  /** `folder`: `pools` in the data folder. */
  constructor({ world, catalog, log, folder }: { world: World; catalog: Catalog; log: Log; folder: string }) {
    this.#world = world;
    this.#catalog = catalog;
    this.#log = log;
    this.#folder = folder;
  }

  /** Where the metadata is, and the rest too unless it was to be elsewhere. */
  home({ id }: PoolRecord): string {
    return join(this.#folder, id);
  }

  /** For people. */
  where(record: PoolRecord): string {
    return record.path === '' ? this.home(record) : record.path;
  }

  place(record: PoolRecord): PoolPlace {
    const home = this.home(record);
    const meta = (): LmdbMeta => new LmdbMeta(join(home, 'meta'), () => isFull(home));
    const log = this.#log.child({ pool: record.name });
    const nameOf = (tag: string | undefined, volume: number): string => nameInPool(this.#catalog, tag, volume);
    return { world: this.#world, files: this.#files(record), meta, log, nameOf };
  }

  #files(record: PoolRecord): PoolFiles {
    const path = this.where(record);
    return record.kind === 'device' ? new DeviceFiles(this.#world, path) : new FolderFiles(this.#world, path);
  }

  /** Checks and completes what is wanted. Rejects with ServiceError bad-request, exists or limit-reached. */
  async plan(wanted: CreatePool): Promise<PlannedPool> {
    const name = checkName(wanted.name, 'pool');
    const { folder, device, isDefault = false } = wanted;
    this.refuseName(name);
    if (folder !== undefined && device !== undefined) {
      throw new ServiceError('bad-request', 'a pool is in a folder or on a device, not both');
    }
    if (folder !== undefined && !isAbsolute(folder)) {
      throw new ServiceError('bad-request', 'the folder is not absolute');
    }
    const path = device === undefined ? (folder === undefined ? '' : normalize(folder)) : await devicePath(device);
    const { random, clock } = this.#world;
    const id = random.bytes(8).toString('hex');
    const kind = device === undefined ? 'folder' : 'device';
    const record = { name, id, kind, path, state: 'creating', created: clock.wall() } as const;
    const size = device === undefined ? poolSize(wanted.size) : await deviceSize(this.#world, path, wanted.size);
    return { record, plan: planOf(size), poolId: random.bytes(16).toString('hex'), isDefault };
  }

  /** Throws ServiceError exists or limit-reached when there cannot be another pool with this name. */
  refuseName(name: string): void {
    const { pools } = this.#catalog;
    if (pools.get(name) !== undefined) throw new ServiceError('exists', `there is a pool '${name}' already`);
    if (pools.size < MAX_POOLS) return;
    throw new ServiceError('limit-reached', `there are ${String(MAX_POOLS)} pools already`);
  }

  /** Puts the name into the catalog. Rejects like refuseName when somebody else has it. */
  async reserve({ record }: PlannedPool): Promise<void> {
    const { pools } = this.#catalog;
    if (pools.get(record.name)?.id === record.id) return;
    this.refuseName(record.name);
    await this.#catalog.apply(pools.edit(record.name, record));
  }

  /**
   * Makes the pool in its place; what an earlier try left of it goes first. Rejects with ServiceError exists when another pool
   * is there, in-use, device-in-use, no-space or io-error.
   */
  async format({ record, plan, poolId }: PlannedPool): Promise<void> {
    await this.makeHome(record);
    await this.#clear(record, poolId);
    await createPool(this.place(record), { ...plan, poolId: Buffer.from(poolId, 'hex') });
  }

  async makeHome(record: PoolRecord): Promise<void> {
    await this.#world.disk.makeFolder(this.#folder);
    await this.#world.disk.makeFolder(this.home(record));
  }

  /** Takes reserve and format back, as far as they went. A pool of somebody else in the same place stays. */
  async undo({ record, poolId }: PlannedPool): Promise<void> {
    const { pools } = this.#catalog;
    if (pools.get(record.name)?.id !== record.id) return;
    await this.#clear(record, poolId);
    await this.strike(record);
  }

  /** Removes what there is of the pool with this identity, finished or not. */
  async #clear(record: PoolRecord, poolId: string): Promise<void> {
    const found = await this.#found(record, poolId);
    if (found === 'taken') return;
    await rm(join(this.home(record), 'meta'), { recursive: true, force: true });
    if (found === 'free') return;
    if (record.kind === 'device') await erasePool(this.place(record));
    else await removeFiles(this.where(record));
  }

  /** What is in the place of the pool: it, finished or not, nothing, or something of somebody else. */
  async #found(record: PoolRecord, poolId: string): Promise<'ours' | 'unfinished' | 'free' | 'taken'> {
    const path = this.where(record);
    try {
      if (await isMember(this.#world, { kind: record.kind, path })) return 'taken';
      if (record.kind === 'folder') {
        const superblock = await this.#world.disk.readFile(join(path, 'superblock'));
        if (superblock === undefined) return 'free';
        if (superblock.every((byte) => byte === 0)) return 'unfinished';
      }
      const found = await poolIdAt(this.#files(record));
      return found?.toString('hex') === poolId ? 'ours' : 'taken';
    } catch (error) {
      // Where nobody can look, nothing was made either.
      if (!(error instanceof ServiceError) || !(record.kind === 'device' || error.code === 'folder-unusable'))
        throw error;
      return 'taken';
    }
  }

  /** Removes what is on the disks, then the record. Can be repeated after a crash. */
  async forget(record: PoolRecord): Promise<void> {
    const { poolId = '', members = [] } = record.erase ?? {};
    for (const member of members) {
      const found = await memberAt(this.#world, member);
      if (found?.poolId.toString('hex') !== poolId) continue;
      if (member.kind === 'folder') await removeFiles(member.path);
      await eraseMembers(this.#world, Buffer.from(poolId, 'hex'), [member], []);
    }
    if (record.kind === 'device') await erasePool(this.place(record));
    else if (record.path !== '') await removeFiles(record.path);
    await this.strike(record);
  }

  /** The pool was not finished. A finished one in the same place is somebody else's, or as good as that: it stays. */
  async takeBack(record: PoolRecord): Promise<void> {
    if ((await this.#found(record, '')) === 'unfinished') await removeFiles(this.where(record));
    await this.strike(record);
  }

  /** Our own folder, and the record. */
  async strike(record: PoolRecord): Promise<void> {
    await rm(this.home(record), { recursive: true, force: true });
    await this.#catalog.apply(this.#catalog.pools.edit(record.name, undefined));
  }
}
