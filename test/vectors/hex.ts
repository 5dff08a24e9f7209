// How golden bytes are written down: hex, with spaces between the fields.

/** One step of a conversation. PDUs as hex: the 48 bytes of the header by field, then the data with its padding. */
export interface Exchange {
  readonly name: string;
  /** What the initiator sends; empty when the target speaks by itself. */
  readonly request: string;
  /** All that the target sends then: no, one or several PDUs. */
  readonly answer: string;
  /** What happens instead of a request: nothing arrives for NOP_INTERVAL, or the target shuts down. */
  readonly event?: 'silence' | 'shutdown';
}

/** A PDU: spaces are for the reader. */
export const h = (...parts: readonly string[]): string => parts.join('').replaceAll(' ', '');

/** `key=value` pairs, each ended by NUL (RFC 7143 §6.1). */
export const text = (pairs: readonly string[]): string => Buffer.from(pairs.map((pair) => `${pair}\0`).join('')).toString('hex');
/** A data segment is padded with zeros to four bytes (RFC 7143 §11.1). */
export const padded = (hex: string): string => hex.padEnd(Math.ceil(hex.length / 8) * 8, '0');
/** DataSegmentLength: three bytes, without the padding (RFC 7143 §11.2.1.6). */
export const length = (hex: string): string => (hex.length / 2).toString(16).padStart(6, '0');
export const ascii = (value: string): string => Buffer.from(value, 'ascii').toString('hex');
