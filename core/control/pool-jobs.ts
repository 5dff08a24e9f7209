// What goes on in a pool in the background: space that is given back, one scrub and one check at a time.
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

  /** How far the check is that runs, 0 to 1; undefined: none does. */
  get checking(): number | undefined {
    return this.#check?.progress;
  }

  /** Counts every reference anew and compares, beside what else goes on. Who asks while it runs gets the same answer. */
  check(): Promise<CheckResult> {
    if (this.#check !== undefined) return this.#check.over;
    const job = { progress: 0, aborted: false, over: Promise.resolve({} as CheckResult) };
    this.#check = job;
    const progress = (done: number): void => {
      job.progress = Math.max(job.progress, done);
    };
    job.over = checkPoolInSteps(this.#pool, { clock: this.#clock, progress, aborted: () => job.aborted })
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

  /** Reads everything at `rate` bytes a second. Throws ServiceError in-use while a scrub runs. */
  startScrub(rate: number): ScrubView {
    if (this.#scrub?.view.state === 'running') {
      throw new ServiceError('in-use', `pool '${this.#name}' is being scrubbed already`);
    }
    const started = new Date(this.#clock.wall()).toISOString();
    const view: ScrubView = { state: 'running', doneBytes: 0, totalBytes: 0, damaged: [], started };
    const job = { view, aborted: false, over: Promise.resolve() };
    this.#scrub = job;
    const note = (progress: ScrubProgress, state: ScrubView['state']): void => {
      const damaged = progress.damaged.map((each) => ({ ...each, volume: this.#pool.nameOf(each.volume) }));
      job.view = { ...job.view, ...progress, damaged, state };
    };
    const running = scrubPool(this.#pool, {
      rate,
      clock: this.#clock,
      progress: (progress) => {
        note(progress, 'running');
      },
      aborted: () => job.aborted,
    });
    job.over = running.then(
      (progress) => {
        note(progress, job.aborted ? 'aborted' : 'done');
        const fields = { pool: this.#name, bytes: progress.doneBytes, damaged: progress.damaged.length };
        if (progress.damaged.length > 0) this.#log.error(fields, 'scrub found damaged blocks');
        else this.#log.info(fields, job.aborted ? 'scrub was stopped' : 'scrub found no damage');
      },
      (error: unknown) => {
        job.view = { ...job.view, state: 'failed' };
        this.#log.error({ pool: this.#name, error: messageOf(error) }, 'scrub failed');
      },
    );
    return job.view;
  }

  /** Throws ServiceError not-found when none runs. Resolves when it is over. */
  async stopScrub(): Promise<ScrubView> {
    const job = this.#scrub;
    if (job?.view.state !== 'running') {
      throw new ServiceError('not-found', `pool '${this.#name}' is not being scrubbed`);
    }
    job.aborted = true;
    await job.over;
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
