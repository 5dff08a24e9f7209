// Records with revisions: what the catalog stands on. One implementation keeps them in a file of this machine
// (embedded-store.ts); a cluster keeps the same records in etcd. Hence the shape: asynchronous, compare-and-swap, watch.

/** Anything JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

export interface ConfigRecord {
  readonly key: string;
  readonly value: Json;
  /** Revision of the transaction that wrote it; larger than that of every earlier one. */
  readonly revision: number;
}

/** A condition: the record has this revision; 0: there is no such record. */
export interface Expectation {
  readonly key: string;
  readonly revision: number;
}

export interface Change {
  readonly key: string;
  /** Undefined removes the record. */
  readonly value: Json | undefined;
}

export interface CommitResult {
  /** False: an expectation did not hold and nothing was changed. */
  readonly ok: boolean;
  /** Revision of the transaction, or of the store when it did not happen. */
  readonly revision: number;
}

/**
 * commit() got no answer: the transaction may have happened, may still happen, or never. Who acts on it first repeats it with
 * the same expectations until there is an answer: of all attempts at most one succeeds.
 */
export class OutcomeUnknownError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OutcomeUnknownError';
  }
}

/** What a watcher is told, after the change is durable. */
export interface ConfigEvent extends Change {
  readonly revision: number;
}

/** What get and list reject with when a store that is not on this machine does not answer: ServiceError cluster-unavailable. */
export interface ConfigStore {
  get(key: string): Promise<ConfigRecord | undefined>;
  /** The records whose key starts with `prefix`, in order of key. */
  list(prefix: string): Promise<ConfigRecord[]>;
  /**
   * All changes or none, durable when resolved. Rejects with an OutcomeUnknownError when nobody can say whether it happened;
   * after any other error nothing was changed.
   */
  commit(changes: readonly Change[], expectations?: readonly Expectation[]): Promise<CommitResult>;
  /**
   * Calls `listener` for every later change below `prefix`, in order of revision; what was committed before may come once
   * more. Of several changes of a record while a store was out of reach, only the last may be told. Returns the function that
   * ends it.
   */
  watch(prefix: string, listener: (event: ConfigEvent) => void): () => void;
  close(): Promise<void>;
}

/** What the key of a record may look like. */
export const KEY = /^[\w./:@-]{1,500}$/;
