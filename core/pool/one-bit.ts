// One flipped bit, told by a checksum. What a disk or memory does to data at rest is mostly that, and a checksum of 32 bits says
// which bit it was: the CRC of the change alone depends on its place only. Used to tell, never to repair.
import { crc32c } from '../base/crc32c.ts';

const ZERO = crc32c(Buffer.of(0));
/** What a change of the last byte of some bytes does to their CRC, by the bits that change. */
const CHANGE = Int32Array.from({ length: 256 }, (_, bits) => crc32c(Buffer.of(bits)) ^ ZERO);

/**
 * The byte (from the beginning) and the bits in it that have to change for `length` bytes with CRC32C `found` to have `wanted`;
 * undefined: no single bit does that. `bit` is a mask with one bit.
 */
export function flippedBit(length: number, found: number, wanted: number): { at: number; bit: number } | undefined {
  const difference = found ^ wanted;
  if (difference === 0) return undefined;
  const changes = Int32Array.from({ length: 8 }, (_, n) => CHANGE[1 << n] as number);
  for (let at = length - 1; at >= 0; at--) {
    for (let n = 0; n < 8; n++) {
      const change = changes[n] as number;
      if (change === difference) return { at, bit: 1 << n };
      // One byte further from the end: the CRC goes on over one byte that does not change.
      changes[n] = (CHANGE[change & 0xff] as number) ^ (change >>> 8);
    }
  }
  return undefined;
}
