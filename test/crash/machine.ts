// A machine with a pool that can be switched off and on again, and the record of what it has acknowledged.
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import { CachedVolume } from '../../core/cache/cached-volume.ts';
import { L1Cache } from '../../core/cache/l1-cache.ts';
import { createPool, growPool, openPool } from '../../core/pool/open.ts';
import type { Recovery } from '../../core/pool/open.ts';
import { FolderFiles } from '../../core/pool/pool-files.ts';
import type { PoolDisks } from '../../core/pool/members.ts';
import { unknownRecord } from '../../core/pool/pool-meta.ts';
import type { Pool } from '../../core/pool/pool.ts';
import { Durability } from '../../core/volume/volume.ts';
import { Power, SimDisk, SimStorage } from './sim-disk.ts';
import { stamp } from './record.ts';
import type { Random } from './sim-disk.ts';
import { SimMeta, copyMeta, emptyMeta } from './sim-meta.ts';
import type { MetaStorage } from './sim-meta.ts';

const MIB = 1_048_576;
export const FOLDER = '/pool';
const FRAME = 65_536;

/** A running pool; it ends when the power fails. */
export interface Running {
  readonly pool: Pool;
  readonly recovery: Recovery;
  readonly disk: SimDisk;
  readonly power: Power;
  open(id: number, durability?: Durability): CachedVolume;
  readonly disks: PoolDisks;
}

const running = new Set<Power>();

/** Switches off everything that still runs: its timers would keep the process alive. */
export function stopAll(): void {
  for (const power of running) power.stop();
  running.clear();
}

export class Machine {
  readonly #storage: SimStorage;
  readonly #meta: MetaStorage;
  readonly #random: Random;
  readonly slabSize: number;
  log: Log = silentLog;
  acceptLoss = false;
  /** Milliseconds that pass with each turn of the event loop: the more, the slower the disk is. */
  turnTime = 5;

  constructor(random: Random, slabSize = 4 * MIB, storage = new SimStorage(), meta = emptyMeta()) {
    this.#random = random;
    this.slabSize = slabSize;
    this.#storage = storage;
    this.#meta = meta;
  }

  /** Another machine with the same content. */
  copy(random: Random): Machine {
    return new Machine(random, this.slabSize, this.#storage.copy(), copyMeta(this.#meta));
  }

  #world(disk: SimDisk): World {
    return {
      clock: {
        now: () => 0,
        wall: () => 0,
        after: (ms, fn) => {
          let cancelled = false;
          // Time passes as work is done: the longer the pause, the more turns.
          let turns = Math.ceil(ms / this.turnTime);
          const turn = (): void => {
            if (cancelled || disk.power.off) return;
            if (turns-- > 0) setImmediate(turn);
            else fn();
          };
          setImmediate(turn);
          return { cancel: () => (cancelled = true) };
        },
        soon: (fn) => setImmediate(fn),
      },
      random: { bytes: (length) => Buffer.alloc(length, 0x5a) },
      net: {
        listenPath: () => Promise.reject(new Error('not used')),
        listen: () => Promise.reject(new Error('not used')),
        connect: () => Promise.reject(new Error('not used')),
      },
      disk,
    };
  }

  /** Makes the pool, `slabs` slabs. */
  async create(slabs: number): Promise<void> {
    const disk = new SimDisk(this.#storage, new Power(), this.#random);
    const meta = (): SimMeta => new SimMeta(this.#meta, disk, this.#random);
    const size = slabs * this.slabSize;
    const wanted = { size, journalBytes: 16 * MIB, slabSize: this.slabSize };
    const world = this.#world(disk);
    await createPool({ world, files: new FolderFiles(world, FOLDER), meta, log: silentLog }, wanted);
  }

  /** Switches it on; the power fails at operation `failAt`. undefined: while it was still starting. */
  async start(failAt = Number.POSITIVE_INFINITY, cacheFrames = 24): Promise<Running | undefined> {
    const power = new Power();
    power.failAt = failAt;
    running.add(power);
    const disk = new SimDisk(this.#storage, power, this.#random);
    const world = this.#world(disk);
    const meta = (): SimMeta => new SimMeta(this.#meta, disk, this.#random);
    const files = new FolderFiles(world, FOLDER);
    const opening = openPool({ world, files, meta, log: this.log, acceptLoss: this.acceptLoss });
    const opened = await Promise.race([opening, power.failed.then(() => undefined)]);
    if (opened === undefined) return undefined;
    const { pool, disks, recovery } = opened;
    const cache = new L1Cache(cacheFrames * FRAME, (cacheFrames / 2) * FRAME);
    const open = (id: number, durability: Durability = Durability.durable): CachedVolume => {
      const volume = pool.open(id, { blockSize: 512, durability, readOnly: false });
      return new CachedVolume(volume, cache, world.clock);
    };
    return { pool, recovery, disk, power, open, disks };
  }

  /** One slab more: on another disk, or where there are fewest. */
  async grow({ disks, pool }: Running): Promise<void> {
    if (pool.members.length >= 2 || this.#random() < 0.4) return growPool(disks, pool, this.slabSize);
    return disks.add(pool, 'folder', `/other${String(pool.members.length + 1)}`, this.slabSize);
  }

  /** What the power failure leaves. */
  crash(): void {
    // One that was through with its work is cut off now: it must not go on beside the next.
    stopAll();
    this.#storage.crash(this.#random);
  }

  /** Flips one bit of a file where it is stored; `near`: bytes. */
  damage(name: string, near: number): boolean {
    const file = this.#storage.files.get(`${FOLDER}/${name}`);
    const page = file?.pages.get(Math.floor(near / 4096));
    if (page === undefined) return false;
    page[near % 4096] = (page[near % 4096] as number) ^ 0x10;
    return true;
  }

  /** Where a page of a file has this content: bytes of the file; -1: nowhere. */
  findBytes(name: string, wanted: Buffer): number {
    for (const [number, page] of this.#storage.files.get(`${FOLDER}/${name}`)?.pages ?? []) {
      if (wanted.equals(page)) return number * 4096;
    }
    return -1;
  }

  /** Damages leaf `id` of the maps as the metadata store reports it: it cannot be read. */
  loseLeaf(id: number): void {
    this.#meta.leaves.set(id, Buffer.alloc(1));
  }

  /** Damages the record of a volume as the metadata store reports it: nobody knows what it was. */
  loseRecord(id: number): void {
    const stored = this.#meta.volumes.get(id);
    if (stored !== undefined) this.#meta.volumes.set(id, { ...stored, record: unknownRecord(id), recordLost: true });
  }

  recordLost(id: number): boolean {
    return this.#meta.volumes.get(id)?.recordLost === true;
  }

  /** Where a sector that is all of this version is stored: bytes of the file; -1: nowhere. */
  find(name: string, version: number): number {
    const wanted = stamp(version, 1);
    for (const [number, page] of this.#storage.files.get(`${FOLDER}/${name}`)?.pages ?? []) {
      const at = page.indexOf(wanted);
      if (at >= 0) return number * 4096 + at;
    }
    return -1;
  }

  /** Pages of a file that hold something. */
  pages(name: string): number[] {
    return [...(this.#storage.files.get(`${FOLDER}/${name}`)?.pages.keys() ?? [])];
  }
}
