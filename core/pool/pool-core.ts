// What the volumes of a pool need of it.
import type { Durability } from '../volume/volume.ts';
import type { Allocator } from './allocator.ts';
import type { Journal } from './journal.ts';
import type { PoolVolume } from './pool-volume.ts';
import type { Slabs } from './slabs.ts';

export interface PoolVolumeOptions {
  readonly id: number;
  readonly size: number;
  readonly blockSize: number;
  readonly durability: Durability;
  readonly readOnly: boolean;
  readonly thick: boolean;
}

export interface PoolCore {
  readonly slabs: Slabs;
  readonly allocator: Allocator;
  readonly journal: Journal;
  /** Throws a VolumeError when the pool takes no more writes. */
  mayWrite(): void;
  /** No grain could be promised. Returns when some soon will be free; throws VolumeError no-space. */
  mayWait(): void;
  /** Resolves when grains that wait for a commit may be free. */
  grainsFreed(): Promise<void>;
  /** What was written to the slabs so far is stable when it resolves. */
  sync(): Promise<void>;
  /** The data (not the checksums) written to the slabs so far is stable when it resolves; many callers share one sync. */
  dataStable(): Promise<void>;
  /** Syncs that have begun, and that are over; they come one after the other. */
  readonly syncsBegun: number;
  readonly syncs: number;
  /** Data of the volume at this position (bytes) cannot be had; `what`: why, in words. */
  damaged(volume: number, position: number, what: string): void;
  resize(volume: PoolVolume, size: number): Promise<void>;
  /** The volume is not used any more (it is not deleted). */
  closed(volume: PoolVolume): Promise<void>;
}
