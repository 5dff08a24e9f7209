// Locks over the source and the target of a step of a copy, which may belong to two logical units or to one.
import { COPY_LOCK_TRIES } from '../base/limits.ts';
import type { RangeLock, RangeLocks } from './range-locks.ts';

/** A byte range that is to be locked. `locks` undefined: nobody else changes it. */
export interface LockedRange {
  readonly locks: RangeLocks | undefined;
  readonly position: number;
  readonly length: number;
}

type Wanted = LockedRange & { readonly locks: RangeLocks };

const isWanted = (range: LockedRange): range is Wanted => range.locks !== undefined;
const acquire = ({ locks, position, length }: Wanted): Promise<RangeLock> => locks.acquire(position, length, true);

/**
 * Both ranges exclusively; gives them free. As a rule nothing is held while something is waited for: who is in the way in
 * one logical unit does not stop the other one. After some tries, ranges are waited for in an order that all copies keep,
 * and there is at most one lock in each unit: so no copies wait for each other in a circle. `isAborted` is asked whenever
 * something was waited for; undefined: it was true.
 */
export async function lockBoth(
  source: LockedRange,
  target: LockedRange,
  isAborted: () => boolean,
): Promise<(() => void) | undefined> {
  const wanted = merged([source, target].filter(isWanted));
  const [a, b] = wanted;
  if (a === undefined) return isAborted() ? undefined : () => undefined;
  if (b === undefined) return lockInOrder([a], isAborted);
  const both = tryBoth(a, b);
  if (both !== undefined) {
    if (!isAborted()) return both;
    both();
    return undefined;
  }
  let [first, second] = [a, b];
  for (let tries = 0; tries < COPY_LOCK_TRIES; tries++) {
    const one = await acquire(first);
    const two = isAborted() ? undefined : second.locks.tryAcquire(second.position, second.length, true);
    if (two !== undefined) {
      return () => {
        one.release();
        two.release();
      };
    }
    one.release();
    if (isAborted()) return undefined;
    [first, second] = [second, first];
  }
  if (a.locks === b.locks) return lockInOrder([span(a, b)], isAborted);
  return lockInOrder(a.locks.serial < b.locks.serial ? [a, b] : [b, a], isAborted);
}

/** Both, when nobody is in the way and nothing has to be waited for: as a rule. */
function tryBoth(a: Wanted, b: Wanted): (() => void) | undefined {
  const one = a.locks.tryAcquire(a.position, a.length, true);
  const two = one === undefined ? undefined : b.locks.tryAcquire(b.position, b.length, true);
  if (one !== undefined && two === undefined) one.release();
  if (one === undefined || two === undefined) return undefined;
  return () => {
    one.release();
    two.release();
  };
}

async function lockInOrder(ranges: readonly Wanted[], isAborted: () => boolean): Promise<(() => void) | undefined> {
  const held: RangeLock[] = [];
  const release = (): void => {
    for (const lock of held) lock.release();
  };
  try {
    for (const range of ranges) {
      held.push(await acquire(range));
      if (!isAborted()) continue;
      release();
      return undefined;
    }
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/** Ranges of one unit that overlap become one. */
function merged(ranges: readonly Wanted[]): readonly Wanted[] {
  const [a, b] = ranges;
  if (a === undefined || b === undefined || a.locks !== b.locks) return ranges;
  const apart = a.position + a.length <= b.position || b.position + b.length <= a.position;
  return apart ? ranges : [span(a, b)];
}

/** From the beginning of the one to the end of the other. */
function span(a: Wanted, b: Wanted): Wanted {
  const position = Math.min(a.position, b.position);
  const end = Math.max(a.position + a.length, b.position + b.length);
  return { locks: a.locks, position, length: end - position };
}
