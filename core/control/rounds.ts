import type { Clock, Timer } from '../base/world.ts';

/** Work that is looked after again and again: the next round begins a while after the one before is over. */
export class Rounds {
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #round: () => Promise<void>;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  /** `interval`: milliseconds between the end of a round and the next. `round` must not reject. */
  constructor(clock: Clock, interval: number, round: () => Promise<void>) {
    this.#clock = clock;
    this.#interval = interval;
    this.#round = round;
  }

  /** A long round looks at it between two steps. */
  get stopped(): boolean {
    return this.#stopped;
  }

  start(): void {
    this.#timer = this.#clock.after(this.#interval, () => {
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        if (!this.#stopped) this.start();
      });
    });
  }

  /** No more rounds; resolves when the one that runs is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }
}
