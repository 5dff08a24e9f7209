// Steps one after the other; when one fails, those before it are undone in reverse. What was done is in a journal, so that
// a flow whose process died is finished, or taken back, by whoever runs it again.
import { ServiceError, messageOf } from '../../core/base/errors.ts';

/** One step. Both parts may run again after a crash: they have to find out what is done already. `S`: JSON. */
export interface FlowStep<S> {
  readonly name: string;
  /** Returns the state for the steps behind it. What lasts looks at `signal`: who aborts the flow would wait for its end. */
  readonly do: (state: S, signal?: AbortSignal) => Promise<S>;
  readonly undo?: (state: S) => Promise<void>;
  /** It changes nothing: when it is the first to fail, all is as before. */
  readonly looks?: boolean;
}

/** What a journal keeps of a flow. JSON. */
export interface FlowRecord<S> {
  /** What was asked for: the same key with something else is a mistake. */
  readonly request: string;
  /** The step that is under way, or (undoing) the one to be undone next. */
  readonly step: number;
  readonly state: S;
  /** Why it is being undone; undefined: it is not. */
  readonly failure?: { readonly step: string; readonly message: string };
  readonly notUndone: readonly NotUndone[];
  readonly done: boolean;
}

/** Something a failed flow has left. */
export interface NotUndone {
  readonly step: string;
  readonly reason: string;
}

/** A step, for whoever shows flows. */
export interface FlowStepInfo {
  readonly name: string;
  readonly undoes: boolean;
}

/** Where flows are remembered, by request key. save() is durable when it resolves. */
export interface FlowJournal<S> {
  /** Told what the steps are, before anything else. */
  readonly begins?: (steps: readonly FlowStepInfo[]) => void;
  load(key: string): Promise<FlowRecord<S> | undefined>;
  save(key: string, record: FlowRecord<S>): Promise<void>;
}

/** The flow has been undone, but for what `notUndone` names. */
export class FlowFailed extends Error {
  readonly step: string;
  readonly notUndone: readonly NotUndone[];
  /** It stopped in the middle, and goes on there under the same key. */
  readonly stopped: boolean;
  /** What the flow knew when it failed. */
  readonly state: unknown;

  constructor(
    step: string,
    message: string,
    notUndone: readonly NotUndone[],
    options?: ErrorOptions & { readonly stopped?: boolean; readonly state?: unknown },
  ) {
    const rest = notUndone.map((each) => `${each.step} (${each.reason})`).join('; ');
    super(`${step}: ${message}${rest === '' ? '' : `. Not undone: ${rest}`}`, options);
    this.name = 'FlowFailed';
    this.step = step;
    this.notUndone = notUndone;
    this.stopped = options?.stopped ?? false;
    this.state = options?.state;
  }
}

export interface FlowOptions<S> {
  /** Whoever uses it again, with the same request, gets the same outcome. */
  readonly key: string;
  readonly request: string;
  readonly journal: FlowJournal<S>;
  readonly progress?: (step: string, share: number) => void;
  /** Aborting it undoes what was done. */
  readonly signal?: AbortSignal;
  /** Nothing is undone: it goes on with the step that failed when it is run again. For taking things away. */
  readonly forward?: boolean;
  /**
   * Tries again what must not be left in the middle, while the other side is away: undoing, and the steps of a flow that goes forward
   * only, unless they just look.
   */
  readonly patiently?: <T>(work: () => Promise<T>) => Promise<T>;
}

/**
 * Runs the steps, from where the journal says. Returns the last state. Rejects with FlowFailed when a step fails or the flow
 * was cancelled; with ServiceError bad-request when the key was used for another request.
 */
export async function runFlow<S>(steps: readonly FlowStep<S>[], first: S, options: FlowOptions<S>): Promise<S> {
  const { key, request, journal, progress, signal } = options;
  const patiently = options.patiently ?? (<T>(work: () => Promise<T>): Promise<T> => work());
  journal.begins?.(steps.map(({ name, undo }) => ({ name, undoes: undo !== undefined })));
  const found = await journal.load(key);
  if (found !== undefined && found.request !== request) {
    throw new ServiceError('bad-request', `the request key ${key} was used for another request`);
  }
  let record = found ?? { request, step: 0, state: first, notUndone: [], done: false };
  const save = async (change: Partial<FlowRecord<S>>): Promise<void> => {
    record = { ...record, ...change };
    await journal.save(key, record);
  };
  if (found === undefined) await save({});
  let cause: unknown;
  while (record.failure === undefined && record.step < steps.length) {
    const step = steps[record.step] as FlowStep<S>;
    progress?.(step.name, record.step / steps.length);
    let change: Partial<FlowRecord<S>>;
    try {
      signal?.throwIfAborted();
      const { state: before } = record;
      const insist = options.forward === true && step.looks !== true;
      const state = insist ? await patiently(() => step.do(before, signal)) : await step.do(before, signal);
      change = { state, step: record.step + 1, done: record.step + 1 === steps.length };
    } catch (error) {
      if (options.forward === true) {
        const stopped = steps.slice(0, record.step + 1).some(({ looks }) => looks !== true);
        throw new FlowFailed(step.name, messageOf(error), [], { cause: error, stopped, state: record.state });
      }
      cause = error;
      // The step that failed is undone too: nobody knows how far it went.
      change = { failure: { step: step.name, message: messageOf(error) } };
    }
    // A journal that cannot be written is no failure of the step: the flow stays where it is.
    await save(change);
  }
  if (record.failure === undefined) {
    progress?.('done', 1);
    return record.state;
  }
  for (; record.step >= 0 && !record.done;) {
    const step = steps[record.step] as FlowStep<S>;
    let { notUndone } = record;
    try {
      const { undo } = step;
      const { state } = record;
      if (undo !== undefined) await patiently(() => undo(state));
    } catch (error) {
      notUndone = [...notUndone, { step: step.name, reason: messageOf(error) }];
    }
    await save({ notUndone, step: record.step - 1, done: record.step === 0 });
  }
  const { step, message } = record.failure as { step: string; message: string };
  throw new FlowFailed(step, message, record.notUndone, { cause, state: record.state });
}
