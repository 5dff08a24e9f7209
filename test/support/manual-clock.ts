// Time that passes when a test says so.
import type { Clock, Timer } from '../../core/base/world.ts';

interface Due {
  readonly at: number;
  readonly fn: () => void;
}

export class ManualClock implements Clock {
  #now = 0;
  readonly #wall: number;
  readonly #due = new Set<Due>();

  /** `wall`: milliseconds since 1970 at which it begins. */
  constructor(wall = 0) {
    this.#wall = wall;
  }

  now(): number {
    return this.#now;
  }
  wall(): number {
    return this.#wall + this.#now;
  }
  after(ms: number, fn: () => void): Timer {
    const due = { at: this.#now + ms, fn };
    this.#due.add(due);
    return { cancel: () => this.#due.delete(due) };
  }
  soon(fn: () => void): void {
    setImmediate(fn);
  }

  /** Lets `ms` milliseconds pass; everything due on the way happens in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#due].filter((each) => each.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#due.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
    }
    this.#now = end;
  }

  /** Lets time pass until `work` is done. */
  async during<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const noticed = work.finally(() => {
      over = true;
    });
    while (!over) {
      this.advance(20);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return noticed;
  }
}
