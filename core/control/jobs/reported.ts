// Jobs that somebody else does and tells of: a flow on a hypervisor's host that this daemon cannot reach. It keeps what it was told, shows
// it among its own, and passes on that somebody wants one to stop; it neither goes on with one nor takes anything back.
import { JOB_SILENCE } from '../../base/limits.ts';
import type { EventObject } from '../events.ts';
import { isOver } from './job.ts';
import type { JobRecord, JobState, StepRecord } from './job.ts';

/** What is told of a job, all of it each time. */
export interface JobReport {
  readonly kind: string;
  readonly title: string;
  readonly object: EventObject;
  /** Where it is done. */
  readonly host: string;
  /** Whoever does it looks whether it is to stop. */
  readonly cancellable: boolean;
  readonly state: JobState;
  readonly steps: readonly StepRecord[];
  readonly error?: { readonly message: string } | undefined;
}

/** As it is shown: what others tell may have anything in it that a terminal obeys (errors of libvirt, names of machines). */
const clean = (text: string): string => text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');

/** The record of it. `by`: who says so; `before`: what was known; `now`: milliseconds since 1970. */
export function reportedRecord(
  id: string,
  report: JobReport,
  by: string,
  before: JobRecord | undefined,
  now: number,
): JobRecord {
  const { kind, object, host, cancellable, state, error } = report;
  const steps = report.steps.map(({ name, error: why, ...rest }): StepRecord => ({
    ...{ ...rest, name: clean(name) },
    ...(why === undefined ? {} : { error: clean(why) }),
  }));
  return {
    id,
    kind,
    title: clean(report.title),
    object: { kind: clean(object.kind), name: clean(object.name) },
    request: {},
    digest: '',
    state,
    steps,
    reported: { host, by, cancellable, heard: now },
    ...(before?.cancelling === true && !isOver(report) ? { cancelling: true } : {}),
    ...(error === undefined ? {} : { error: { code: 'hypervisor-refused', message: clean(error.message) } }),
    created: before?.created ?? now,
    ...(isOver(report) ? { ended: before?.ended ?? now } : {}),
  };
}

/** What a job that is not over is at, for people. `now`: milliseconds since 1970. */
export function reportedDoing({ state, steps, reported }: JobRecord, now: number): string {
  const step = steps.find((each) => each.state === 'running') ?? steps.findLast((each) => each.state === 'failed');
  const at = `${state === 'undoing' ? 'undoing: ' : ''}${step?.name ?? 'waiting'}`;
  const silent = reported === undefined ? 0 : now - reported.heard;
  if (silent < JOB_SILENCE) return at;
  const minutes = String(Math.floor(silent / 60_000));
  return `${at}; nothing heard from ${reported?.host ?? ''} for ${minutes} min: its agent goes on with it when it runs`;
}
