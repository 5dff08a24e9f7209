// Answers that wait for their peers, over all connections. Each connection has its own limit, but hundreds of peers that
// take nothing would still fill the memory: the more of it is in use, the less one connection may have. So those with the
// longest queues stop first, and a peer that takes its answers does not notice.
import { SEND_QUEUE_HIGH, SEND_QUEUE_LOW } from '../base/limits.ts';

/** Somebody who waits for room. */
interface Waiting {
  /** There may be room now. */
  advance(): void;
}

export class AnswerMemory {
  readonly #limit: number;
  readonly #soon: (fn: () => void) => void;
  /** Bytes queued, and bytes of reads under way that are going to be. */
  #used = 0;
  readonly #line = new Set<Waiting>();
  #planned = false;

  /** `limit` in bytes; `soon` calls a function after the events that are already waiting. */
  constructor(limit: number, soon: (fn: () => void) => void) {
    this.#limit = limit;
    this.#soon = soon;
  }

  get used(): number {
    return this.#used;
  }

  /** `by` bytes more are in use, or (negative) fewer. */
  change(by: number): void {
    this.#used += by;
    if (by >= 0 || this.#planned || this.#line.size === 0) return;
    this.#planned = true;
    this.#soon(() => {
      this.#planned = false;
      const line = [...this.#line];
      this.#line.clear();
      for (const each of line) each.advance();
    });
  }

  /** True when a connection that has `own` bytes queued has to be relieved of them before it is asked for more. */
  full(own: number): boolean {
    return own > SEND_QUEUE_LOW && (own > SEND_QUEUE_HIGH || own > this.#room());
  }

  /**
   * May a connection that has `own` bytes queued or under way be given `bytes` more? One that has nothing may always have
   * an ordinary command's worth, so nobody waits for others for ever, and alone uses the last quarter.
   */
  admits(own: number, bytes: number): boolean {
    if (own === 0) return bytes <= SEND_QUEUE_LOW || bytes <= this.#limit - this.#used || this.#used <= 0;
    return own + bytes <= this.#room();
  }

  /** `each` is told when there may be more room. */
  wait(each: Waiting): void {
    this.#line.add(each);
  }

  forget(each: Waiting): void {
    this.#line.delete(each);
  }

  #room(): number {
    return (this.#limit / 4) * 3 - this.#used;
  }
}
