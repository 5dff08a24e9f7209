// How much data of running requests is in memory: every connection may have one request, more only while there is room.
import { NBD_CONNECTION_MEMORY, NBD_MEMORY } from '../base/nbd-limits.ts';

export class MemoryBudget {
  readonly #limit: number;
  #used = 0;
  readonly #waiting = new Set<() => void>();

  /** Bytes over all connections. */
  constructor(limit = NBD_MEMORY) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether a connection that has `own` bytes may take more. */
  admits(own: number): boolean {
    return own === 0 || (own < NBD_CONNECTION_MEMORY && this.#used < this.#limit);
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
    if (this.#waiting.size === 0 || this.#used >= this.#limit) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each();
  }

  /** Calls `again` once when others have given memory back. */
  wait(again: () => void): void {
    this.#waiting.add(again);
  }

  forget(again: () => void): void {
    this.#waiting.delete(again);
  }
}
