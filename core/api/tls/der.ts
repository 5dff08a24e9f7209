// ASN.1 DER (X.690), as much of it as writing a certificate takes. Nothing here parses.

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** A value of any tag; the parts are its content. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

/** X.690 8.1.3: one byte up to 127, else a byte that counts the bytes of the length. */
function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(Tag.sequence, ...parts);

/** Context-specific, constructed: `[number] EXPLICIT`. */
export const explicit = (number: number, content: Uint8Array): Buffer => der(0xa0 | number, content);

/** Context-specific, primitive: `[number] IMPLICIT` of a string. */
export const implicit = (number: number, content: Uint8Array): Buffer => der(0x80 | number, content);

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  // A leading one bit would make it negative.
  return ((digits[0] ?? 0) & 0x80) === 0 ? der(Tag.integer, digits) : der(Tag.integer, Buffer.from([0]), digits);
}

/** `1.2.840.10045.4.3.2` */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift((left % 128) | 0x80);
    bytes.push(...groups);
  }
  return der(Tag.oid, Buffer.from(bytes));
}

/** `unused`: how many low bits of the last byte do not count. */
export const bitString = (bytes: Uint8Array, unused = 0): Buffer => der(Tag.bitString, Buffer.from([unused]), bytes);

export const octetString = (bytes: Uint8Array): Buffer => der(Tag.octetString, bytes);

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. `time` in milliseconds since 1970. */
export function time(time: number): Buffer {
  const text = new Date(time).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  const early = Number(text.slice(0, 4)) < 2050;
  return der(early ? Tag.utcTime : Tag.generalizedTime, Buffer.from(early ? text.slice(2) : text));
}
