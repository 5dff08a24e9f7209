// A node that has asked another one something, or has answered it, usually hears the next within less time than it takes to go to
// sleep and be woken. Where that has been so lately, the event loop looks again at once for a little while instead of sleeping.
// Behind World, because it is about this machine: on a virtual clock nobody sleeps.
import { performance } from 'node:perf_hooks';
import { LINK_AWAKE_MS } from '../base/limits.ts';

/** A longer silence counts as so many times LINK_AWAKE_MS: one does not keep us asleep for long afterwards. */
const MOST = 4;
/** Part of the average the last silence makes. */
const WEIGHT = 1 / 8;

/** Of one connection. */
export class LinkAwake {
  /** Milliseconds between a send and what comes next, on average. */
  #silence = 0;
  #sentAt = 0;
  #awake = false;
  readonly #turn = (): void => {
    if (this.#sentAt > 0 && performance.now() - this.#sentAt < LINK_AWAKE_MS) setImmediate(this.#turn);
    else this.#awake = false;
  };

  /** Something has been sent. Allocation-free. */
  sent(): void {
    this.#sentAt = performance.now();
    if (this.#awake || this.#silence > LINK_AWAKE_MS) return;
    this.#awake = true;
    setImmediate(this.#turn);
  }

  /** Something has come. Allocation-free. */
  received(): void {
    if (this.#sentAt === 0) return;
    const silence = Math.min(performance.now() - this.#sentAt, MOST * LINK_AWAKE_MS);
    this.#silence += (silence - this.#silence) * WEIGHT;
    this.#sentAt = 0;
  }
}
