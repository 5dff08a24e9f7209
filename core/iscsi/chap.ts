// CHAP (RFC 1994, RFC 7143 §12.1.3): both sides prove that they know a secret without sending it.
import { createHash, getHashes, timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../base/errors.ts';

/** Algorithms by their CHAP_A number (IANA PPP authentication algorithms), strongest first. */
const ALGORITHMS: readonly { readonly number: number; readonly hash: string; readonly size: number }[] = [
  { number: 8, hash: 'sha3-256', size: 32 },
  { number: 7, hash: 'sha256', size: 32 },
  { number: 6, hash: 'sha1', size: 20 },
  { number: 5, hash: 'md5', size: 16 },
];
const MIN_SECRET = 12;
const MAX_SECRET = 255;
/** Bytes of a challenge of ours, and the longest we accept (RFC 7143 §12.1.3: at most 1024). */
export const CHALLENGE_LENGTH = 32;
export const MAX_CHALLENGE = 1024;

/** The strongest algorithm of a CHAP_A list (`5,7`) that this build of Node has; undefined: none. */
export function chooseAlgorithm(list: string): number | undefined {
  const offered = new Set(list.split(',').map(Number));
  const known = new Set(getHashes().map((name) => name.toLowerCase()));
  return ALGORITHMS.find((each) => offered.has(each.number) && known.has(each.hash))?.number;
}

/** CHAP_R: hash over identifier, secret and challenge. Throws RangeError for an unknown algorithm. */
export function chapResponse(algorithm: number, identifier: number, secret: Buffer, challenge: Buffer): Buffer {
  const found = ALGORITHMS.find((each) => each.number === algorithm);
  if (found === undefined) throw new RangeError(`CHAP algorithm ${String(algorithm)}`);
  return createHash(found.hash)
    .update(Buffer.from([identifier]))
    .update(secret)
    .update(challenge)
    .digest();
}

/** Compares a response without telling by its time how much of it is right. */
export function sameResponse(expected: Buffer, given: Buffer): boolean {
  return expected.length === given.length && timingSafeEqual(expected, given);
}

/** Throws ServiceError when a secret is too short to be safe or too long to be portable. Bytes of UTF-8. */
export function validateChapSecret(secret: string): void {
  const length = Buffer.byteLength(secret);
  if (length < MIN_SECRET || length > MAX_SECRET) {
    throw new ServiceError(
      'bad-request',
      `a CHAP secret has ${String(MIN_SECRET)} to ${String(MAX_SECRET)} bytes, this one has ${String(length)}`,
    );
  }
}
