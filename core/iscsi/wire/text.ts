// Text format of login and text PDUs (RFC 7143 §6.1): KEY=VALUE pairs, each ended by a NUL.
import { ProtocolError } from '../../base/errors.ts';

const MAX_KEY = 63;
const MAX_VALUE = 8192;
/** Pairs of one negotiation step; RFC 7143 defines about thirty keys. */
const MAX_PAIRS = 256;

/** The pairs of a complete text, in order. Throws ProtocolError for anything that is not one, or names a key twice. */
export function parseText(text: Buffer): Map<string, string> {
  const pairs = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    let end = text.indexOf(0, at);
    if (end < 0) end = text.length;
    if (end > at) addPair(pairs, text.toString('utf8', at, end));
    at = end + 1;
  }
  return pairs;
}

function addPair(pairs: Map<string, string>, pair: string): void {
  const split = pair.indexOf('=');
  const key = pair.slice(0, Math.max(split, 0));
  const value = pair.slice(split + 1);
  if (!/^[A-Za-z][A-Za-z0-9.+@_/-]*(#[^=]*)?$/.test(key) || key.length > MAX_KEY) {
    throw new ProtocolError('text that is not made of KEY=VALUE pairs');
  }
  if (value.length > MAX_VALUE) throw new ProtocolError(`the value of ${key} is too long`);
  if (pairs.has(key)) throw new ProtocolError(`${key} appears twice`);
  if (pairs.size >= MAX_PAIRS) throw new ProtocolError('too many keys');
  pairs.set(key, value);
}

/** The bytes of these pairs. */
export function encodeText(pairs: Iterable<readonly [string, string]>): Buffer {
  return Buffer.from([...pairs].map(([key, value]) => `${key}=${value}\0`).join(''), 'utf8');
}

/** A numerical value: decimal, 0x hexadecimal (RFC 7143 §6.1). undefined when it is none or above 2^53. */
export function parseNumber(value: string): number | undefined {
  if (!/^(\d{1,16}|0[xX][0-9a-fA-F]{1,13})$/.test(value)) return undefined;
  return Number(value);
}

/** A binary value: 0x hexadecimal or 0b base64 (RFC 7143 §6.1). undefined when it is none. */
export function parseBinary(value: string): Buffer | undefined {
  if (/^0[xX]([0-9a-fA-F]{2})+$/.test(value)) return Buffer.from(value.slice(2), 'hex');
  if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(value)) return Buffer.from(value.slice(2), 'base64');
  return undefined;
}

export const encodeBinary = (data: Buffer): string => `0x${data.toString('hex')}`;
