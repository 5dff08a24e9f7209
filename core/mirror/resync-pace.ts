// How fast a replica is brought up to date. While nobody wants anything: as fast as it goes. While hosts are busy their writes say
// how much there is room for: as long as they take about what they took before, copies become faster, and when they take longer,
// slower. So the rate follows the disk and the link there are, and what hosts do with them.
import {
  RESYNC_BUSY_MS,
  RESYNC_FLOOR,
  RESYNC_LATE,
  RESYNC_SLOWER,
  RESYNC_STEP,
  RESYNC_STEP_MS,
  USUAL_WRITES,
} from '../base/limits.ts';
import type { Clock } from '../base/world.ts';

/** What writes of hosts take, with the waiting before they begin; milliseconds. */
export class WriteTimes {
  /** On average, while no replica is brought up to date; 0: not known. */
  usual = 0;
  /** On average, lately; meaningful only where `count` has grown. */
  lately = 0;
  count = 0;
  /** Replicas are being brought up to date. */
  joining = 0;

  add(milliseconds: number): void {
    this.count++;
    this.lately += (milliseconds - this.lately) / Math.min(this.count, USUAL_WRITES);
    if (this.joining === 0) this.usual = this.lately;
  }
}

export interface ResyncPaceOptions {
  readonly clock: Clock;
  readonly times: WriteTimes;
  /** When a host asked for something last. */
  readonly busyAt: () => number;
  /** Bytes a second that are never exceeded while hosts are busy. */
  readonly ceiling: () => number;
}

export class ResyncPace {
  readonly #options: ResyncPaceOptions;
  /** Bytes a second while hosts are busy. */
  #rate = RESYNC_FLOOR;
  /** When the next copy may begin. */
  #notBefore = 0;
  #judgedAt: number;
  #judged: number;

  constructor(options: ResyncPaceOptions) {
    this.#options = options;
    this.#judgedAt = options.clock.now();
    this.#judged = options.times.count;
  }

  get isBusy(): boolean {
    return this.#options.clock.now() - this.#options.busyAt() < RESYNC_BUSY_MS;
  }

  /** Bytes a second it goes on with while hosts are busy. */
  get rate(): number {
    return Math.max(1, Math.min(this.#rate, this.#options.ceiling()));
  }

  /** Milliseconds until a copy of so many bytes may begin, as far as is known now. It counts as begun. */
  take(bytes: number): number {
    const now = this.#options.clock.now();
    if (!this.isBusy) {
      this.#notBefore = 0;
      return 0;
    }
    this.#judge(now);
    const start = Math.max(this.#notBefore, now);
    this.#notBefore = start + (bytes / this.rate) * 1000;
    return start - now;
  }

  /** From time to time: have writes become slower? */
  #judge(now: number): void {
    if (now - this.#judgedAt < RESYNC_STEP_MS) return;
    const { times } = this.#options;
    const isLate = times.count > this.#judged && times.usual > 0 && times.lately > times.usual * RESYNC_LATE;
    // Who only reads is answered out of memory, or waits for the disk as before: copies are small then.
    this.#rate = isLate ? Math.max(RESYNC_FLOOR, this.#rate * RESYNC_SLOWER) : this.#rate + RESYNC_STEP;
    this.#rate = Math.min(this.#rate, Math.max(RESYNC_FLOOR, this.#options.ceiling()));
    this.#judgedAt = now;
    this.#judged = times.count;
  }
}
