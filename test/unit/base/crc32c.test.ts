import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { crc32c, crc32cInScript, useNativeCrc32c } from '../../../core/base/crc32c.ts';
import { loadNativeCrc } from '../../../core/world/native-crc.ts';

/** RFC 7143 appendix A.4. The sums stand there in the order of the bytes on the wire: read them little-endian. */
const VECTORS: readonly (readonly [name: string, bytes: Buffer, wire: string])[] = [
  ['32 bytes of zeros', Buffer.alloc(32), 'aa36918a'],
  ['32 bytes of ones', Buffer.alloc(32, 0xff), '43aba862'],
  ['32 incrementing bytes', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), '4e79dd46'],
  ['32 decrementing bytes', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), '5cdb3f11'],
  [
    'a SCSI READ (10) command PDU',
    Buffer.from(
      '01c0000000000000000000000000000014000000000004000000001400000018280000000000000002000000' + '00000000',
      'hex',
    ),
    '563a96d9',
  ],
];

/** Bit by bit, as the polynomial is defined. */
function slow(bytes: Buffer, seed = 0): number {
  let crc = ~seed;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe('CRC32C', () => {
  afterEach(() => {
    useNativeCrc32c(undefined);
  });

  for (const [name, bytes, wire] of VECTORS) {
    test(`RFC 7143 appendix A.4: ${name}`, () => {
      const expected = Buffer.from(wire, 'hex').readUInt32LE();
      assert.equal(crc32c(bytes), expected);
      assert.equal(crc32cInScript(bytes, 0, bytes.length), expected);
    });
  }

  test('every length and start agrees with the definition, in one go and in two', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), fc.nat(200), fc.nat(200), (array, a, b) => {
        const bytes = Buffer.from(array);
        const [start, middle] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
        const whole = slow(bytes.subarray(start));
        assert.equal(crc32c(bytes, start), whole);
        assert.equal(crc32c(bytes, middle, bytes.length, crc32c(bytes, start, middle)), whole);
      }),
    );
  });

  test('the native function gives the same sums, and short inputs do not go there', async (t) => {
    if (!(await loadNativeCrc())) {
      t.skip('@node-rs/crc32 has no prebuilt binary for this machine');
      return;
    }
    const bytes = Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7919) >> 3));
    for (const [start, end] of [
      [0, 9000],
      [1, 4097],
      [17, 5000],
    ] as const) {
      assert.equal(crc32c(bytes, start, end, 0x1234_5678), crc32cInScript(bytes, start, end, 0x1234_5678));
    }
    let calls = 0;
    useNativeCrc32c(() => ++calls);
    crc32c(bytes, 0, 256);
    assert.equal(calls, 0);
    crc32c(bytes);
    assert.equal(calls, 1);
  });
});
