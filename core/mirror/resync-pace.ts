// How fast a replica is brought up to date. While nobody wants anything: as fast as it goes. While hosts are busy their writes say
// how much there is room for: as long as they take about what they took before, on average and the slowest ones of them, copies
// become faster, and when they take longer, slower. So the rate follows the disk and the link there are, and what hosts do with them.
import {
  RESYNC_BUSY_MS,
  RESYNC_FLOOR,
  RESYNC_LATE,
  RESYNC_SLOWER,
  RESYNC_SLOW_SHARE,
  RESYNC_STEP,
  RESYNC_STEP_MS,
  RESYNC_UNKNOWN,
  SLOW_WRITES,
  SLOW_WRITE_STEP,
  USUAL_WRITES,
  USUAL_WRITE_BYTES,
} from '../base/limits.ts';
import type { Clock } from '../base/world.ts';

/** What writes of hosts take, with the waiting before they begin; milliseconds. */
export class WriteTimes {
  /** On average, while no replica is brought up to date; 0: not known. */
  usual = 0;
  /** On average, lately; meaningful only where `count` has grown. */
  lately = 0;
  count = 0;
  /** What all but SLOW_WRITES of them take less than, about, while no replica is brought up to date; 0: not known. */
  usualSlow = 0;
  /** Writes that took longer than RESYNC_LATE times that. */
  slow = 0;
  /** Replicas are being brought up to date. */
  joining = 0;

  /** A write of so many bytes took so long. */
  add(milliseconds: number, bytes: number): void {
    if (bytes > USUAL_WRITE_BYTES) return;
    this.count++;
    this.lately += (milliseconds - this.lately) / Math.min(this.count, USUAL_WRITES);
    if (this.usualSlow > 0 && milliseconds > this.usualSlow * RESYNC_LATE) this.slow++;
    if (this.joining > 0) return;
    this.usual = this.lately;
    // It comes to rest where so many are above it that what they add is what the others take away.
    if (this.usualSlow === 0) this.usualSlow = 2 * milliseconds;
    else if (milliseconds > this.usualSlow) this.usualSlow *= 1 + SLOW_WRITE_STEP * (1 - SLOW_WRITES);
    else this.usualSlow *= 1 - SLOW_WRITE_STEP * SLOW_WRITES;
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
  #slowJudged: number;
  /** Writes lately, and the slow ones of them; older ones count less. */
  #seen = 0;
  #slow = 0;

  constructor(options: ResyncPaceOptions) {
    this.#options = options;
    this.#judgedAt = options.clock.now();
    this.#judged = options.times.count;
    this.#slowJudged = options.times.slow;
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
    const fresh = times.count - this.#judged;
    this.#seen = this.#seen * RESYNC_SLOWER + fresh;
    this.#slow = this.#slow * RESYNC_SLOWER + times.slow - this.#slowJudged;
    this.#slowJudged = times.slow;
    // A single one says nothing.
    const tooMany = this.#slow > this.#seen * RESYNC_SLOW_SHARE + 1;
    const isKnown = times.usual > 0;
    const isLate =
      fresh > 0 && (isKnown ? tooMany || times.lately > times.usual * RESYNC_LATE : this.#rate > RESYNC_UNKNOWN);
    // Who only reads is answered out of memory, or waits for the disk as before: copies are small then.
    this.#rate = isLate ? Math.max(RESYNC_FLOOR, this.#rate * RESYNC_SLOWER) : this.#rate + RESYNC_STEP;
    this.#rate = Math.min(this.#rate, Math.max(RESYNC_FLOOR, this.#options.ceiling()));
    this.#judgedAt = now;
    this.#judged = times.count;
  }
}
