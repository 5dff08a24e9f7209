// Reads that wait for a disk come back in bunches, and each costs the event loop as much as many answers out of memory. While
// other sessions are being answered out of memory, such reads begin only as fast as a small share of the event loop can take
// them: the others hardly notice. How long the disk takes does not matter, and alone a session reads as fast as it can.
import { COURTESY_AHEAD_MS, COURTESY_FROM_COMMANDS, COURTESY_SHARE } from '../base/limits.ts';
import { Pace, foreground } from '../base/pace.ts';
import type { Clock, Timer } from '../base/world.ts';

/** What a read from a disk costs the event loop about, milliseconds, and how much more each byte adds. */
const READ_COST_MS = 0.01;
const BYTE_COST_MS = 4e-7;
/** Milliseconds until who was not admitted tries again, unless another read ends before. */
const RETRY_MS = 1;

interface Waiting {
  /** It may be admitted now. */
  advance(): void;
}

export class Courtesy {
  readonly #clock: Clock;
  readonly #all = new Pace();
  /** Until when the share of the event loop that reads from disks may have is used up; clock time, milliseconds. */
  #until = 0;
  readonly #line = new Set<Waiting>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A session whose pace is `own` had `commands` answered at once. */
  served(own: Pace, commands: number, at: number): void {
    own.add(commands, at);
    this.#all.add(commands, at);
    foreground.add(commands, at);
  }

  /** May a session with this pace begin one more read from a disk? */
  admits(own: Pace): boolean {
    const now = this.#clock.now();
    if (this.#until <= now + COURTESY_AHEAD_MS) return true;
    return this.#all.lately(now) - own.lately(now) < COURTESY_FROM_COMMANDS;
  }

  /** A read of `bytes` from a disk begins. */
  begin(bytes: number): void {
    const now = this.#clock.now();
    const cost = READ_COST_MS + bytes * BYTE_COST_MS;
    // What was taken when nobody was there to be disturbed is not held against anybody.
    const from = Math.min(Math.max(this.#until, now), now + COURTESY_AHEAD_MS);
    this.#until = from + cost / COURTESY_SHARE;
  }

  /** Who was not admitted is told when it may try again. */
  wait(each: Waiting): void {
    this.#line.add(each);
    this.#timer ??= this.#clock.after(RETRY_MS, () => {
      this.#timer = undefined;
      this.retry();
    });
  }

  /** Lets those who wait try now. */
  retry(): void {
    if (this.#line.size === 0) return;
    const line = [...this.#line];
    this.#line.clear();
    for (const each of line) each.advance();
  }

  forget(each: Waiting): void {
    this.#line.delete(each);
  }
}
