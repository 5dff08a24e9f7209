// How many commands of hosts have been answered lately, so that what is not urgent can make room for them.
import { COURTESY_MS } from './limits.ts';

/** Commands answered in this stretch of COURTESY_MS and in the one before. */
export class Pace {
  #stretch = 0;
  #now = 0;
  #before = 0;

  /** `commands` were answered at clock time `at`, milliseconds. Allocation-free. */
  add(commands: number, at: number): void {
    this.#turn(at);
    this.#now += commands;
  }

  lately(at: number): number {
    this.#turn(at);
    return this.#now + this.#before;
  }

  #turn(at: number): void {
    const stretch = Math.floor(at / COURTESY_MS);
    if (stretch === this.#stretch) return;
    this.#before = stretch === this.#stretch + 1 ? this.#now : 0;
    this.#now = 0;
    this.#stretch = stretch;
  }
}

/** READs and WRITEs of all sessions of the process. */
export const foreground = new Pace();
