import { ServiceError } from '../base/errors.ts';
import { REMOVED_RECORDS } from '../base/limits.ts';
import { OutcomeUnknownError } from '../cluster/config-store.ts';
import type { Change, CommitResult, ConfigEvent, ConfigStore, Expectation, Json } from '../cluster/config-store.ts';

/** One wanted change of one record. */
export interface Edit {
  readonly change: Change;
  readonly expectation: Expectation;
  /** Prefix of the collection and id in it; together the key. */
  readonly prefix: string;
  readonly id: string;
  readonly store: ConfigStore;
  /** Brings the collection in line after the commit. False: it was told by the store already, or of something later. */
  readonly done: (revision: number) => boolean;
}

/** All records of one kind, in memory for answers at once, and in the ConfigStore for good. */
export class Collection<T extends object> {
  readonly #store: ConfigStore;
  readonly #prefix: string;
  readonly #items = new Map<string, { value: T; revision: number }>();
  /** Ids in order: sorting all of them for every answer would take its time. */
  #order: string[] = [];
  readonly #indexes: Index<T>[] = [];
  /** Revisions in which records were removed, of late: news of them may come in any order. */
  readonly #removed = new Map<string, number>();

  /** Records live under `prefix`, which ends in a slash. */
  constructor(store: ConfigStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  /** What is known to be newer stays as it is. */
  async load(): Promise<void> {
    for (const event of await this.#store.list(this.#prefix)) this.follow(event);
  }

  get size(): number {
    return this.#items.size;
  }

  get(id: string): T | undefined {
    return this.#items.get(id)?.value;
  }

  /** Of the transaction that wrote the record; undefined: there is none. What an ETag is made of. */
  revision(id: string): number | undefined {
    return this.#items.get(id)?.revision;
  }

  /** In order. */
  ids(): string[] {
    return [...this.#order];
  }

  /** In order of id. */
  values(): T[] {
    return this.#order.flatMap((id) => this.get(id) ?? []);
  }

  /** Finds records by one of the keys `keysOf` says they have, in order of id; kept up to date from now on. */
  index(keysOf: (value: T) => readonly string[]): (key: string) => T[] {
    const index = new Index(keysOf);
    index.fill(this.#items);
    this.#indexes.push(index);
    return (key) => index.find(key).flatMap((id) => this.get(id) ?? []);
  }

  /** In no order. */
  entries(): [string, T][] {
    return [...this.#items].map(([id, { value }]) => [id, value]);
  }

  /** The edit that stores `value`, or (undefined) removes the record. */
  edit(id: string, value: T | undefined): Edit {
    const key = this.#prefix + id;
    return {
      prefix: this.#prefix,
      id,
      change: { key, value: value as unknown as Json | undefined },
      expectation: { key, revision: this.#items.get(id)?.revision ?? 0 },
      store: this.#store,
      done: (revision) => this.#learn(id, value, revision),
    };
  }

  /** Where the records are kept. */
  get store(): ConfigStore {
    return this.#store;
  }

  get prefix(): string {
    return this.#prefix;
  }

  /** The store says that a record has changed. False: that is known, or older than what is known. */
  follow({ key, value, revision }: ConfigEvent): boolean {
    return this.#learn(key.slice(this.#prefix.length), value as unknown as T | undefined, revision);
  }

  #learn(id: string, value: T | undefined, revision: number): boolean {
    if (revision <= (this.#items.get(id)?.revision ?? this.#removed.get(id) ?? 0)) return false;
    if (value === undefined) {
      this.#removed.set(id, revision);
      const oldest = this.#removed.size > REMOVED_RECORDS ? this.#removed.keys().next().value : undefined;
      if (oldest !== undefined) this.#removed.delete(oldest);
    } else this.#removed.delete(id);
    this.#set(id, value, revision);
    return true;
  }

  #set(id: string, value: T | undefined, revision: number): void {
    const before = this.#items.get(id)?.value;
    for (const index of this.#indexes) index.change(id, before, value);
    if (value === undefined) this.#items.delete(id);
    else this.#items.set(id, { value, revision });
    if ((before === undefined) === (value === undefined)) return;
    const at = placeOf(this.#order, id);
    if (value === undefined) this.#order.splice(at, 1);
    else this.#order.splice(at, 0, id);
  }
}

/** Ids of records by something several of them may have. */
class Index<T extends object> {
  readonly #keysOf: (value: T) => readonly string[];
  readonly #ids = new Map<string, Set<string>>();

  constructor(keysOf: (value: T) => readonly string[]) {
    this.#keysOf = keysOf;
  }

  fill(items: ReadonlyMap<string, { value: T }>): void {
    this.#ids.clear();
    for (const [id, { value }] of items) this.change(id, undefined, value);
  }

  change(id: string, before: T | undefined, after: T | undefined): void {
    for (const key of before === undefined ? [] : this.#keysOf(before)) {
      const ids = this.#ids.get(key);
      ids?.delete(id);
      if (ids?.size === 0) this.#ids.delete(key);
    }
    for (const key of after === undefined ? [] : this.#keysOf(after)) {
      const ids = this.#ids.get(key);
      if (ids === undefined) this.#ids.set(key, new Set([id]));
      else ids.add(id);
    }
  }

  find(key: string): string[] {
    return [...(this.#ids.get(key) ?? [])].sort();
  }
}

/** Where `id` is, or belongs, in the ordered `ids`. */
function placeOf(ids: readonly string[], id: string): number {
  let low = 0;
  for (let high = ids.length; low < high;) {
    const middle = (low + high) >>> 1;
    if ((ids[middle] ?? id) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Makes all edits of one store or none; durable when resolved, with its revision. The edits that were news to the collections
 * are returned. Throws ServiceError in-use when somebody else was faster, outcome-unknown when nobody can say.
 */
export async function applyEdits(
  store: ConfigStore,
  edits: readonly Edit[],
): Promise<{ revision: number; news: readonly Edit[] }> {
  const result = await commit(
    store,
    edits.map((edit) => edit.change),
    edits.map((edit) => edit.expectation),
  );
  if (!result.ok)
    throw new ServiceError('in-use', 'the record was changed by another request at the same time; repeat');
  const news = edits.filter((edit) => edit.done(result.revision));
  return { revision: result.revision, news };
}

async function commit(
  ...[store, changes, expectations]: [ConfigStore, Change[], Expectation[]]
): Promise<CommitResult> {
  try {
    return await store.commit(changes, expectations);
  } catch (error) {
    // If it has happened, or still does, the watch of the store says so.
    if (error instanceof OutcomeUnknownError)
      throw new ServiceError('outcome-unknown', error.message, { cause: error });
    throw error;
  }
}
