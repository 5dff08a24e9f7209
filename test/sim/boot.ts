// One life of a machine, from its start to its crash. Everything that comes to it from outside comes through here: a machine
// that is paused hears of it later, one that is off never does, and the next life of it hears nothing meant for this one.
import type { Clock, RandomSource, Timer } from '../../core/base/world.ts';
import type { Chance } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

export class Boot {
  readonly time: VirtualTime;
  readonly chance: Chance;
  /** How fast the clock runs: 1.001 gains a millisecond a second. Bounded, as the protocol assumes. */
  readonly rate: number;
  alive = true;
  /** A snapshot is being brought here. */
  isFetching = false;
  #paused = false;
  #waiting: (() => void)[] = [];
  readonly #ends: (() => void)[] = [];
  readonly #born: number;

  constructor(time: VirtualTime, chance: Chance, rate: number) {
    this.time = time;
    this.chance = chance;
    this.rate = rate;
    this.#born = time.now - chance.between(0, 1e6);
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Something comes from outside. */
  arrive(fn: () => void): void {
    if (!this.alive) return;
    if (this.#paused) this.#waiting.push(fn);
    else fn();
  }

  /** Something comes from outside in `delay` milliseconds of true time. */
  later(delay: number, fn: () => void): () => void {
    return this.time.after(delay, () => {
      this.arrive(fn);
    });
  }

  /** Called when this life is over. */
  onEnd(fn: () => void): void {
    this.#ends.push(fn);
  }

  /** SIGSTOP, a frozen VM, a long collection of garbage: its clock runs on, it does nothing. */
  pause(): void {
    this.#paused = true;
  }

  /** What has come meanwhile happens at once, in the order in which it came. */
  resume(): void {
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fn of waiting)
      this.time.after(0, () => {
        this.arrive(fn);
      });
  }

  end(): void {
    this.alive = false;
    this.#waiting = [];
    for (const each of this.#ends.splice(0)) each();
  }

  /** `wallRate`: a clock somebody sets while it runs; only a mutant uses it. */
  clock(now: () => number = () => (this.time.now - this.#born) * this.rate): Clock {
    return {
      now,
      wall: () => 1_800_000_000_000 + this.time.now,
      after: (ms, fn): Timer => ({ cancel: this.later(ms / this.rate, fn) }),
      soon: (fn) => {
        this.later(0, fn);
      },
    };
  }

  random(): RandomSource {
    return { bytes: (length) => this.chance.bytes(length) };
  }
}
