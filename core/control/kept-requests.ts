// What was answered to requests with an idempotency key, so that a repetition gets the same answer and nothing is done twice.
// The request is noted before it is begun and the answer before it is sent: after a crash in between, the note says that
// nobody knows.
import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { ServiceError, messageOf } from '../base/errors.ts';
import {
  KEY_LIFETIME,
  KEY_PURGE_INTERVAL,
  MAX_KEPT_ANSWER,
  MAX_KEYS,
  MAX_KEYS_OF_CALLER,
  MAX_PURGE,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { Sealed } from './records.ts';
import type { SecretBox } from './secret-box.ts';

export interface KeptRequestRecord {
  /** Hash of who sent it. */
  readonly caller: string;
  /** Keyed hash of what was asked: a plain one would let passwords be guessed. */
  readonly request: string;
  /** Milliseconds since 1970. */
  readonly begun: number;
  /** Absent: not answered yet. */
  readonly answer?: Sealed;
  /** It was done, with this status; the answer is not kept, being too large or a secret that is shown once. */
  readonly withheld?: number;
}

export interface KeptAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string | undefined;
  readonly etag: string | undefined;
}

/** What came of a request. */
export interface Outcome {
  readonly answer: KeptAnswer;
  /** It holds for repetitions. */
  readonly keep: boolean;
  /** It is a secret that is shown once. */
  readonly confidential?: boolean;
}

/** Who asked under which key for what. `request`: everything that makes it this request and no other. */
export interface KeyedRequest {
  readonly caller: string;
  readonly key: string;
  readonly request: string;
}

interface Running {
  readonly request: string;
  readonly answer: Promise<KeptAnswer>;
}

export class KeptRequests {
  readonly #catalog: Catalog;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  readonly #log: Log;
  #purged = 0;
  readonly #running = new Map<string, Running>();
  readonly #ofCaller: (caller: string) => KeptRequestRecord[];

  constructor(catalog: Catalog, box: SecretBox, clock: Clock, log: Log) {
    this.#catalog = catalog;
    this.#box = box;
    this.#clock = clock;
    this.#log = log;
    this.#ofCaller = catalog.requests.index(({ caller }) => [caller]);
  }

  /**
   * The answer to this request: that of `work`, or what was answered when it was sent before. `work` never rejects, and says
   * with `keep` whether its answer holds for repetitions. `repeatable`: what a crash interrupted is done again. Rejects with
   * ServiceError key-reused, outcome-unknown, limit-reached, or when the request cannot be noted; then nothing was done.
   */
  async once(
    { caller, key, request }: KeyedRequest,
    repeatable: boolean,
    work: () => Promise<Outcome>,
  ): Promise<{ answer: KeptAnswer; repeated: boolean }> {
    const id = hash(`${caller}\n${key}`);
    const mac = this.#box.mac(Buffer.from(request), `request ${id}`).toString('hex');
    const running = this.#running.get(id);
    const record = this.#live(id);
    const before = running?.request ?? record?.request;
    if (before !== undefined && before !== mac) {
      throw new ServiceError('key-reused', 'this Idempotency-Key was used for another request');
    }
    if (running !== undefined) return { answer: await running.answer, repeated: true };
    if (record?.answer !== undefined) return { answer: this.#open(id, record.answer), repeated: true };
    if (record !== undefined && (!repeatable || record.withheld !== undefined)) throw unknown(record);
    if (record === undefined) this.#checkRoom(hash(caller));
    const answer = this.#do(id, { caller: hash(caller), request: mac, begun: this.#clock.wall() }, work);
    this.#running.set(id, { request: mac, answer });
    try {
      return { answer: await answer, repeated: false };
    } finally {
      this.#running.delete(id);
    }
  }

  async #do(id: string, record: KeptRequestRecord, work: () => Promise<Outcome>): Promise<KeptAnswer> {
    const { requests } = this.#catalog;
    const expired = this.#expired().filter((old) => old !== id);
    await this.#catalog.apply(...expired.map((old) => requests.edit(old, undefined)), requests.edit(id, record));
    const { answer, keep, confidential = false } = await work();
    try {
      await this.#catalog.apply(requests.edit(id, keep ? this.#answered(id, record, answer, confidential) : undefined));
    } catch (error) {
      // It is done, and its answer has to get out. A repetition will be told that nobody knows.
      this.#log.warn({ error: messageOf(error) }, 'the answer to a request with an idempotency key could not be kept');
    }
    return answer;
  }

  #answered(id: string, record: KeptRequestRecord, answer: KeptAnswer, confidential: boolean): KeptRequestRecord {
    const packed = deflateRawSync(JSON.stringify(answer));
    if (confidential || packed.length > MAX_KEPT_ANSWER) return { ...record, withheld: answer.status };
    return { ...record, answer: this.#box.seal(packed, `answer ${id}`) };
  }

  #open(id: string, sealed: Sealed): KeptAnswer {
    return JSON.parse(inflateRawSync(this.#box.open(sealed, `answer ${id}`)).toString()) as KeptAnswer;
  }

  #live(id: string): KeptRequestRecord | undefined {
    const record = this.#catalog.requests.get(id);
    return record !== undefined && this.#isExpired(record) ? undefined : record;
  }

  #isExpired({ begun }: KeptRequestRecord): boolean {
    return this.#clock.wall() - begun >= KEY_LIFETIME;
  }

  /** From time to time. */
  #expired(): string[] {
    const now = this.#clock.wall();
    if (Math.abs(now - this.#purged) < KEY_PURGE_INTERVAL) return [];
    this.#purged = now;
    const all = this.#catalog.requests;
    const over = all.ids().filter((id) => !this.#running.has(id) && this.#live(id) === undefined);
    // The rest goes with the next request.
    if (over.length > MAX_PURGE) this.#purged = 0;
    return over.slice(0, MAX_PURGE);
  }

  /** Forgetting a key early would let a request be done twice; so new ones are refused instead. */
  #checkRoom(caller: string): void {
    const live = (records: readonly KeptRequestRecord[]): KeptRequestRecord[] =>
      records.filter((record) => !this.#isExpired(record));
    const running = this.#running.size;
    // Most of the time there are few, and nothing has to be counted.
    if (this.#catalog.requests.size + running < MAX_KEYS_OF_CALLER) return;
    if (live(this.#ofCaller(caller)).length + running >= MAX_KEYS_OF_CALLER) {
      throw new ServiceError('limit-reached', `${String(MAX_KEYS_OF_CALLER)} idempotency keys of this caller are kept`);
    }
    if (this.#catalog.requests.size + running < MAX_KEYS) return;
    if (live(this.#catalog.requests.values()).length + running >= MAX_KEYS) {
      throw new ServiceError('limit-reached', `${String(MAX_KEYS)} idempotency keys are kept`);
    }
  }
}

function unknown({ begun, withheld }: KeptRequestRecord): ServiceError {
  const at = new Date(begun).toISOString();
  if (withheld !== undefined) {
    const what = `this request was answered with status ${String(withheld)} at ${at}; its answer is not kept`;
    return new ServiceError('outcome-unknown', what);
  }
  return new ServiceError(
    'outcome-unknown',
    `the daemon ended, or ran out of space, while it did this request of ${at}`,
  );
}

const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
