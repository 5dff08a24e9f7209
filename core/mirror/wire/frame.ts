// Frames between nodes, bytes <-> objects. 32 bytes, all numbers big-endian, then the header of the message and its payload:
//    0  magic "GMLP"
//    4  version of this layout, type of the message, flags (2 bytes)
//    8  request id: an answer carries that of its request
//   12  number of the frame on this connection and in this direction, from 0
//   16  bytes of the header     20  bytes of the payload
//   24  CRC32C of the payload   28  CRC32C of bytes 0 to 27 and of the header
// The number finds what was repeated, left out or put into another order, whatever TCP or a box in between did.
import { load16, load32, store32 } from '../../base/bytes-at.ts';
import { alignedMemory } from '../../base/memory-address.ts';
import { crc32c } from '../../base/crc32c.ts';
import {
  MAX_PEER_HEADER,
  MAX_PEER_PAYLOAD,
  PEER_RECEIVE_BUFFER,
  PEER_SMALL_PAYLOAD,
  PEER_SPARE_BYTES,
} from '../../base/limits.ts';

export const FRAME_HEAD = 32;
export const FRAME_VERSION = 1;
const MAGIC = 0x474d_4c50;
const EMPTY = Buffer.alloc(0);

export const FrameFlag = { answer: 1, refused: 2 } as const;
const ALL_FLAGS = FrameFlag.answer | FrameFlag.refused;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  /** Lent: whoever needs it after the call copies it. */
  readonly header: Buffer;
  /** Lent as well if it has at most PEER_SMALL_PAYLOAD bytes; else it is memory of its own. */
  readonly payload: Buffer;
}

/** What arrived is not what a node of ours sends: the connection is of no more use. */
export class FrameError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FrameError';
  }
}

/**
 * Stores the first piece of a frame, head and header, at `at`, where there is room for FRAME_HEAD bytes and the header.
 * `payload`: what the caller sends behind it, in order. Returns where it ends.
 */
export function storeFrameHead(
  into: Buffer,
  at: number,
  type: number,
  flags: number,
  id: number,
  number: number,
  header: Buffer,
  payload: readonly Buffer[],
): number {
  let length = 0;
  let sum = 0;
  for (const piece of payload) {
    length += piece.length;
    sum = crc32c(piece, 0, piece.length, sum);
  }
  if (header.length > MAX_PEER_HEADER || length > MAX_PEER_PAYLOAD) throw new RangeError('message too large');
  store32(into, at, MAGIC);
  into[at + 4] = FRAME_VERSION;
  into[at + 5] = type;
  into[at + 6] = 0;
  into[at + 7] = flags;
  store32(into, at + 8, id);
  store32(into, at + 12, number);
  store32(into, at + 16, header.length);
  store32(into, at + 20, length);
  store32(into, at + 24, sum);
  const behind = at + FRAME_HEAD + header.copy(into, at + FRAME_HEAD);
  store32(into, at + 28, crc32c(into, at + FRAME_HEAD, behind, crc32c(into, at, at + 28)));
  return behind;
}

/**
 * Takes bytes as they come, gives frames. What is small is given where it was received, for as long as the call lasts: nearly
 * all of it goes to its place in that call, and memory made for each would keep the engine collecting it. A large payload has
 * memory of its own, which is used again when it is given back.
 */
export class FrameReader {
  readonly #memory = Buffer.allocUnsafeSlow(PEER_RECEIVE_BUFFER);
  #start = 0;
  #end = 0;
  #number = 0;
  /** A large payload that is not complete: what is read next goes straight into it. */
  #open: { frame: Frame; sum: number; filled: number } | undefined;
  /** Memory of large payloads that was given back. */
  #spare: Buffer[] = [];
  #spareBytes = 0;
  readonly #deliver: (frame: Frame) => void;

  constructor(deliver: (frame: Frame) => void) {
    this.#deliver = deliver;
  }

  /** Where the next bytes go. Never empty. */
  buffer(): Buffer {
    if (this.#open !== undefined) return this.#open.frame.payload.subarray(this.#open.filled);
    if (this.#start > 0) {
      this.#memory.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#memory.subarray(this.#end);
  }

  /** `bytes` are at the start of the buffer offered last. Throws a FrameError. */
  received(bytes: number): void {
    const open = this.#open;
    if (open !== undefined) {
      open.filled += bytes;
      if (open.filled < open.frame.payload.length) return;
      this.#open = undefined;
      this.#complete(open.frame, open.sum);
      return;
    }
    this.#end += bytes;
    while (this.#next());
  }

  /** One frame out of memory. False: there is none as a whole. */
  #next(): boolean {
    const memory = this.#memory;
    const at = this.#start;
    const available = this.#end - at;
    if (available < FRAME_HEAD) {
      // Who speaks something else altogether may not send that much.
      if (available >= 4) checkMagic(memory, at);
      return false;
    }
    checkMagic(memory, at);
    if (memory[at + 4] !== FRAME_VERSION) throw new FrameError(`frame version ${String(memory[at + 4])}`);
    const headerLength = load32(memory, at + 16);
    const length = load32(memory, at + 20);
    if (headerLength > MAX_PEER_HEADER || length > MAX_PEER_PAYLOAD) throw new FrameError('message too large');
    const behind = at + FRAME_HEAD + headerLength;
    if (behind > this.#end) return false;
    const sum = crc32c(memory, at + FRAME_HEAD, behind, crc32c(memory, at, at + 28));
    if (sum !== load32(memory, at + 28)) throw new FrameError('damaged header');
    const flags = load16(memory, at + 6);
    if ((flags & ~ALL_FLAGS) !== 0) throw new FrameError('unknown flags');
    if (load32(memory, at + 12) !== this.#number) throw new FrameError('frame out of order');
    // What fits into memory as a whole is waited for there: it is read together with what comes behind it.
    if (length <= PEER_SMALL_PAYLOAD && behind + length > this.#end) return false;
    this.#number = (this.#number + 1) >>> 0;
    const [type, id, check] = [memory[at + 5] as number, load32(memory, at + 8), load32(memory, at + 24)];
    const header = headerLength === 0 ? EMPTY : memory.subarray(at + FRAME_HEAD, behind);
    if (length <= PEER_SMALL_PAYLOAD) {
      this.#start = behind + length;
      const payload = length === 0 ? EMPTY : memory.subarray(behind, behind + length);
      this.#complete({ type, flags, id, header, payload }, check);
      return true;
    }
    const payload = this.#large(length);
    const filled = memory.copy(payload, 0, behind, Math.min(behind + length, this.#end));
    this.#start = behind + filled;
    const isWhole = filled === length;
    const frame: Frame = { type, flags, id, header: isWhole ? header : Buffer.from(header), payload };
    if (isWhole) this.#complete(frame, check);
    else this.#open = { frame, sum: check, filled };
    return isWhole;
  }

  /** Most are of one length, for as long as there are many. */
  #large(length: number): Buffer {
    const at = this.#spare.findLastIndex((each) => each.length === length);
    const [found] = at < 0 ? [] : this.#spare.splice(at, 1);
    if (found !== undefined) this.#spareBytes -= length;
    // It may go from there straight to a disk.
    return found ?? alignedMemory(length);
  }

  /** Nobody uses the payload of a frame any more: its memory may be that of another one. */
  giveBack(payload: Buffer): void {
    if (payload.length <= PEER_SMALL_PAYLOAD || payload.length > PEER_SPARE_BYTES) return;
    this.#spare.push(payload);
    this.#spareBytes += payload.length;
    // Those of a length that does not come any more go first.
    while (this.#spareBytes > PEER_SPARE_BYTES) this.#spareBytes -= (this.#spare.shift() as Buffer).length;
  }

  #complete(frame: Frame, sum: number): void {
    if (crc32c(frame.payload) !== sum) throw new FrameError('damaged payload');
    this.#deliver(frame);
  }
}

function checkMagic(memory: Buffer, at: number): void {
  if (load32(memory, at) !== MAGIC) throw new FrameError('this is not the language of our nodes');
}
