// Reading the audit log, newest entries first.
import { AUDIT_PAGE, MAX_AUDIT_LOOK } from '../../base/limits.ts';
import type { Disk } from '../../base/world.ts';
import { auditFiles, linesOf } from './audit-files.ts';
import { readLine } from './entry.ts';
import type { AuditEntry } from './entry.ts';

/** Lines between two turns of the event loop. */
const STEP = 200;

export interface AuditQuery {
  readonly limit?: number | undefined;
  /** Only entries with a smaller number. */
  readonly before?: number | undefined;
  readonly who?: string | undefined;
  readonly method?: string | undefined;
  /** What the object begins with. */
  readonly object?: string | undefined;
  readonly result?: 'done' | 'refused' | undefined;
  /** Milliseconds since 1970. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

export interface AuditPage {
  readonly items: readonly AuditEntry[];
  /** What `before` is for the next page; undefined: that was the last one. A page may be empty and not the last. */
  readonly next: number | undefined;
}

export interface AuditSource {
  readonly disk: Disk;
  readonly key: Buffer;
  readonly folder: string;
  /** Number of the last entry that is on stable media. */
  readonly last: number;
}

export async function auditPage(source: AuditSource, query: AuditQuery): Promise<AuditPage> {
  const limit = query.limit ?? AUDIT_PAGE;
  const before = Math.min(query.before ?? Infinity, source.last + 1);
  const items: AuditEntry[] = [];
  let looked = 0;
  for (const file of (await auditFiles(source.folder)).reverse()) {
    if (file.first >= before) continue;
    const { lines } = await linesOf(source.disk, file);
    for (const line of lines.reverse()) {
      const entry = readLine(source.key, line)?.entry;
      if (entry === undefined || entry.seq >= before) continue;
      if (query.since !== undefined && Date.parse(entry.at) < query.since) return { items, next: undefined };
      if (items.length === limit || looked === MAX_AUDIT_LOOK) return { items, next: entry.seq + 1 };
      if (matches(entry, query)) items.push(entry);
      if (++looked % STEP === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return { items, next: undefined };
}

function matches(entry: AuditEntry, { who, method, object, result, until }: AuditQuery): boolean {
  return (
    (who === undefined || entry.who.name === who) &&
    (method === undefined || entry.method === method) &&
    (object === undefined || entry.object.startsWith(object)) &&
    (result === undefined || (entry.code === null) === (result === 'done')) &&
    (until === undefined || Date.parse(entry.at) <= until)
  );
}
