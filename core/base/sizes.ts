import { ServiceError } from './errors.ts';

/** Powers of 1024, as every disk tool counts; only a spelled-out `B` after the letter (GB) means powers of 1000. */
const LETTERS = 'kmgtp';
const PATTERN = /^(\d{1,16}(?:\.\d{1,6})?)\s*(?:([kmgtp])(i?b)?|b)?$/i;

/** Bytes of `2G`, `10GiB`, `1.5T`, `500MB` or `1048576`. Throws ServiceError bad-request. */
export function parseSize(text: string): number {
  const match = PATTERN.exec(text.trim());
  const number = match?.[1];
  if (match === null || number === undefined) {
    throw new ServiceError('bad-request', `'${text.slice(0, 40)}' is not a size; write it like 512M, 10G or 10GiB`);
  }
  const power = match[2] === undefined ? 0 : LETTERS.indexOf(match[2].toLowerCase()) + 1;
  const bytes = Number(number) * (match[3]?.toLowerCase() === 'b' ? 1000 : 1024) ** power;
  if (!Number.isSafeInteger(bytes)) {
    throw new ServiceError('bad-request', `'${text}' is not a whole number of bytes, or too large`);
  }
  return bytes;
}

/** A size for people: `10 GiB`, `1.46 TiB`, `512 B`. */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${String(bytes)} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < LETTERS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${(LETTERS[unit] ?? '').toUpperCase()}iB`;
}
