// What the journal was given of a volume and may not have on stable media yet. It counts already for whoever writes next, but
// nobody may be told of it: a crash could take back what somebody has read.
import type { Journal } from './journal.ts';

/** Blocks [from, end) of the volume, and the number of the batch they are in. */
interface Range {
  readonly from: number;
  readonly end: number;
  readonly seq: number;
}

export class Unstable {
  readonly #journal: Pick<Journal, 'seq' | 'durable'>;
  /** In the order of their batches. No longer than what is on its way to the journal, but for what is stable already. */
  #ranges: Range[] = [];

  constructor(journal: Pick<Journal, 'seq' | 'durable'>) {
    this.#journal = journal;
  }

  /** The journal has just been given something about these blocks. */
  add(from: number, count: number): void {
    this.#forget();
    this.#ranges.push({ from, end: from + count, seq: this.#journal.seq });
  }

  /** True when something about a block of the range may not be stable yet. */
  has(from: number, count: number): boolean {
    if (this.#ranges.length === 0) return false;
    this.#forget();
    const end = from + count;
    return this.#ranges.some((range) => range.from < end && from < range.end);
  }

  /** Drops what has become stable since. */
  #forget(): void {
    const { durable } = this.#journal;
    if ((this.#ranges[0]?.seq ?? Number.POSITIVE_INFINITY) > durable) return;
    const still = this.#ranges.findIndex(({ seq }) => seq > durable);
    this.#ranges = still < 0 ? [] : this.#ranges.slice(still);
  }
}
