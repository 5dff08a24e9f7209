// Messages about volumes. Operations on blocks have a binary header, because there are many of them; everything else is JSON.
import { ProtocolError } from '../base/errors.ts';
import { load32, store32 } from '../base/bytes-at.ts';

/** Types, beside those of link/hello.ts. */
export const MirrorMessage = {
  /** An operation on the blocks of a volume, in the order of the owner. */
  operation: 0x20,
  /** The owner asks a replica to follow it from now on, in this epoch and session. */
  promise: 0x21,
  /** The owner asks whether that still holds. */
  confirm: 0x22,
  /** The replica has everything: it gets the mark of its admission. */
  admit: 0x23,
  /** The owner has stood down: take over. */
  handOver: 0x24,
  /** Checksums of ranges. */
  digest: 0x25,
  /** Blocks of the replica. */
  read: 0x26,
  /** A person at another node wants the owner to hand a volume over. */
  giveTo: 0x27,
  /** What control of one node wants of another one, by name. */
  ask: 0x28,
  /** What of a point in time holds data, from a position on, with checksums. Of any node that has it. */
  pointLook: 0x29,
  /** Blocks of a point in time. */
  pointRead: 0x2a,
  /** What only the owner of a volume can do about its snapshots, asked by control at another node. */
  pointAsk: 0x2b,
} as const;

export const Operation = {
  write: 1,
  /** Of which a power loss leaves all or nothing. */
  atomic: 2,
  zero: 3,
  unmap: 4,
  flush: 5,
  /** Blocks become those of another volume (or range). */
  share: 6,
  resize: 7,
  /** What the SCSI side keeps with the volume. */
  unitState: 8,
  /** Regions that need no note any more. */
  cold: 9,
  /** The volume as it is at this place in the order of operations is kept, under the id in `source`. */
  snapshot: 10,
  /** The volume becomes what it was at such a point. */
  rollback: 11,
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];
const OPERATIONS: readonly number[] = Object.values(Operation);

export interface OperationHeader {
  readonly volume: string;
  readonly epoch: number;
  readonly session: number;
  /** Number of the operation in this session, from 1. */
  readonly sequence: number;
  readonly operation: Operation;
  /** On stable media before the answer, whatever the policy. */
  readonly fua: boolean;
  /** Bytes. */
  readonly position: number;
  readonly length: number;
  /** Of a share: where from. Of a snapshot or roll-back: the id of the point, and when it was made (ms since 1970). */
  readonly source?: { readonly volume: string; readonly position: number } | undefined;
}

const FIXED = 40;
const TWO32 = 0x1_0000_0000;

function store64(bytes: Buffer, at: number, value: number): void {
  store32(bytes, at, Math.floor(value / TWO32));
  store32(bytes, at + 4, value >>> 0);
}

function load64(bytes: Buffer, at: number): number {
  const value = load32(bytes, at) * TWO32 + load32(bytes, at + 4);
  if (!Number.isSafeInteger(value)) throw new ProtocolError('a number too large');
  return value;
}

/** 40 bytes, then the id of the volume, then that of the source. */
export function operationHeader(header: OperationHeader): Buffer {
  const { volume, source } = header;
  const other = source?.volume ?? '';
  const bytes = Buffer.allocUnsafe(FIXED + volume.length + other.length);
  bytes[0] = header.operation;
  bytes[1] = header.fua ? 1 : 0;
  bytes[2] = volume.length;
  bytes[3] = other.length;
  store32(bytes, 4, header.epoch);
  store32(bytes, 8, header.session);
  store32(bytes, 12, header.sequence);
  store64(bytes, 16, header.position);
  store64(bytes, 24, header.length);
  store64(bytes, 32, source?.position ?? 0);
  bytes.write(volume, FIXED, 'latin1');
  bytes.write(other, FIXED + volume.length, 'latin1');
  return bytes;
}

/** Throws a ProtocolError. */
export function parseOperation(bytes: Buffer): OperationHeader {
  if (bytes.length < FIXED) throw new ProtocolError('a short operation');
  const operation = bytes[0] as number;
  const first = bytes[2] as number;
  const second = bytes[3] as number;
  if (!OPERATIONS.includes(operation) || bytes.length !== FIXED + first + second || first === 0) {
    throw new ProtocolError('an operation nobody knows');
  }
  const source =
    second === 0 ? undefined : { volume: bytes.toString('latin1', FIXED + first), position: load64(bytes, 32) };
  return {
    volume: bytes.toString('latin1', FIXED, FIXED + first),
    epoch: load32(bytes, 4),
    session: load32(bytes, 8),
    sequence: load32(bytes, 12),
    operation: operation as Operation,
    fua: bytes[1] === 1,
    position: load64(bytes, 16),
    length: load64(bytes, 24),
    source,
  };
}

/** A run of bytes: position and length. */
export type ByteRange = readonly [number, number];

/** What all messages about a volume say. */
export interface VolumeMessage {
  readonly volume: string;
  readonly epoch: number;
  readonly session: number;
}

export interface PromiseMessage extends VolumeMessage {
  /** It is in the in-sync set already. */
  readonly member: boolean;
  /** Bytes of the volume. */
  readonly size: number;
  readonly inSync: readonly string[];
}

export interface PromiseReply {
  /** The marks of its last admissions. None: its copy is not known to be of this volume. */
  readonly stamps: readonly string[];
  /** Ranges that may differ from any other copy. */
  readonly intents: readonly ByteRange[];
  readonly size: number;
}

export interface HandOverMessage {
  readonly volume: string;
  readonly epoch: number;
  /** Nothing was under way: all replicas that are in sync are the same. */
  readonly clean: boolean;
}

export interface AdmitMessage extends VolumeMessage {
  readonly stamp: string;
}

export interface RangeMessage extends VolumeMessage {
  readonly ranges: readonly ByteRange[];
}

const NUMBER = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** A JSON header about a volume. Throws a ProtocolError. */
export function parseVolumeMessage(header: Buffer): VolumeMessage & Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(header.toString());
  } catch {
    throw new ProtocolError('the header of a message is no JSON');
  }
  const { volume, epoch, session } = (value ?? {}) as Record<string, unknown>;
  if (typeof volume !== 'string' || !NUMBER(epoch) || !NUMBER(session))
    throw new ProtocolError('a message about no volume');
  return { ...(value as Record<string, unknown>), volume, epoch, session };
}

/** Ranges out of a message, checked. Throws a ProtocolError. */
export function checkedRanges(ranges: unknown, size: number): ByteRange[] {
  const isRange = (each: unknown): each is ByteRange =>
    Array.isArray(each) &&
    each.length === 2 &&
    NUMBER(each[0]) &&
    NUMBER(each[1]) &&
    each[1] > 0 &&
    each[0] + each[1] <= size;
  if (!Array.isArray(ranges) || !ranges.every(isRange)) throw new ProtocolError('ranges that are none');
  return ranges;
}

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
