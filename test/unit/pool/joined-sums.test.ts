// The sum of several blocks from those of each, against summing them all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../../core/base/crc32c.ts';
import { joinedSum } from '../../../core/pool/joined-sums.ts';

const BLOCK = 4096;

test('the sum of several blocks follows from their own', () => {
  const data = Buffer.from(Array.from({ length: 16 * BLOCK }, (_, i) => (i * 31 + (i >> 7)) & 0xff));
  data.fill(0, 5 * BLOCK, 7 * BLOCK);
  const sums = Uint32Array.from({ length: 16 }, (_, i) => crc32c(data, i * BLOCK, (i + 1) * BLOCK));
  for (let first = 0; first < 16; first++) {
    for (let end = first + 1; end <= 16; end++) {
      assert.equal(joinedSum(sums, first, end - first), crc32c(data, first * BLOCK, end * BLOCK));
    }
  }
});
