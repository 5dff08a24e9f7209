// After a batch of commands the event loop looks again at once, for a few microseconds, instead of going to sleep: the next
// batch is usually on its way. Going to sleep and being woken costs more than that, and on a machine with few processors it
// makes the scheduler put both ends of a loopback connection on the same one.
import { AWAKE_MS, AWAKE_FROM_COMMANDS, AWAKE_TURNS } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';

export class Wakefulness {
  readonly #clock: Clock;
  #until = 0;
  #turns = 0;
  #awake = false;
  readonly #turn = (): void => {
    // The number of turns ends it where time stands still.
    if (--this.#turns > 0 && this.#clock.now() < this.#until) this.#clock.soon(this.#turn);
    else this.#awake = false;
  };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An event has brought so many commands. Allocation-free. */
  busy(commands: number): void {
    if (commands < AWAKE_FROM_COMMANDS) return;
    this.#until = this.#clock.now() + AWAKE_MS;
    this.#turns = AWAKE_TURNS;
    if (this.#awake) return;
    this.#awake = true;
    this.#clock.soon(this.#turn);
  }
}
