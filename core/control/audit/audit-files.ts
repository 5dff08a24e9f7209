// The files of the audit log: `audit-<number of the first entry>.jsonl`.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disk } from '../../base/world.ts';

const FILE = /^audit-(\d{15})\.jsonl$/;

export interface AuditFile {
  readonly path: string;
  /** Number of its first entry. */
  readonly first: number;
}

export function auditFile(folder: string, first: number): AuditFile {
  return { path: join(folder, `audit-${String(first).padStart(15, '0')}.jsonl`), first };
}

/** Oldest first. */
export async function auditFiles(folder: string): Promise<AuditFile[]> {
  const names = await readdir(folder);
  const firsts = names.flatMap((name) => FILE.exec(name)?.[1] ?? []).map(Number);
  return firsts.sort((a, b) => a - b).map((first) => auditFile(folder, first));
}

/** The complete lines of a file, and bytes of them; what a crash left of a last one does not count. */
export async function linesOf(disk: Disk, { path }: AuditFile): Promise<{ lines: string[]; bytes: number }> {
  const content = (await disk.readFile(path)) ?? Buffer.alloc(0);
  const bytes = content.lastIndexOf(0x0a) + 1;
  return { lines: bytes === 0 ? [] : content.toString('utf8', 0, bytes - 1).split('\n'), bytes };
}
