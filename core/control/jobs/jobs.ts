// Runs jobs: journals every step, goes on or takes back after a crash, stops when asked, keeps what is over for a while.
import type { Json } from '../../cluster/config-store.ts';
import { ServiceError, messageOf } from '../../base/errors.ts';
import {
  JOB_RESUME,
  JOB_RETENTION,
  JOB_RETRY,
  JOB_TELL,
  MAX_FINISHED_JOBS,
  MAX_JOB_KEY,
  MAX_OPEN_JOBS,
  MAX_PURGE,
  MAX_REPORTED_JOBS,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { World } from '../../base/world.ts';
import type { Catalog } from '../catalog.ts';
import type { Edit } from '../collection.ts';
import type { Events } from '../events.ts';
import { printable } from '../names.ts';
import type { SecretBox } from '../secret-box.ts';
import { JobStopped, isOver } from './job.ts';
import type { AnyKind, JobRecord, JobState, JobView, Step, StepContext, StepRecord } from './job.ts';
import { LiveJob, viewOf } from './live.ts';
import { reportedRecord } from './reported.ts';
import type { JobReport } from './reported.ts';

export interface JobsOptions {
  readonly catalog: Catalog;
  readonly events: Events;
  readonly box: SecretBox;
  readonly world: World;
  readonly log: Log;
}

export interface JobFilter {
  readonly state?: JobState | undefined;
  readonly kind?: string | undefined;
  /** Name of what it is about. */
  readonly name?: string | undefined;
}

export class Jobs {
  readonly #options: JobsOptions;
  readonly #kinds = new Map<string, AnyKind>();
  readonly #live = new Map<string, LiveJob>();
  readonly #watchers = new Set<(view: JobView) => void>();
  readonly #turn = new Turn();
  #stopping = false;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  register(kinds: readonly AnyKind[]): void {
    for (const kind of kinds) this.#kinds.set(kind.kind, kind);
  }

  /**
   * Begins a job; durable when it resolves. With a `key` that was used before: the job of then, if the request is the same,
   * else bad-request. Rejects with what the kind says against the request, or limit-reached.
   */
  submit(kindName: string, asked: object, key?: string): Promise<JobRecord> {
    return this.#turn.run(async () => {
      const { catalog, box, world } = this.#options;
      if (this.#stopping) throw new ServiceError('daemon-unreachable', 'the daemon is stopping');
      const kind = this.#kinds.get(kindName);
      if (kind === undefined) throw new ServiceError('bad-request', `there are no jobs '${printable(kindName)}'`);
      const text = canonical([kindName, asked as Json]);
      const digest = box.mac(Buffer.from(text), 'job request').toString('hex');
      if (key !== undefined) {
        if (key.length === 0 || key.length > MAX_JOB_KEY) throw new ServiceError('bad-request', 'not a request key');
        const before = catalog.jobs.values().find((job) => job.key === key);
        if (before?.digest === digest) return before;
        if (before !== undefined) {
          throw new ServiceError('key-reused', `the key '${printable(key)}' was used for another request`);
        }
      }
      const open = this.#open().length;
      if (open >= MAX_OPEN_JOBS) throw new ServiceError('limit-reached', `${String(open)} jobs are running`);
      const request = await kind.prepare(asked as never);
      const record: JobRecord = {
        id: world.random.bytes(8).toString('hex'),
        kind: kindName,
        title: kind.title(request),
        object: kind.object(request),
        request: request,
        ...(key === undefined ? {} : { key }),
        digest,
        state: 'running',
        steps: kind.steps(request).map(({ name }) => ({ name, state: 'waiting' })),
        created: world.clock.wall(),
      };
      await catalog.apply(catalog.jobs.edit(record.id, record), ...this.#outdated());
      this.#start(record);
      return record;
    });
  }

  /**
   * Keeps what `by` tells of a job that is done elsewhere; durable when it resolves. Rejects with exists when the job of this id is the
   * daemon's own, or another one, bad-request for a kind of its own, limit-reached.
   */
  report(id: string, report: JobReport, by: string): Promise<JobRecord> {
    return this.#turn.run(async () => {
      const { catalog, world } = this.#options;
      const before = catalog.jobs.get(id);
      if (before !== undefined && before.reported === undefined) {
        throw new ServiceError('exists', `job ${id} is one of this daemon's own`);
      }
      // By whom is no matter: the agent goes on, with a token of its own, with what people have begun.
      if (before !== undefined && (before.kind !== report.kind || before.reported?.host !== report.host)) {
        throw new ServiceError('exists', `job ${id} is '${before.title}' on host ${before.reported?.host ?? ''}`);
      }
      if (this.#kinds.has(report.kind)) {
        throw new ServiceError('bad-request', `jobs '${printable(report.kind)}' are the daemon's own`);
      }
      const open = catalog.jobs.values().filter((job) => job.reported !== undefined && !isOver(job) && job.id !== id);
      const isNew = before === undefined || isOver(before);
      // One that is over by now is told of once, and takes no place.
      if (open.length >= MAX_REPORTED_JOBS && isNew && !isOver(report)) {
        throw new ServiceError('limit-reached', `${String(open.length)} jobs are being done elsewhere`);
      }
      const record = reportedRecord(id, report, by, before, world.clock.wall());
      await catalog.apply(catalog.jobs.edit(id, record), ...this.#outdated(id));
      if (isOver(record) && (before === undefined || !isOver(before))) this.#finished(record);
      this.#tell(record);
      return record;
    });
  }

  /** Throws ServiceError not-found. */
  get(id: string): JobRecord {
    const record = this.#options.catalog.jobs.get(id);
    if (record === undefined) throw new ServiceError('not-found', `there is no job '${printable(id)}'`);
    return record;
  }

  /** Newest first. */
  list({ state, kind, name }: JobFilter = {}): JobRecord[] {
    const fits = (job: JobRecord): boolean =>
      (state === undefined || job.state === state) &&
      (kind === undefined || job.kind === kind) &&
      (name === undefined || job.object.name === name);
    return this.#options.catalog.jobs
      .values()
      .filter(fits)
      .sort((a, b) => b.created - a.created);
  }

  /** True while a job changes what is called `name`; its long steps that nothing depends on do not count. */
  isChanging(kind: string, name: string): boolean {
    return [...this.#live.values()].some(
      ({ record, changes }) => changes && record.object.kind === kind && record.object.name === name,
    );
  }

  view(record: JobRecord): JobView {
    const cancellable = this.#kinds.get(record.kind)?.cancellable === true;
    const { clock } = this.#options.world;
    return viewOf(record, cancellable, this.#live.get(record.id), clock.now(), clock.wall());
  }

  /** Calls `listener` when a job changes or gets on (a few times a second at most). Returns the function that ends it. */
  watch(listener: (view: JobView) => void): () => void {
    this.#watchers.add(listener);
    return () => {
      this.#watchers.delete(listener);
    };
  }

  /** Wants the job to stop and to take back what it did. Rejects with in-use when it cannot, not-found when it is over. */
  async cancel(id: string): Promise<JobRecord> {
    const record = this.get(id);
    if (record.reported !== undefined && !isOver(record)) return this.#cancelElsewhere(record.reported, id);
    const live = this.#live.get(id);
    if (isOver(record) || live === undefined) throw new ServiceError('not-found', `job ${id} is over`);
    if (this.#kinds.get(record.kind)?.cancellable !== true) {
      throw new ServiceError('bad-request', `a job '${record.kind}' goes on to its end`);
    }
    if (record.state === 'running') await live.change((latest) => ({ ...latest, cancelling: true }));
    return this.get(id);
  }

  /** Whoever does it is told when he tells of it next. */
  #cancelElsewhere({ host, cancellable }: NonNullable<JobRecord['reported']>, id: string): Promise<JobRecord> {
    if (!cancellable) throw new ServiceError('bad-request', `host ${host} goes on with it to its end`);
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      const latest = this.get(id);
      if (latest.state !== 'running') return latest;
      const record = { ...latest, cancelling: true };
      await catalog.apply(catalog.jobs.edit(id, record));
      this.#tell(record);
      return record;
    });
  }

  /** Resolves when `reached` holds, when the job is over, or after `ms` milliseconds; with the job as it is then. */
  async wait(id: string, ms = Infinity, reached: (record: JobRecord) => boolean = isOver): Promise<JobRecord> {
    const first = this.get(id);
    const { clock } = this.#options.world;
    if (reached(first) || isOver(first) || (!this.#live.has(id) && first.reported === undefined)) return first;
    return new Promise((resolve) => {
      const timer =
        ms === Infinity
          ? undefined
          : clock.after(ms, () => {
              finish();
            });
      const end = this.watch((view) => {
        const now = this.#options.catalog.jobs.get(id);
        if (view.id === id && (now === undefined || reached(now) || isOver(now) || this.#stopping)) finish();
      });
      const finish = (): void => {
        timer?.cancel();
        end();
        resolve(this.#options.catalog.jobs.get(id) ?? first);
      };
    });
  }

  /** Submits, and waits until `step` is done. Rejects with why the job failed. */
  async through(kind: string, asked: object, step: string): Promise<JobRecord> {
    const { id } = await this.submit(kind, asked);
    const done = ({ steps }: JobRecord): boolean => steps.find(({ name }) => name === step)?.state === 'done';
    const stuck = (): string | undefined => this.#live.get(id)?.stuck;
    const record = await this.wait(id, Infinity, (each) => done(each) || stuck() !== undefined);
    const why = stuck();
    if (why !== undefined && !done(record)) {
      throw new ServiceError('no-space', `${record.title}: ${why}; it goes on later (the next start tries again)`);
    }
    if (record.error !== undefined && !done(record)) throw new ServiceError(record.error.code, record.error.message);
    return record;
  }

  /**
   * Goes on with what an earlier run of the daemon did not finish. Resolves when all of it that is quick is done, so that what
   * was half deleted or half made is not seen any more.
   */
  async resume(): Promise<void> {
    const open = this.#open();
    for (const record of open) this.#start(record);
    const settled = ({ id }: JobRecord): boolean => this.#live.get(id)?.settled !== false;
    await Promise.all(open.map(({ id }) => this.wait(id, JOB_RESUME, settled)));
  }

  /** Long steps stop where they are; they go on at the next start. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const live of this.#live.values()) this.#tell(live.record);
    // Whoever waits for one that is done elsewhere would wait on.
    for (const record of this.list()) if (record.reported !== undefined && !isOver(record)) this.#tell(record);
    await this.#turn.run(() => Promise.resolve());
    await Promise.all([...this.#live.values()].map((live) => live.over));
  }

  /** What is not over and this daemon's to do. */
  #open(): JobRecord[] {
    return this.#options.catalog.jobs.values().filter((job) => !isOver(job) && job.reported === undefined);
  }

  // ---- running

  #start(record: JobRecord): void {
    const kind = this.#kinds.get(record.kind);
    const steps = kind?.steps(record.request as never) ?? [];
    const { catalog, world } = this.#options;
    const put = async (next: JobRecord): Promise<void> => {
      const over = isOver(next);
      await catalog.apply(catalog.jobs.edit(next.id, next), ...(over ? this.#outdated() : []));
    };
    const live = new LiveJob(record, steps, world.clock.now(), put);
    this.#live.set(record.id, live);
    live.over = this.#run(live).finally(() => {
      this.#live.delete(record.id);
      this.#tell(this.#options.catalog.jobs.get(record.id) ?? live.record);
    });
  }

  async #run(live: LiveJob): Promise<void> {
    const { log } = this.#options;
    for (let interrupted = live.record.steps.some(({ state }) => state !== 'waiting'); ; interrupted = true) {
      try {
        await this.#attempt(live, interrupted);
        return;
      } catch (error) {
        if (error instanceof JobStopped) return;
        // The journal could not be written: as after a crash, the job is what the catalog says.
        log.error({ job: live.record.id, error: messageOf(error) }, 'the journal of a job could not be written');
        live.stuck = messageOf(error);
        this.#tell(live.record);
        if (!(await this.#pause())) return;
        live.stuck = undefined;
        live.record = this.#options.catalog.jobs.get(live.record.id) ?? live.record;
      }
    }
  }

  async #attempt(live: LiveJob, interrupted: boolean): Promise<void> {
    const kind = this.#kinds.get(live.record.kind);
    if (kind === undefined) {
      const message = `this version does not know jobs '${live.record.kind}'`;
      await this.#put(live, (record) => ({ ...record, state: 'failed', error: { code: 'internal', message } }));
      return;
    }
    if (interrupted && live.record.state === 'running' && kind.resume === 'undo') {
      const error = { code: 'interrupted', message: 'the daemon ended in the middle of it' } as const;
      await this.#put(live, (record) => ({ ...record, state: 'undoing', error }));
    }
    if (live.record.state === 'running') await this.#forward(live);
    if (live.record.state === 'undoing') await this.#backward(live);
  }

  async #forward(live: LiveJob): Promise<void> {
    for (const [i, step] of live.steps.entries()) {
      if (live.record.steps[i]?.state === 'done') continue;
      if (this.#stopping) throw new JobStopped();
      if (live.record.cancelling === true) {
        await this.#put(live, (record) => ({ ...record, state: 'undoing' }));
        return;
      }
      live.begin(step, this.#options.world.clock.now());
      await this.#put(live, (record) => withStep(record, i, { name: step.name, state: 'running' }));
      let result: Json | undefined;
      try {
        result = await step.do(this.#context(live));
      } catch (error) {
        if (error instanceof JobStopped && this.#isStopping() && !isCancelling(live)) throw error;
        await this.#put(live, (record) => failed(record, i, error));
        return;
      }
      const last = i === live.steps.length - 1;
      const given = result === undefined ? {} : { result };
      await this.#put(live, (record) => {
        const next = withStep(record, i, { name: step.name, state: 'done', ...given });
        return last ? { ...next, state: 'done', ...given, ended: this.#options.world.clock.wall() } : next;
      });
    }
  }

  async #backward(live: LiveJob): Promise<void> {
    for (let i = live.steps.length - 1; i >= 0; i--) {
      const step = live.steps[i] as Step<never>;
      const before = live.record.steps[i];
      if (before === undefined || !['done', 'running', 'failed'].includes(before.state)) continue;
      if (step.undo === undefined) continue;
      if (this.#stopping) throw new JobStopped();
      live.undoing(step);
      this.#tell(live.record);
      let after: StepRecord = { ...before, state: 'undone' };
      try {
        await step.undo(this.#context(live));
      } catch (error) {
        after = { ...before, state: 'not-undone', error: messageOf(error) };
      }
      await this.#put(live, (record) => withStep(record, i, after));
    }
    await this.#put(live, (record) => {
      const state = record.error === undefined ? 'cancelled' : 'failed';
      return { ...record, state, ended: this.#options.world.clock.wall() };
    });
  }

  #context(live: LiveJob): StepContext<never> {
    const stopped = (): boolean => this.#stopping || live.record.cancelling === true;
    return {
      id: live.record.id,
      request: live.record.request as never,
      result: (step) => live.record.steps.find(({ name }) => name === step)?.result,
      stopped,
      checkpoint: () => {
        if (stopped()) throw new JobStopped();
      },
      progress: (share, doing) => {
        const now = this.#options.world.clock.now();
        if (live.note(share, doing, now, JOB_TELL)) this.#tell(live.record);
      },
    };
  }

  async #put(live: LiveJob, change: (record: JobRecord) => JobRecord): Promise<void> {
    await live.change(change);
    if (isOver(live.record)) this.#finished(live.record);
    this.#tell(live.record);
  }

  #isStopping(): boolean {
    return this.#stopping;
  }

  #tell(record: JobRecord): void {
    if (this.#watchers.size === 0) return;
    const view = this.view(record);
    for (const watcher of [...this.#watchers]) watcher(view);
  }

  #finished(record: JobRecord): void {
    const { events } = this.#options;
    const { title, object, steps, error } = record;
    const stuck = steps.filter(({ state }) => state === 'not-undone');
    for (const step of stuck) {
      const text = `${title}: '${step.name}' could not be undone: ${step.error ?? ''}`;
      events.post({ severity: 'critical', code: 'job-not-undone', object, text });
    }
    if (record.state === 'failed') {
      events.post({ severity: 'error', code: 'job-failed', object, text: `${title}: ${error?.message ?? 'failed'}` });
    } else if (record.state === 'cancelled') {
      events.post({ severity: 'info', code: 'job-cancelled', object, text: `${title}: cancelled` });
    } else this.#options.log.info({ job: record.id, kind: record.kind }, `${title}: done`);
  }

  /** Removals of what is over for too long, or too many; `but`: of which something is told just now. */
  #outdated(but?: string): Edit[] {
    const { catalog, world } = this.#options;
    const old = world.clock.wall() - JOB_RETENTION;
    // One that is done elsewhere, and of which nobody has told anything for so long, nobody goes on with.
    const all = this.list().filter((job) => isOver(job) || (job.reported?.heard ?? Infinity) < old);
    return all
      .filter(({ id }) => id !== but)
      .filter((job, i) => i >= MAX_FINISHED_JOBS || (job.ended ?? job.reported?.heard ?? job.created) < old)
      .slice(-MAX_PURGE)
      .map((job) => catalog.jobs.edit(job.id, undefined));
  }

  /** False: the daemon stops. */
  async #pause(): Promise<boolean> {
    const { clock } = this.#options.world;
    for (let waited = 0; waited < JOB_RETRY && !this.#stopping; waited += JOB_TELL) {
      await new Promise<void>((resolve) => clock.after(JOB_TELL, resolve));
    }
    return !this.#stopping;
  }
}

const isCancelling = ({ record }: LiveJob): boolean => record.cancelling === true;

function withStep(record: JobRecord, index: number, step: StepRecord): JobRecord {
  return { ...record, steps: record.steps.map((each, i) => (i === index ? step : each)) };
}

/** The step has failed, or (JobStopped) ended because the job is cancelled. */
function failed(record: JobRecord, index: number, thrown: unknown): JobRecord {
  const { name } = record.steps[index] as StepRecord;
  if (thrown instanceof JobStopped) return { ...record, state: 'undoing' };
  const code = thrown instanceof ServiceError ? thrown.code : 'internal';
  const message = messageOf(thrown);
  return {
    ...withStep(record, index, { name, state: 'failed', error: message }),
    state: 'undoing',
    error: { code, message },
  };
}

/** JSON with the members of objects in order of name: equal requests have equal text. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map((each: Json) => canonical(each)).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value as Record<string, Json | undefined>)
    .filter((entry): entry is [string, Json] => entry[1] !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join(',')}}`;
}
