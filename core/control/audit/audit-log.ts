// The audit log: append-only, each entry on stable media before the answer it is about is sent. On a full disk entries
// wait in memory and no change is taken until they are written, but for deletions: they are what makes room.
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { AUDIT_FILE, MAX_AUDIT_FILES, MAX_WAITING_AUDIT } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { DiskFile, Timer, World } from '../../base/world.ts';
import type { AuditAnchorRecord } from '../security-records.ts';
import { auditFile, auditFiles, linesOf } from './audit-files.ts';
import type { AuditFile } from './audit-files.ts';
import { auditPage } from './audit-page.ts';
import type { AuditPage, AuditQuery } from './audit-page.ts';
import { checkAudit } from './audit-check.ts';
import type { AuditCheck } from './audit-check.ts';
import { NO_HASH, lineOf, readLine } from './entry.ts';
import type { AuditFacts } from './entry.ts';

/** Milliseconds between two tries to write what waits. */
const RETRY = 5_000;
/** Entries between two notes in the catalog of how far the log has come. */
const ANCHOR_STEP = 256;
/** Bytes that are given up when the disk is full, so that what is done about it is on record. */
const RESERVE = 65_536;

export interface AuditContext {
  readonly world: World;
  readonly log: Log;
  /** Where the files are; it exists. */
  readonly folder: string;
  readonly key: Buffer;
  /** Kept apart from the files: what they must contain. */
  readonly anchor: () => AuditAnchorRecord | undefined;
  readonly setAnchor: (anchor: AuditAnchorRecord) => Promise<void>;
}

export class AuditLog {
  readonly #context: AuditContext;
  readonly #turn = new Turn();
  #files: AuditFile[];
  #file: DiskFile | undefined;
  /** Bytes of the last file that are entries. */
  #size: number;
  /** Of the last entry that was made, written or not. */
  #seq: number;
  #hash: string;
  /** Of the last entry that is on stable media. */
  #stable: { seq: number; hash: string };
  #waiting: { seq: number; hash: string; line: string }[] = [];
  #retry: Timer | undefined;
  #closed = false;

  private constructor(context: AuditContext, files: AuditFile[], size: number, seq: number, hash: string) {
    this.#context = context;
    this.#files = files;
    this.#size = size;
    this.#seq = seq;
    this.#hash = hash;
    this.#stable = { seq, hash };
  }

  /** Opens the log in its folder. What a crash left of a last line is cut off; anything else that is wrong stays. */
  static async open(context: AuditContext): Promise<AuditLog> {
    const files = await auditFiles(context.folder);
    let [size, seq, hash] = [0, 0, NO_HASH];
    for (const file of [...files].reverse()) {
      const { lines, bytes } = await linesOf(context.world.disk, file);
      if (file === files.at(-1)) size = bytes;
      const line = lines.map((each) => readLine(context.key, each)).findLast((each) => each !== undefined);
      if (line === undefined) continue;
      [seq, hash] = [line.entry.seq, line.hash];
      break;
    }
    const anchor = context.anchor();
    if (anchor !== undefined && anchor.seq > seq) {
      // The gap in the numbers stays visible for good.
      context.log.error({ folder: context.folder, seq: anchor.seq }, 'entries of the audit log are missing');
      [seq, hash] = [anchor.seq, anchor.hash];
    }
    const audit = new AuditLog(context, files, size, seq, hash);
    await audit.#turn.run(() => audit.#reserve());
    return audit;
  }

  /** Puts `facts` on record. False: it could not be written yet, and waits in memory. */
  record(facts: AuditFacts): Promise<boolean> {
    const at = new Date(this.#context.world.clock.wall()).toISOString();
    const entry = { seq: this.#seq + 1, at, ...facts };
    const { line, hash } = lineOf(this.#context.key, entry, this.#hash);
    this.#seq = entry.seq;
    this.#hash = hash;
    this.#waiting.push({ seq: entry.seq, hash, line });
    return this.#flush();
  }

  /** Throws ServiceError audit-unwritable when a change could not be put on record. */
  async checkWritable(isDeletion: boolean): Promise<void> {
    if (this.#waiting.length === 0 || (await this.#flush())) return;
    if (isDeletion && this.#waiting.length < MAX_WAITING_AUDIT) return;
    const count = String(this.#waiting.length);
    throw new ServiceError('audit-unwritable', `the audit log cannot be written; ${count} entries wait in memory`);
  }

  /** Entries that are not on stable media. */
  get waiting(): number {
    return this.#waiting.length;
  }

  page(query: AuditQuery): Promise<AuditPage> {
    const { world, key, folder } = this.#context;
    return auditPage({ disk: world.disk, key, folder, last: this.#stable.seq }, query);
  }

  /**
   * Reads all of it. Whatever was changed after it was written is among the findings, and `known`, the hash of an entry that
   * was kept elsewhere, when it is not there.
   */
  async verify(known?: string): Promise<AuditCheck> {
    // With nothing under way: what is being written is neither there nor missing.
    await this.#flush();
    return this.#turn.run(() => {
      const { world, key, folder, anchor } = this.#context;
      return checkAudit({ disk: world.disk, key, folder, ...this.#stable, anchor: anchor(), known });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.#flush();
    await this.#turn.run(async () => {
      await this.#anchor();
      await this.#file?.close();
      this.#file = undefined;
    });
    if (this.#waiting.length > 0) this.#context.log.error({ entries: this.#waiting.length }, 'audit entries are lost');
  }

  /** True when nothing waits any more. */
  #flush(): Promise<boolean> {
    return this.#turn.run(async () => {
      const batch = [...this.#waiting];
      const newest = batch.at(-1);
      if (newest === undefined) return true;
      try {
        await this.#write(Buffer.from(batch.map(({ line }) => line).join('')), batch[0]?.seq ?? newest.seq);
      } catch (error) {
        this.#troubled(error);
        return false;
      }
      this.#waiting.splice(0, batch.length);
      const anchored = Math.floor(this.#stable.seq / ANCHOR_STEP) === Math.floor(newest.seq / ANCHOR_STEP);
      this.#stable = newest;
      if (!anchored) await this.#anchor();
      return this.#waiting.length === 0;
    });
  }

  async #write(lines: Buffer, first: number): Promise<void> {
    try {
      await this.#append(lines, first);
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'no-space') throw error;
      await this.#context.world.disk.remove(this.#reservePath);
      await this.#append(lines, first);
      this.#context.log.warn({ folder: this.#context.folder }, 'the disk is full: the audit log uses its reserve');
    }
  }

  async #append(lines: Buffer, first: number): Promise<void> {
    const { disk } = this.#context.world;
    if (this.#files.length === 0 || (this.#size > 0 && this.#size + lines.length > AUDIT_FILE)) {
      const next = auditFile(this.#context.folder, first);
      const file = await disk.open(next.path, { create: true });
      await this.#file?.close();
      this.#file = file;
      this.#files.push(next);
      this.#size = 0;
      await this.#rotate();
    }
    const current = this.#files.at(-1);
    if (current === undefined) return;
    this.#file ??= await disk.open(current.path, { create: true });
    // What a crash, or a write that failed, left behind the last entry.
    if (this.#file.size() > this.#size) await this.#file.truncate(this.#size);
    await this.#file.write(lines, 0, lines.length, this.#size);
    await this.#file.dataSync();
    this.#size += lines.length;
  }

  /** Removes the oldest files when there are too many; that they may be missing is noted first. */
  async #rotate(): Promise<void> {
    const old = this.#files.slice(0, -MAX_AUDIT_FILES);
    if (old.length === 0) return;
    this.#files = this.#files.slice(-MAX_AUDIT_FILES);
    await this.#anchor();
    for (const { path } of old) await this.#context.world.disk.remove(path);
    await this.#reserve();
  }

  async #anchor(): Promise<void> {
    const { seq, hash } = this.#stable;
    const first = this.#files[0]?.first ?? 1;
    const known = this.#context.anchor();
    if (seq === 0 || (known?.seq === seq && known.first === first)) return;
    await this.#context.setAnchor({ seq, hash, first }).catch((error: unknown) => {
      this.#context.log.warn({ error: messageOf(error) }, 'how far the audit log has come could not be noted');
    });
  }

  get #reservePath(): string {
    return join(this.#context.folder, 'reserve');
  }

  async #reserve(): Promise<void> {
    const { disk, random } = this.#context.world;
    if (await disk.exists(this.#reservePath)) return;
    // Random, so that no file system stores it as nothing.
    await disk.replaceFile(this.#reservePath, random.bytes(RESERVE)).catch((error: unknown) => {
      this.#context.log.warn({ error: messageOf(error) }, 'no space is reserved for the audit log');
    });
  }

  #troubled(error: unknown): void {
    const fields = { error: messageOf(error), waiting: this.#waiting.length };
    this.#context.log.error(fields, 'the audit log cannot be written: changes are refused, but for deletions');
    if (this.#closed) return;
    this.#retry?.cancel();
    this.#retry = this.#context.world.clock.after(RETRY, () => void this.#flush());
  }
}
