// A batch of the journal: a header with the records of all writes of one turn, then their data in whole blocks.
import { store32 } from '../base/bytes-at.ts';
import { crc32c } from '../base/crc32c.ts';
import { JOURNAL_BATCH, JOURNAL_HEADER, JOURNAL_PARALLEL } from '../base/limits.ts';
import { BLOCK, BLOCKS } from '../volume/grain.ts';
import { flippedBit } from './one-bit.ts';
import type { Places } from './places.ts';

const MAGIC = 0x474a_4e4c;
/** Magic 4, header bytes 4, generation 4, records 4, lag 2, sequence number 6, payload bytes 4, CRC 4, pool id 16. */
const FIXED = 48;
const CRC_AT = 28;
/** Type 1, flags 1, count 2, volume 4, start 8. */
const RECORD = 16;

export const RecordType = {
  /** `count` blocks from block `start` of the volume: their CRC32C here, their data in the payload. */
  data: 1,
  /** `count` grains from grain `start` are these grains of the pool from now on. */
  map: 2,
  /** Blocks that read as zeros from now on. */
  clear: 3,
} as const;

/** Where one grain of a volume lies: grain of the pool plus one (0: nowhere), and which of its blocks hold data. */
export interface GrainPlace {
  readonly place: number;
  readonly valid: number;
  /** CRC32C of its 16 blocks, where the data is new. */
  readonly sums?: Uint32Array | undefined;
}

export type JournalRecord =
  | {
      readonly type: 'data';
      readonly volume: number;
      readonly block: number;
      readonly sums: Uint32Array;
      readonly dataAt: number;
      /** Which of its blocks do not match their checksums, and of those, which do but for one bit. */
      readonly damaged: readonly number[];
      readonly flipped: readonly number[];
    }
  | { readonly type: 'map'; readonly volume: number; readonly grain: number; readonly places: readonly GrainPlace[] }
  | { readonly type: 'clear'; readonly volume: number; readonly block: number; readonly blocks: number };

export interface BatchHeader {
  readonly seq: number;
  /** Everything up to this batch was on stable media before this one was sent. */
  readonly stable: number;
  readonly headerBytes: number;
  readonly payloadBytes: number;
}

/** Collects records until it is sealed; then `bytes` from `from` to `to` is what goes to the disk. */
export class Batch {
  readonly bytes = Buffer.allocUnsafeSlow(JOURNAL_HEADER + JOURNAL_BATCH);
  readonly #records = Buffer.allocUnsafeSlow(JOURNAL_HEADER);
  readonly #blocks: (Buffer | undefined)[] = [];
  #recordsEnd = FIXED;
  #count = 0;
  #payload = 0;
  from = 0;
  to = 0;
  seq = 0;

  get empty(): boolean {
    return this.#count === 0;
  }

  /** Bytes it takes on the disk when sealed now. */
  get size(): number {
    return Math.ceil(this.#recordsEnd / BLOCK) * BLOCK + this.#payload;
  }

  reset(): void {
    this.#recordsEnd = FIXED;
    this.#count = 0;
    this.#payload = 0;
  }

  /** `blocks` whole blocks of data. False: the batch has no room for them. */
  addData(volume: number, block: number, source: Buffer, at: number, blocks: number): boolean {
    const bytes = blocks * BLOCK;
    if (this.#payload + bytes > JOURNAL_BATCH || !this.#fits(blocks * 4)) return false;
    let cursor = this.#begin(RecordType.data, 0, blocks, volume, block);
    source.copy(this.bytes, JOURNAL_HEADER + this.#payload, at, at + bytes);
    const records = this.#records;
    for (let done = 0; done < bytes; done += BLOCK, cursor += 4) {
      // The copy is summed: that is what reaches the disk.
      records.writeUInt32BE(crc32c(this.#block(this.#payload + done)), cursor);
    }
    this.#payload += bytes;
    this.#recordsEnd = cursor;
    return true;
  }

  /** The block at this position of the payload. Kept: to make one takes as long as to sum it. */
  #block(at: number): Buffer {
    const from = JOURNAL_HEADER + at;
    return (this.#blocks[at / BLOCK] ??= this.bytes.subarray(from, from + BLOCK));
  }

  /** True when so many blocks of data, in up to `records` records, go into this batch. */
  hasRoom(blocks: number, records: number): boolean {
    return this.#payload + blocks * BLOCK <= JOURNAL_BATCH && this.#fits(blocks * 4 + records * RECORD);
  }

  /** Places of consecutive grains. False: the batch has no room. */
  addMap(volume: number, grain: number, { count, places, valid, sums }: Places): boolean {
    if (!this.#fits(count * (8 + (sums === undefined ? 0 : BLOCKS * 4)))) return false;
    let cursor = this.#begin(RecordType.map, sums === undefined ? 0 : 1, count, volume, grain);
    const records = this.#records;
    for (let i = 0; i < count; i++) {
      store32(records, cursor, places[i] as number);
      store32(records, cursor + 4, valid[i] as number);
      cursor += 8;
      if (sums === undefined) continue;
      for (let block = 0; block < BLOCKS; block++, cursor += 4) store32(records, cursor, sums[i]?.[block] ?? 0);
    }
    this.#recordsEnd = cursor;
    return true;
  }

  addClear(volume: number, block: number, blocks: number): boolean {
    if (!this.#fits(8)) return false;
    const cursor = this.#begin(RecordType.clear, 0, 0, volume, block);
    this.#records.writeUIntBE(blocks, cursor + 2, 6);
    this.#recordsEnd = cursor + 8;
    return true;
  }

  #fits(bytes: number): boolean {
    return this.#recordsEnd + RECORD + bytes <= JOURNAL_HEADER && this.#count < 0xffff;
  }

  #begin(type: number, flags: number, count: number, volume: number, start: number): number {
    const records = this.#records;
    const at = this.#recordsEnd;
    records[at] = type;
    records[at + 1] = flags;
    records.writeUInt16BE(count, at + 2);
    records.writeUInt32BE(volume, at + 4);
    records.writeUInt16BE(0, at + 8);
    records.writeUIntBE(start, at + 10, 6);
    this.#count++;
    return at + RECORD;
  }

  /** Nothing more is added. `stable`: everything up to this batch is on stable media. */
  seal(seq: number, generation: number, poolId: Buffer, stable: number): void {
    const records = this.#records;
    const headerBytes = Math.ceil(this.#recordsEnd / BLOCK) * BLOCK;
    records.writeUInt32BE(MAGIC, 0);
    records.writeUInt32BE(headerBytes, 4);
    records.writeUInt32BE(generation, 8);
    records.writeUInt32BE(this.#count, 12);
    records.writeUInt16BE(Math.min(seq - stable, 0xffff), 16);
    records.writeUIntBE(seq, 18, 6);
    records.writeUInt32BE(this.#payload, 24);
    records.writeUInt32BE(0, CRC_AT);
    poolId.copy(records, 32, 0, 16);
    records.fill(0, this.#recordsEnd, headerBytes);
    records.writeUInt32BE(crc32c(records, 0, headerBytes), CRC_AT);
    this.seq = seq;
    this.from = JOURNAL_HEADER - headerBytes;
    this.to = JOURNAL_HEADER + this.#payload;
    records.copy(this.bytes, this.from, 0, headerBytes);
  }
}

/** The fixed part of a header, if `bytes` begin with one of this pool and generation. */
export function peekHeader(bytes: Buffer, generation: number, poolId: Buffer): BatchHeader | undefined {
  if (bytes.length < FIXED || bytes.readUInt32BE(0) !== MAGIC) return undefined;
  if (bytes.readUInt32BE(8) !== generation || !bytes.subarray(32, 48).equals(poolId)) return undefined;
  const headerBytes = bytes.readUInt32BE(4);
  const payloadBytes = bytes.readUInt32BE(24);
  if (headerBytes === 0 || headerBytes > JOURNAL_HEADER || headerBytes % BLOCK !== 0) return undefined;
  if (payloadBytes > JOURNAL_BATCH || payloadBytes % BLOCK !== 0) return undefined;
  const seq = bytes.readUIntBE(18, 6);
  // 0: a batch of before this was noted.
  const lag = bytes.readUInt16BE(16) || JOURNAL_PARALLEL;
  return { seq, stable: seq - lag, headerBytes, payloadBytes };
}

/**
 * The records of a batch (header and payload), or undefined when its header is not as it was written. Blocks of data that are
 * not are `damaged` in their records. `dataAt` of a record is the position of its data in `batch`.
 */
export function decodeBatch(batch: Buffer, header: BatchHeader): JournalRecord[] | undefined {
  const head = Buffer.from(batch.subarray(0, header.headerBytes));
  const sum = head.readUInt32BE(CRC_AT);
  head.writeUInt32BE(0, CRC_AT);
  return crc32c(head, 0, head.length) === sum ? decodeRecords(batch, head, header.headerBytes) : undefined;
}

/** True when all data of the records is as it was written. */
export const isWhole = (records: readonly JournalRecord[]): boolean =>
  records.every((record) => record.type !== 'data' || record.damaged.length === 0);

/**
 * `bytes`, in which a header of the batch `seq` should begin, with the one bit put right that differs from what was written;
 * undefined: more does, or nothing. For telling what was there, not for using it.
 */
export function mendedHeader(bytes: Buffer, generation: number, poolId: Buffer, seq: number): Buffer | undefined {
  if (bytes.length < BLOCK || !resembles(bytes, generation, poolId, seq)) return undefined;
  // The flipped bit may be in the length: then the checksum fits with another one only.
  for (let length = BLOCK; length <= Math.min(JOURNAL_HEADER, bytes.length); length += BLOCK) {
    const head = Buffer.from(bytes.subarray(0, length));
    const sum = head.readUInt32BE(CRC_AT);
    head.writeUInt32BE(0, CRC_AT);
    const found = crc32c(head);
    const difference = found ^ sum;
    if (difference === 0) return undefined;
    const inSum = (difference & (difference - 1)) === 0;
    const flipped = inSum ? undefined : flippedBit(length, found, sum);
    if (flipped === undefined && !inSum) continue;
    if (flipped !== undefined) head[flipped.at] = (head[flipped.at] as number) ^ flipped.bit;
    head.writeUInt32BE(inSum ? found : sum, CRC_AT);
    const header = peekHeader(head, generation, poolId);
    if (header?.seq === seq && header.headerBytes === length) return head;
  }
  return undefined;
}

/** No more than one bit of what is known of the header beforehand is another. */
function resembles(bytes: Buffer, generation: number, poolId: Buffer, seq: number): boolean {
  const known = Buffer.alloc(FIXED);
  known.writeUInt32BE(MAGIC, 0);
  known.writeUInt32BE(generation, 8);
  known.writeUIntBE(seq, 18, 6);
  poolId.copy(known, 32, 0, 16);
  let different = 0;
  for (const [from, to] of [
    [0, 4],
    [8, 12],
    [18, 24],
    [32, 48],
  ] as const) {
    for (let at = from; at < to && different <= 1; at++) {
      for (let bits = (bytes[at] as number) ^ (known[at] as number); bits !== 0; bits &= bits - 1) different++;
    }
  }
  return different <= 1;
}

/** Bytes behind the fixed part of a record. */
function bytesOfRecord(type: number | undefined, withSums: boolean, count: number): number {
  if (type === RecordType.data) return count * 4;
  if (type === RecordType.map) return count * (8 + (withSums ? BLOCKS * 4 : 0));
  return type === RecordType.clear ? 8 : 0;
}

function decodeRecords(batch: Buffer, head: Buffer, headerBytes: number): JournalRecord[] | undefined {
  const records: JournalRecord[] = [];
  let at = FIXED;
  let dataAt = headerBytes;
  for (let left = head.readUInt32BE(12); left > 0; left--) {
    // A header that was mended wrongly says anything.
    if (at + RECORD > headerBytes) return undefined;
    const type = head[at];
    const withSums = head[at + 1] === 1;
    const count = head.readUInt16BE(at + 2);
    const volume = head.readUInt32BE(at + 4);
    const start = head.readUIntBE(at + 10, 6);
    at += RECORD;
    if (at + bytesOfRecord(type, withSums, count) > headerBytes) return undefined;
    if (type === RecordType.data) {
      const sums = Uint32Array.from({ length: count }, (_, i) => head.readUInt32BE(at + i * 4));
      at += count * 4;
      const damaged: number[] = [];
      const flipped: number[] = [];
      for (let i = 0; i < count; i++) {
        const from = dataAt + i * BLOCK;
        if (from + BLOCK > batch.length) return undefined;
        const found = crc32c(batch, from, from + BLOCK);
        if (found === sums[i]) continue;
        damaged.push(i);
        if (flippedBit(BLOCK, found, sums[i] as number) !== undefined) flipped.push(i);
      }
      records.push({ type: 'data', volume, block: start, sums, dataAt, damaged, flipped });
      dataAt += count * BLOCK;
    } else if (type === RecordType.map) {
      const places: GrainPlace[] = [];
      for (let i = 0; i < count; i++) {
        const place = head.readUInt32BE(at);
        const valid = head.readUInt32BE(at + 4);
        at += 8;
        let sums: Uint32Array | undefined;
        if (withSums) {
          const from = at;
          sums = Uint32Array.from({ length: BLOCKS }, (_, block) => head.readUInt32BE(from + block * 4));
          at += BLOCKS * 4;
        }
        places.push({ place, valid, sums });
      }
      records.push({ type: 'map', volume, grain: start, places });
    } else if (type === RecordType.clear) {
      records.push({ type: 'clear', volume, block: start, blocks: head.readUIntBE(at + 2, 6) });
      at += 8;
    } else {
      return undefined;
    }
  }
  return records;
}
