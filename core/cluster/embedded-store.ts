import { ABORT, open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import { ServiceError, messageOf } from '../base/errors.ts';
import { KEY } from './config-store.ts';
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
/** Records of one page of LMDB each, sorted before all others. A change of a small record takes a few pages. */
const RESERVE_KEY = '\u0001reserve';
const RESERVE = 64;
const FILLING = ' '.repeat(3000);
const ENOSPC = 28;
/** What LMDB says when only part of what it wrote found room. */
const EIO = 5;

interface Stored {
  readonly revision: number;
  readonly value: Json;
}

/** A ConfigStore in an LMDB file: a transaction is on stable media, whole, before commit resolves. */
export class EmbeddedStore implements ConfigStore {
  readonly #db: RootDatabase<Stored | number, string>;
  readonly #watchers = new Set<{ prefix: string; listener: (event: ConfigEvent) => void }>();
  readonly #isFull: () => boolean;

  /**
   * Opens or creates the store in folder `path`. `isFull`: the file system it is on has no room left. Throws when the folder
   * cannot be written.
   */
  constructor(path: string, isFull = (): boolean => false) {
    this.#isFull = isFull;
    // overlappingSync would let a transaction be seen before it is on stable media. eventTurnBatching makes promises of
    // its own that nobody can wait for: a full disk would be an unhandled rejection, which ends the process.
    const options = { overlappingSync: false, eventTurnBatching: false };
    this.#db = open<Stored | number, string>({ path, encoding: 'json', maxReaders: 16, ...options });
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
    const result = await this.#write((): CommitResult => {
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

  /**
   * Makes the file large enough for the changes of a while, so that on a full disk something can still be deleted: LMDB
   * keeps what a file once had for later use.
   */
  async reserve(): Promise<void> {
    await this.#write(() => {
      for (let i = 0; i < RESERVE; i++) this.#db.putSync(RESERVE_KEY + String(i), { revision: 0, value: FILLING });
    });
    await this.#write(() => {
      for (let i = 0; i < RESERVE; i++) this.#db.removeSync(RESERVE_KEY + String(i));
    });
    // What a transaction frees can be used by the one after the next.
    await this.#write(() => {
      this.#db.putSync(REVISION_KEY, this.#revision());
    });
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

  async #write<T>(change: () => T): Promise<T> {
    try {
      return await this.#db.transaction(change);
    } catch (error) {
      throw await causeOf(error, this.#isFull);
    }
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

/** LMDB says why a commit failed in a promise beside the error, with the number of the operating system. */
async function causeOf(error: unknown, isFull: () => boolean): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  const cause: unknown = await Promise.resolve(error.commitError).catch((why: unknown) => why);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const full = code === ENOSPC || (code === EIO && isFull());
  const message = full ? 'no space left for the catalog' : `the catalog cannot be changed: ${messageOf(cause)}`;
  return new ServiceError(full ? 'no-space' : 'io-error', message, { cause });
}
