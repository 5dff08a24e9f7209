// Checksums of ranges, to compare two copies without moving them.
import { createHash } from 'node:crypto';
import type { Volume } from '../volume/volume.ts';
import type { ByteRange } from './messages.ts';

/** Bytes of a checksum: SHA-256. */
export const DIGEST_BYTES = 32;

/** Reads what nobody waits for: what hosts use stays in the cache. Bytes. Rejects with a VolumeError. */
export function readOnce(volume: Volume, position: number, length: number, target: Buffer): Promise<void> {
  return volume.readOnce?.(position, length, target, 0) ?? volume.read(position, length, target, 0);
}

/** The checksums of the ranges, one behind the other. Rejects with a VolumeError. */
export async function digests(volume: Volume, ranges: readonly ByteRange[]): Promise<Buffer> {
  const sums = Buffer.alloc(ranges.length * DIGEST_BYTES);
  for (const [index, [position, length]] of ranges.entries()) {
    const data = Buffer.allocUnsafe(length);
    await readOnce(volume, position, length, data);
    createHash('sha256')
      .update(data)
      .digest()
      .copy(sums, index * DIGEST_BYTES);
  }
  return sums;
}
