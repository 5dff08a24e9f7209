// What a pool is made of, and what is asked of it.
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import type { Durability } from '../volume/volume.ts';
import type { Allocator } from './allocator.ts';
import type { Journal } from './journal.ts';
import type { PoolEntry } from './pool-entry.ts';
import type { MemberRecord, PoolMeta, PoolState, SlabRecord } from './pool-meta.ts';
import type { Slabs } from './slabs.ts';
import type { Leaves } from './volume-map.ts';

/** Everything a pool is made of, as poolOpen() found or made it. */
export interface PoolParts {
  readonly journalBytes: number;
  readonly slabs: Slabs;
  readonly allocator: Allocator;
  readonly journal: Journal;
  readonly leaves: Leaves;
  readonly meta: PoolMeta;
  readonly entries: Map<number, PoolEntry>;
  readonly state: PoolState;
  readonly clock: Clock;
  readonly log: Log;
  /** Name of a volume, for people. */
  readonly nameOf: (volume: number) => string;
  /** Says on the disk that the pool was closed in an orderly way. */
  readonly finish: () => Promise<void>;
  /** Lets go of the files besides the slabs. */
  readonly close: () => Promise<void>;
}

/** Slabs in the order of their grains, and the disks they are on besides the one with the superblock. */
export interface PoolRoom {
  readonly slabs: readonly SlabRecord[];
  readonly members: readonly MemberRecord[];
}

export interface OpenVolumeOptions {
  readonly blockSize: number;
  readonly durability: Durability;
  readonly readOnly: boolean;
}

export interface NewVolume {
  /** Bytes, a multiple of 4096. */
  readonly size: number;
  readonly thick: boolean;
  /** Milliseconds since 1970. */
  readonly created: number;
  /** By which the caller finds it again. */
  readonly tag?: string | undefined;
}
