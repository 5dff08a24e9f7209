// Asynchronous reads of one session: how much of them may be under way at once. What has been read waits in memory until
// the peer takes it, so a peer that takes nothing must not make us read on.
import { SEND_QUEUE_HIGH, SESSION_READ_MEMORY } from '../base/limits.ts';
import type { AnswerMemory } from './answer-memory.ts';
import type { SendBuffer } from './send-buffer.ts';

interface Waiting {
  readonly bytes: number;
  readonly go: () => void;
}

export class ReadGate {
  readonly #send: Pick<SendBuffer, 'waiting' | 'count'>;
  readonly #memory: AnswerMemory;
  /** Bytes of reads that run, and who waits for them to end. */
  #running = 0;
  #line: Waiting[] = [];
  #closed = false;

  constructor(send: Pick<SendBuffer, 'waiting' | 'count'>, memory: AnswerMemory) {
    this.#send = send;
    this.#memory = memory;
  }

  /** Enters with a read of `bytes`. undefined: go on at once; every enter() is followed by a leave(). */
  enter(bytes: number): Promise<void> | undefined {
    if (this.#line.length === 0 && this.#mayRun(bytes)) {
      this.#begin(bytes);
      return undefined;
    }
    return new Promise((go) => {
      this.#line.push({ bytes, go });
      this.#memory.wait(this);
    });
  }

  /** A read has ended and its answer, if any, has been queued. */
  leave(bytes: number): void {
    this.#running -= bytes;
    this.#send.count();
    this.#memory.change(-bytes);
    this.advance();
  }

  /** The send queue, or those of all connections, may have become shorter. */
  advance(): void {
    for (let next = this.#line[0]; next !== undefined && this.#mayRun(next.bytes); next = this.#line[0]) {
      this.#line.shift();
      this.#begin(next.bytes);
      next.go();
    }
    if (this.#line.length > 0) this.#memory.wait(this);
  }

  /** The connection is gone: nobody waits for the peer any more. */
  close(): void {
    this.#closed = true;
    this.advance();
    this.#memory.forget(this);
  }

  #begin(bytes: number): void {
    this.#running += bytes;
    this.#memory.change(bytes);
  }

  #mayRun(bytes: number): boolean {
    if (this.#closed) return true;
    const { waiting } = this.#send;
    if (waiting > SEND_QUEUE_HIGH || !this.#memory.admits(waiting + this.#running, bytes)) return false;
    return this.#running === 0 || this.#running + bytes <= SESSION_READ_MEMORY;
  }
}
