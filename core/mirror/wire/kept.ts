// What has come in a frame, kept for later (frame.ts: it is lent).
import { PEER_PAYLOAD_SLAB, PEER_SMALL_PAYLOAD } from '../../base/limits.ts';

const EMPTY = Buffer.alloc(0);

/**
 * Copies lie one behind the other in larger pieces of memory, which are not used again: the engine collects garbage the more
 * often the more pieces there are.
 */
export class Kept {
  #slab = EMPTY;
  #at = 0;

  /** A header or a payload that stays as it is. */
  keep(lent: Buffer): Buffer {
    const { length } = lent;
    if (length === 0) return EMPTY;
    // It is memory of its own.
    if (length > PEER_SMALL_PAYLOAD) return lent;
    if (this.#at + length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(PEER_PAYLOAD_SLAB);
      this.#at = 0;
    }
    const at = this.#at;
    this.#at += length;
    lent.copy(this.#slab, at);
    return this.#slab.subarray(at, at + length);
  }
}
