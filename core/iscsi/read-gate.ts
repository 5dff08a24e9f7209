// Asynchronous reads of one session: how much of them may be under way at once. What has been read waits in memory until
// the peer takes it, so a peer that takes nothing must not make us read on.
import { SEND_QUEUE_HIGH, SESSION_READ_MEMORY } from '../base/limits.ts';
import { Pace } from '../base/pace.ts';
import type { AnswerMemory } from './answer-memory.ts';
import type { Courtesy } from './courtesy.ts';
import type { SendBuffer } from './send-buffer.ts';

interface Waiting {
  readonly bytes: number;
  readonly fromDisk: boolean;
  readonly go: () => void;
}

export class ReadGate {
  readonly #send: Pick<SendBuffer, 'waiting' | 'count'>;
  readonly #memory: AnswerMemory;
  readonly #courtesy: Courtesy;
  /** What this session has answered at once. */
  readonly pace = new Pace();
  /** Bytes of reads that run, and who waits for them to end. */
  #running = 0;
  #line: Waiting[] = [];
  #closed = false;

  constructor(send: Pick<SendBuffer, 'waiting' | 'count'>, memory: AnswerMemory, courtesy: Courtesy) {
    this.#send = send;
    this.#memory = memory;
    this.#courtesy = courtesy;
  }

  /**
   * Enters with a read of `bytes`; `fromDisk`: of the medium, which was not in memory. undefined: go on at once; every enter()
   * is followed by a leave() that says the same.
   */
  enter(bytes: number, fromDisk: boolean): Promise<void> | undefined {
    if (this.#line.length === 0 && this.#mayRun(bytes, fromDisk)) {
      this.#begin(bytes, fromDisk);
      return undefined;
    }
    return new Promise((go) => {
      this.#line.push({ bytes, fromDisk, go });
      this.#wait();
    });
  }

  /** True when enter() would let this read from the disk go on at once: begin() is that, in the same turn. */
  admits(bytes: number): boolean {
    return this.#line.length === 0 && this.#mayRun(bytes, true);
  }

  begin(bytes: number): void {
    this.#begin(bytes, true);
  }

  /** `commands` of this session were answered at once, at clock time `at`. */
  served(commands: number, at: number): void {
    this.#courtesy.served(this.pace, commands, at);
  }

  /** A read has ended and its answer, if any, has been queued. */
  leave(bytes: number, fromDisk: boolean): void {
    this.#running -= bytes;
    if (fromDisk) this.#courtesy.retry();
    this.#send.count();
    this.#memory.change(-bytes);
    this.advance();
  }

  /** The send queue, or those of all connections, may have become shorter. */
  advance(): void {
    for (
      let next = this.#line[0];
      next !== undefined && this.#mayRun(next.bytes, next.fromDisk);
      next = this.#line[0]
    ) {
      this.#line.shift();
      this.#begin(next.bytes, next.fromDisk);
      next.go();
    }
    if (this.#line.length > 0) this.#wait();
  }

  /** The connection is gone: nobody waits for the peer any more. */
  close(): void {
    this.#closed = true;
    this.advance();
    this.#memory.forget(this);
    this.#courtesy.forget(this);
  }

  #wait(): void {
    this.#memory.wait(this);
    if (this.#line[0]?.fromDisk === true) this.#courtesy.wait(this);
  }

  #begin(bytes: number, fromDisk: boolean): void {
    this.#running += bytes;
    if (fromDisk) this.#courtesy.begin(bytes);
    this.#memory.change(bytes);
  }

  #mayRun(bytes: number, fromDisk: boolean): boolean {
    if (this.#closed) return true;
    if (fromDisk && !this.#courtesy.admits(this.pace)) return false;
    const { waiting } = this.#send;
    if (waiting > SEND_QUEUE_HIGH || !this.#memory.admits(waiting + this.#running, bytes)) return false;
    return this.#running === 0 || this.#running + bytes <= SESSION_READ_MEMORY;
  }
}
