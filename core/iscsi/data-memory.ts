import { SMALL_GATHER } from '../base/limits.ts';

/**
 * The bytes all sessions together may hold for data on its way: assembled writes and asynchronous reads. Who finds no
 * room waits in line; the line is bounded because every waiter is a command and commands are bounded by the window.
 */
export class DataMemory {
  readonly limit: number;
  #used = 0;
  #line: { readonly bytes: number; readonly go: () => void }[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** True when sessions should keep their command windows small. */
  get tight(): boolean {
    return this.#used > this.limit / 2;
  }

  /** Takes `bytes` if they are there and nobody waits. */
  tryTake(bytes: number): boolean {
    if (this.#line.length > 0 || (this.#used > 0 && this.#used + bytes > this.limit)) return false;
    this.#used += bytes;
    return true;
  }

  /**
   * tryTake for data that waits for its initiator, who may never send the rest. Large pieces of it fill half of the memory
   * at most, so that an initiator that hoards does not stop the reads and the small writes of the others.
   */
  tryGather(bytes: number): boolean {
    return (bytes <= SMALL_GATHER || !this.tight) && this.tryTake(bytes);
  }

  /** Takes `bytes` as soon as they are there. One request larger than the limit waits for all others, then passes. */
  take(bytes: number): Promise<void> | undefined {
    if (this.tryTake(bytes)) return undefined;
    return new Promise((go) => {
      this.#line.push({ bytes, go });
    });
  }

  giveBack(bytes: number): void {
    this.#used -= bytes;
    for (let next = this.#line[0]; next !== undefined; next = this.#line[0]) {
      if (this.#used > 0 && this.#used + next.bytes > this.limit) return;
      this.#line.shift();
      this.#used += next.bytes;
      next.go();
    }
  }
}
