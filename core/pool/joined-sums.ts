// The CRC32C of several blocks from the CRC32C of each: a long piece of memory is summed in one call, which takes half as
// long as block by block, and compared with what the blocks are to have.
import { crc32c } from '../base/crc32c.ts';
import { BLOCK } from '../volume/grain.ts';

/** What BLOCK bytes of zeros behind it make of a sum, for each byte of the sum: that is linear in its bits. */
const SHIFT = makeTables();

function makeTables(): Uint32Array[] {
  const zeros = Buffer.alloc(BLOCK);
  return [0, 8, 16, 24].map((bit) => {
    const table = new Uint32Array(256);
    for (let n = 0; n < 8; n++) {
      // Without the inversions before and after, which are there to make leading zeros count.
      const one = ~crc32c(zeros, 0, BLOCK, ~(1 << (bit + n)) >>> 0) >>> 0;
      for (let value = 1 << n; value < 2 << n; value++) table[value] = one ^ (table[value - (1 << n)] as number);
    }
    return table;
  });
}
const [S0, S1, S2, S3] = SHIFT as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];

/** CRC32C of `count` blocks one behind the other, whose own are in `sums` from `at` on. */
export function joinedSum(sums: Uint32Array, at: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum =
      (S0[sum & 0xff] as number) ^
      (S1[(sum >>> 8) & 0xff] as number) ^
      (S2[(sum >>> 16) & 0xff] as number) ^
      (S3[sum >>> 24] as number) ^
      (sums[at + i] as number);
  }
  return sum >>> 0;
}
