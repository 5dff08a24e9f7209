// Whether the audit log is what was written.
import type { AuditAnchorRecord } from '../security-records.ts';
import { auditFiles, linesOf } from './audit-files.ts';
import { NO_HASH, readLine } from './entry.ts';
import type { AuditSource } from './audit-page.ts';

/** Findings that are told one by one. */
const MAX_FINDINGS = 20;
/** Lines between two turns of the event loop. */
const STEP = 200;

export interface AuditCheck {
  readonly ok: boolean;
  readonly entries: number;
  /** Numbers of the first and the last entry; 0: there is none. */
  readonly first: number;
  readonly last: number;
  /** Hash of the last one. */
  readonly head: string;
  readonly findings: readonly string[];
}

export interface CheckSource extends Omit<AuditSource, 'last'> {
  /** The last entry that was written, which has to be there. */
  readonly seq: number;
  readonly hash: string;
  readonly anchor: AuditAnchorRecord | undefined;
  /** Hash of an entry that somebody kept elsewhere: it has to be there. */
  readonly known: string | undefined;
}

export async function checkAudit(source: CheckSource): Promise<AuditCheck> {
  const { anchor } = source;
  const findings: string[] = [];
  let count = 0;
  const report = (finding: string): void => {
    if (count++ < MAX_FINDINGS) findings.push(finding);
  };
  let found = source.known === undefined;
  let [entries, first, seq, hash] = [0, 0, 0, NO_HASH];
  for (const file of await auditFiles(source.folder)) {
    const { lines } = await linesOf(source.disk, file);
    for (const [index, line] of lines.entries()) {
      if (index % STEP === STEP - 1) await new Promise((resolve) => setImmediate(resolve));
      const read = readLine(source.key, line);
      if (read === undefined) {
        report(`line ${String(index + 1)} of ${file.path} is no entry`);
        continue;
      }
      const number = read.entry.seq;
      if (!read.genuine) report(`entry ${String(number)} is not as it was written`);
      if (entries === 0) first = number;
      else if (number !== seq + 1) report(`entry ${String(number)} follows entry ${String(seq)}: some are missing`);
      else if (read.prev !== hash) report(`entry ${String(number)} does not follow the one before it`);
      if (number === anchor?.seq && read.hash !== anchor.hash) report(`entry ${String(number)} is another one`);
      found ||= read.hash === source.known;
      [entries, seq, hash] = [entries + 1, number, read.hash];
    }
  }
  const begin = anchor?.first ?? 1;
  if (entries > 0 && first > begin) report(`entries ${String(begin)} to ${String(first - 1)} are missing`);
  if (seq < source.seq) report(`entries ${String(seq + 1)} to ${String(source.seq)} are missing`);
  else if (hash !== source.hash) report(`the last entry is not the one that was written last`);
  if (!found) report('the entry with the hash that was given is not there (any more)');
  if (count > MAX_FINDINGS) findings.push(`and ${String(count - MAX_FINDINGS)} more`);
  return { ok: count === 0, entries, first, last: seq, head: hash, findings };
}
