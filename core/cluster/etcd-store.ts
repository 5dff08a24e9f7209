import { ServiceError, messageOf } from '../base/errors.ts';
import { ETCD_LAG, ETCD_LOOK, ETCD_PAGE, ETCD_RECORD, ETCD_RETRY, ETCD_TXN_OPS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Clock, Timer } from '../base/world.ts';
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
import type { MemberChannel } from './etcd/channel.ts';
import type { EtcdClient } from './etcd/client.ts';
import { watchCreateRequest, watchResponse } from './etcd/messages.ts';
import type { KeyValue, Operation, WatchEvent } from './etcd/messages.ts';

export interface EtcdStoreOptions {
  readonly client: EtcdClient;
  /** What every key begins with in etcd; ends in a slash. */
  readonly prefix: string;
  /** Others keep something else in the same etcd. */
  readonly shared?: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Whether the store answers, and since when it does not. */
export interface StoreHealth {
  readonly answers: boolean;
  /** Clock.now() of the last answer that a majority stood behind. */
  readonly last: number;
  /** Address of the member that is asked. */
  readonly member: string | undefined;
  readonly problem: string | undefined;
}

/**
 * In an etcd that others use as well its revision says nothing about our records. So each change of them writes this key, too, whose
 * revision then is that of the last one. No record can be named so.
 */
export const CHANGED = '~changed';

interface Stream {
  readonly channel: MemberChannel;
  cancel: () => void;
}

/**
 * A ConfigStore in etcd; the revision of a record is its mod_revision. The watch is a hint: once a second a linearizable
 * read tells the newest revision, and when the watch does not follow, everything is read again and compared.
 */
export class EtcdStore implements ConfigStore {
  readonly #client: EtcdClient;
  readonly #prefix: string;
  readonly #shared: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watchers = new Set<{ prefix: string; listener: (event: ConfigEvent) => void }>();
  /** Revision of each record the watchers know of: what is missing in a list was deleted. */
  readonly #known = new Map<string, number>();
  /** Watchers have been told everything up to here. */
  #told = 0;
  /** Newest revision a linearizable read has seen, and since when the watch is behind it. */
  #newest = 0;
  #behindSince: number | undefined;
  #stream: Stream | undefined;
  #timer: Timer | undefined;
  #last = -Infinity;
  #problem: string | undefined;
  #looking = false;
  #closed = false;

  private constructor({ client, prefix, shared = false, clock, log }: EtcdStoreOptions) {
    this.#client = client;
    this.#prefix = prefix;
    this.#shared = shared;
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads everything once and follows it from there. Rejects with ServiceError cluster-unavailable; the client is not closed. */
  static async open(options: EtcdStoreOptions): Promise<EtcdStore> {
    const store = new EtcdStore(options);
    const { revision, kvs } = await store.#all(options.prefix);
    for (const { key, modRevision } of kvs) store.#known.set(key, modRevision);
    store.#told = store.#newest = revision;
    store.#follow();
    store.#lookLater();
    return store;
  }

  get health(): StoreHealth {
    const answers = this.#problem === undefined;
    return { answers, last: this.#last, member: this.#client.member, problem: this.#problem };
  }

  async get(key: string): Promise<ConfigRecord | undefined> {
    const { kvs } = await this.#client.range({ key: this.#prefix + key });
    const found = kvs[0];
    return found === undefined ? undefined : this.#record(found);
  }

  async list(prefix: string): Promise<ConfigRecord[]> {
    const { kvs } = await this.#all(this.#prefix + prefix);
    return kvs.map((each) => this.#record(each));
  }

  async commit(changes: readonly Change[], expectations: readonly Expectation[] = []): Promise<CommitResult> {
    for (const { key } of changes) if (!KEY.test(key)) throw new RangeError(`not a record key: ${key}`);
    // etcd refuses two changes of a key in one transaction; the last one counts.
    const last = new Map(changes.map((change) => [change.key, change.value]));
    if (last.size > ETCD_TXN_OPS || expectations.length > ETCD_TXN_OPS) {
      throw new ServiceError('limit-reached', `a change of more than ${String(ETCD_TXN_OPS)} records at once`);
    }
    const operations = [...last].map(([key, value]): Operation => {
      if (value === undefined) return { remove: { key: this.#prefix + key } };
      const content = Buffer.from(JSON.stringify(value));
      if (content.length > ETCD_RECORD) {
        throw new ServiceError('too-large', `the record ${key} has ${String(content.length)} bytes`);
      }
      return { put: { key: this.#prefix + key, value: content } };
    });
    if (this.#shared) operations.push({ put: { key: this.#prefix + CHANGED, value: Buffer.alloc(0) } });
    const compares = expectations.map(({ key, revision }) => ({ key: this.#prefix + key, modRevision: revision }));
    const { succeeded, revision } = await this.#client.txn(compares, operations);
    return { ok: succeeded, revision };
  }

  watch(prefix: string, listener: (event: ConfigEvent) => void): () => void {
    const watcher = { prefix, listener };
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#watchers.clear();
    this.#timer?.cancel();
    this.#stream?.cancel();
    this.#stream = undefined;
    this.#client.close();
    return Promise.resolve();
  }

  // ---- reading

  #record({ key, value, modRevision }: KeyValue): ConfigRecord {
    return { key: key.slice(this.#prefix.length), value: parsed(key, value), revision: modRevision };
  }

  /** Everything below a prefix as it was at one revision, page by page. */
  async #all(prefix: string): Promise<{ revision: number; kvs: KeyValue[] }> {
    const end = rangeEnd(prefix);
    let from = prefix;
    let at = 0;
    const kvs: KeyValue[] = [];
    for (;;) {
      const page = await this.#client.range({ key: from, end, limit: ETCD_PAGE, revision: at });
      if (at === 0) at = page.revision;
      for (const each of page.kvs) if (each.key !== this.#prefix + CHANGED) kvs.push(each);
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { revision: at, kvs };
      from = `${last.key}\0`;
    }
  }

  // ---- following

  #follow(): void {
    if (this.#closed || this.#stream !== undefined) return;
    const opened = this.#client.watch();
    if (opened === undefined) {
      this.#clock.after(ETCD_RETRY, () => {
        this.#follow();
      });
      return;
    }
    const { channel, stream } = opened;
    let over = false;
    const own: Stream = {
      channel,
      cancel: () => {
        over = true;
        stream.cancel();
      },
    };
    this.#stream = own;
    const ended = (why: string): void => {
      if (over) return;
      own.cancel();
      if (this.#stream === own) this.#stream = undefined;
      this.#log.debug({ member: channel.endpoint.host, why }, 'the watch of the configuration store ended');
      this.#client.avoid(channel);
      this.#clock.after(ETCD_RETRY, () => {
        this.#follow();
      });
    };
    stream.on('data', (bytes: Buffer) => {
      if (over) return;
      try {
        const response = watchResponse(bytes);
        for (const event of response.events) this.#happened(event);
        if (response.events.length > 0) this.#told = Math.max(this.#told, response.events.at(-1)?.modRevision ?? 0);
        if (response.canceled || response.compactRevision > 0) {
          // What happened since is no longer kept one by one.
          if (response.compactRevision > 0) this.#behindSince = -Infinity;
          ended(response.reason);
        }
      } catch (error) {
        ended(messageOf(error));
      }
    });
    stream.on('error', (error: Error) => {
      ended(error.message);
    });
    stream.on('end', () => {
      ended('ended by the member');
    });
    stream.write(watchCreateRequest(this.#prefix, rangeEnd(this.#prefix), this.#told + 1));
  }

  #happened({ key, value, modRevision }: WatchEvent): void {
    if (modRevision <= (this.#known.get(key) ?? 0) || key === this.#prefix + CHANGED) return;
    if (value === undefined) this.#known.delete(key);
    else this.#known.set(key, modRevision);
    const relative = key.slice(this.#prefix.length);
    let event: ConfigEvent;
    try {
      event = { key: relative, value: value === undefined ? undefined : parsed(key, value), revision: modRevision };
    } catch (error) {
      // Somebody else wrote it. Whoever reads the record is told; what follows it must be heard of all the same.
      this.#log.error({ error: messageOf(error) }, 'a record of the configuration store cannot be read');
      return;
    }
    for (const { prefix, listener } of [...this.#watchers]) if (relative.startsWith(prefix)) listener(event);
  }

  #lookLater(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(ETCD_LOOK, () => {
      void this.#look().finally(() => {
        this.#lookLater();
      });
    });
  }

  /** Does a majority answer, and does the watch follow? */
  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const { revision, kvs } = await this.#client.range({ key: this.#prefix + (this.#shared ? CHANGED : '') });
      this.#last = this.#clock.now();
      if (this.#problem !== undefined) this.#log.warn({}, 'the configuration store answers again');
      this.#problem = undefined;
      this.#newest = Math.max(this.#newest, this.#shared ? (kvs[0]?.modRevision ?? 0) : revision);
      if (this.#told >= this.#newest && this.#behindSince !== -Infinity) {
        this.#behindSince = undefined;
        // Nothing of ours has happened up to here: what others have written since may be compacted, and the watch goes on all the same.
        this.#told = Math.max(this.#told, revision);
      } else this.#behindSince ??= this.#clock.now();
      if (this.#behindSince !== undefined && this.#clock.now() - this.#behindSince > ETCD_LAG) await this.#catchUp();
    } catch (error) {
      if (this.#closed) return;
      if (this.#problem === undefined) this.#log.error({ error: messageOf(error) }, 'the configuration store is lost');
      this.#problem = messageOf(error);
    } finally {
      this.#looking = false;
    }
  }

  /** Reads everything, tells what is new since the watch was heard of, and watches anew from there. */
  async #catchUp(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
    if (stream !== undefined) this.#client.avoid(stream.channel);
    const { revision, kvs } = await this.#all(this.#prefix).finally(() => {
      // Also when this fails: a watch may work all the same.
      if (this.#stream === undefined)
        this.#clock.soon(() => {
          this.#follow();
        });
    });
    const there = new Set(kvs.map(({ key }) => key));
    const gone = [...this.#known.keys()].filter((key) => !there.has(key));
    for (const key of gone) this.#happened({ key, value: undefined, modRevision: revision });
    for (const event of kvs.toSorted((a, b) => a.modRevision - b.modRevision)) this.#happened(event);
    this.#told = Math.max(this.#told, revision);
    this.#behindSince = undefined;
  }
}

/** The first key behind all those that begin with `prefix`, which ends in an ASCII character below 7Fh. */
export function rangeEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

function parsed(key: string, value: Buffer): Json {
  try {
    return JSON.parse(value.toString()) as Json;
  } catch (error) {
    throw new ServiceError('catalog-damaged', `the record ${key} of the configuration store is no JSON`, {
      cause: error,
    });
  }
}
