// ROD tokens (SPC-4 5.17.6; SBC-3 for block devices): 512 bytes that only this node can make.
//
//   0 ROD TYPE, 6 ROD TOKEN LENGTH, 8 COPY MANAGER ROD TOKEN IDENTIFIER, 16 CREATOR LOGICAL UNIT DESCRIPTOR (E4h),
//   48 NUMBER OF BYTES REPRESENTED, 96 device type specific data (as READ CAPACITY (16) from its block length on),
//   128 TARGET DEVICE DESCRIPTOR, 256 ours: node, store and ROD by number, 32 random bytes, HMAC-SHA-256 of all before it.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { load32, store32 } from '../core/base/bytes-at.ts';
import type { RandomSource } from '../core/base/world.ts';
import { SENSE, ScsiError } from '../core/scsi/sense.ts';

export const TOKEN = 512;
/** Bytes of a ROD management token (SPC-4 6.31). */
export const TOKEN_HEAD = 96;
/** ROD TYPE (SPC-4 table "ROD types"). */
export const RodType = {
  pointInTime: 0x0080_0000,
  /** Any point in time copy: the target chooses. */
  anyPointInTime: 0x0080_ffff,
  blockZero: 0xffff_0001,
} as const;
/** ROD TOKEN LENGTH: what follows the field. */
const REST = TOKEN - 8;
export const SEAL_KEY = 32;

const At = { id: 8, creator: 16, bytes: 48, blockLength: 96, device: 128, node: 256, store: 272, rod: 288, noise: 304 };
const MAC_AT = TOKEN - 32;
const DEVICE = At.node - At.device;

/** What a token of ours says. */
export interface TokenContent {
  /** Hexadecimal digits, 32 at most. */
  readonly store: string;
  /** 32 hexadecimal digits. */
  readonly rod: string;
}

/** The part of a token that others may see. */
export interface TokenHead {
  /** 32 hexadecimal digits. */
  readonly rod: string;
  /** NAA designator of the logical unit, 32 hexadecimal digits. */
  readonly creator: string;
  /** Bytes represented, and bytes of a block. */
  readonly size: number;
  readonly blockSize: number;
}

export interface NewToken extends TokenContent, TokenHead {
  /** Name of the target device. */
  readonly device: string;
  /** log2 of logical blocks in a physical one. */
  readonly physicalExponent: number;
  readonly thin: boolean;
}

/** Makes tokens and recognizes them, with the key of this node. */
export class TokenSeal {
  readonly #key: Buffer;
  readonly #random: RandomSource;
  /** Tells tokens of this node from those of others. */
  readonly #node: Buffer;

  /** `key`: SEAL_KEY bytes that nobody else has. */
  constructor(key: Buffer, random: RandomSource) {
    this.#key = key;
    this.#random = random;
    this.#node = createHash('sha256').update('gemel token').update(key).digest().subarray(0, 16);
  }

  make(facts: NewToken): Buffer {
    const token = Buffer.alloc(TOKEN);
    tokenHead(facts).copy(token);
    store32(token, At.blockLength, facts.blockSize);
    token[101] = facts.physicalExponent;
    token[102] = facts.thin ? 0xc0 : 0; // LBPME, LBPRZ
    deviceDescriptor(facts.device).copy(token, At.device);
    this.#node.copy(token, At.node);
    token.write(facts.store, At.store, 16, 'hex');
    token.write(facts.rod, At.rod, 16, 'hex');
    this.#random.bytes(32).copy(token, At.noise);
    this.#mac(token).copy(token, MAC_AT);
    return token;
  }

  /** What the token says, or `zero`. Throws ScsiError 05/23/xx for whatever is not a token of ours. */
  open(token: Buffer): TokenContent | 'zero' {
    const type = load32(token, 0);
    if (type !== RodType.blockZero && type !== RodType.pointInTime) throw new ScsiError(SENSE.tokenTypeUnsupported);
    if (token.readUInt16BE(6) !== REST) throw new ScsiError(SENSE.tokenLength);
    if (type === RodType.blockZero) return 'zero';
    if (!token.subarray(At.node, At.store).equals(this.#node)) throw new ScsiError(SENSE.tokenUnknown);
    if (!timingSafeEqual(token.subarray(MAC_AT), this.#mac(token))) throw new ScsiError(SENSE.tokenCorrupt);
    return { store: token.toString('hex', At.store, At.rod), rod: token.toString('hex', At.rod, At.noise) };
  }

  /** A number that was never used: 32 hexadecimal digits. */
  newRod(): string {
    return this.#random.bytes(16).toString('hex');
  }

  #mac(token: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(token.subarray(0, MAC_AT)).digest();
  }
}

/** The first 96 bytes: what a token is, without what makes it valid. */
export function tokenHead(facts: TokenHead): Buffer {
  const head = Buffer.alloc(TOKEN_HEAD);
  store32(head, 0, RodType.pointInTime);
  head.writeUInt16BE(REST, 6);
  head.write(facts.rod, At.id, 8, 'hex');
  creatorDescriptor(facts).copy(head, At.creator);
  head.writeBigUInt64BE(BigInt(facts.size), At.bytes + 8);
  return head;
}

/** How a token names the store `id`: 32 hexadecimal digits. */
export const storeName = (id: string): string => id.padEnd(32, '0');

/** Identification descriptor CSCD descriptor (SPC-4 6.4.5.6) of a logical unit known by its NAA designator. */
function creatorDescriptor({ creator, blockSize }: TokenHead): Buffer {
  const out = Buffer.alloc(32);
  out[0] = 0xe4;
  out[4] = 0x01; // CODE SET: binary
  out[5] = 0x03; // ASSOCIATION: logical unit; DESIGNATOR TYPE: NAA
  out[7] = creator.length / 2;
  out.write(creator, 8, 'hex');
  out.writeUIntBE(blockSize, 29, 3);
  return out;
}

/** Designation descriptor (SPC-4 7.8.6.1) with the SCSI name of the target device; nothing when it is too long. */
function deviceDescriptor(name: string): Buffer {
  const length = (Buffer.byteLength(name) + 4) & ~3;
  const out = Buffer.alloc(DEVICE);
  if (4 + length > DEVICE) return out;
  out.set([0x53, 0xa8, 0, length]); // iSCSI, UTF-8; PIV, target device, SCSI name string
  out.write(name, 4);
  return out;
}
