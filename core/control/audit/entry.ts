// One line of the audit log: JSON that ends in a keyed hash (HMAC, RFC 2104) over the rest of the line, which contains the
// hash of the line before. Who changes, removes or adds a line has to have the key, or it is found.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Role } from '../records.ts';

export interface AuditSubject {
  readonly kind: 'user' | 'token' | 'nobody';
  readonly name: string;
  readonly role: Role | null;
}

/** What is put on record about one request that wanted to change something. */
export interface AuditFacts {
  readonly who: AuditSubject;
  readonly address: string;
  readonly method: string;
  /** `/volumes/:name` */
  readonly route: string;
  /** `/volumes/vm-1` */
  readonly object: string;
  /** Without secrets; null when there is none. */
  readonly request: unknown;
  readonly before: unknown;
  readonly after: unknown;
  readonly status: number;
  /** Of the error catalogue, when it was refused. */
  readonly code: string | null;
}

export interface AuditEntry extends AuditFacts {
  readonly seq: number;
  /** ISO 8601 */
  readonly at: string;
}

/** A line as it is read: whether it is the one that was written, and what it says. */
export interface ReadLine {
  readonly genuine: boolean;
  readonly entry: AuditEntry;
  /** Hash of the line before, and its own. */
  readonly prev: string;
  readonly hash: string;
}

/** Hash "before" the first entry. */
export const NO_HASH = '0'.repeat(64);
export const AUDIT_KEY_LENGTH = 32;

const END = /,"hash":"([0-9a-f]{64})"\}$/;
const END_LENGTH = ',"hash":""}'.length + 64;

const macOf = (key: Buffer, body: string): Buffer => createHmac('sha256', key).update(body).digest();

/** The line (with its newline) and its hash. */
export function lineOf(key: Buffer, entry: AuditEntry, prev: string): { line: string; hash: string } {
  const { seq, at, ...facts } = entry;
  const body = JSON.stringify({ seq, at, prev, ...facts });
  const hash = macOf(key, body).toString('hex');
  return { line: `${body.slice(0, -1)},"hash":"${hash}"}\n`, hash };
}

/** Reads a line without its newline; undefined: it is no entry at all. */
export function readLine(key: Buffer, line: string): ReadLine | undefined {
  const [, hash] = END.exec(line) ?? [];
  if (hash === undefined) return undefined;
  const body = `${line.slice(0, -END_LENGTH)}}`;
  let said: AuditEntry & { prev: string };
  try {
    said = JSON.parse(body) as typeof said;
  } catch {
    return undefined;
  }
  if (!Number.isSafeInteger(said.seq) || typeof said.prev !== 'string' || typeof said.at !== 'string') return undefined;
  const { prev, ...entry } = said;
  return { genuine: timingSafeEqual(macOf(key, body), Buffer.from(hash, 'hex')), entry, prev, hash };
}
