// What arrives on a connection, cut into the pieces its owner asks for: small ones are shown where they lie, large ones are
// received straight into memory of their own.
import { NBD_RECEIVE_BUFFER } from '../base/nbd-limits.ts';

/** Called with the piece: valid in this turn only, unless the memory is the owner's. */
export type Taker = (memory: Buffer, at: number) => void;

/** One connection's receive memory. Its owner is asked for nothing: it calls expect() for every next piece. */
export class Receiver {
  readonly #memory = Buffer.allocUnsafeSlow(NBD_RECEIVE_BUFFER);
  /** What has arrived and not been taken: [start, end) of the memory. */
  #start = 0;
  #end = 0;
  #wanted = 0;
  #taker: Taker | undefined;
  /** Where a large piece goes, and how much of it is there. */
  #target: Buffer | undefined;
  #targetAt = 0;
  #filled = 0;
  #stopped = false;

  /** The next piece has `length` bytes. One that goes into `target` at `at` is not copied where it is large. */
  expect(length: number, taker: Taker, target?: Buffer, at = 0): void {
    this.#wanted = length;
    this.#taker = taker;
    this.#target = target ?? (length > NBD_RECEIVE_BUFFER ? Buffer.allocUnsafeSlow(length) : undefined);
    this.#targetAt = at;
    this.#filled = 0;
  }

  /** Pieces up to so many bytes are shown where they lie. */
  readonly inPlace = NBD_RECEIVE_BUFFER;

  /** Nothing is handed over until go(). */
  stop(): void {
    this.#stopped = true;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Bytes that are there and nobody has taken. */
  get rest(): number {
    return this.#end - this.#start;
  }

  /** Hands over what is there. */
  go(): void {
    this.#stopped = false;
    this.#deliver();
  }

  /** For SocketSink.buffer. */
  buffer(): Buffer {
    const target = this.#target;
    if (target !== undefined && this.#start === this.#end) {
      return target.subarray(this.#targetAt + this.#filled, this.#targetAt + this.#wanted);
    }
    return this.#memory.subarray(this.#end);
  }

  /** For SocketSink.received. */
  received(bytes: number): void {
    if (this.#target !== undefined && this.#start === this.#end) this.#filled += bytes;
    else this.#end += bytes;
    this.#deliver();
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#start > 0) {
      // The rest of a piece begins at the front, so that the whole of it finds room.
      this.#memory.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }

  #deliver(): void {
    while (!this.#stopped) {
      const taker = this.#taker;
      if (taker === undefined) return;
      const target = this.#target;
      if (target === undefined) {
        if (this.#end - this.#start < this.#wanted) return;
        const at = this.#start;
        this.#start += this.#wanted;
        this.#taker = undefined;
        taker(this.#memory, at);
        continue;
      }
      const size = Math.min(this.#wanted - this.#filled, this.#end - this.#start);
      this.#memory.copy(target, this.#targetAt + this.#filled, this.#start, this.#start + size);
      this.#start += size;
      this.#filled += size;
      if (this.#filled < this.#wanted) return;
      this.#taker = undefined;
      this.#target = undefined;
      taker(target, this.#targetAt);
    }
  }
}
