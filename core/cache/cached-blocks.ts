// What the cache holds of one volume: which frame has which grain, and moving blocks between frames, callers and the
// storage below. Everything here happens within one turn of the event loop except read().
import { viewGuard } from '../base/view-guard.ts';
import { CACHE_READ_RETRIES } from '../base/limits.ts';
import { BLOCK, blockMask, lowestBlock, runEnd } from '../volume/grain.ts';
import type { Volume, WriteLog } from '../volume/volume.ts';
import { GrainIndex } from './grain-index.ts';
import { FRAME, coveredBlocks, touchedBlocks } from './l1-cache.ts';
import type { FrameOwner, L1Cache } from './l1-cache.ts';

/** Counters by grain, several grains share one: enough to notice that a grain changed while it was being read. */
const VERSIONS = 4096;
/** What #presentNow says when there is no frame with the range. */
const COLD = -1;
const NO_FRAME = -2;

/** Bytes of the volume, inside one grain. */
interface Run {
  readonly position: number;
  length: number;
}

export class CachedBlocks implements FrameOwner {
  readonly cacheId: number;
  readonly cache: L1Cache;
  readonly backing: Volume;
  readonly index = new GrainIndex();
  /** Frames of this volume with dirty blocks. */
  dirtyFrames = 0;
  /** Ranges that were there, and that were not, when somebody read; one count per grain touched. */
  hits = 0;
  misses = 0;
  readonly #versions = new Uint32Array(VERSIONS);

  constructor(cache: L1Cache, backing: Volume) {
    this.cache = cache;
    this.backing = backing;
    this.cacheId = cache.nextId();
  }

  frameLost(grain: number): void {
    this.index.delete(grain);
  }

  // ---- reading

  /** Copies the range to `target`, by way of the cache. False: part of it is cold. Allocation-free when it is a hit. */
  copyNow(position: number, length: number, target: Buffer, at: number): boolean {
    const end = position + length;
    for (let p = position; p < end;) {
      const grain = Math.floor(p / FRAME);
      const from = p - grain * FRAME;
      const upTo = Math.min(FRAME, from + end - p);
      const frame = this.#presentNow(grain, from, upTo);
      const to = at + p - position;
      if (frame >= 0) {
        const offset = this.cache.offset(frame);
        this.cache.slab(frame).copy(target, to, offset + from, offset + upTo);
      } else if (frame === COLD || !this.backing.readNow(p, upTo - from, target, to)) {
        return false;
      }
      p += upTo - from;
    }
    return true;
  }

  /** Appends the memory of the range to `pieces`; see Volume.viewNow. */
  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    const cache = this.cache;
    const before = pieces.length;
    const end = position + length;
    // Adjacent grains often lie in adjacent frames: fewer and longer pieces are cheaper to send.
    let slab: Buffer | undefined;
    let start = 0;
    let stop = 0;
    for (let p = position; p < end;) {
      const grain = Math.floor(p / FRAME);
      const from = p - grain * FRAME;
      const upTo = Math.min(FRAME, from + end - p);
      const frame = this.#presentNow(grain, from, upTo);
      if (frame < 0) {
        pieces.length = before;
        return false;
      }
      cache.viewed[frame] = viewGuard.epoch;
      const offset = cache.offset(frame);
      if (cache.slab(frame) !== slab || offset + from !== stop) {
        if (slab !== undefined) pieces.push(slab.subarray(start, stop));
        slab = cache.slab(frame);
        start = offset + from;
      }
      stop = offset + upTo;
      p += upTo - from;
    }
    if (slab !== undefined) pieces.push(slab.subarray(start, stop));
    return true;
  }

  /**
   * Reads the range into `target`: what the cache has from there, the rest from below; it stays in the cache if that `keeps`
   * it. Rejects with a VolumeError.
   */
  async read(position: number, length: number, target: Buffer, at: number, keeps = true): Promise<void> {
    const grain = Math.floor(position / FRAME);
    const from = position - grain * FRAME;
    if (from + length <= FRAME && !this.#anyValid(grain, from, from + length)) {
      // The most frequent case: a small read of which nothing is here.
      const version = this.#versions[grain % VERSIONS];
      await this.backing.read(position, length, target, at);
      if (this.#versions[grain % VERSIONS] === version) {
        if (keeps) this.#install({ position, length }, target, at);
        return;
      }
    }
    for (let tries = 0; ; tries++) {
      const before = this.#stamp(position, length);
      const runs = this.#copyPresent(position, length, target, at);
      for (const run of runs) await this.backing.read(run.position, run.length, target, at + run.position - position);
      // A block that was written meanwhile may have been read half old, half new.
      const changed = this.#stamp(position, length).some((version, i) => version !== before[i]);
      if (changed && tries < CACHE_READ_RETRIES) continue;
      if (!changed && keeps) for (const run of runs) this.#install(run, target, at + run.position - position);
      return;
    }
  }

  /** Frame that holds bytes [from, upTo) of the grain; COLD: nothing has been done. */
  hitNow(grain: number, from: number, upTo: number): number {
    const cache = this.cache;
    const need = touchedBlocks(from, upTo);
    const frame = this.index.get(grain);
    if (frame < 0 || ((cache.valid[frame] as number) & need) !== need) return COLD;
    if (cache.fresh[frame] === 0) {
      cache.used(frame);
      this.hits++;
    } else {
      cache.fresh[frame] = 0;
    }
    return frame;
  }

  /** The same, filled from below if that needs no waiting; else COLD, NO_FRAME. */
  #presentNow(grain: number, from: number, upTo: number): number {
    const hit = this.hitNow(grain, from, upTo);
    if (hit >= 0) return hit;
    let frame = this.index.get(grain);
    this.misses++;
    if (frame < 0) {
      frame = this.#take(grain);
      if (frame < 0) return NO_FRAME;
    }
    return this.#fillNow(frame, grain, touchedBlocks(from, upTo)) ? frame : COLD;
  }

  /** Reads the blocks of `need` that are not valid yet. False: that would have to wait. */
  #fillNow(frame: number, grain: number, need: number): boolean {
    const cache = this.cache;
    const base = grain * FRAME;
    const limit = this.backing.info.size - base;
    const slab = cache.slab(frame);
    const offset = cache.offset(frame);
    if ((need & (cache.filling[frame] as number)) !== 0) return false;
    for (let missing = need & ~(cache.valid[frame] as number); missing !== 0;) {
      const first = lowestBlock(missing);
      const end = runEnd(missing, first);
      const from = first * BLOCK;
      const bytes = Math.min(end * BLOCK, limit) - from;
      if (!this.backing.readNow(base + from, bytes, slab, offset + from)) return false;
      const bits = blockMask(first, end);
      cache.valid[frame] = (cache.valid[frame] as number) | bits;
      missing &= ~bits;
    }
    return true;
  }

  /** Copies the valid blocks; returns the rest as runs of bytes. */
  #copyPresent(position: number, length: number, target: Buffer, at: number): Run[] {
    const cache = this.cache;
    const runs: Run[] = [];
    const end = position + length;
    for (let p = position; p < end;) {
      const grain = Math.floor(p / FRAME);
      const frame = this.index.get(grain);
      const inBlock = frame < 0 ? FRAME : BLOCK;
      const upTo = Math.min(end, (Math.floor(p / inBlock) + 1) * inBlock);
      const from = p - grain * FRAME;
      if (frame >= 0 && (((cache.valid[frame] as number) >> (from >> 12)) & 1) === 1) {
        const offset = cache.offset(frame) + from;
        cache.slab(frame).copy(target, at + p - position, offset, offset + upTo - p);
      } else {
        const last = runs.at(-1);
        if (last !== undefined && last.position + last.length === p) last.length += upTo - p;
        else runs.push({ position: p, length: upTo - p });
      }
      p = upTo;
    }
    return runs;
  }

  /** Keeps the whole blocks of what was read from below, where the cache has nothing newer. */
  #install(run: Run, source: Buffer, at: number): void {
    const cache = this.cache;
    const end = run.position + run.length;
    for (let p = run.position; p < end;) {
      const grain = Math.floor(p / FRAME);
      const from = p - grain * FRAME;
      const upTo = Math.min(FRAME, from + end - p);
      let frame = this.index.get(grain);
      if (frame < 0) frame = this.#take(grain);
      if (frame < 0) return;
      const taken = (cache.valid[frame] as number) | (cache.filling[frame] as number);
      const fresh = coveredBlocks(from, upTo, this.#endIn(grain)) & ~taken;
      const offset = cache.offset(frame);
      for (let block = 0; block < FRAME / BLOCK; block++) {
        if (((fresh >> block) & 1) === 0) continue;
        const first = block * BLOCK;
        const sourceAt = at + p - run.position + first - from;
        source.copy(cache.slab(frame), offset + first, sourceAt, sourceAt + Math.min(BLOCK, upTo - first));
      }
      cache.valid[frame] = (cache.valid[frame] as number) | fresh;
      p += upTo - from;
    }
  }

  #anyValid(grain: number, from: number, upTo: number): boolean {
    const frame = this.index.get(grain);
    return frame >= 0 && ((this.cache.valid[frame] as number) & touchedBlocks(from, upTo)) !== 0;
  }

  #stamp(position: number, length: number): number[] {
    const stamp: number[] = [];
    const last = Math.floor((position + length - 1) / FRAME);
    for (let grain = Math.floor(position / FRAME); grain <= last; grain++) {
      stamp.push(this.#versions[grain % VERSIONS] as number);
    }
    return stamp;
  }

  /** Frame of the grain, an empty one if there was none; -1: none can be had now. */
  frameFor(grain: number): number {
    const frame = this.index.get(grain);
    return frame < 0 ? this.#take(grain) : frame;
  }

  /** Differs when the grain has been changed. */
  version(grain: number): number {
    return this.#versions[grain % VERSIONS] as number;
  }

  // ---- writing

  /** Makes ready what put() needs. False: there is no room, or part of a block would have to be read first. */
  readyNow(position: number, length: number): boolean {
    const cache = this.cache;
    const first = Math.floor(position / FRAME);
    const last = Math.floor((position + length - 1) / FRAME);
    let ready = first;
    for (; ready <= last; ready++) {
      const frame = this.#prepareNow(ready, position, length);
      if (frame < 0) break;
      // Making room for the next grain must not take this one.
      cache.pins[frame] = (cache.pins[frame] as number) + 1;
    }
    for (let grain = first; grain < ready; grain++) {
      const frame = this.index.get(grain);
      cache.pins[frame] = (cache.pins[frame] as number) - 1;
    }
    return ready > last;
  }

  /** Takes the data as dirty blocks, in the very turn in which readyNow said yes. */
  put(position: number, source: Buffer, at: number, length: number): void {
    const last = Math.floor((position + length - 1) / FRAME);
    for (let grain = Math.floor(position / FRAME); grain <= last; grain++) {
      this.#putGrain(this.index.get(grain), grain, position, source, at, length);
    }
  }

  /** Hands the whole blocks that a range touches, which must be valid, to the log. */
  logBlocks(log: WriteLog, position: number, length: number): void {
    const cache = this.cache;
    const end = position + length;
    for (let p = position - (position % BLOCK); p < end;) {
      const grain = Math.floor(p / FRAME);
      const upTo = Math.min(Math.ceil(end / BLOCK) * BLOCK, (grain + 1) * FRAME);
      const frame = this.index.get(grain);
      log.append(p, cache.slab(frame), cache.offset(frame) + p - grain * FRAME, upTo - p);
      p = upTo;
    }
  }

  /** Hands all dirty blocks to the log; see LogUpper.logAgain. Nothing is being placed meanwhile. */
  async logDirty(log: WriteLog, ready: () => boolean, more: () => Promise<boolean>): Promise<boolean> {
    const { index, cache } = this;
    const end = Number.MAX_SAFE_INTEGER;
    for (let grain = index.next(0, end); grain >= 0; grain = index.next(grain + 1, end)) {
      while (!ready()) if (!(await more())) return false;
      // As it is now: it may have been written, or cleared, while we waited.
      const frame = index.get(grain);
      for (let rest = frame < 0 ? 0 : (cache.dirty[frame] as number); rest !== 0;) {
        const first = lowestBlock(rest);
        const bytes = (runEnd(rest, first) - first) * BLOCK;
        const from = first * BLOCK;
        log.append(grain * FRAME + from, cache.slab(frame), cache.offset(frame) + from, bytes);
        rest &= ~blockMask(first, first + bytes / BLOCK);
      }
    }
    return true;
  }

  #prepareNow(grain: number, position: number, length: number): number {
    const base = grain * FRAME;
    const from = Math.max(position - base, 0);
    const upTo = Math.min(position + length - base, FRAME);
    let frame = this.index.get(grain);
    if (frame < 0) frame = this.#take(grain);
    else frame = this.writable(grain, frame);
    if (frame < 0) return -1;
    const touched = touchedBlocks(from, upTo);
    if ((touched & (this.cache.filling[frame] as number)) !== 0) return -1;
    this.cache.used(frame);
    const ragged = touched & ~coveredBlocks(from, upTo, this.#endIn(grain));
    return ragged === 0 || this.#fillNow(frame, grain, ragged) ? frame : -1;
  }

  #putGrain(frame: number, grain: number, position: number, source: Buffer, at: number, length: number): void {
    const cache = this.cache;
    const base = grain * FRAME;
    const from = Math.max(position - base, 0);
    const upTo = Math.min(position + length - base, FRAME);
    const sourceAt = at + base + from - position;
    source.copy(cache.slab(frame), cache.offset(frame) + from, sourceAt, sourceAt + upTo - from);
    const bits = touchedBlocks(from, upTo);
    cache.valid[frame] = (cache.valid[frame] as number) | bits;
    this.setDirty(frame, (cache.dirty[frame] as number) | bits);
    this.#changed(grain);
  }

  /** Blocks of the frame that the storage below does not have. */
  setDirty(frame: number, bits: number): void {
    const before = this.cache.dirty[frame] as number;
    this.cache.dirty[frame] = bits;
    if (before === 0) this.cache.dirtySince[frame] = this.cache.now;
    const step = (bits === 0 ? 0 : 1) - (before === 0 ? 0 : 1);
    this.dirtyFrames += step;
    this.cache.dirtyFrames += step;
  }

  /** A frame of the grain whose memory may change: a copy while somebody still sends this one. -1: not now. */
  writable(grain: number, frame: number): number {
    const cache = this.cache;
    if (!viewGuard.protects(cache.viewed[frame] as number)) return frame;
    // Most often by an answer to a command that came just before, which can as well go now.
    viewGuard.unsent?.();
    if (!viewGuard.protects(cache.viewed[frame] as number)) return frame;
    if (cache.pins[frame] !== 0 || cache.filling[frame] !== 0) return -1;
    // Held while another frame is looked for, so that it is not this one.
    cache.pins[frame] = 1;
    const other = cache.take(this, grain);
    cache.pins[frame] = 0;
    if (other < 0) return -1;
    const offset = cache.offset(frame);
    cache.slab(frame).copy(cache.slab(other), cache.offset(other), offset, offset + FRAME);
    cache.valid[other] = cache.valid[frame] as number;
    cache.dirty[other] = cache.dirty[frame] as number;
    cache.dirtySince[other] = cache.dirtySince[frame] as number;
    cache.abandon(frame);
    this.index.set(grain, other);
    return other;
  }

  // ---- forgetting

  /**
   * The storage below has, or will have, something else: no block that the range touches is valid or dirty afterwards.
   * False: nothing has changed, memory that is still being sent is in the way; try again later. Never where the range is whole
   * frames, or nothing beside it is dirty in them.
   */
  forget(position: number, length: number): boolean {
    const cache = this.cache;
    const end = position + length;
    const first = Math.floor(position / FRAME);
    const last = Math.floor((end - 1) / FRAME);
    if (!this.detach(position, length)) return false;
    for (let grain = first; grain <= Math.min(last, first + VERSIONS - 1); grain++) this.#changed(grain);
    for (let grain = this.index.next(first, last + 1); grain >= 0; grain = this.index.next(grain + 1, last + 1)) {
      const base = grain * FRAME;
      const touched = touchedBlocks(Math.max(position - base, 0), Math.min(end - base, FRAME));
      const frame = this.index.get(grain);
      const dirty = (cache.dirty[frame] as number) & ~touched;
      // Memory that is still being sent is not filled again: the frame goes.
      const sent = viewGuard.protects(cache.viewed[frame] as number);
      this.setDirty(frame, dirty);
      cache.valid[frame] = (cache.valid[frame] as number) & ~touched;
      if (dirty !== 0 || (!sent && cache.valid[frame] !== 0)) continue;
      this.index.delete(grain);
      cache.abandon(frame);
    }
    return true;
  }

  /**
   * What is dirty beside the range, in memory that is still being sent, moves to another frame: forget() does not refuse then,
   * in this very turn. False: not now.
   */
  detach(position: number, length: number): boolean {
    const first = Math.floor(position / FRAME);
    const last = Math.floor((position + length - 1) / FRAME);
    // Of the frames between them nothing stays.
    return this.#detach(first, position, length) && (last === first || this.#detach(last, position, length));
  }

  #detach(grain: number, position: number, length: number): boolean {
    const frame = this.index.get(grain);
    if (frame < 0) return true;
    const base = grain * FRAME;
    const touched = touchedBlocks(Math.max(position - base, 0), Math.min(position + length - base, FRAME));
    return ((this.cache.dirty[frame] as number) & ~touched) === 0 || this.writable(grain, frame) >= 0;
  }

  /** True when nothing of the range is being placed or filled, and forget() would not refuse. */
  forgetsNow(position: number, length: number): boolean {
    const { cache, index } = this;
    const end = position + length;
    const last = Math.floor((end - 1) / FRAME);
    for (
      let grain = index.next(Math.floor(position / FRAME), last + 1);
      grain >= 0;
      grain = index.next(grain + 1, last + 1)
    ) {
      const frame = index.get(grain);
      if (cache.pins[frame] !== 0) return false;
      const base = grain * FRAME;
      const touched = touchedBlocks(Math.max(position - base, 0), Math.min(end - base, FRAME));
      const stays = (cache.dirty[frame] as number) & ~touched;
      if (stays !== 0 && viewGuard.protects(cache.viewed[frame] as number)) return false;
    }
    return true;
  }

  /**
   * Stores zeros over bytes of one block, if the cache has it; the storage below reads as zeros there already. False: not
   * now, as with forget.
   */
  zeroValid(position: number, length: number): boolean {
    const cache = this.cache;
    const grain = Math.floor(position / FRAME);
    const from = position - grain * FRAME;
    // Also when the block is not here: somebody may just be reading it from below, as it was.
    this.#changed(grain);
    let frame = this.index.get(grain);
    if (frame < 0 || ((cache.valid[frame] as number) & touchedBlocks(from, from + length)) === 0) return true;
    frame = this.writable(grain, frame);
    if (frame < 0) return false;
    const offset = cache.offset(frame) + from;
    cache.slab(frame).fill(0, offset, offset + length);
    return true;
  }

  /** True when no frame of the range is dirty or pinned. */
  quiet(position: number, length: number): boolean {
    const end = Math.ceil((position + length) / FRAME);
    for (
      let grain = this.index.next(Math.floor(position / FRAME), end);
      grain >= 0;
      grain = this.index.next(grain + 1, end)
    ) {
      const frame = this.index.get(grain);
      if (this.cache.dirty[frame] !== 0 || this.cache.pins[frame] !== 0) return false;
    }
    return true;
  }

  /** Gives all frames back. */
  release(): void {
    const end = Number.MAX_SAFE_INTEGER;
    for (let grain = this.index.next(0, end); grain >= 0; grain = this.index.next(grain + 1, end)) {
      const frame = this.index.get(grain);
      this.setDirty(frame, 0);
      this.index.delete(grain);
      this.cache.abandon(frame);
    }
  }

  #take(grain: number): number {
    const frame = this.cache.take(this, grain);
    if (frame >= 0) this.index.set(grain, frame);
    return frame;
  }

  #changed(grain: number): void {
    const at = grain % VERSIONS;
    this.#versions[at] = (this.#versions[at] as number) + 1;
  }

  /** Where the volume ends inside this grain, in bytes. */
  #endIn(grain: number): number {
    return Math.min(FRAME, this.backing.info.size - grain * FRAME);
  }
}
