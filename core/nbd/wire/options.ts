// The negotiation before the first request: bytes <-> objects ("Newstyle negotiation" of the NBD protocol).
import { MAX_NBD_NAME, MAX_NBD_QUERIES } from '../../base/nbd-limits.ts';
import { Info, NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, Option } from './protocol.ts';

/** What the other side sent is not NBD, or breaks a rule of it: the connection cannot go on. */
export class NbdProtocolError extends Error {
  override name = 'NbdProtocolError';
}

export const GREETING_LENGTH = 18;
export const CLIENT_FLAGS_LENGTH = 4;
export const OPTION_HEADER = 16;
export const OPTION_REPLY_HEADER = 20;

export function encodeGreeting(flags: number): Buffer {
  const bytes = Buffer.alloc(GREETING_LENGTH);
  bytes.writeBigUInt64BE(NBD_MAGIC, 0);
  bytes.writeBigUInt64BE(OPTION_MAGIC, 8);
  bytes.writeUInt16BE(flags, 16);
  return bytes;
}

/** The handshake flags of the server. Throws a NbdProtocolError. */
export function decodeGreeting(bytes: Buffer): number {
  if (bytes.readBigUInt64BE(0) !== NBD_MAGIC) throw new NbdProtocolError('the other side does not speak NBD');
  if (bytes.readBigUInt64BE(8) !== OPTION_MAGIC) throw new NbdProtocolError('the server speaks oldstyle NBD only');
  return bytes.readUInt16BE(16);
}

export function encodeOption(option: number, data: Buffer): Buffer {
  const bytes = Buffer.alloc(OPTION_HEADER + data.length);
  bytes.writeBigUInt64BE(OPTION_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(data.length, 12);
  data.copy(bytes, OPTION_HEADER);
  return bytes;
}

/** Option and length of its data, of the header at `at`. Throws a NbdProtocolError. */
export function decodeOption(bytes: Buffer, at: number): { option: number; length: number } {
  if (bytes.readBigUInt64BE(at) !== OPTION_MAGIC) throw new NbdProtocolError('an option without its magic number');
  return { option: bytes.readUInt32BE(at + 8), length: bytes.readUInt32BE(at + 12) };
}

export function encodeOptionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(OPTION_REPLY_HEADER + data.length);
  bytes.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  data.copy(bytes, OPTION_REPLY_HEADER);
  return bytes;
}

export interface OptionReplyHeader {
  readonly option: number;
  readonly type: number;
  readonly length: number;
}

/** Throws a NbdProtocolError. */
export function decodeOptionReply(bytes: Buffer, at: number): OptionReplyHeader {
  if (bytes.readBigUInt64BE(at) !== OPTION_REPLY_MAGIC) {
    throw new NbdProtocolError('an answer to an option without its magic number');
  }
  return { option: bytes.readUInt32BE(at + 8), type: bytes.readUInt32BE(at + 12), length: bytes.readUInt32BE(at + 16) };
}

/** What the client asks with INFO or GO: an export, and what it wants to know of it. */
export interface InfoRequest {
  readonly name: string;
  readonly wanted: readonly number[];
}

export function encodeInfoRequest(name: string, wanted: readonly number[]): Buffer {
  const text = Buffer.from(name, 'utf8');
  const bytes = Buffer.alloc(4 + text.length + 2 + 2 * wanted.length);
  bytes.writeUInt32BE(text.length, 0);
  text.copy(bytes, 4);
  bytes.writeUInt16BE(wanted.length, 4 + text.length);
  wanted.forEach((each, index) => bytes.writeUInt16BE(each, 6 + text.length + 2 * index));
  return bytes;
}

/** Undefined: malformed. */
export function decodeInfoRequest(data: Buffer): InfoRequest | undefined {
  const named = nameAt(data, 0);
  if (named === undefined || data.length < named.end + 2) return undefined;
  const count = data.readUInt16BE(named.end);
  if (data.length !== named.end + 2 + 2 * count) return undefined;
  const wanted = Array.from({ length: count }, (_, index) => data.readUInt16BE(named.end + 2 + 2 * index));
  return { name: named.text, wanted };
}

/** LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface ContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

export function encodeContextRequest(name: string, queries: readonly string[]): Buffer {
  const pieces = [sized(name), u32(queries.length), ...queries.map(sized)];
  return Buffer.concat(pieces);
}

/** Undefined: malformed, or more queries than we look at. */
export function decodeContextRequest(data: Buffer): ContextRequest | undefined {
  const named = nameAt(data, 0);
  if (named === undefined || data.length < named.end + 4) return undefined;
  const count = data.readUInt32BE(named.end);
  if (count > MAX_NBD_QUERIES) return undefined;
  const queries: string[] = [];
  let at = named.end + 4;
  for (let i = 0; i < count; i++) {
    const query = nameAt(data, at);
    if (query === undefined) return undefined;
    queries.push(query.text);
    at = query.end;
  }
  return at === data.length ? { name: named.text, queries } : undefined;
}

export const encodeContext = (id: number, name: string): Buffer => Buffer.concat([u32(id), Buffer.from(name, 'utf8')]);

/** An export in the answer to LIST. */
export const encodeServer = (name: string): Buffer => sized(name);

export function encodeExportInfo(size: number, flags: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(Info.export, 0);
  bytes.writeBigUInt64BE(BigInt(size), 2);
  bytes.writeUInt16BE(flags, 10);
  return bytes;
}

/** The answer to EXPORT_NAME, which has no header. */
export function encodeOldInfo(size: number, flags: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(noZeroes ? 10 : 134);
  bytes.writeBigUInt64BE(BigInt(size), 0);
  bytes.writeUInt16BE(flags, 8);
  return bytes;
}

export function encodeTextInfo(type: typeof Info.name | typeof Info.description, text: string): Buffer {
  const bytes = Buffer.alloc(2 + Buffer.byteLength(text));
  bytes.writeUInt16BE(type, 0);
  bytes.write(text, 2, 'utf8');
  return bytes;
}

/** Bytes: smallest, best and largest request. */
export interface BlockSizes {
  readonly minimum: number;
  readonly preferred: number;
  readonly maximum: number;
}

export function encodeBlockSizes({ minimum, preferred, maximum }: BlockSizes): Buffer {
  const bytes = Buffer.alloc(14);
  bytes.writeUInt16BE(Info.blockSize, 0);
  bytes.writeUInt32BE(minimum, 2);
  bytes.writeUInt32BE(preferred, 6);
  bytes.writeUInt32BE(maximum, 10);
  return bytes;
}

export type ExportInfo =
  | { readonly kind: 'export'; readonly size: number; readonly flags: number }
  | ({ readonly kind: 'block-size' } & BlockSizes)
  | { readonly kind: 'other' };

/** An answer of type INFO. Throws a NbdProtocolError. */
export function decodeInfo(data: Buffer): ExportInfo {
  if (data.length < 2) throw new NbdProtocolError('an information without a type');
  const type = data.readUInt16BE(0);
  if (type === Info.export) {
    if (data.length !== 12) throw new NbdProtocolError('NBD_INFO_EXPORT of a wrong length');
    const size = data.readBigUInt64BE(2);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new NbdProtocolError('an export of an impossible size');
    return { kind: 'export', size: Number(size), flags: data.readUInt16BE(10) };
  }
  if (type !== Info.blockSize) return { kind: 'other' };
  if (data.length !== 14) throw new NbdProtocolError('NBD_INFO_BLOCK_SIZE of a wrong length');
  const [minimum, preferred, maximum] = [data.readUInt32BE(2), data.readUInt32BE(6), data.readUInt32BE(10)];
  const power = minimum > 0 && (minimum & (minimum - 1)) === 0;
  if (!power || minimum > 65_536 || maximum < minimum) throw new NbdProtocolError('impossible block sizes');
  return { kind: 'block-size', minimum, preferred, maximum };
}

/** What the connection goes on with after an option: only these are known by name in messages. */
export const optionName = (option: number): string =>
  Object.entries(Option).find(([, value]) => value === option)?.[0] ?? String(option);

function nameAt(data: Buffer, at: number): { text: string; end: number } | undefined {
  if (data.length < at + 4) return undefined;
  const length = data.readUInt32BE(at);
  if (length > MAX_NBD_NAME || data.length < at + 4 + length) return undefined;
  return { text: data.toString('utf8', at + 4, at + 4 + length), end: at + 4 + length };
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

const sized = (text: string): Buffer => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text, 'utf8')]);
