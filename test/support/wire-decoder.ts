// Cuts a stream into PDUs and handles digests without any code of the product: what is encoded by one side must be readable
// by somebody else.
import assert from 'node:assert/strict';

export interface Digests {
  readonly header: boolean;
  readonly data: boolean;
}
export const NO_DIGESTS: Digests = { header: false, data: false };

/** CRC32C bit by bit (RFC 7143 §13.1: polynomial 1EDC6F41h, reflected), as the four bytes that go out. */
export function digest(bytes: Buffer): Buffer {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f6_3b78;
  }
  const out = Buffer.alloc(4);
  out.writeUInt32LE(~crc >>> 0);
  return out;
}

/** Lengths of the parts of the PDU that begins here (RFC 7143 §11.2.1). */
function partsOf(wire: Buffer): { headers: number; data: number } {
  return { headers: 48 + 4 * wire.readUInt8(4), data: Math.ceil(wire.readUIntBE(5, 3) / 4) * 4 };
}

/** Adds the digests to PDUs without. */
export function withDigests(plain: Buffer, digests: Digests): Buffer {
  const out: Buffer[] = [];
  for (let rest = plain; rest.length > 0;) {
    const { headers, data } = partsOf(rest);
    assert.ok(rest.length >= headers + data, 'a golden PDU is shorter than its lengths say');
    const head = rest.subarray(0, headers);
    const segment = rest.subarray(headers, headers + data);
    out.push(head, ...(digests.header ? [digest(head)] : []), segment);
    if (digests.data && data > 0) out.push(digest(segment));
    rest = rest.subarray(headers + data);
  }
  return Buffer.concat(out);
}

/** The PDUs of a stream, each without its digests, which have to be right. */
export function split(wire: Buffer, digests: Digests): Buffer[] {
  const out: Buffer[] = [];
  for (let rest = wire; rest.length > 0;) {
    assert.ok(rest.length >= 48, 'the stream ends inside a header');
    const { headers, data } = partsOf(rest);
    const dataAt = headers + (digests.header ? 4 : 0);
    const end = dataAt + data + (digests.data && data > 0 ? 4 : 0);
    assert.ok(rest.length >= end, 'the stream ends inside a PDU');
    const head = rest.subarray(0, headers);
    const segment = rest.subarray(dataAt, dataAt + data);
    if (digests.header) assert.deepEqual(rest.subarray(headers, dataAt), digest(head), 'header digest');
    if (digests.data && data > 0) assert.deepEqual(rest.subarray(dataAt + data, end), digest(segment), 'data digest');
    out.push(Buffer.concat([head, segment]));
    rest = rest.subarray(end);
  }
  return out;
}
