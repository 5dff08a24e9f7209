// Pieces of memory here and there that leave with one system call: the vector of writev(2), filled in without an object for
// a piece. A small READ out of the cache is sent from where it lies, so its blocks, which the processor has to fetch from memory,
// are touched once and not twice.
import { addressOf } from './memory-address.ts';

/** Pieces of one vector: as many as the kernel takes (IOV_MAX). */
const PIECES = 1024;
/** Words of 32 bits of a struct iovec: address and length. */
const WORDS = 4;
const TWO_32 = 4_294_967_296;
const NOTHING = Buffer.alloc(0);

export class Gather {
  /** Pieces added, and bytes of all of them. */
  count = 0;
  bytes = 0;
  /** Where the vector lies; undefined: where memory lies cannot be told here, and nothing may be added. */
  readonly address: number | undefined;
  readonly #words = new Uint32Array(PIECES * WORDS);
  readonly #memory: Buffer[] = new Array<Buffer>(PIECES).fill(NOTHING);
  readonly #from = new Uint32Array(PIECES);

  constructor() {
    const { buffer, byteOffset, byteLength } = this.#words;
    this.address = addressOf(Buffer.from(buffer, byteOffset, byteLength));
  }

  /** Pieces that it still takes. */
  get room(): number {
    return PIECES - this.count;
  }

  /** `bytes` of `memory`, whose first byte lies at `address`, from `from` on. There has to be room. Allocation-free. */
  add(memory: Buffer, address: number, from: number, bytes: number): void {
    this.set(this.skip(), memory, address, from, bytes);
  }

  /** Leaves a place for a piece that is set later. */
  skip(): number {
    return this.count++;
  }

  /** Fills in a place that was skipped. */
  set(place: number, memory: Buffer, address: number, from: number, bytes: number): void {
    const at = place * WORDS;
    const start = address + from;
    const high = Math.floor(start / TWO_32);
    const words = this.#words;
    words[at] = start - high * TWO_32;
    words[at + 1] = high;
    words[at + 2] = bytes;
    words[at + 3] = 0;
    this.#memory[place] = memory;
    this.#from[place] = from;
    this.bytes += bytes;
  }

  /** Takes back the last place, which was skipped and not set. */
  unskip(): void {
    this.count--;
  }

  /** What is left when the first `sent` bytes are gone. */
  rest(sent: number): Buffer[] {
    const left: Buffer[] = [];
    let skip = sent;
    for (let place = 0; place < this.count; place++) {
      const bytes = this.#words[place * WORDS + 2] as number;
      const from = this.#from[place] as number;
      if (skip < bytes) left.push((this.#memory[place] as Buffer).subarray(from + skip, from + bytes));
      skip = Math.max(0, skip - bytes);
    }
    return left;
  }

  clear(): void {
    // Memory of who has gone must not be kept by what is no longer looked at.
    for (let place = 0; place < this.count; place++) this.#memory[place] = NOTHING;
    this.count = this.bytes = 0;
  }
}
