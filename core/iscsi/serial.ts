// Serial number arithmetic on 32 bits (RFC 1982, RFC 7143 §4.2.2): CmdSN, StatSN and friends wrap around.

/** The number after `n`. */
export const serialNext = (n: number): number => (n + 1) >>> 0;

/** True when `a` comes after `b`. */
export const serialAfter = (a: number, b: number): boolean => ((a - b) | 0) > 0;
