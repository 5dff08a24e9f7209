// A volume with the RAM cache in front of it. What is written stays in the cache until it is written back, where the
// durability policy allows it: a volatile volume promises nothing, and a volume with a log has it there. Any other volume
// is written through.
import { DIRECT_WRITE } from '../base/limits.ts';
import type { Gather } from '../base/gather.ts';
import type { Clock } from '../base/world.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, LogUpper, SpaceResources, StableWaiter, Volume, VolumeInfo, WriteLog } from '../volume/volume.ts';
import { bring, bringSoon } from './bring.ts';
import { CachedBlocks } from './cached-blocks.ts';
import { Destager } from './destager.ts';
import { gatherNow } from './gather-now.ts';
import type { L1Cache } from './l1-cache.ts';

/** Milliseconds between two tries to change memory that is being sent. */
const SENT_SOON = 1;
const ZEROS = Buffer.alloc(BLOCK);

export interface CacheCounters {
  readonly hits: number;
  readonly misses: number;
  readonly dirtyBytes: number;
  readonly destagedBytes: number;
}

export class CachedVolume implements Volume, LogUpper {
  readonly resources: SpaceResources | undefined;
  readonly #backing: Volume;
  readonly #blocks: CachedBlocks;
  readonly #destager: Destager;
  readonly #clock: Clock;
  readonly #writeBack: boolean;
  /** What is written is given to it before it counts as placed. */
  readonly #log: WriteLog | undefined;
  /** Who waits for writing to be allowed again; undefined: it is. */
  #paused: { count: number; over: Promise<void>; end: () => void } | undefined;
  #closed = false;

  /** `resources`: the room the volume below takes its space from, when that is not its own. */
  constructor(backing: Volume, cache: L1Cache, clock: Clock, resources = backing.resources) {
    this.resources = resources;
    const volatile = backing.info.durability === Durability.volatile;
    this.#backing = backing;
    this.#clock = clock;
    this.#log = volatile ? undefined : backing.log;
    this.#blocks = new CachedBlocks(cache, backing);
    this.#destager = new Destager(this.#blocks, clock, this.#log);
    this.#writeBack = volatile || backing.log !== undefined;
    backing.log?.attach(this);
  }

  get info(): VolumeInfo {
    return this.#backing.info;
  }

  counters(): CacheCounters {
    const { hits, misses, dirtyFrames } = this.#blocks;
    return { hits, misses, dirtyBytes: dirtyFrames * GRAIN, destagedBytes: this.#destager.destagedBytes };
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return !this.#closed && !this.#unstable(position, length) && this.#blocks.copyNow(position, length, target, at);
  }

  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    return !this.#closed && !this.#unstable(position, length) && this.#blocks.viewNow(position, length, pieces);
  }

  /** The log copies what it takes, and a large write is over when it resolves. Of volumes without a log nothing is known. */
  get letsGo(): boolean {
    return this.#log !== undefined;
  }

  gatherNow(position: number, length: number, gather: Gather): boolean {
    return !this.#closed && !this.#unstable(position, length) && gatherNow(this.#blocks, position, length, gather);
  }

  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    return this.#read(position, length, target, at, true);
  }

  readOnce(position: number, length: number, target: Buffer, at: number): Promise<void> {
    return this.#read(position, length, target, at, false);
  }

  async #read(position: number, length: number, target: Buffer, at: number, keeps: boolean): Promise<void> {
    if (this.#closed) throw closedError();
    await this.#blocks.read(position, length, target, at, keeps);
    // Afterwards: it may have been written while we read.
    if (this.#unstable(position, length)) await this.#settledLog(position);
  }

  async bring(position: number, length: number): Promise<boolean> {
    if (this.#closed) throw closedError();
    const there = await bring(this.#blocks, position, length);
    if (this.#unstable(position, length)) await this.#settledLog(position);
    return there;
  }

  bringSoon(position: number, length: number, done: (there: boolean) => void): boolean {
    // Who is told that it is there asks readNow, which looks whether it is stable by then.
    return !this.#closed && !this.#unstable(position, length) && bringSoon(this.#blocks, position, length, done);
  }

  /** What is in the range could be gone after a crash: whoever reads it waits until it cannot. */
  #unstable(position: number, length: number): boolean {
    return this.#log?.unstable(position, length) === true;
  }

  async #settledLog(position: number): Promise<void> {
    try {
      await this.#log?.stable();
    } catch (error) {
      const what = 'what was written last cannot be made stable';
      throw new VolumeError(VolumeFault.readError, what, position, { cause: error });
    }
  }

  // ---- writing

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (!this.#writeBack) {
      const outcome = this.#backing.writeNow(position, source, at, length);
      if (outcome !== WriteNow.refused) this.#blocks.forget(position, length);
      return outcome;
    }
    this.#mayWrite();
    if (this.#paused !== undefined || (this.#log !== undefined && isLarge(position, length))) return WriteNow.refused;
    if (!this.#placeNow(position, source, at, length)) return WriteNow.refused;
    return this.#log === undefined ? WriteNow.done : WriteNow.placed;
  }

  /** Into the cache, and into the log. False: something has to be waited for. Throws a VolumeError. */
  #placeNow(position: number, source: Buffer, at: number, length: number, whole = false): boolean {
    const log = this.#log;
    if (this.#destager.full || !this.#blocks.readyNow(position, length)) return false;
    // A block more on each side where the range begins or ends within one.
    if (whole && log?.together((Math.ceil(length / BLOCK) + 1) * BLOCK) === false) return false;
    if (log?.admit(position, length) === false) return false;
    this.#blocks.put(position, source, at, length);
    if (log !== undefined) this.#blocks.logBlocks(log, position, length);
    this.#destager.notice();
    return true;
  }

  whenStable(waiter: StableWaiter): void {
    this.#backing.whenStable(waiter);
  }

  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    if (!this.#writeBack) {
      await this.#around(position, length, () => this.#backing.write(position, source, at, length, fua));
      return;
    }
    await this.#logged(this.#log, async () => {
      let done = await this.#writeGrains(position, source, at, length);
      // In pieces up to the end of a grain: a small cache need not hold a large write at once.
      while (done < length) {
        const size = Math.min(length - done, GRAIN - ((position + done) % GRAIN));
        await this.#place(position + done, source, at + done, size);
        done += size;
      }
    });
    if (this.#log === undefined && fua) {
      await this.#destager.sweep(position, length);
      await this.#backing.flush();
    }
  }

  /** Runs a change that may end half way. What of it has happened can be read, so it is stable, also when the rest fails. */
  async #logged(log: WriteLog | undefined, change: () => Promise<void>): Promise<void> {
    try {
      await change();
    } finally {
      await log?.stable();
    }
  }

  async writeAtomic(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    // One batch of the log, which a crash leaves whole or not at all. Without a log nothing can do that.
    if (this.#log === undefined) return this.write(position, source, at, length, fua);
    await this.#place(position, source, at, length, true);
    await this.#log.stable();
  }

  /** Whole grains of a large write go past the cache. How many bytes were written. */
  async #writeGrains(position: number, source: Buffer, at: number, length: number): Promise<number> {
    const log = this.#log;
    if (log === undefined || !isLarge(position, length)) return 0;
    await this.#paused?.over;
    this.#mayWrite();
    this.#inside(position + length);
    const whole = length - (length % GRAIN);
    return this.#paused === undefined && (await log.writeGrains(position, source, at, whole)) ? whole : 0;
  }

  async #place(position: number, source: Buffer, at: number, length: number, whole = false): Promise<void> {
    for (;;) {
      await this.#paused?.over;
      this.#mayWrite();
      if (this.#paused !== undefined) continue;
      this.#inside(position + length);
      if (this.#placeNow(position, source, at, length, whole)) return;
      if (this.#destager.full) await this.#destager.room();
      else if (this.#blocks.readyNow(position, length)) await this.#log?.room();
      else await this.#warmEdges(position, length);
    }
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
    if (this.#log !== undefined) {
      await this.#log.stable();
      return;
    }
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
  async #clear(position: number, length: number, change: () => Promise<void>): Promise<void> {
    if (!this.#writeBack) return this.#around(position, length, change);
    this.#isOpen();
    // With a log clearing places nothing: it goes on where writing back fails, and makes the room that is missing.
    if (this.#backing.log === undefined) this.#mayWrite();
    const end = position + length;
    const from = Math.min(end, Math.ceil(position / BLOCK) * BLOCK);
    const to = Math.max(from, end - (end % BLOCK));
    // Blocks that belong to the range only in part are not dropped: what is beside the range is written back.
    const edges = [
      { position, length: from - position },
      { position: to, length: end - to },
    ].filter((edge) => edge.length > 0);
    if (this.#backing.log !== undefined) return this.#clearLogged(this.#backing.log, from, to, edges);
    return this.#destager.exclusive(async () => {
      for (const edge of edges) await this.#sweepInside(edge.position);
      if (to > from) await this.#forget(from, to - from);
      await change();
      for (const edge of edges) while (!this.#blocks.zeroValid(edge.position, edge.length)) await this.#pause();
      if (to > from) await this.#forget(from, to - from);
    });
  }

  /** Blocks [from, to) become holes; zeros are written to the edges, which are less than a block. */
  async #clearLogged(
    log: WriteLog,
    from: number,
    to: number,
    edges: readonly { readonly position: number; readonly length: number }[],
  ): Promise<void> {
    await this.#logged(log, async () => {
      while (to > from) {
        await this.#paused?.over;
        if (await this.#clearBlocks(log, from, to - from)) break;
        if (this.#paused === undefined) await log.room();
      }
      // Afterwards: on a full pool they may need a grain that has just become free.
      for (const edge of edges) await this.#place(edge.position, ZEROS, 0, edge.length);
    });
  }

  /** False: the log has no room, or writing is paused. */
  async #clearBlocks(log: WriteLog, position: number, length: number): Promise<boolean> {
    // At once where nothing of it is on its way to its place: others may be for a long time.
    if (this.#paused === undefined && this.#blocks.forgetsNow(position, length)) {
      return log.clear(position, length) && this.#blocks.forget(position, length);
    }
    return this.#destager.exclusive(async () => {
      while (!this.#blocks.detach(position, length)) await this.#pause();
      // In one turn: what is written, and logged, behind the clearing must not be forgotten with it.
      return this.#paused === undefined && log.clear(position, length) && this.#blocks.forget(position, length);
    });
  }

  #sweepInside(position: number): Promise<void> {
    const grain = Math.floor(position / GRAIN);
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

  // ---- for the volume below

  settled<T>(position: number, length: number, work: () => T | Promise<T>): Promise<T> {
    const end = length === Number.MAX_SAFE_INTEGER ? length : Math.ceil((position + length) / GRAIN);
    return this.#destager.exclusive(async () => {
      await this.#destager.sweepNow(Math.floor(position / GRAIN), end);
      return work();
    });
  }

  quiet(position: number, length: number): boolean {
    return this.#blocks.quiet(position, length);
  }

  replaced(position: number, length: number): void {
    if (!this.#blocks.forget(position, length)) throw new RangeError('what is beside the range is kept in its frames');
  }

  logAgain(limit: number, ready: () => boolean, more: () => Promise<boolean>): Promise<boolean> {
    return this.#destager.exclusive(async () => {
      const log = this.#log;
      if (log === undefined || this.#blocks.dirtyFrames * GRAIN > limit) return false;
      return this.#blocks.logDirty(log, ready, more);
    });
  }

  pause(): () => void {
    if (this.#paused === undefined) {
      let end: () => void = () => undefined;
      const over = new Promise<void>((resolve) => (end = resolve));
      this.#paused = { count: 0, over, end };
    }
    const paused = this.#paused;
    paused.count++;
    let resumed = false;
    return () => {
      if (resumed) return;
      resumed = true;
      if (--paused.count > 0) return;
      this.#paused = undefined;
      paused.end();
    };
  }

  release(): void {
    this.#blocks.release();
  }

  // ---- the rest

  async extents(position: number, length: number, limit: number): Promise<Extent[]> {
    if (this.#writeBack && !this.#blocks.quiet(position, length)) await this.#destager.sweep(position, length);
    return this.#backing.extents(position, length, limit);
  }

  get origin(): Volume {
    return this.#backing.origin ?? this.#backing;
  }

  /** What both volumes keep is put into its place by the volume below (LogUpper). */
  async shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    if (this.#backing.shareFrom === undefined) return false;
    while (this.#paused !== undefined) await this.#paused.over;
    this.#mayWrite();
    this.#inside(to + length);
    return this.#backing.shareFrom(source, from, to, length);
  }

  sharesWith(source: Volume): boolean {
    return this.#backing.sharesWith?.(source) === true;
  }

  allocatedBytes(): number {
    return this.#backing.allocatedBytes();
  }

  async resize(size: number): Promise<void> {
    const before = this.info.size;
    const resume = this.pause();
    try {
      await this.#destager.sweep();
      await this.#backing.resize(size);
      // The last block was filled only as far as the volume went.
      const from = Math.min(before, size);
      await this.#destager.exclusive(() => this.#forget(from - (from % BLOCK), Math.max(before, size) - from + BLOCK));
    } finally {
      resume();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#destager.stop();
    try {
      if (this.#writeBack && !this.info.readOnly) await this.#destager.sweep();
    } finally {
      await this.#backing.close();
      // What a log has is released by the volume below: it may want to try again.
      if (this.#backing.log === undefined) this.release();
    }
  }

  #isOpen(): void {
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    if (this.#closed) throw closedError();
  }

  #mayWrite(): void {
    this.#isOpen();
    // What was acknowledged cannot be written back: nothing more is acknowledged until it can.
    if (this.#destager.failure !== undefined) throw this.#destager.failure;
  }

  /** What waited while the volume was made smaller finds no place. */
  #inside(end: number): void {
    const { size } = this.info;
    if (end > size) throw new VolumeError(VolumeFault.writeError, 'the volume has become smaller', size);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(SENT_SOON, resolve);
    });
  }
}

/** A write that is better made past the log and the cache. */
function isLarge(position: number, length: number): boolean {
  return length >= DIRECT_WRITE && position % GRAIN === 0;
}

function closedError(): VolumeError {
  return new VolumeError(VolumeFault.notReady, 'the volume is closed');
}
