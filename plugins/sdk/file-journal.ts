// Flows remembered in a folder, a file each.
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FlowJournal, FlowRecord } from './flow.ts';

/** Flows that are over are forgotten after so many milliseconds, or when there are more than so many. */
const KEPT = 7 * 86_400_000;
const MAX_KEPT = 1000;

export class FileJournal<S> implements FlowJournal<S> {
  readonly #folder: string;

  /** The folder is made when it is needed; only its owner may read it. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async load(key: string): Promise<FlowRecord<S> | undefined> {
    try {
      return JSON.parse(await readFile(this.#path(key), 'utf8')) as FlowRecord<S>;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async save(key: string, record: FlowRecord<S>): Promise<void> {
    const path = this.#path(key);
    if (record.step === 0) await this.#prepare();
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    const folder = await open(this.#folder);
    await folder.sync().finally(() => folder.close());
  }

  /** The key may be anything. */
  #path(key: string): string {
    return join(this.#folder, `${createHash('sha256').update(key).digest('hex')}.json`);
  }

  async #prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const found: { path: string; changed: number }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      found.push({ path, changed: (await stat(path)).mtimeMs });
    }
    found.sort((a, b) => b.changed - a.changed);
    for (const [i, { path, changed }] of found.entries()) {
      if (i < MAX_KEPT && Date.now() - changed < KEPT) continue;
      const { done } = JSON.parse(await readFile(path, 'utf8')) as Partial<FlowRecord<S>>;
      if (done === true) await rm(path, { force: true });
    }
  }
}
