// A volume with the RAM cache in front of it. A volatile volume is written back later; any other is written through, so
// that what is acknowledged is where its durability policy wants it.
import type { Clock } from '../base/world.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from '../volume/volume.ts';
import { CachedBlocks } from './cached-blocks.ts';
import { Destager } from './destager.ts';
import { BLOCK } from './l1-cache.ts';
import type { L1Cache } from './l1-cache.ts';

/** Milliseconds between two tries to change memory that is being sent. */
const SENT_SOON = 1;

export interface CacheCounters {
  readonly hits: number;
  readonly misses: number;
  readonly dirtyBytes: number;
  readonly destagedBytes: number;
}

export class CachedVolume implements Volume {
  readonly #backing: Volume;
  readonly #blocks: CachedBlocks;
  readonly #destager: Destager;
  readonly #clock: Clock;
  readonly #writeBack: boolean;
  #closed = false;

  constructor(backing: Volume, cache: L1Cache, clock: Clock) {
    this.#backing = backing;
    this.#clock = clock;
    this.#blocks = new CachedBlocks(cache, backing);
    this.#destager = new Destager(this.#blocks, clock);
    this.#writeBack = backing.info.durability === Durability.volatile;
  }

  get info(): VolumeInfo {
    return this.#backing.info;
  }

  counters(): CacheCounters {
    const { hits, misses, dirtyFrames, cache } = this.#blocks;
    return { hits, misses, dirtyBytes: dirtyFrames * cache.frameBytes, destagedBytes: this.#destager.destagedBytes };
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return !this.#closed && this.#blocks.copyNow(position, length, target, at);
  }

  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    return !this.#closed && this.#blocks.viewNow(position, length, pieces);
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    if (this.#closed) throw closedError();
    await this.#blocks.read(position, length, target, at);
  }

  // ---- writing

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (!this.#writeBack) {
      const outcome = this.#backing.writeNow(position, source, at, length);
      if (outcome !== WriteNow.refused) this.#blocks.forget(position, length);
      return outcome;
    }
    this.#mayWrite();
    if (this.#destager.full || !this.#blocks.placeNow(position, source, at, length)) return WriteNow.refused;
    this.#destager.notice();
    return WriteNow.done;
  }

  whenStable(waiter: StableWaiter): void {
    this.#backing.whenStable(waiter);
  }

  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    if (!this.#writeBack) {
      await this.#around(position, length, () => this.#backing.write(position, source, at, length, fua));
      return;
    }
    for (let done = 0; done < length;) {
      const size = Math.min(length - done, this.#pieceOf(position + done));
      await this.#place(position + done, source, at + done, size);
      done += size;
    }
    if (!fua) return;
    await this.#destager.sweep(position, length);
    await this.#backing.flush();
  }

  /** Up to the end of the grain: a small cache need not hold a large write at once. */
  #pieceOf(position: number): number {
    const grain = this.#blocks.cache.frameBytes;
    return grain - (position % grain);
  }

  async #place(position: number, source: Buffer, at: number, length: number): Promise<void> {
    for (;;) {
      this.#mayWrite();
      if (this.#destager.full) {
        await this.#destager.room();
        continue;
      }
      if (this.#blocks.placeNow(position, source, at, length)) break;
      await this.#warmEdges(position, length);
    }
    this.#destager.notice();
  }

  /** Reads the blocks that the range covers only in part, so that the rest of them is there. */
  async #warmEdges(position: number, length: number): Promise<void> {
    const first = position - (position % BLOCK);
    const last = position + length - 1 - ((position + length - 1) % BLOCK);
    const block = Buffer.allocUnsafe(BLOCK);
    for (const edge of new Set([first, last])) {
      await this.#blocks.read(edge, Math.min(BLOCK, this.info.size - edge), block, 0);
    }
    // All frames may be busy for the moment.
    await this.#pause();
  }

  async flush(): Promise<void> {
    if (this.#closed) throw closedError();
    if (this.#writeBack) await this.#destager.sweep();
    await this.#backing.flush();
  }

  zero(position: number, length: number): Promise<void> {
    return this.#clear(position, length, () => this.#backing.zero(position, length));
  }

  unmap(position: number, length: number): Promise<void> {
    return this.#clear(position, length, () => this.#backing.unmap(position, length));
  }

  /** `change` makes the range read as zeros below. */
  #clear(position: number, length: number, change: () => Promise<void>): Promise<void> {
    if (!this.#writeBack) return this.#around(position, length, change);
    this.#mayWrite();
    return this.#destager.exclusive(async () => {
      const end = position + length;
      const from = Math.min(end, Math.ceil(position / BLOCK) * BLOCK);
      const to = Math.max(from, end - (end % BLOCK));
      // Blocks that belong to the range only in part are not dropped: what is beside the range is written back.
      const edges = [
        { position, length: from - position },
        { position: to, length: end - to },
      ].filter((edge) => edge.length > 0);
      for (const edge of edges) await this.#sweepInside(edge.position);
      if (to > from) await this.#forget(from, to - from);
      await change();
      for (const edge of edges) while (!this.#blocks.zeroValid(edge.position, edge.length)) await this.#pause();
      if (to > from) await this.#forget(from, to - from);
    });
  }

  #sweepInside(position: number): Promise<void> {
    const grain = Math.floor(position / this.#blocks.cache.frameBytes);
    return this.#destager.sweepNow(grain, grain + 1);
  }

  async #forget(position: number, length: number): Promise<void> {
    while (!this.#blocks.forget(position, length)) await this.#pause();
  }

  /** A change below that passes by the cache: what is read while it runs may be old, new, or both. */
  async #around(position: number, length: number, change: () => Promise<void>): Promise<void> {
    this.#blocks.forget(position, length);
    try {
      await change();
    } finally {
      this.#blocks.forget(position, length);
    }
  }

  // ---- the rest

  async extents(position: number, length: number, limit: number): Promise<Extent[]> {
    if (this.#writeBack) await this.#destager.sweep(position, length);
    return this.#backing.extents(position, length, limit);
  }

  allocatedBytes(): number {
    return this.#backing.allocatedBytes();
  }

  async resize(size: number): Promise<void> {
    const before = this.info.size;
    await this.#destager.exclusive(async () => {
      await this.#destager.sweepNow(0, Number.MAX_SAFE_INTEGER);
      await this.#backing.resize(size);
      // The last block was filled only as far as the volume went.
      const from = Math.min(before, size);
      await this.#forget(from - (from % BLOCK), Math.max(before, size) - from + BLOCK);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#destager.stop();
    try {
      if (this.#writeBack && !this.info.readOnly) await this.#destager.sweep();
    } finally {
      await this.#backing.close();
      this.#blocks.release();
    }
  }

  #mayWrite(): void {
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    if (this.#closed) throw closedError();
    // What was acknowledged cannot be written back: nothing more is acknowledged until it can.
    if (this.#destager.failure !== undefined) throw this.#destager.failure;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(SENT_SOON, resolve);
    });
  }
}

function closedError(): VolumeError {
  return new VolumeError(VolumeFault.notReady, 'the volume is closed');
}
