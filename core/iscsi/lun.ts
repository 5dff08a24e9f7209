/** The LUN of the 8 bytes at `at` (SAM-5 4.7): peripheral or flat addressing, single level. undefined: no such form. */
export function lunOf(bytes: Buffer, at: number): number | undefined {
  const first = bytes[at] as number;
  const second = bytes[at + 1] as number;
  for (let i = 2; i < 8; i++) if (bytes[at + i] !== 0) return undefined;
  if (first === 0) return second; // peripheral device addressing, bus 0
  if (first >> 6 === 1) return ((first & 0x3f) << 8) | second; // flat space addressing
  return undefined;
}
