// Copies, and what else is large (WRITE SAME, UNMAP), and the hosts that wait for the same event loop. While hosts are being
// served, copies go in small steps, and begin them only as fast as a small share of the event loop can take them: whoever reads
// or writes 4 KiB waits for one step at most. When nobody is there to be disturbed, copies take large steps, as many at a time as
// they can.
import {
  COPY_LOOP_SHARE,
  COPY_SHARE_STEP,
  COPY_SMALL_SHARE_STEP,
  COPY_SMALL_STEP,
  COPY_STEP,
  COPY_YIELDS_TO,
  COURTESY_MS,
  SMALL_ZERO_STEP,
  WRITE_SAME_STEP,
  WRITE_SAME_ZERO_STEP,
} from '../base/limits.ts';
import { foreground } from '../base/pace.ts';
import type { Pace } from '../base/pace.ts';
import type { Clock } from '../base/world.ts';

/** `data`: read and written; `share`: grains change hands; `zero`: they are given back; `pattern`: one block again and again. */
export type PaceKind = 'data' | 'share' | 'zero' | 'pattern';

/** What a step costs the event loop about, milliseconds, and for each byte. Bytes of one when nobody is disturbed, and else. */
interface Cost {
  readonly step: number;
  readonly ms: number;
  readonly large: number;
  readonly small: number;
}

const COSTS: Readonly<Record<PaceKind, Cost>> = {
  data: { step: 0, ms: 1.5e-6, large: COPY_STEP, small: COPY_SMALL_STEP },
  share: { step: 0.2, ms: 1e-9, large: COPY_SHARE_STEP, small: COPY_SMALL_SHARE_STEP },
  zero: { step: 0, ms: 5e-9, large: WRITE_SAME_ZERO_STEP, small: SMALL_ZERO_STEP },
  pattern: { step: 0, ms: 1e-6, large: WRITE_SAME_STEP, small: COPY_SMALL_STEP },
};

export type CopyClock = Pick<Clock, 'now' | 'after' | 'soon'>;

export class CopyPace {
  readonly #others: Pace;
  /** Until when the share of the event loop that copies may have is used up; clock time, milliseconds. */
  #until = 0;
  /** How often a copy has had to wait for its turn: while that goes on, copies tell nothing of how fast the storage is. */
  waits = 0;

  constructor(others: Pace) {
    this.#others = others;
  }

  /** Bytes of one step. */
  step(clock: CopyClock, kind: PaceKind): number {
    return this.#isBusy(clock) ? COSTS[kind].small : COSTS[kind].large;
  }

  /** Resolves when a copy may begin its next step; never in this turn of the event loop. */
  async turn(clock: CopyClock): Promise<void> {
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
    for (let wait = this.#until - clock.now(); wait > 0 && this.#isBusy(clock); wait = this.#until - clock.now()) {
      this.waits++;
      await new Promise<void>((resolve) => {
        clock.after(Math.max(1, wait), resolve);
      });
    }
  }

  /** A step of so many bytes begins. */
  begin(clock: CopyClock, kind: PaceKind, bytes: number): void {
    const cost = COSTS[kind].step + bytes * COSTS[kind].ms;
    const now = clock.now();
    // What was taken when nobody was there to be disturbed is not held against anybody for long.
    const from = Math.min(Math.max(this.#until, now), now + cost);
    this.#until = from + cost / COPY_LOOP_SHARE;
  }

  #isBusy(clock: CopyClock): boolean {
    const now = clock.now();
    // A clock that stands still at its beginning would have a copy wait for ever.
    return now >= COURTESY_MS && this.#others.lately(now) >= COPY_YIELDS_TO;
  }
}

/** Of all copies of the process. */
export const copyPace = new CopyPace(foreground);
