// Receive memory. All connections share one buffer as long as their reads end at a PDU boundary; a connection that is
// left with part of a PDU gets a buffer of its own until it has caught up. This keeps a thousand idle sessions cheap and
// the bytes being parsed in the processor's cache.
import { load32 } from '../base/bytes-at.ts';
import { MAX_AHS, MAX_RECV_DATA_SEGMENT, RECEIVE_BUFFER } from '../base/limits.ts';

/** Largest PDU: header, additional header segments, header digest, data with padding, data digest. */
const LARGEST_PDU = 48 + MAX_AHS + 4 + MAX_RECV_DATA_SEGMENT + 4;

/** Buffers kept for the next connection that needs one. */
const MAX_SPARE_BUFFERS = 32;
/** Free bytes below which the unparsed rest moves to the front of the buffer before the next read. */
const LOW_ROOM = 65_536;
/** An own buffer has room left even when everything the shared one held has to be kept. */
const OWN_BUFFER = RECEIVE_BUFFER + LOW_ROOM;
if (RECEIVE_BUFFER < LARGEST_PDU + LOW_ROOM) {
  throw new RangeError('RECEIVE_BUFFER is too small: the largest PDU would never complete');
}

/** The memory that all ReceiveBuffers of one event loop share. */
export class ReceivePool {
  readonly shared = Buffer.allocUnsafeSlow(RECEIVE_BUFFER);
  readonly #spare: Buffer[] = [];

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(OWN_BUFFER);
  }

  giveBack(buffer: Buffer): void {
    if (this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(buffer);
  }
}

/** One connection's unparsed bytes: `bytes[start..end)`. */
export class ReceiveBuffer {
  /** Valid between filled() and the end of the event. */
  bytes: Buffer;
  start = 0;
  end = 0;
  readonly #pool: ReceivePool;
  #own: Buffer | undefined;

  constructor(pool: ReceivePool) {
    this.#pool = pool;
    this.bytes = pool.shared;
  }

  get length(): number {
    return this.end - this.start;
  }

  /**
   * Where the next read may store bytes. The network asks at the end of each event and may use the answer much later, so
   * nothing but the parsing position changes between two events.
   */
  room(): Buffer {
    const own = this.#own;
    if (own === undefined) return this.#pool.shared;
    if (this.start === this.end) {
      this.start = this.end = 0;
      return own;
    }
    if (this.start > 0 && (own.length - this.end < LOW_ROOM || this.start > own.length / 2)) {
      own.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    }
    return own.subarray(this.end);
  }

  /** `count` bytes were stored in the buffer room() returned last. */
  filled(count: number): void {
    if (this.#own === undefined) {
      this.bytes = this.#pool.shared;
      this.start = 0;
      this.end = count;
    } else {
      this.bytes = this.#own;
      this.end += count;
    }
  }

  /** True when all that is there is headers, of `size` bytes with their digests: no data, and no additional segments. */
  isHeaders(size: number): boolean {
    const { bytes, end } = this;
    // TotalAHSLength and DataSegmentLength (RFC 7143 §11.2.1.5, §11.2.1.6).
    for (let at = this.start; at + 8 <= end; at += size) if (load32(bytes, at + 4) !== 0) return false;
    return true;
  }

  /** The event is over: what has not been parsed is brought to safety, or the own buffer is given back. */
  settle(): void {
    if (this.#own !== undefined) {
      if (this.start === this.end && this.end < LOW_ROOM) this.release();
      return;
    }
    const rest = this.end - this.start;
    if (rest === 0) return;
    const own = this.#pool.take();
    this.bytes.copy(own, 0, this.start, this.end);
    this.#own = this.bytes = own;
    this.start = 0;
    this.end = rest;
  }

  release(): void {
    if (this.#own !== undefined) this.#pool.giveBack(this.#own);
    this.#own = undefined;
    this.bytes = this.#pool.shared;
    this.start = this.end = 0;
  }
}
