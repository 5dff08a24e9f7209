// What a pool looks like on its disk. Numbers are big-endian; every structure carries a CRC32C of itself.
//
// superblock   two copies of one 4 KiB block, written in turn: identity, version, geometry, generation, clean or not
// journal      ring of batches (record.ts), each on 4 KiB boundaries
// slabs        a checksum table (64 bytes a grain: CRC32C of its 16 blocks), then the grains
// metadata     a key-value store (pool-meta.ts): volumes, leaves of the maps, how far the journal is applied
import { crc32c } from '../base/crc32c.ts';
import { ServiceError } from '../base/errors.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';

/**
 * Version of everything in this folder. A pool of an older version is upgraded when it is opened (upgrade.ts), a newer one
 * refused. 1: one folder or device. 2: members; the metadata has the identity of the pool; a pool can be exported.
 */
export const FORMAT_VERSION = 2;
/** Bytes of checksums of one grain. */
export const SUMS_OF_GRAIN = 64;
/** Grains whose checksums fill one block. */
export const GRAINS_OF_SUMS = BLOCK / SUMS_OF_GRAIN;
/** Grains of a leaf of a map: 64 MiB of a volume. */
export const LEAF_GRAINS = 1024;

const MAGIC = 'GEMELPOOL';
const CRC_AT = BLOCK - 4;

export interface Superblock {
  /** 16 random bytes. */
  readonly poolId: Buffer;
  readonly version: number;
  /** Counts the times the pool was opened; a journal batch of another one is not replayed. */
  readonly generation: number;
  /** Counts writes of the superblock: the higher valid copy counts. */
  readonly serial: number;
  /** The pool was closed in an orderly way: nothing is to be replayed. */
  readonly clean: boolean;
  /** Bytes of the journal, a multiple of BLOCK. */
  readonly journalBytes: number;
  /** Grains of one slab. */
  readonly slabGrains: number;
  /** Bytes of metadata that lie in place of the journal (export.ts): the pool belongs to no node; 0: it does. */
  readonly exported?: number;
}

export function encodeSuperblock(superblock: Superblock): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32BE(superblock.version, 12);
  superblock.poolId.copy(bytes, 16, 0, 16);
  bytes.writeUInt32BE(superblock.generation, 32);
  bytes.writeUIntBE(superblock.serial, 36, 6);
  bytes[42] = superblock.clean ? 1 : 0;
  bytes.writeUIntBE(superblock.journalBytes, 44, 6);
  bytes.writeUInt32BE(superblock.slabGrains, 52);
  bytes.writeUIntBE(superblock.exported ?? 0, 56, 6);
  bytes.writeUInt32BE(crc32c(bytes, 0, CRC_AT), CRC_AT);
  return bytes;
}

/** The superblock in these bytes, or undefined when they hold none that is whole. Throws ServiceError for a newer version. */
export function decodeSuperblock(bytes: Buffer): Superblock | undefined {
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  if (bytes.readUInt32BE(CRC_AT) !== crc32c(bytes, 0, CRC_AT)) return undefined;
  const version = bytes.readUInt32BE(12);
  if (version > FORMAT_VERSION) {
    throw new ServiceError(
      'newer-format',
      `the pool has format ${String(version)}, this program knows formats up to ${String(FORMAT_VERSION)}`,
    );
  }
  return {
    poolId: Buffer.from(bytes.subarray(16, 32)),
    version,
    generation: bytes.readUInt32BE(32),
    serial: bytes.readUIntBE(36, 6),
    clean: bytes[42] === 1,
    journalBytes: bytes.readUIntBE(44, 6),
    slabGrains: bytes.readUInt32BE(52),
    exported: bytes.readUIntBE(56, 6),
  };
}

/** The one of the two copies that counts. Throws ServiceError when both are damaged. */
export function chooseSuperblock(copies: readonly Buffer[]): Superblock {
  const whole = copies.map(decodeSuperblock).filter((each) => each !== undefined);
  const newest = whole.reduce<Superblock | undefined>(
    (best, each) => (best === undefined || each.serial > best.serial ? each : best),
    undefined,
  );
  if (newest === undefined) throw new ServiceError('io-error', 'both superblocks of the pool are damaged');
  return newest;
}

/** Bytes of a slab's checksum table, and of the whole slab. */
export const sumsBytes = (grains: number): number => Math.ceil((grains * SUMS_OF_GRAIN) / BLOCK) * BLOCK;
export const slabBytes = (grains: number): number => sumsBytes(grains) + grains * GRAIN;
