// Checksums of ranges, to compare two copies without moving them.
import { createHash } from 'node:crypto';
import type { Volume } from '../volume/volume.ts';
import type { ByteRange } from './messages.ts';

/** Bytes of a checksum: SHA-256. */
export const DIGEST_BYTES = 32;

/** The checksums of the ranges, one behind the other. Rejects with a VolumeError. */
export async function digests(volume: Volume, ranges: readonly ByteRange[]): Promise<Buffer> {
  const sums = Buffer.alloc(ranges.length * DIGEST_BYTES);
  for (const [index, [position, length]] of ranges.entries()) {
    const data = Buffer.allocUnsafe(length);
    await volume.read(position, length, data, 0);
    createHash('sha256')
      .update(data)
      .digest()
      .copy(sums, index * DIGEST_BYTES);
  }
  return sums;
}
