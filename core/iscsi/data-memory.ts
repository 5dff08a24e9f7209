import { MAX_RECV_DATA_SEGMENT, READ_RESERVE, SMALL_GATHER, SPARE_PIECES } from '../base/limits.ts';

/**
 * The bytes all sessions together may hold for data on its way: assembled writes and asynchronous reads. Who finds no
 * room waits in line; the line is bounded because every waiter is a command and commands are bounded by the window.
 */
export class DataMemory {
  readonly limit: number;
  readonly #gatherLimit: number;
  #used = 0;
  /** Of these, taken by tryGather. */
  #gathered = 0;
  #line: { readonly bytes: number; readonly go: () => void }[] = [];
  /** Memory of pieces that nobody has any more. */
  readonly #spare: Buffer[] = [];

  /** Bytes in all, and of these what is never lent to data that waits for its initiator. */
  constructor(limit: number, reserve = Math.min(READ_RESERVE, limit / 4)) {
    this.limit = limit;
    this.#gatherLimit = limit - reserve;
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
   * at most, so that an initiator that hoards does not stop the reads and the small writes of the others; small ones leave
   * the reserve to the reads. Given back with giveBackGathered.
   */
  tryGather(bytes: number): boolean {
    if (bytes === 0) return true;
    if (this.#gathered > 0 && this.#gathered + bytes > this.#gatherLimit) return false;
    if ((bytes > SMALL_GATHER && this.tight) || !this.tryTake(bytes)) return false;
    this.#gathered += bytes;
    return true;
  }

  giveBackGathered(bytes: number): void {
    this.#gathered -= bytes;
    this.giveBack(bytes);
  }

  /**
   * A copy of bytes [at, at+length). The memory of the largest segments is used again: when each has memory of its own, a long
   * copy has the garbage collector look through all of the heap several times a second. It is not aligned on purpose: what a host
   * writes is often read again soon, and goes through the page cache (world/direct-writes takes aligned memory past it).
   */
  piece(bytes: Buffer, at: number, length: number): Buffer {
    if (length !== MAX_RECV_DATA_SEGMENT) return Buffer.from(bytes.subarray(at, at + length));
    const piece = this.#spare.pop() ?? Buffer.allocUnsafeSlow(length + 1).subarray(1);
    bytes.copy(piece, 0, at, at + length);
    return piece;
  }

  /** Nobody has the piece any more: its memory may be that of another one. */
  pieceOver(piece: Buffer): void {
    if (piece.length === MAX_RECV_DATA_SEGMENT && this.#spare.length < SPARE_PIECES) this.#spare.push(piece);
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
