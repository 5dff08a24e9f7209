import { ServiceError } from '../base/errors.ts';
import { EVERYBODY, GROUP_PREFIX, HOST_PREFIX, LOOPBACK, NBD_CLIENTS } from './records.ts';

/** Volume and target names become part of an iSCSI name, so only what RFC 3722 allows there: lower case, digits, . and - */
export const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/;
export const NAME_RULE = '1 to 63 characters of a-z, 0-9, "." and "-", beginning and ending with a letter or digit';

/** RFC 7143 §4.2.7: at most 223 bytes. */
const MAX_ISCSI_NAME = 223;
/** iqn.YYYY-MM.reversed-domain[:anything], RFC 7143 §4.2.7.4, after case folding. */
const IQN = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[^\s\0-\x1f,/]+)?$/;
/** EUI-64 and NAA names, RFC 7143 §4.2.7.5 and 6. */
const EUI = /^eui\.[0-9a-f]{16}$/;
const NAA = /^naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})$/;
/** What a prefix for our own target names must look like. */
const IQN_PREFIX = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]{0,98}[a-z0-9])?$/;

/** Returns `name`; throws ServiceError bad-request when it cannot name a `what`. */
export function checkName(name: string, what: string): string {
  if (NAME_PATTERN.test(name)) return name;
  throw new ServiceError('bad-request', `'${printable(name)}' cannot name a ${what}: ${NAME_RULE}`);
}

/** True for an iSCSI name in lower case. */
export function isIscsiName(name: string): boolean {
  return Buffer.byteLength(name) <= MAX_ISCSI_NAME && (IQN.test(name) || EUI.test(name) || NAA.test(name));
}

/** The initiator name in lower case (RFC 7143 §4.2.7.2); throws ServiceError bad-request for anything else. */
export function checkInitiator(name: string): string {
  const folded = name.toLowerCase();
  if (isIscsiName(folded)) return folded;
  throw new ServiceError(
    'bad-request',
    `'${printable(name)}' is not an initiator name; it looks like iqn.1993-08.org.debian:01:abcdef (or eui.…, naa.…)`,
  );
}

/** `loopback`, `all`, `nbd`, `host:NAME`, `group:NAME` or an initiator name. Throws ServiceError bad-request. */
export function checkMapSubject(who: string): string {
  for (const [prefix, what] of [
    [HOST_PREFIX, 'host'],
    [GROUP_PREFIX, 'host group'],
  ] as const) {
    if (who.startsWith(prefix)) return prefix + checkName(who.slice(prefix.length), what);
  }
  return who === LOOPBACK || who === EVERYBODY || who === NBD_CLIENTS ? who : checkInitiator(who);
}

/** Throws ServiceError bad-request unless `prefix` is iqn.YYYY-MM.reversed.domain. */
export function checkIqnPrefix(prefix: string): string {
  if (IQN_PREFIX.test(prefix)) return prefix;
  throw new ServiceError('bad-request', `'${printable(prefix)}' is not a prefix like iqn.2026-11.com.example`);
}

/** Name for an error message: bounded and without control characters. */
export function printable(text: string): string {
  return text.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, '?');
}
