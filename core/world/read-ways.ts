// Which way reads of a file go: past the page cache of the kernel, or through it. Past it a read costs less processor time, and
// does not push out what others want; through it whatever the kernel has is there at once.
import { FAST_READ_MS, READ_STREAMS } from '../base/limits.ts';

/** One read in so many is made to learn something. */
const LEARN = 64;
/** The share that one read has in what is known. */
const NEWEST = 0.125;
/** Where the kernel has more than this share of what is read, reads go through it. */
const MUCH = 0.5;

const mean = (before: number | undefined, now: number): number =>
  before === undefined ? now : before + (now - before) * NEWEST;

/** For where nobody can tell what the kernel has: by how fast reads were lately. */
export class BySpeed {
  #direct: number | undefined;
  #through: number | undefined;
  #count = 0;

  /** True when the next read is better made past the page cache, or to see whether that would be better. Ask once for each. */
  get past(): boolean {
    const direct = this.#direct;
    const other = ++this.#count % LEARN === 0;
    return direct === undefined || (this.#through !== undefined && direct < this.#through) !== other;
  }

  /** A read that went past the page cache took so long, milliseconds. */
  direct(time: number, bytes: number): void {
    this.#direct = mean(this.#direct, time / bytes);
  }

  through(time: number, bytes: number): void {
    this.#through = mean(this.#through, time / bytes);
  }
}

/** By what the kernel has of that which is read. */
export class ByCache {
  /** Share of the reads that the kernel could have answered. */
  #share = 0;
  /** Milliseconds of the disk for each read. */
  #cost: number | undefined;
  #count = 0;
  readonly #small: boolean;

  /** Small reads of a slow disk are not what the processor is busy with: then the page cache is a second cache. */
  constructor(small: boolean) {
    this.#small = small;
  }

  /** True: try whether the kernel has what is to be read, and tell with had(). Ask once for each read. */
  get asks(): boolean {
    return this.#count++ % LEARN === 0;
  }

  had(all: boolean): void {
    this.#share = mean(this.#share, all ? 1 : 0);
  }

  /** True when this read is better made past the page cache. */
  get past(): boolean {
    if (this.#share > MUCH) return false;
    // The slow disk may have become fast.
    return !this.#small || (this.#cost ?? 0) < FAST_READ_MS || this.#count % LEARN === LEARN / 2;
  }

  /** One of `together` reads at once took so long, milliseconds. */
  took(time: number, together: number): void {
    this.#cost = mean(this.#cost, time / together);
  }
}

/** Who reads one piece after the other: the kernel reads ahead for him, if he goes through its page cache. */
export class Streams {
  /** Where reads ended lately. */
  readonly #ends = new Float64Array(READ_STREAMS).fill(-1);
  #next = 0;

  /** True when one ended at `position`. */
  follows(position: number): boolean {
    return this.#ends.includes(position);
  }

  /** A read ends there. */
  ended(position: number): void {
    this.#ends[this.#next] = position;
    this.#next = (this.#next + 1) % READ_STREAMS;
  }

  /** True when a read that begins at `position` goes on where one ended. To be told of every read. */
  goesOn(position: number, length: number): boolean {
    const found = this.#ends.indexOf(position);
    if (found >= 0) this.#ends[found] = -1;
    this.ended(position + length);
    return found >= 0;
  }
}
