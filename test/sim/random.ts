// The one source of chance of a simulation: everything that could happen in more than one way asks it.

export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1. mulberry32: 32 bits of state, good enough to choose faults. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** True with this probability. */
  happens(probability: number): boolean {
    return this.next() < probability;
  }

  /** A number in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  /** One of them. */
  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T;
  }

  bytes(length: number): Buffer {
    const made = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) made[i] = this.below(256);
    return made;
  }
}
