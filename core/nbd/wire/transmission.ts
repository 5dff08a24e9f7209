// Requests and replies once an export is open ("Transmission phase" of the NBD protocol).
import { CHUNK_DONE, Chunk, REQUEST_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from './protocol.ts';
import { NbdProtocolError } from './options.ts';

export const REQUEST_LENGTH = 28;
export const SIMPLE_REPLY_LENGTH = 16;
export const CHUNK_HEADER = 20;
/** Header of a chunk with data: the position of the data follows the header. */
export const DATA_CHUNK_HEADER = CHUNK_HEADER + 8;
/** A run of blocks in one state: length and flags. */
export const DESCRIPTOR_LENGTH = 8;

/** One request. Positions and lengths are bytes. */
export interface Request {
  readonly flags: number;
  readonly type: number;
  /** Chosen by the client, handed back in the reply. */
  readonly cookie: bigint;
  readonly position: number;
  readonly length: number;
}

/** The fixed part; data of a write follows it. */
export function encodeRequest({ flags, type, cookie, position, length }: Request): Buffer {
  const bytes = Buffer.allocUnsafe(REQUEST_LENGTH);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(type, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  bytes.writeUInt32BE(Math.floor(position / 0x1_0000_0000), 16);
  bytes.writeUInt32BE(position % 0x1_0000_0000, 20);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** Throws a NbdProtocolError. A position too large to be exact is one behind every volume. */
export function decodeRequest(bytes: Buffer, at: number): Request {
  if (bytes.readUInt32BE(at) !== REQUEST_MAGIC) throw new NbdProtocolError('a request without its magic number');
  const position = bytes.readUInt32BE(at + 16) * 0x1_0000_0000 + bytes.readUInt32BE(at + 20);
  return {
    flags: bytes.readUInt16BE(at + 4),
    type: bytes.readUInt16BE(at + 6),
    cookie: bytes.readBigUInt64BE(at + 8),
    position,
    length: bytes.readUInt32BE(at + 24),
  };
}

/** Writes a simple reply at `at`; data of a read follows it. */
export function simpleReply(into: Buffer, at: number, cookie: bigint, error: number): void {
  into.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  into.writeUInt32BE(error, at + 4);
  into.writeBigUInt64BE(cookie, at + 8);
}

/** Writes the header of the last chunk of a structured reply at `at`; `length` bytes of payload follow it. */
export function lastChunk(into: Buffer, at: number, cookie: bigint, type: number, length: number): void {
  into.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  into.writeUInt16BE(CHUNK_DONE, at + 4);
  into.writeUInt16BE(type, at + 6);
  into.writeBigUInt64BE(cookie, at + 8);
  into.writeUInt32BE(length, at + 16);
}

/** Writes the header of the only chunk with the data of a read of `length` bytes. */
export function dataChunk(into: Buffer, at: number, cookie: bigint, position: number, length: number): void {
  lastChunk(into, at, cookie, Chunk.offsetData, length + 8);
  into.writeBigUInt64BE(BigInt(position), at + CHUNK_HEADER);
}

export function encodeErrorChunk(cookie: bigint, error: number, message: string): Buffer {
  const text = Buffer.from(message, 'utf8').subarray(0, 4096);
  const bytes = Buffer.alloc(CHUNK_HEADER + 6 + text.length);
  lastChunk(bytes, 0, cookie, Chunk.error, 6 + text.length);
  bytes.writeUInt32BE(error, CHUNK_HEADER);
  bytes.writeUInt16BE(text.length, CHUNK_HEADER + 4);
  text.copy(bytes, CHUNK_HEADER + 6);
  return bytes;
}

/** A run of blocks as BLOCK_STATUS tells it; bytes. */
export interface Descriptor {
  readonly length: number;
  readonly flags: number;
}

export function encodeStatusChunk(cookie: bigint, context: number, descriptors: readonly Descriptor[]): Buffer {
  const length = 4 + DESCRIPTOR_LENGTH * descriptors.length;
  const bytes = Buffer.alloc(CHUNK_HEADER + length);
  lastChunk(bytes, 0, cookie, Chunk.blockStatus, length);
  bytes.writeUInt32BE(context, CHUNK_HEADER);
  descriptors.forEach((each, index) => {
    bytes.writeUInt32BE(each.length, CHUNK_HEADER + 4 + DESCRIPTOR_LENGTH * index);
    bytes.writeUInt32BE(each.flags, CHUNK_HEADER + 8 + DESCRIPTOR_LENGTH * index);
  });
  return bytes;
}

export interface ChunkHeader {
  readonly done: boolean;
  readonly type: number;
  readonly cookie: bigint;
  readonly length: number;
}

/** The header of a chunk at `at`, whose magic number has been looked at. */
export function decodeChunk(bytes: Buffer, at: number): ChunkHeader {
  return {
    done: (bytes.readUInt16BE(at + 4) & CHUNK_DONE) !== 0,
    type: bytes.readUInt16BE(at + 6),
    cookie: bytes.readBigUInt64BE(at + 8),
    length: bytes.readUInt32BE(at + 16),
  };
}

/** The descriptors in the payload of a BLOCK_STATUS chunk. Throws a NbdProtocolError. */
export function decodeDescriptors(payload: Buffer): { context: number; descriptors: Descriptor[] } {
  const runs = (payload.length - 4) / DESCRIPTOR_LENGTH;
  if (!Number.isInteger(runs) || runs < 1) throw new NbdProtocolError('a block status of a wrong length');
  const descriptors = Array.from({ length: runs }, (_, index) => ({
    length: payload.readUInt32BE(4 + DESCRIPTOR_LENGTH * index),
    flags: payload.readUInt32BE(8 + DESCRIPTOR_LENGTH * index),
  }));
  if (descriptors.some((each) => each.length === 0)) throw new NbdProtocolError('a block status of no blocks');
  return { context: payload.readUInt32BE(0), descriptors };
}

/** Error number and message of an error chunk. Throws a NbdProtocolError. */
export function decodeError(payload: Buffer): { error: number; message: string } {
  if (payload.length < 6) throw new NbdProtocolError('an error chunk that is too short');
  const length = payload.readUInt16BE(4);
  if (payload.length < 6 + length) throw new NbdProtocolError('an error message longer than its chunk');
  return { error: payload.readUInt32BE(0), message: payload.toString('utf8', 6, 6 + length) };
}
