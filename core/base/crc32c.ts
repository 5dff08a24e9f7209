// CRC32C (Castagnoli), the digest of iSCSI (RFC 7143 §13.1). Not zlib.crc32, which is another polynomial.

const POLYNOMIAL = 0x82f6_3b78;
const SLICES = 16;
/** Inputs up to this many bytes are summed here even when a native function is there: a call out costs more. */
const NATIVE_FROM = 1024;

const TABLE = makeTables();

function makeTables(): Int32Array[] {
  const tables = [new Int32Array(256)];
  const first = tables[0] as Int32Array;
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    first[n] = crc;
  }
  for (let slice = 1; slice < SLICES; slice++) {
    const before = tables[slice - 1] as Int32Array;
    tables.push(before.map((crc) => (crc >>> 8) ^ (first[crc & 0xff] as number)));
  }
  return tables;
}

const [T0, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15] = TABLE as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

/** A faster implementation over a whole buffer, continuing from `seed`. */
export type NativeCrc32c = (data: Uint8Array, seed?: number) => number;

let native: NativeCrc32c | undefined;

/** Installs a native implementation (the daemon does, when the package has one for this machine), or removes it. */
export function useNativeCrc32c(implementation: NativeCrc32c | undefined): void {
  native = implementation;
}

/** CRC32C of `bytes[start..end)` as an unsigned number, continuing from `seed` (the CRC of what came before). */
export function crc32c(bytes: Buffer, start = 0, end = bytes.length, seed = 0): number {
  if (native !== undefined && end - start >= NATIVE_FROM) {
    return native(end - start === bytes.length ? bytes : bytes.subarray(start, end), seed) >>> 0;
  }
  return crc32cInScript(bytes, start, end, seed);
}

/** The same without native code. */
export function crc32cInScript(bytes: Buffer, start: number, end: number, seed = 0): number {
  let crc = ~seed;
  let at = start;
  for (; at + 16 <= end; at += 16) {
    crc =
      (T15[(bytes[at] as number) ^ (crc & 0xff)] as number) ^
      (T14[(bytes[at + 1] as number) ^ ((crc >>> 8) & 0xff)] as number) ^
      (T13[(bytes[at + 2] as number) ^ ((crc >>> 16) & 0xff)] as number) ^
      (T12[(bytes[at + 3] as number) ^ (crc >>> 24)] as number) ^
      (T11[bytes[at + 4] as number] as number) ^
      (T10[bytes[at + 5] as number] as number) ^
      (T9[bytes[at + 6] as number] as number) ^
      (T8[bytes[at + 7] as number] as number) ^
      (T7[bytes[at + 8] as number] as number) ^
      (T6[bytes[at + 9] as number] as number) ^
      (T5[bytes[at + 10] as number] as number) ^
      (T4[bytes[at + 11] as number] as number) ^
      (T3[bytes[at + 12] as number] as number) ^
      (T2[bytes[at + 13] as number] as number) ^
      (T1[bytes[at + 14] as number] as number) ^
      (T0[bytes[at + 15] as number] as number);
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (T0[((bytes[at] as number) ^ crc) & 0xff] as number);
  return ~crc >>> 0;
}
