// Which bit has flipped, told by a checksum.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crc32c } from '../../../core/base/crc32c.ts';
import { flippedBit } from '../../../core/pool/one-bit.ts';
import { Batch, decodeBatch, mendedHeader, peekHeader } from '../../../core/pool/record.ts';

const bytes = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 31 + (i >> 5)) & 0xff));

it('finds the one bit that differs, wherever it is', () => {
  const wanted = crc32c(bytes);
  for (const at of [0, 1, 511, 2048, 4095]) {
    for (let n = 0; n < 8; n++) {
      const other = Buffer.from(bytes);
      other[at] = (other[at] as number) ^ (1 << n);
      assert.deepEqual(flippedBit(other.length, crc32c(other), wanted), { at, bit: 1 << n });
    }
  }
});

it('finds none where nothing differs, or more than one bit does', () => {
  const wanted = crc32c(bytes);
  assert.equal(flippedBit(bytes.length, wanted, wanted), undefined);
  const torn = Buffer.from(bytes);
  torn.fill(0, 512, 1024);
  assert.equal(flippedBit(torn.length, crc32c(torn), wanted), undefined);
  const two = Buffer.from(bytes);
  two[7] = (two[7] as number) ^ 0x11;
  assert.equal(flippedBit(two.length, crc32c(two), wanted), undefined);
});

it('mends a header in which any one bit is another, and no other', () => {
  const pool = Buffer.alloc(16, 7);
  const batch = new Batch();
  for (let i = 0; i < 3; i++) batch.addData(3, 10 * i, bytes, 0, 1);
  batch.seal(42, 5, pool, 41);
  const whole = Buffer.from(batch.bytes.subarray(batch.from, batch.to));
  const header = peekHeader(whole, 5, pool);
  assert.ok(header);
  const said = decodeBatch(whole, header);
  for (let bit = 0; bit < 116 * 8; bit++) {
    const other = Buffer.from(whole);
    const at = bit >> 3;
    other[at] = (other[at] as number) ^ (1 << (bit & 7));
    const mended = mendedHeader(other, 5, pool, 42);
    assert.ok(mended, `bit ${String(bit)}`);
    mended.copy(other);
    assert.deepEqual(decodeBatch(other, header), said, `bit ${String(bit)}`);
    if (bit % 100 > 0) continue;
    other.set(whole);
    other[at] = other[at] ^ (3 << (bit & 6));
    assert.equal(mendedHeader(other, 5, pool, 42), undefined, `two bits from ${String(bit)}`);
  }
  assert.equal(mendedHeader(whole, 5, pool, 42), undefined);
  assert.equal(mendedHeader(whole, 5, pool, 43), undefined);
});

it('a header with the right checksum that says more than it has room for is none', () => {
  const pool = Buffer.alloc(16, 7);
  for (const [type, count] of [
    [1, 65_535],
    [2, 4096],
    [3, 0],
  ] as const) {
    const batch = new Batch();
    // Each record begins where the one before ends; the last one does not fit.
    for (let i = 0; i < 168; i++) batch.addClear(1, i, 1);
    batch.seal(42, 5, pool, 41);
    const bytes = Buffer.from(batch.bytes.subarray(batch.from, batch.to));
    const last = 48 + 167 * 24;
    bytes[last] = type;
    bytes.writeUInt16BE(count, last + 2);
    bytes.writeUInt32BE(type === 3 ? 200 : 168, 12);
    bytes.writeUInt32BE(0, 28);
    bytes.writeUInt32BE(crc32c(bytes), 28);
    const header = peekHeader(bytes, 5, pool);
    assert.ok(header);
    assert.equal(decodeBatch(bytes, header), undefined);
  }
});
