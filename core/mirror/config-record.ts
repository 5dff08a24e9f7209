// The record that decides: who owns a volume, in which epoch, and who has every acknowledged write. Changed by
// compare-and-swap only; everything else a node believes is checked against it.
import { OutcomeUnknownError } from '../cluster/config-store.ts';
import type { ConfigStore, Json } from '../cluster/config-store.ts';
import { MAX_REPLICAS, RECORD_RETRY } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';

export interface MirrorRecord {
  /** Grows with every change of owner, and whenever an owner begins anew. */
  readonly epoch: number;
  /** The highest session of a replica in this epoch when the record was written. */
  readonly session: number;
  /** Empty: nobody has owned it yet. */
  readonly owner: string;
  /** Who has every acknowledged write. The owner is one of them. */
  readonly inSync: readonly string[];
  readonly replicas: readonly string[];
  /** Per replica a mark of its last admission; its own copy carries the same, unless it is another disk by now. */
  readonly joined: Readonly<Record<string, string>>;
  readonly state: 'healthy' | 'degraded';
  /** Who promoted the owner though others may have had newer data. */
  readonly forcedBy?: string | undefined;
  /** Which attempt wrote this: how an attempt without an answer is recognised. */
  readonly writer: string;
}

export interface KnownRecord {
  readonly record: MirrorRecord;
  readonly revision: number;
}

/** The key of a volume's record, below the prefix of the cluster. */
export const recordKey = (volume: string): string => `volume/${volume}/cfg`;
/** The mark of who was there when the volume was made. */
export const FIRST_STAMP = '0.0';

/** The record of a volume that is being made. `owner`: who serves it first, '' leaves it to whoever comes first. */
export function newRecord(replicas: readonly string[], owner = ''): MirrorRecord {
  const joined = Object.fromEntries(replicas.map((node) => [node, FIRST_STAMP]));
  return { epoch: 1, session: 1, owner, inSync: replicas, replicas, joined, state: 'healthy', writer: '' };
}

/** Throws when it is none: somebody else has written it. */
export function parseRecord(value: Json): MirrorRecord {
  const fields = value as Record<string, unknown>;
  const { epoch, session, owner, inSync, replicas, joined, forcedBy, writer } = fields;
  const names = (list: unknown): list is string[] =>
    Array.isArray(list) && list.length <= MAX_REPLICAS && list.every((each) => typeof each === 'string');
  if (typeof epoch !== 'number' || typeof session !== 'number' || typeof owner !== 'string' || !names(inSync)) {
    throw new Error('the record of a mirrored volume is damaged');
  }
  const all = names(replicas) ? replicas : inSync;
  const marks = typeof joined === 'object' && joined !== null ? (joined as Record<string, string>) : {};
  return {
    ...{ epoch, session, owner, inSync, replicas: all },
    joined: { ...Object.fromEntries(all.map((node) => [node, FIRST_STAMP])), ...marks },
    state: inSync.length === all.length ? 'healthy' : 'degraded',
    ...(typeof forcedBy === 'string' ? { forcedBy } : {}),
    writer: typeof writer === 'string' ? writer : '',
  };
}

/** Reads a record. Undefined: there is none. Rejects like the store. */
export async function readRecord(store: ConfigStore, volume: string): Promise<KnownRecord | undefined> {
  const found = await store.get(recordKey(volume));
  return found === undefined ? undefined : { record: parseRecord(found.value), revision: found.revision };
}

/** What became of a change. */
export type ChangeOutcome =
  | { readonly done: true; readonly known: KnownRecord }
  | { readonly done: false; readonly found: KnownRecord | undefined };

export interface RecordKeeperOptions {
  readonly store: ConfigStore;
  readonly clock: Clock;
  readonly volume: string;
  /** Unique among all boots of all nodes. */
  readonly boot: string;
}

let attempts = 0;

/**
 * Changes one record, one change after the other. A change whose outcome is unknown is repeated against the same revision
 * until there is an answer: whatever else is done before, it may still happen.
 */
export class RecordKeeper {
  readonly #options: RecordKeeperOptions;
  readonly #turn = new Turn();

  constructor(options: RecordKeeperOptions) {
    this.#options = options;
  }

  /**
   * Makes the change, if the record still has that revision. `wanted` is asked before every attempt; false ends it without
   * an answer, which is said as { done: false, found: undefined }.
   */
  swap(next: Omit<MirrorRecord, 'writer' | 'state'>, revision: number, wanted: () => boolean): Promise<ChangeOutcome> {
    return this.#turn.run(() => this.#swap(next, revision, wanted));
  }

  async #swap(
    next: Omit<MirrorRecord, 'writer' | 'state'>,
    revision: number,
    wanted: () => boolean,
  ): Promise<ChangeOutcome> {
    const { store, volume, boot } = this.#options;
    const key = recordKey(volume);
    const state = next.inSync.length === next.replicas.length ? 'healthy' : 'degraded';
    const record: MirrorRecord = { ...next, state, writer: `${boot}.${String(++attempts)}` };
    while (wanted()) {
      try {
        const { ok, revision: now } = await store.commit([{ key, value: { ...record } }], [{ key, revision }]);
        if (ok) return { done: true, known: { record, revision: now } };
        const found = await this.#read(wanted);
        if (found?.record.writer === record.writer) return { done: true, known: found };
        return { done: false, found };
      } catch (error) {
        // Anything else says that nothing has changed; both are repeated.
        if (!(error instanceof OutcomeUnknownError) && !(error instanceof Error)) throw error;
        await this.#pause();
      }
    }
    return { done: false, found: undefined };
  }

  /** The record as it is; tries until it is known, or not wanted any more. */
  async #read(wanted: () => boolean): Promise<KnownRecord | undefined> {
    while (wanted()) {
      try {
        return await readRecord(this.#options.store, this.#options.volume);
      } catch {
        await this.#pause();
      }
    }
    return undefined;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(RECORD_RETRY, resolve));
  }
}
