import { ABORT, open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import type {
  Change,
  CommitResult,
  ConfigEvent,
  ConfigRecord,
  ConfigStore,
  Expectation,
  Json,
} from './config-store.ts';

/** Where the revision of the last transaction is kept; records have keys without this first character. */
const REVISION_KEY = '\u0001revision';
/** Sorts behind every character a key may have. */
const AFTER_ALL = '\uffff';
const KEY = /^[\w./:@-]{1,500}$/;

interface Stored {
  readonly revision: number;
  readonly value: Json;
}

/** A ConfigStore in an LMDB file: a transaction is on stable media, whole, before commit resolves. */
export class EmbeddedStore implements ConfigStore {
  readonly #db: RootDatabase<Stored | number, string>;
  readonly #watchers = new Set<{ prefix: string; listener: (event: ConfigEvent) => void }>();

  /** Opens or creates the store in folder `path`. Throws when the folder cannot be written. */
  constructor(path: string) {
    // overlappingSync would let a transaction be seen before it is on stable media.
    this.#db = open<Stored | number, string>({ path, encoding: 'json', overlappingSync: false, maxReaders: 16 });
  }

  get(key: string): Promise<ConfigRecord | undefined> {
    const stored = this.#stored(key);
    return Promise.resolve(stored === undefined ? undefined : { key, ...stored });
  }

  list(prefix: string): Promise<ConfigRecord[]> {
    const found: ConfigRecord[] = [];
    for (const { key, value } of this.#db.getRange({ start: prefix, end: prefix + AFTER_ALL })) {
      if (typeof value === 'object') found.push({ key, ...value });
    }
    return Promise.resolve(found);
  }

  async commit(changes: readonly Change[], expectations: readonly Expectation[] = []): Promise<CommitResult> {
    for (const { key } of changes) if (!KEY.test(key)) throw new RangeError(`not a record key: ${key}`);
    const result = await this.#db.transaction((): CommitResult => {
      const last = this.#revision();
      const broken = expectations.some(({ key, revision }) => (this.#stored(key)?.revision ?? 0) !== revision);
      if (broken) return { ok: false, revision: last };
      const revision = last + 1;
      for (const { key, value } of changes) {
        if (value === undefined) this.#db.removeSync(key);
        else this.#db.putSync(key, { revision, value });
      }
      this.#db.putSync(REVISION_KEY, revision);
      return { ok: true, revision };
    });
    if (result.ok) for (const change of changes) this.#tell({ ...change, revision: result.revision });
    return result;
  }

  watch(prefix: string, listener: (event: ConfigEvent) => void): () => void {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** Reads everything and prepares a change that is not made. Throws when the file is damaged, or kills the process. */
  async check(): Promise<void> {
    await this.list('');
    this.#db.transactionSync(() => {
      this.#db.putSync(REVISION_KEY, this.#revision());
      return ABORT;
    });
  }

  async close(): Promise<void> {
    this.#watchers.clear();
    await this.#db.close();
  }

  #stored(key: string): Stored | undefined {
    const value = this.#db.get(key);
    return typeof value === 'object' ? value : undefined;
  }

  #revision(): number {
    const value = this.#db.get(REVISION_KEY);
    return typeof value === 'number' ? value : 0;
  }

  #tell(event: ConfigEvent): void {
    for (const { prefix, listener } of [...this.#watchers]) if (event.key.startsWith(prefix)) listener(event);
  }
}
