// A job: steps that are done one after the other, each journaled before the next, and undone in reverse when one fails.
import type { Json } from '../../cluster/config-store.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { EventObject } from '../events.ts';

/** `running` and `undoing` go on after a restart; the others are over. */
export type JobState = 'running' | 'undoing' | 'done' | 'failed' | 'cancelled';

export interface StepRecord {
  readonly name: string;
  /** `running`: begun, nobody knows how far. `failed`: it failed and has not been undone (yet, or because nothing can be). */
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'undone' | 'not-undone';
  /** What the step gave; later steps and undo get it. */
  readonly result?: Json;
  /** Why it failed, or could not be undone. */
  readonly error?: string;
}

/** A job as the catalog keeps it: its journal. */
export interface JobRecord {
  /** 16 random hexadecimal digits. */
  readonly id: string;
  readonly kind: string;
  /** What it is for, in words. */
  readonly title: string;
  readonly object: EventObject;
  /** What was asked, completed; secrets in it are sealed. */
  readonly request: Json;
  /** Of whoever asked: the same key with the same request is the same job. */
  readonly key?: string;
  /** Keyed hash of kind and request as they were asked (SecretBox.mac), hexadecimal. */
  readonly digest: string;
  readonly state: JobState;
  readonly steps: readonly StepRecord[];
  /** Somebody wants it to stop. */
  readonly cancelling?: boolean;
  /** It is done elsewhere (reported.ts): on which host, who tells of it, and when that was last (milliseconds since 1970). */
  readonly reported?: {
    readonly host: string;
    readonly by: string;
    readonly cancellable: boolean;
    readonly heard: number;
  };
  /** Why it failed. */
  readonly error?: { readonly code: ErrorCode; readonly message: string };
  /** What the last step gave. */
  readonly result?: Json;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly ended?: number;
}

/** Thrown by StepContext.checkpoint: the step ends here because the job is to stop, or the daemon is. */
export class JobStopped extends Error {
  constructor() {
    super('stopped');
    this.name = 'JobStopped';
  }
}

export interface StepContext<R> {
  readonly id: string;
  readonly request: R;
  /** What the step with this name gave; undefined: nothing, or it was not done. */
  readonly result: (step: string) => Json | undefined;
  /** True when the work should end soon: somebody cancelled the job, or the daemon stops. */
  readonly stopped: () => boolean;
  /** Throws JobStopped when stopped(). */
  readonly checkpoint: () => void;
  /** 0 to 1 of this step, and what is being done. */
  readonly progress: (share: number, doing?: string) => void;
}

export interface Step<R> {
  readonly name: string;
  /** Its part of the work, compared with the other steps; 1 when absent. */
  readonly weight?: number;
  /** Takes its time, and nothing else depends on it: a start need not wait for it. */
  readonly background?: boolean;
  /**
   * A crash may come at any moment, so it may have been done before, whole or in part: then it goes on. Rejects with a
   * ServiceError when it cannot be done.
   */
  readonly do: (context: StepContext<R>) => Promise<Json | undefined>;
  /** Takes back what do() did, all of it, a part, or nothing. Absent: there is nothing to take back. */
  readonly undo?: (context: StepContext<R>) => Promise<void>;
}

/** `R`: the request as the journal keeps it; `A`: as it is asked. */
export interface JobKind<R extends object = object, A extends object = R> {
  readonly kind: string;
  /** What happens after a crash in the middle. */
  readonly resume: 'continue' | 'undo';
  /** False: once begun it goes on to its end. */
  readonly cancellable: boolean;
  readonly title: (request: R) => string;
  readonly object: (request: R) => EventObject;
  /** Completes a request: fixes what must not change when a step is repeated, seals secrets. Throws ServiceError to refuse. */
  readonly prepare: (asked: A) => R | Promise<R>;
  readonly steps: (request: R) => readonly Step<R>[];
}

/** As Jobs keeps kinds: it gives each only what the same kind has made. */
export type AnyKind = JobKind<never, never>;

export const jobKind = <R extends object, A extends object = R>(kind: JobKind<R, A>): AnyKind =>
  kind as unknown as AnyKind;

export const isOver = ({ state }: Pick<JobRecord, 'state'>): boolean => state !== 'running' && state !== 'undoing';

export interface JobView {
  readonly id: string;
  readonly kind: string;
  readonly title: string;
  readonly object: EventObject;
  readonly state: JobState;
  /** 0 to 1; while it is undone, of what there is to undo. */
  readonly progress: number;
  /** What is being done now; null when it is over. */
  readonly doing: string | null;
  /** Seconds until it is over, when that can be told. */
  readonly etaSeconds: number | null;
  readonly cancellable: boolean;
  readonly cancelling: boolean;
  readonly steps: readonly { readonly name: string; readonly state: string; readonly error: string | null }[];
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Steps that could not be undone, with the reason: somebody has to look. */
  readonly notUndone: readonly { readonly step: string; readonly error: string }[];
  readonly result: Json;
  readonly key: string | null;
  /** Where it is done, who tells of it, and when that was last, when this daemon does not do it itself. */
  readonly reported: { readonly host: string; readonly by: string; readonly heard: string } | null;
  /** ISO 8601. */
  readonly created: string;
  readonly ended: string | null;
}
