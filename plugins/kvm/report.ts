// What the daemon is told of an operation, from the journals of its flows.
import type { FlowRecord, FlowStepInfo } from '../sdk/flow.ts';
import type { Api } from '../sdk/typed-api.ts';

/** What PUT /jobs/{id}/report takes. */
export type Report = Api['PUT /jobs/{id}/report']['body'];
type Step = Report['steps'][number];

/** Why a flow is undone that somebody has cancelled. */
export const CANCELLED = 'cancelled';
/** Characters of a reason. */
const WORDS = 1000;

/** One flow of an operation: its steps, and what its journal says; undefined: it has not begun. */
export interface KnownPart {
  readonly steps: readonly FlowStepInfo[];
  readonly record: FlowRecord<unknown> | undefined;
}

/**
 * `total`: flows the operation has. `ended`: its process is at its end, with this error; undefined: it goes on. A flow before another one
 * that has begun is done, whatever its journal says (plugins/kvm/ops/move.ts: the machine has changed over).
 */
export function reportOf(
  parts: readonly KnownPart[],
  total: number,
  ended: { readonly error: string | undefined } | undefined,
): Pick<Report, 'state' | 'steps' | 'error'> {
  const now = parts.findLastIndex(({ record }) => record !== undefined);
  const last = parts[now]?.record;
  const steps = parts.flatMap((part, i) =>
    i < now ? part.steps.map(({ name }): Step => ({ name, state: 'done' })) : stepsOf(part),
  );
  const failure = last?.failure;
  if (failure !== undefined) {
    const state =
      last?.done !== true || (ended === undefined && now < total - 1)
        ? 'undoing'
        : failure.message === CANCELLED
          ? 'cancelled'
          : 'failed';
    return { state, steps, ...(failure.message === CANCELLED ? {} : { error: { message: short(failure.message) } }) };
  }
  if (last?.done === true && now === total - 1) return { state: 'done', steps };
  if (ended?.error === undefined) return { state: 'running', steps };
  // A flow that goes forward only has stopped; the same key goes on.
  const message = short(ended.error);
  const stopped = steps.map((step): Step => (step.state === 'running' ? { ...step, state: 'failed' } : step));
  return { state: 'failed', steps: stopped, error: { message } };
}

function stepsOf({ steps, record }: KnownPart): Step[] {
  return steps.map(({ name, undoes }, i): Step => {
    if (record === undefined) return { name, state: 'waiting' };
    const { failure } = record;
    if (failure === undefined) {
      return { name, state: i < record.step ? 'done' : i === record.step ? 'running' : 'waiting' };
    }
    const at = steps.findIndex((each) => each.name === failure.step);
    if (i > at) return { name, state: 'waiting' };
    const left = record.notUndone.find(({ step }) => step === name);
    if (left !== undefined) return { name, state: 'not-undone', error: short(left.reason) };
    const why = i === at ? { error: short(failure.message) } : {};
    if (i > record.step && undoes) return { name, state: 'undone', ...why };
    return i === at ? { name, state: 'failed', ...why } : { name, state: 'done' };
  });
}

const short = (text: string): string => text.slice(0, WORDS);
