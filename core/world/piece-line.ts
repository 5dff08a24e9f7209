// Sending large pieces with TLS. Of several pieces that are written together Node makes one before it encrypts them: a copy, in
// memory of its own that has to be collected afterwards. One piece by itself it encrypts out of the memory it lies in. So large
// pieces go one after the other, each when the one before it has gone; small ones between them together, as ever.
import type { Socket as NodeSocket } from 'node:net';
import { LARGE_PIECE } from '../base/limits.ts';

interface Piece {
  readonly data: Buffer;
  /** Its memory may be used again. */
  readonly done: (() => void) | undefined;
}

const isLarge = ({ length }: Buffer): boolean => length >= LARGE_PIECE;

export class PieceLine {
  readonly #socket: NodeSocket;
  readonly #emptied: () => void;
  #line: Piece[] = [];
  #isRunning = false;
  #last: (() => void) | undefined;
  /** Bytes that the stream has not got yet. */
  bytes = 0;

  /** `emptied`: everything has been sent, or never will be. */
  constructor(socket: NodeSocket, emptied: () => void) {
    this.#socket = socket;
    this.#emptied = emptied;
    socket.on('close', () => {
      this.#giveUp();
    });
  }

  /** True when what is to be sent has to go by way of the line: these pieces are large, or something is in it. */
  takes(pieces: readonly Buffer[]): boolean {
    return this.#isRunning || pieces.some(isLarge);
  }

  /** `done` is called when the memory of all of them may be used again. */
  add(pieces: readonly Buffer[], done: (() => void) | undefined): void {
    const last = pieces.length - 1;
    for (const [i, data] of pieces.entries()) {
      this.#line.push({ data, done: i === last ? done : undefined });
      this.bytes += data.length;
    }
    if (!this.#isRunning && this.#line.length > 0) this.#next();
  }

  /** Calls `go` when everything in the line has been sent; at once when there is nothing. */
  whenEmpty(go: () => void): void {
    if (this.#isRunning) this.#last = go;
    else go();
  }

  #next(): void {
    this.#isRunning = true;
    const small = this.#line.findIndex(({ data }) => isLarge(data));
    const count = small === 0 ? 1 : small < 0 ? this.#line.length : small;
    const pieces = this.#line.splice(0, count);
    const over = (): void => {
      for (const { done } of pieces) done?.();
      this.#isRunning = false;
      if (this.#socket.destroyed) this.#giveUp();
      if (this.#line.length > 0) this.#next();
      else this.#over();
    };
    this.#socket.cork();
    for (const [i, { data }] of pieces.entries()) {
      this.bytes -= data.length;
      if (i < count - 1) this.#socket.write(data);
      else this.#socket.write(data, over);
    }
    this.#socket.uncork();
  }

  #giveUp(): void {
    const left = this.#line;
    this.#line = [];
    this.bytes = 0;
    for (const { done } of left) done?.();
  }

  #over(): void {
    const last = this.#last;
    this.#last = undefined;
    last?.();
    this.#emptied();
  }
}
