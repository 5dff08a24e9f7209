// Writes dirty blocks back to the storage below, in order of their position, so that scattered writes become orderly ones.
import {
  DESTAGE_AGE,
  DESTAGE_FRAMES,
  DESTAGE_INTERVAL,
  DESTAGE_PARALLEL,
  DESTAGE_RETRY,
  DESTAGE_RUN,
  DESTAGE_RUNS,
  DESTAGE_SHARE,
} from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock, Timer } from '../base/world.ts';
import { BLOCK, blockMask, lowestBlock, runEnd } from '../volume/grain.ts';
import type { WriteLog } from '../volume/volume.ts';
import type { CachedBlocks } from './cached-blocks.ts';
import { FRAME } from './l1-cache.ts';

const EVERYTHING = Number.MAX_SAFE_INTEGER;
/** Of the dirty frames of the cache, the share every volume may have (one in so many). */
const OWN_SHARE = 64;
/** Of the dirty frames of the cache, the share that has to be free before those who wait go on (one in so many). */
const ROOMY = 32;

/** Adjacent dirty blocks on their way to the storage below. */
interface Run {
  readonly position: number;
  /** Where its data begins in the load. */
  readonly at: number;
  length: number;
  readonly parts: { readonly frame: number; readonly bits: number }[];
}

/** Runs that go together, and a copy of their data: the frames may change meanwhile. */
interface Load {
  readonly data: Buffer;
  used: number;
  readonly runs: Run[];
}

export class Destager {
  readonly #blocks: CachedBlocks;
  readonly #clock: Clock;
  readonly #log: WriteLog | undefined;
  readonly #turn = new Turn();
  readonly #spare: Buffer[] = [];
  /** Where the next round of writing back begins. */
  #cursor = 0;
  #timer: Timer | undefined;
  #running = false;
  /** Somebody waits for room: the next round begins at once. */
  #urgent = false;
  #stopped = false;
  #failure: Error | undefined;
  #waiting: (() => void)[] = [];
  /** Bytes written back since the volume was opened. */
  destagedBytes = 0;

  /** `log`: what is dirty has been given to it. */
  constructor(blocks: CachedBlocks, clock: Clock, log: WriteLog | undefined) {
    this.#blocks = blocks;
    this.#log = log;
    this.#clock = clock;
  }

  /** Why the last round failed; undefined when it did not. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * True when this volume may have no more dirty frames. A few it always may: a volume whose storage fails keeps its dirty
   * frames, and others must go on.
   */
  get full(): boolean {
    const { cache, dirtyFrames } = this.#blocks;
    return cache.dirtyFrames >= cache.dirtyLimit && dirtyFrames * OWN_SHARE >= cache.dirtyLimit;
  }

  /** There is room for many frames, not only for one. */
  get #roomy(): boolean {
    const { cache } = this.#blocks;
    return !this.full && cache.dirtyFrames * ROOMY <= cache.dirtyLimit * (ROOMY - 1);
  }

  /** Runs `work` while nothing is being written back. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#turn.run(work);
  }

  /** Writes back what is dirty now in the range (bytes). Rejects with the first error of the storage below. */
  async sweep(position = 0, length = EVERYTHING): Promise<void> {
    const first = Math.floor(position / FRAME);
    const end = length === EVERYTHING ? EVERYTHING : Math.ceil((position + length) / FRAME);
    try {
      await this.#turn.run(() => this.sweepNow(first, end));
    } catch (error) {
      this.#failed(error);
      this.#plan(DESTAGE_RETRY);
      throw error;
    }
  }

  /** There is something dirty. */
  notice(): void {
    if (this.#timer !== undefined) return;
    this.#blocks.cache.now = this.#clock.now();
    this.#plan(DESTAGE_INTERVAL);
  }

  /** Resolves when there may be room for more dirty frames, or when writing back fails. */
  room(): Promise<void> {
    if (!this.full || this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#urgent = true;
      this.#plan(0);
    });
  }

  /** No more rounds in the background. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#wake();
  }

  #plan(after: number): void {
    if (this.#running || this.#stopped) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(after, () => {
      void this.#round();
    });
  }

  async #round(): Promise<void> {
    const { dirtyFrames, cache } = this.#blocks;
    const now = this.#clock.now();
    cache.now = now;
    const all = this.#urgent || this.#failure !== undefined || cache.dirtyFrames * 4 >= cache.dirtyLimit * 3;
    // What is written again and again is written back once in a while, and never all of it in one go.
    const quota = all ? EVERYTHING : Math.max(DESTAGE_FRAMES, Math.ceil(dirtyFrames / DESTAGE_SHARE));
    const before = all ? Number.POSITIVE_INFINITY : now - DESTAGE_AGE;
    this.#running = true;
    this.#urgent = false;
    try {
      await this.#turn.run(() => this.sweepNow(this.#cursor, EVERYTHING, quota, before));
      this.#failure = undefined;
    } catch (error) {
      this.#failed(error);
    }
    this.#running = false;
    this.#timer = undefined;
    this.#wake();
    if (this.#blocks.dirtyFrames > 0) this.#plan(this.#pause());
  }

  #failed(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(String(error));
  }

  /** Milliseconds until the next round. */
  #pause(): number {
    if (this.#urgent) return 0;
    return this.#failure === undefined ? DESTAGE_INTERVAL : DESTAGE_RETRY;
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  /**
   * Inside `exclusive` only: at most `quota` frames that became dirty up to `before` (clock, ms), from grain `first` up to
   * and without `end`.
   */
  async sweepNow(first: number, end: number, quota = EVERYTHING, before = Number.POSITIVE_INFINITY): Promise<void> {
    const { index, cache } = this.#blocks;
    const flight = new Set<Promise<void>>();
    const failures: unknown[] = [];
    let load: Load | undefined;
    const issue = async (): Promise<void> => {
      if (load === undefined) return;
      const writing: Promise<void> = this.#write(load, failures).finally(() => flight.delete(writing));
      flight.add(writing);
      load = undefined;
      if (flight.size >= DESTAGE_PARALLEL) await Promise.race(flight);
    };
    let left = quota;
    let grain = index.next(first, end);
    while (grain >= 0 && left > 0 && failures.length === 0) {
      const frame = index.get(grain);
      let rest = (cache.dirtySince[frame] as number) > before ? 0 : (cache.dirty[frame] as number);
      if (rest !== 0) left--;
      while (rest !== 0) {
        const from = lowestBlock(rest);
        const to = runEnd(rest, from);
        const position = grain * FRAME + from * BLOCK;
        const bytes = Math.min((to - from) * BLOCK, this.#blocks.backing.info.size - position);
        if (load !== undefined && !hasRoom(load, position, bytes)) {
          await issue();
          // Another frame may have taken the place of this one while we waited: the grain is looked at anew.
          if (index.get(grain) !== frame) break;
          // Blocks that were cleared meanwhile must not come back.
          rest &= cache.dirty[frame] as number;
          continue;
        }
        rest &= -1 << to;
        load ??= { data: this.#spare.pop() ?? Buffer.allocUnsafeSlow(DESTAGE_RUN), used: 0, runs: [] };
        this.#gather(load, grain, frame, from, to, bytes);
      }
      // Never the same blocks twice in one sweep: two writes of them at once would end in any order. A grain that is looked at
      // anew may have been cleared meanwhile, and has no frame then.
      grain = index.next(rest === 0 ? grain + 1 : grain, end);
    }
    this.#cursor = grain < 0 ? 0 : grain;
    await issue();
    await Promise.all(flight);
    if (failures.length > 0) throw failures[0];
  }

  /** Copies blocks [from, to) of a frame to the end of the load; they count as clean until the write fails. */
  #gather(load: Load, grain: number, frame: number, from: number, to: number, bytes: number): void {
    const { cache } = this.#blocks;
    const offset = cache.offset(frame) + from * BLOCK;
    cache.slab(frame).copy(load.data, load.used, offset, offset + bytes);
    const position = grain * FRAME + from * BLOCK;
    let run = load.runs.at(-1);
    if (run === undefined || run.position + run.length !== position) {
      run = { position, at: load.used, length: 0, parts: [] };
      load.runs.push(run);
    }
    run.length += bytes;
    load.used += bytes;
    const bits = blockMask(from, to) & (cache.dirty[frame] as number);
    this.#blocks.setDirty(frame, (cache.dirty[frame] as number) & ~bits);
    // Until the storage below has the data, nobody may take the frame.
    cache.pins[frame] = (cache.pins[frame] as number) + 1;
    run.parts.push({ frame, bits });
  }

  /** Never rejects: what fails is dirty again, and its error in `failures`. */
  async #write(load: Load, failures: unknown[]): Promise<void> {
    try {
      // Nothing goes to its place before the log has it: a write that a crash cuts in two is mended from there.
      await this.#log?.stable();
      await Promise.all(load.runs.map((run) => this.#writeRun(load, run, failures)));
    } catch (error) {
      for (const run of load.runs) this.#settle(run, false);
      failures.push(error);
    }
    if (this.#spare.length < DESTAGE_PARALLEL) this.#spare.push(load.data);
    // Whoever waits for room need not wait for the rest of the round; several at once make one append of the log.
    if (this.#waiting.length > 0 && this.#roomy) this.#wake();
  }

  async #writeRun({ data }: Load, run: Run, failures: unknown[]): Promise<void> {
    const { position, at, length } = run;
    try {
      if (this.#log === undefined) await this.#blocks.backing.write(position, data, at, length, false);
      else await this.#log.place(position, data, at, length);
      this.destagedBytes += length;
      this.#settle(run, true);
    } catch (error) {
      this.#settle(run, false);
      failures.push(error);
    }
  }

  /** The write of the run is over. */
  #settle(run: Run, written: boolean): void {
    const { cache } = this.#blocks;
    for (const { frame, bits } of run.parts) {
      if (!written) this.#blocks.setDirty(frame, (cache.dirty[frame] as number) | bits);
      cache.pins[frame] = (cache.pins[frame] as number) - 1;
    }
  }
}

/** False: the blocks have to go with the next load. */
function hasRoom(load: Load, position: number, bytes: number): boolean {
  if (load.used + bytes > DESTAGE_RUN) return false;
  const last = load.runs.at(-1);
  return load.runs.length < DESTAGE_RUNS || (last !== undefined && last.position + last.length === position);
}
