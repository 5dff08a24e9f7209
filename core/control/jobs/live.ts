import { Turn } from '../../base/turn.ts';
import { isOver } from './job.ts';
import type { JobRecord, JobView, Step } from './job.ts';
import { reportedDoing } from './reported.ts';

/** A job this process works on: its journal, and how far the step is that runs. */
export class LiveJob {
  record: JobRecord;
  readonly steps: readonly Step<never>[];
  over: Promise<void> = Promise.resolve();
  /** 0 to 1 of the step that runs, and what it does. */
  share = 0;
  doing: string;
  /** Why the journal cannot be written now. */
  stuck: string | undefined;
  readonly #put: (next: JobRecord) => Promise<void>;
  readonly #turn = new Turn();
  /** When this process began, and how much had been done then. */
  readonly #since: number;
  readonly #base: number;
  #told = -Infinity;

  constructor(record: JobRecord, steps: readonly Step<never>[], now: number, put: (next: JobRecord) => Promise<void>) {
    this.record = record;
    this.steps = steps;
    this.#put = put;
    this.#since = now;
    this.#base = progressOf(record, steps, 0);
    this.doing = steps[0]?.name ?? '';
  }

  /** Journals what `change` makes of the record; one after the other. */
  change(change: (record: JobRecord) => JobRecord): Promise<void> {
    return this.#turn.run(async () => {
      const next = change(this.record);
      await this.#put(next);
      this.record = next;
    });
  }

  begin(step: Step<never>, now: number): void {
    this.share = 0;
    this.doing = step.name;
    this.#told = now;
  }

  undoing(step: Step<never>): void {
    this.share = 0;
    this.doing = `undoing: ${step.name}`;
  }

  /** The step has got so far. True: it is time to tell others, who are told every `interval` milliseconds. */
  note(share: number, doing: string | undefined, now: number, interval: number): boolean {
    this.share = Math.min(Math.max(share, this.share), 1);
    if (doing !== undefined) this.doing = doing;
    if (now - this.#told < interval) return false;
    this.#told = now;
    return true;
  }

  /** It is over, cannot go on now, or is at something that nobody has to wait for. */
  get settled(): boolean {
    const at = this.record.steps.findIndex(({ state }) => state === 'running');
    return isOver(this.record) || this.stuck !== undefined || this.steps[at]?.background === true;
  }

  /** It is not over, and what it is at, or is to begin with next, is not something that nothing depends on. */
  get changes(): boolean {
    const next = this.record.steps.findIndex(({ state }) => state !== 'done');
    return !isOver(this.record) && (this.record.state === 'undoing' || this.steps[next]?.background !== true);
  }

  get progress(): number {
    return progressOf(this.record, this.steps, this.share);
  }

  /** Seconds to go at the speed so far; null: cannot be told yet. */
  eta(now: number): number | null {
    const { progress } = this;
    const gained = progress - this.#base;
    if (this.record.state !== 'running' || gained <= 0 || now <= this.#since) return null;
    return Math.round((((now - this.#since) / gained) * (1 - progress)) / 1000);
  }
}

function progressOf(record: JobRecord, steps: readonly Step<never>[], share: number): number {
  const weights = record.steps.map((_, i) => steps[i]?.weight ?? 1);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (record.state === 'done' || total === 0) return 1;
  const part = (i: number): number => {
    const state = record.steps[i]?.state;
    return state === 'done' ? 1 : state === 'running' ? share : 0;
  };
  return weights.reduce((sum, weight, i) => sum + weight * part(i), 0) / total;
}

/** A job for people. `live`: as this process works on it; `now` and `wall`: of the clock. */
export function viewOf(
  record: JobRecord,
  cancellable: boolean,
  live: LiveJob | undefined,
  now: number,
  wall: number,
): JobView {
  const running = !isOver(record);
  const { reported } = record;
  const doing = reported === undefined ? (live?.doing ?? 'waiting') : reportedDoing(record, wall);
  return {
    id: record.id,
    kind: record.kind,
    title: record.title,
    object: record.object,
    state: record.state,
    progress: live?.progress ?? progressOf(record, [], 0),
    doing: running ? doing : null,
    etaSeconds: running ? (live?.eta(now) ?? null) : null,
    cancellable: (reported?.cancellable ?? cancellable) && record.state === 'running',
    cancelling: running && record.cancelling === true,
    steps: record.steps.map(({ name, state, error }) => ({ name, state, error: error ?? null })),
    error: record.error ?? null,
    notUndone: record.steps
      .filter(({ state }) => state === 'not-undone')
      .map(({ name, error }) => ({ step: name, error: error ?? '' })),
    result: record.result ?? null,
    key: record.key ?? null,
    reported:
      reported === undefined
        ? null
        : { host: reported.host, by: reported.by, heard: new Date(reported.heard).toISOString() },
    created: new Date(record.created).toISOString(),
    ended: record.ended === undefined ? null : new Date(record.ended).toISOString(),
  };
}
