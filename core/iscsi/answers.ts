// The answers of the full feature phase that carry StatSN, ExpCmdSN and MaxCmdSN, written in place into the send buffer.
// Every byte of a header is stored: slabs come back dirty.
import { crc32c } from '../base/crc32c.ts';
import { load32, store32 } from '../base/bytes-at.ts';
import type { Volume } from '../scsi/volume-face.ts';
import type { SendBuffer } from './send-buffer.ts';
import type { Session } from './session.ts';
import { serialNext } from './serial.ts';
import { BHS_LENGTH, Opcode, RESERVED_TAG } from './wire/constants.ts';

/** Data-In payloads up to this many bytes are copied behind their header; larger ones leave as slices where possible. */
const COPY_UP_TO = 16_384;
/** Largest Data-In payload of ours, bytes, whatever the initiator accepts. */
export const MAX_DATA_IN = 262_144;
/** Response flags of Data-In and SCSI Response (RFC 7143 §11.4.1, §11.7.1). */
const FINAL = 0x80;
const OVERFLOW = 0x04;
const UNDERFLOW = 0x02;
const STATUS_PRESENT = 0x01;

export class Answers {
  readonly #send: SendBuffer;
  /** StatSN of the next answer that carries one. */
  statSN = 0;
  #session: Session | undefined;
  #headerDigest = 0;
  #dataDigest = 0;
  #maxDataIn = 8192;
  #maxBurst = 262_144;
  /** Used inside one call; kept so that reads allocate little. */
  readonly #pieces: Buffer[] = [];

  constructor(send: SendBuffer) {
    this.#send = send;
  }

  enterFullFeature(session: Session, statSN: number): void {
    const parameters = session.parameters;
    this.#session = session;
    this.statSN = statSN;
    this.#headerDigest = parameters.headerDigest ? 4 : 0;
    this.#dataDigest = parameters.dataDigest ? 4 : 0;
    this.parametersChanged(session);
  }

  /** The initiator has declared how much it takes in one PDU. */
  parametersChanged({ parameters }: Session): void {
    this.#maxDataIn = Math.min(parameters.maxRecvInitiator, MAX_DATA_IN) & ~3;
    // Not more than allowed, and whole words: only the last PDU of a read may need padding.
    this.#maxBurst = parameters.maxBurst & ~3;
  }

  /** Bytes of slab an answer with `length` bytes of data in one PDU takes. */
  #onePdu(length: number): number {
    return BHS_LENGTH + this.#headerDigest + ((length + 3) & ~3) + (length > 0 ? this.#dataDigest : 0);
  }

  /** True when READ data of this length can be answered by dataInFrom: one slab, no padding. */
  fits(length: number): boolean {
    return length <= 1_048_576 && (length & 3) === 0;
  }

  /**
   * Good READ of `length` bytes: `fill(position, length, slab, at)` stores the data of each PDU straight into the send
   * buffer. When it returns false nothing is sent and the result is false.
   */
  dataInFrom(
    itt: number,
    source: { readNow(position: number, length: number, target: Buffer, at: number): boolean },
    position: number,
    length: number,
  ): boolean {
    const send = this.#send;
    const overhead = BHS_LENGTH + this.#headerDigest + this.#dataDigest;
    if (length <= this.#maxDataIn && length <= this.#maxBurst) {
      const at = send.reserve(overhead + length);
      const dataAt = at + BHS_LENGTH + this.#headerDigest;
      if (!source.readNow(position, length, send.slab, dataAt)) {
        send.unreserve(at);
        return false;
      }
      this.#dataIn(at, itt, 0, 0, length, FINAL | STATUS_PRESENT, 0);
      this.#digestData(dataAt, length);
      return true;
    }
    return this.#severalDataIn(itt, source, position, length, overhead);
  }

  #severalDataIn(
    itt: number,
    source: { readNow(position: number, length: number, target: Buffer, at: number): boolean },
    position: number,
    length: number,
    overhead: number,
  ): boolean {
    const send = this.#send;
    const pdus = Math.ceil(length / Math.min(this.#maxDataIn, this.#maxBurst)) + Math.ceil(length / this.#maxBurst);
    const start = send.reserve(length + pdus * overhead);
    let at = start;
    let burst = 0;
    let sn = 0;
    for (let done = 0; done < length; sn++) {
      const size = Math.min(this.#maxDataIn, length - done, this.#maxBurst - burst);
      const dataAt = at + BHS_LENGTH + this.#headerDigest;
      if (!source.readNow(position + done, size, send.slab, dataAt)) {
        send.unreserve(start);
        return false;
      }
      burst += size;
      const last = done + size === length;
      const endOfBurst = last || burst === this.#maxBurst;
      this.#dataIn(at, itt, sn, done, size, (endOfBurst ? FINAL : 0) | (last ? STATUS_PRESENT : 0), 0);
      this.#digestData(dataAt, size);
      if (endOfBurst) burst = 0;
      done += size;
      at += overhead + size;
    }
    send.trim(at);
    return true;
  }

  /** Good READ of `length` bytes, a small one, sent from where it lies. False: nothing is sent; it has to be copied. */
  dataInGathered(itt: number, source: Pick<Volume, 'gatherNow'>, position: number, length: number): boolean {
    const send = this.#send;
    if (!send.mayGather || length > COPY_UP_TO || length > this.#maxDataIn || length > this.#maxBurst) return false;
    if (this.#dataDigest !== 0 || (length & 3) !== 0 || source.gatherNow === undefined) return false;
    const at = send.reserve(BHS_LENGTH + this.#headerDigest);
    const gather = send.gathering();
    if (gather === undefined) {
      send.unreserve(at);
      return false;
    }
    const place = gather.skip();
    if (!source.gatherNow(position, length, gather)) {
      gather.unskip();
      send.unreserve(at);
      return false;
    }
    this.#dataIn(at, itt, 0, 0, length, FINAL | STATUS_PRESENT, 0);
    send.gathered(gather, place, length);
    return true;
  }

  /** True when a READ of this length is better sent from where it lies than copied behind its header. */
  sendsViews(length: number): boolean {
    return length > COPY_UP_TO && this.#dataDigest === 0 && (length & 3) === 0;
  }

  /** Good READ of `length` bytes that `source` has in memory, sent without a copy. False: nothing is sent. */
  dataInViews(
    itt: number,
    source: { viewNow(position: number, length: number, pieces: Buffer[]): boolean },
    position: number,
    length: number,
  ): boolean {
    const send = this.#send;
    send.holdViews();
    const pieces = this.#pieces;
    if (!source.viewNow(position, length, pieces)) return false;
    let burst = 0;
    let piece = 0;
    let offset = 0;
    for (let done = 0, sn = 0; done < length; sn++) {
      const size = Math.min(this.#maxDataIn, length - done, this.#maxBurst - burst);
      burst += size;
      const last = done + size === length;
      const endOfBurst = last || burst === this.#maxBurst;
      if (endOfBurst) burst = 0;
      const at = send.reserve(BHS_LENGTH + this.#headerDigest);
      this.#dataIn(at, itt, sn, done, size, (endOfBurst ? FINAL : 0) | (last ? STATUS_PRESENT : 0), 0);
      for (let rest = size; rest > 0;) {
        const memory = pieces[piece] as Buffer;
        const take = Math.min(rest, memory.length - offset);
        send.append(take === memory.length ? memory : memory.subarray(offset, offset + take));
        rest -= take;
        offset += take;
        if (offset < memory.length) continue;
        piece++;
        offset = 0;
      }
      done += size;
    }
    pieces.length = 0;
    return true;
  }

  /**
   * Data-In PDUs for `length` bytes of `data`, the last with `status` and the residual (negative: underflow, positive:
   * overflow). `data` must not change until it has been sent, unless it is copied (digest on, or small).
   */
  dataIn(itt: number, data: Buffer, length: number, residual: number, status: number): void {
    let burst = 0;
    let sn = 0;
    for (let done = 0; done < length; sn++) {
      const size = Math.min(this.#maxDataIn, length - done, this.#maxBurst - burst);
      burst += size;
      const last = done + size === length;
      const endOfBurst = last || burst === this.#maxBurst;
      if (endOfBurst) burst = 0;
      let flags = endOfBurst ? FINAL : 0;
      if (last) flags |= STATUS_PRESENT | residualFlag(residual);
      this.#dataInPdu(itt, sn, done, data, size, flags, last ? Math.abs(residual) : 0, status);
      done += size;
    }
  }

  #dataInPdu(
    itt: number,
    sn: number,
    done: number,
    data: Buffer,
    size: number,
    flags: number,
    residual: number,
    status: number,
  ): void {
    const send = this.#send;
    // With a data digest the payload is copied first and the copy is summed: a slice may change under a queued send.
    const copy = size <= COPY_UP_TO || this.#dataDigest !== 0 || (size & 3) !== 0;
    const at = send.reserve(copy ? this.#onePdu(size) : BHS_LENGTH + this.#headerDigest);
    const dataAt = at + BHS_LENGTH + this.#headerDigest;
    this.#dataIn(at, itt, sn, done, size, flags, residual, status);
    if (!copy) {
      send.append(data.subarray(done, done + size));
      return;
    }
    data.copy(send.slab, dataAt, done, done + size);
    const padded = (size + 3) & ~3;
    for (let i = size; i < padded; i++) send.slab[dataAt + i] = 0;
    this.#digestData(dataAt, padded);
  }

  /** RFC 7143 §11.7. */
  #dataIn(
    at: number,
    itt: number,
    sn: number,
    offset: number,
    length: number,
    flags: number,
    residual: number,
    status = 0,
  ): void {
    const b = this.#send.slab;
    const withStatus = (flags & STATUS_PRESENT) !== 0;
    b[at] = Opcode.dataIn;
    b[at + 1] = flags;
    b[at + 2] = 0;
    b[at + 3] = withStatus ? status : 0;
    store32(b, at + 4, length);
    store32(b, at + 8, 0);
    store32(b, at + 12, 0);
    store32(b, at + 16, itt);
    store32(b, at + 20, RESERVED_TAG);
    store32(b, at + 24, withStatus ? this.#nextStatSN() : 0);
    this.#window(at);
    store32(b, at + 36, sn);
    store32(b, at + 40, offset);
    store32(b, at + 44, residual);
    this.#digestHeader(at);
  }

  /** RFC 7143 §11.4: SCSI Response, with sense data when given. Residual: negative underflow, positive overflow. */
  scsiResponse(itt: number, status: number, residual: number, sense: Buffer | undefined, expDataSN: number): void {
    const length = sense === undefined ? 0 : sense.length + 2;
    const at = this.#send.reserve(this.#onePdu(length));
    const b = this.#send.slab;
    b[at] = Opcode.scsiResponse;
    b[at + 1] = FINAL | residualFlag(residual);
    b[at + 2] = 0; // command completed at target
    b[at + 3] = status;
    store32(b, at + 4, length);
    store32(b, at + 8, 0);
    store32(b, at + 12, 0);
    store32(b, at + 16, itt);
    store32(b, at + 20, 0);
    store32(b, at + 24, this.#nextStatSN());
    this.#window(at);
    store32(b, at + 36, expDataSN);
    store32(b, at + 40, 0);
    store32(b, at + 44, Math.abs(residual));
    this.#digestHeader(at);
    if (sense !== undefined) {
      const dataAt = at + BHS_LENGTH + this.#headerDigest;
      b[dataAt] = sense.length >> 8;
      b[dataAt + 1] = sense.length;
      sense.copy(b, dataAt + 2);
      this.#padAndDigest(dataAt, length);
    }
  }

  /** RFC 7143 §11.8: Ready To Transfer. Carries the next StatSN without using it up. */
  r2t(lun: Buffer, itt: number, ttt: number, sn: number, offset: number, length: number): void {
    const at = this.#send.reserve(BHS_LENGTH + this.#headerDigest);
    const b = this.#send.slab;
    store32(b, at, (Opcode.r2t << 24) | 0x80_0000);
    store32(b, at + 4, 0);
    lun.copy(b, at + 8, 0, 8);
    store32(b, at + 16, itt);
    store32(b, at + 20, ttt);
    store32(b, at + 24, this.statSN);
    this.#window(at);
    store32(b, at + 36, sn);
    store32(b, at + 40, offset);
    store32(b, at + 44, length);
    this.#digestHeader(at);
  }

  /**
   * Any other PDU: `header` is complete but for its data length and sequence numbers, which are filled in here.
   * `countsStatus`: it uses up a StatSN.
   */
  other(header: Buffer, data: Buffer, countsStatus: boolean): void {
    const at = this.#send.reserve(this.#onePdu(data.length));
    const b = this.#send.slab;
    header.copy(b, at, 0, BHS_LENGTH);
    store32(b, at + 4, data.length);
    store32(b, at + 24, countsStatus ? this.#nextStatSN() : this.statSN);
    this.#window(at);
    this.#digestHeader(at);
    if (data.length === 0) return;
    const dataAt = at + BHS_LENGTH + this.#headerDigest;
    data.copy(b, dataAt);
    this.#padAndDigest(dataAt, data.length);
  }

  #nextStatSN(): number {
    const now = this.statSN;
    this.statSN = serialNext(now);
    return now;
  }

  #window(at: number): void {
    const session = this.#session;
    if (session === undefined) return;
    store32(this.#send.slab, at + 28, session.expCmdSN);
    store32(this.#send.slab, at + 32, session.maxCmdSN);
  }

  #digestHeader(at: number): void {
    if (this.#headerDigest === 0) return;
    const end = at + BHS_LENGTH;
    this.#storeDigest(end, crc32c(this.#send.slab, at, end));
  }

  #digestData(dataAt: number, length: number): void {
    if (this.#dataDigest === 0) return;
    const end = dataAt + length;
    this.#storeDigest(end, crc32c(this.#send.slab, dataAt, end));
  }

  #padAndDigest(dataAt: number, length: number): void {
    const padded = (length + 3) & ~3;
    for (let i = length; i < padded; i++) this.#send.slab[dataAt + i] = 0;
    this.#digestData(dataAt, padded);
  }

  /** RFC 7143 §13.1: the CRC's bytes go out least significant first. */
  #storeDigest(at: number, crc: number): void {
    const b = this.#send.slab;
    b[at] = crc;
    b[at + 1] = crc >>> 8;
    b[at + 2] = crc >>> 16;
    b[at + 3] = crc >>> 24;
  }
}

function residualFlag(residual: number): number {
  return residual === 0 ? 0 : residual > 0 ? OVERFLOW : UNDERFLOW;
}

/** Initiator task tag of the PDU at `at`. */
export function ittOf(bytes: Buffer, at: number): number {
  return load32(bytes, at + 16);
}
