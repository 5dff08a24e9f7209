// The long work in a pool: space that is given back, one scrub and one check at a time. Jobs (jobs/pool-kinds.ts) begin it.
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import { checkPoolInSteps } from '../pool/check.ts';
import type { CheckResult } from '../pool/check.ts';
import type { Pool, PoolEntry } from '../pool/pool.ts';
import { scrubPool } from '../pool/scrub.ts';
import type { ScrubProgress } from '../pool/scrub.ts';

/** A deleted volume or snapshot whose space comes back. */
export interface DeletionView {
  readonly name: string;
  /** 0 to 1. */
  readonly progress: number;
}

export interface ScrubView {
  readonly state: 'running' | 'done' | 'aborted' | 'failed';
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly damaged: readonly { readonly volume: string; readonly position: number; readonly reason: string }[];
  /** ISO 8601. */
  readonly started: string;
}

export class PoolJobs {
  readonly #name: string;
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #deletions = new Map<PoolEntry, { name: string; progress: number; over: Promise<void> }>();
  #check: { progress: number; aborted: boolean; over: Promise<CheckResult> } | undefined;
  #scrub: { view: ScrubView; aborted: boolean; over: Promise<void> } | undefined;

  constructor(name: string, pool: Pool, clock: Clock, log: Log) {
    this.#name = name;
    this.#pool = pool;
    this.#clock = clock;
    this.#log = log;
  }

  /** Those that have not been finished, also from before a restart. */
  deletions(): DeletionView[] {
    const known = [...this.#deletions.values()].map(({ name, progress }) => ({ name, progress }));
    const earlier = [...this.#pool.entries.values()].filter(
      (entry) => entry.record.deleting && !this.#deletions.has(entry),
    );
    return [...known, ...earlier.map(() => ({ name: '(deleted before the start)', progress: 0 }))];
  }

  /** Gives back the space of what is deleted, and says so under this name. */
  giveBack(entry: PoolEntry, name: string): void {
    const deletion = { name, progress: 0, over: Promise.resolve() };
    this.#deletions.set(entry, deletion);
    const progress = (done: number): void => {
      deletion.progress = done;
    };
    deletion.over = this.#pool
      .finishDelete(entry, progress)
      .catch((error: unknown) => {
        const fields = { pool: this.#name, volume: name, error: messageOf(error) };
        this.#log.error(fields, 'the space of a deleted volume could not be given back; the next start does');
      })
      .finally(() => this.#deletions.delete(entry));
  }

  /** True while the space of this volume or snapshot (by its id) is being given back. */
  freeing(id: string): boolean {
    return [...this.#pool.entries.values()].some(({ record }) => record.deleting && record.tag === id);
  }

  /** How far the space of this volume or snapshot is given back, 0 to 1. */
  freed(id: string): number {
    for (const [{ record }, { progress }] of this.#deletions) if (record.tag === id) return progress;
    return 0;
  }

  /** How far the check is that runs, 0 to 1; undefined: none does. */
  get checking(): number | undefined {
    return this.#check?.progress;
  }

  /**
   * Counts every reference anew and compares, beside what else goes on, until it is over or `stopped`. Who asks while it runs
   * gets the same answer.
   */
  check(stopped = (): boolean => false): Promise<CheckResult> {
    if (this.#check !== undefined) return this.#check.over;
    const job = { progress: 0, aborted: false, over: Promise.resolve({} as CheckResult) };
    this.#check = job;
    const progress = (done: number): void => {
      job.progress = Math.max(job.progress, done);
    };
    const aborted = (): boolean => job.aborted || stopped();
    job.over = checkPoolInSteps(this.#pool, { clock: this.#clock, progress, aborted })
      .catch((error: unknown) => {
        throw new ServiceError('io-error', `pool '${this.#name}' could not be checked: ${messageOf(error)}`);
      })
      .finally(() => (this.#check = undefined));
    return job.over;
  }

  /** The scrub that runs, or ran last. */
  scrub(): ScrubView | undefined {
    return this.#scrub?.view;
  }

  /**
   * Reads everything at `rate` bytes a second until it is over, `stopped`, or the pool is closed. Rejects with in-use while
   * another scrub runs, and with io-error when it cannot go on.
   */
  async runScrub(rate: number, stopped: () => boolean, progress: (view: ScrubView) => void): Promise<ScrubView> {
    if (this.#scrub?.view.state === 'running') {
      throw new ServiceError('in-use', `pool '${this.#name}' is being scrubbed already`);
    }
    const started = new Date(this.#clock.wall()).toISOString();
    const view: ScrubView = { state: 'running', doneBytes: 0, totalBytes: 0, damaged: [], started };
    const job = { view, aborted: false, over: Promise.resolve() };
    this.#scrub = job;
    const note = (seen: ScrubProgress, state: ScrubView['state']): void => {
      const damaged = seen.damaged.map((each) => ({ ...each, volume: this.#pool.nameOf(each.volume) }));
      job.view = { ...job.view, ...seen, damaged, state };
      progress(job.view);
    };
    const aborted = (): boolean => job.aborted || stopped();
    const running = scrubPool(this.#pool, {
      rate,
      clock: this.#clock,
      progress: (seen) => {
        note(seen, 'running');
      },
      aborted,
    });
    job.over = running.then(
      (seen) => {
        note(seen, aborted() ? 'aborted' : 'done');
      },
      () => {
        job.view = { ...job.view, state: 'failed' };
      },
    );
    await job.over;
    await running.catch((error: unknown) => {
      throw new ServiceError('io-error', `pool '${this.#name}' could not be scrubbed: ${messageOf(error)}`);
    });
    return job.view;
  }

  /** The pool is about to be closed. Deletions end by themselves then and go on when it is opened. */
  async stop(): Promise<void> {
    if (this.#check !== undefined) {
      this.#check.aborted = true;
      await this.#check.over.catch(() => undefined);
    }
    if (this.#scrub === undefined) return;
    this.#scrub.aborted = true;
    await this.#scrub.over;
  }
}
