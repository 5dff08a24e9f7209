// Gives the space of free grains back to the file system or the device below, in the background. A free grain may be punched
// whenever it may be overwritten, that is from the end of its quarantine on: neither the metadata on disk nor the journal
// names it, and whoever still reads it finds out afterwards that it has moved (volume-reader.ts). So that nobody writes
// into it meanwhile, it is borrowed from the allocator.
import {
  RECLAIM_BUSY_APPENDS,
  RECLAIM_BUSY_TURNS,
  RECLAIM_LOOK,
  RECLAIM_PAUSE,
  RECLAIM_RUN,
  RECLAIM_SPARE,
  RECLAIM_UNIT,
} from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Timer } from '../base/world.ts';
import { GRAIN } from '../volume/grain.ts';
import type { PoolParts } from './pool-parts.ts';
import { freeUnits } from './review.ts';

type Parts = Pick<PoolParts, 'slabs' | 'allocator' | 'journal' | 'entries' | 'clock' | 'log'>;

interface Run {
  readonly first: number;
  readonly count: number;
}

export class Reclaim {
  /** Bytes of grains whose space was given back since the pool was opened; what held none is counted as well. */
  bytes = 0;
  readonly #parts: Parts;
  /** Bits of units (RECLAIM_UNIT grains) with grains that became free. Units do not cross slabs. */
  #marks = new Uint8Array(0);
  /** Units that are marked. */
  #marked = 0;
  /** The unit where the search goes on. */
  #cursor = 0;
  /** Folders and devices that cannot free space. */
  readonly #refused = new Set<string>();
  /** Appends to the journal when the timer was set, and turns that were left out since because there were many. */
  #appends = 0;
  #waited = 0;
  /** Looks for what was free before the pool was opened. */
  #review: Iterator<number | undefined> | undefined;
  #timer: Timer | undefined;
  #punching: Promise<void> | undefined;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The pool has been opened: what is free, and takes storage still, is given back in small steps. */
  review(): void {
    this.#review = freeUnits(this.#parts);
    this.#plan(RECLAIM_PAUSE);
  }

  /** These grains are free, and out of quarantine. */
  freed(grains: readonly number[]): void {
    if (this.#closed || grains.length === 0) return;
    for (const grain of grains) this.#mark(grain);
    this.#plan(RECLAIM_PAUSE);
  }

  #mark(grain: number): void {
    const bytes = Math.ceil(this.#parts.allocator.total / RECLAIM_UNIT / 8);
    if (this.#marks.length < bytes) {
      const larger = new Uint8Array(bytes);
      larger.set(this.#marks);
      this.#marks = larger;
    }
    const unit = Math.floor(grain / RECLAIM_UNIT);
    if (this.#isMarked(unit)) return;
    this.#marks[unit >> 3] = (this.#marks[unit >> 3] as number) | (1 << (unit & 7));
    this.#marked++;
  }

  /** No grain is borrowed any more when it resolves. */
  async settled(): Promise<void> {
    await this.#punching;
  }

  /** Nothing is borrowed, and nothing will be, when it resolves. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#punching;
  }

  #plan(ms: number): void {
    if (this.#closed || this.#timer !== undefined || this.#punching !== undefined) return;
    if (this.#marked === 0 && this.#review === undefined) return;
    this.#appends = this.#parts.journal.appends;
    this.#timer = this.#parts.clock.after(ms, () => {
      this.#timer = undefined;
      this.#step();
    });
  }

  #step(): void {
    if (this.#closed) return;
    // What hosts write goes first: freeing space keeps the file system busy, too.
    const busy = this.#parts.journal.appends - this.#appends > RECLAIM_BUSY_APPENDS;
    if (busy && this.#waited++ < RECLAIM_BUSY_TURNS) {
      this.#plan(RECLAIM_PAUSE);
      return;
    }
    this.#waited = 0;
    if (this.#marked === 0) this.#lookOn();
    const run = this.#find();
    if (run === undefined) {
      this.#plan(RECLAIM_PAUSE);
      return;
    }
    // With fewer free grains it has to wait until more become free.
    if (!this.#parts.allocator.borrow(run.first, run.count, RECLAIM_SPARE)) return;
    for (let grain = run.first; grain < run.first + run.count; grain += RECLAIM_UNIT)
      this.#unmark(grain / RECLAIM_UNIT);
    this.#punching = this.#punch(run).finally(() => {
      this.#punching = undefined;
      this.#plan(RECLAIM_PAUSE);
    });
  }

  /** Marks what one turn of the review finds. */
  #lookOn(): void {
    for (let next = this.#review?.next(); next !== undefined; next = this.#review?.next()) {
      if (next.done === true) this.#review = undefined;
      if (next.done === true || next.value === undefined) return;
      this.#mark(next.value);
    }
  }

  /** The next free grains that are marked. Marks of units somebody uses again go. undefined: none so far. */
  #find(): Run | undefined {
    const { allocator, slabs } = this.#parts;
    // One run must not take what others need: there has to be RECLAIM_SPARE times as much.
    const share = Math.floor(allocator.spare / (RECLAIM_SPARE + 1) / RECLAIM_UNIT) * RECLAIM_UNIT;
    const most = Math.min(RECLAIM_RUN, Math.max(share, RECLAIM_UNIT));
    for (let looked = 0; looked < RECLAIM_LOOK && this.#marked > 0; looked++) {
      const unit = this.#nextMarked();
      const first = unit * RECLAIM_UNIT;
      if (!allocator.areFree(first, RECLAIM_UNIT) || this.#refused.has(slabs.disk(first))) {
        this.#unmark(unit);
        continue;
      }
      const end = Math.min(first + most, slabs.slabEnd(first));
      let count = RECLAIM_UNIT;
      while (first + count < end && this.#isMarked(unit + count / RECLAIM_UNIT)) {
        if (!allocator.areFree(first + count, RECLAIM_UNIT)) break;
        count += RECLAIM_UNIT;
      }
      return { first, count };
    }
    return undefined;
  }

  /** From the cursor on, around the end; one is marked. */
  #nextMarked(): number {
    for (let unit = this.#cursor; ; unit++) {
      if (unit >= this.#marks.length * 8) unit = 0;
      // Eight at a time where there is none.
      if (this.#marks[unit >> 3] === 0) unit |= 7;
      else if (this.#isMarked(unit)) return (this.#cursor = unit);
    }
  }

  #isMarked(unit: number): boolean {
    return (((this.#marks[unit >> 3] ?? 0) >> (unit & 7)) & 1) === 1;
  }

  #unmark(unit: number): void {
    this.#marks[unit >> 3] = (this.#marks[unit >> 3] as number) & ~(1 << (unit & 7));
    this.#marked--;
  }

  /** Never rejects; gives the grains back in any case. */
  async #punch({ first, count }: Run): Promise<void> {
    const { allocator, slabs } = this.#parts;
    try {
      if (await slabs.punch(first, count)) this.bytes += count * GRAIN;
      else this.#refuse(slabs.disk(first), 'it cannot free space inside a file');
    } catch (error) {
      this.#refuse(slabs.disk(first), messageOf(error));
    } finally {
      allocator.giveBack(first, count);
    }
  }

  /** What cannot do it once is not asked again. */
  #refuse(disk: string, why: string): void {
    this.#refused.add(disk);
    this.#parts.log.info({ disk, why }, 'space that becomes free in the pool is not given back to this disk');
  }
}
