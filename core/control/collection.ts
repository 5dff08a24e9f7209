import { ServiceError } from '../base/errors.ts';
import type { Change, ConfigStore, Expectation, Json } from '../cluster/config-store.ts';

/** One wanted change of one record. */
export interface Edit {
  readonly change: Change;
  readonly expectation: Expectation;
  /** Prefix of the collection and id in it; together the key. */
  readonly prefix: string;
  readonly id: string;
  /** Brings the collection in line after the commit. */
  readonly done: (revision: number) => void;
}

/** All records of one kind, in memory for answers at once, and in the ConfigStore for good. */
export class Collection<T extends object> {
  readonly #store: ConfigStore;
  readonly #prefix: string;
  readonly #items = new Map<string, { value: T; revision: number }>();

  /** Records live under `prefix`, which ends in a slash. */
  constructor(store: ConfigStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  async load(): Promise<void> {
    this.#items.clear();
    for (const { key, value, revision } of await this.#store.list(this.#prefix)) {
      this.#items.set(key.slice(this.#prefix.length), { value: value as unknown as T, revision });
    }
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

  /** In order of id. */
  values(): T[] {
    return [...this.#items.keys()].sort().flatMap((id) => this.get(id) ?? []);
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
      done: (revision) => {
        if (value === undefined) this.#items.delete(id);
        else this.#items.set(id, { value, revision });
      },
    };
  }
}

/** Makes all edits or none; durable when resolved, with its revision. Throws ServiceError in-use when somebody else was faster. */
export async function applyEdits(store: ConfigStore, edits: readonly Edit[]): Promise<number> {
  const result = await store.commit(
    edits.map((edit) => edit.change),
    edits.map((edit) => edit.expectation),
  );
  if (!result.ok)
    throw new ServiceError('in-use', 'the record was changed by another request at the same time; repeat');
  for (const edit of edits) edit.done(result.revision);
  return result.revision;
}
