// What the audit log says about a request, without what nobody may read there.
import { MAX_AUDIT_DETAIL } from '../base/limits.ts';

/** Names of fields whose text is secret, wherever they are. */
const SECRET_NAME = /secret|password|passphrase|^token$|^code$|^current$|^next$|csrf|cookie|authorization|privatekey/i;
/** Whatever the field is called: files with a certificate often have its key, too. */
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/;
const CENSORED = '[secret]';
/** Fields inside fields that are looked at; deeper ones are left out. */
const MAX_DEPTH = 8;

/** `value` without secrets, and without what makes it longer than MAX_AUDIT_DETAIL bytes of JSON. */
export function redacted(value: unknown): unknown {
  if (value === undefined) return null;
  const clean = censor(value, MAX_DEPTH);
  const length = Buffer.byteLength(JSON.stringify(clean));
  return length <= MAX_AUDIT_DETAIL ? clean : { leftOut: `${String(length)} bytes` };
}

/** True for the name of a field whose text is never shown. */
export const isSecretName = (name: string): boolean => SECRET_NAME.test(name);

function censor(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return PRIVATE_KEY.test(value) ? CENSORED : withoutPath(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return '…';
  if (Array.isArray(value)) return value.map((each) => censor(each, depth - 1));
  const pairs = Object.entries(value).map(([name, each]): [string, unknown] => {
    const secret = isSecretName(name) && typeof each !== 'number' && typeof each !== 'boolean' && each !== null;
    return [name, secret ? CENSORED : censor(each, depth - 1)];
  });
  return Object.fromEntries(pairs);
}

/**
 * The fields of two descriptions of one object that are not the same in both, redacted. With one of them undefined, all of
 * the other.
 */
export function difference(before: unknown, after: unknown): { before: unknown; after: unknown } {
  if (!isPlain(before) || !isPlain(after)) return { before: redacted(before), after: redacted(after) };
  const same = (name: string): boolean => JSON.stringify(before[name]) === JSON.stringify(after[name]);
  const keep = (of: Record<string, unknown>): unknown =>
    redacted(Object.fromEntries(Object.entries(of).filter(([name]) => !same(name))));
  return { before: keep(before), after: keep(after) };
}

/** Of an address of the web, which system it is: user, path and query may be what the receiver knows its friends by. */
function withoutPath(text: string): string {
  if (!/^https?:\/\//i.test(text)) return text;
  if (!URL.canParse(text)) return CENSORED;
  const { origin, username, pathname, search, hash } = new URL(text);
  return username === '' && pathname === '/' && search === '' && hash === '' ? origin : `${origin}/${CENSORED}`;
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
