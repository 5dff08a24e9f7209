// Whether what hosts saw of one block can be explained by one block: some order of the operations, each between its beginning
// and its end, in which every read returns what was written last (Wing and Gong's search, with Lowe's memory of what has been
// tried). Every write writes a value of its own.

/** An operation on one block. Times are those of the host; `end` is Infinity when nobody knows whether it was done. */
export interface Operation {
  readonly kind: 'read' | 'write';
  readonly value: number;
  readonly start: number;
  readonly end: number;
  /** Who, for reports. */
  readonly by: string;
  /** Of a write: its value was written before. */
  readonly again?: boolean;
}

/** The search was given up: nothing is known of the run. */
export class Undecided extends Error {}

/** States of a search. */
const MOST_STATES = 500_000;

/** What is wrong; undefined: it can be explained. `initial`: the value before all of them. Throws when that takes too long. */
export function violation(all: readonly Operation[], initial: number): string | undefined {
  /** When somebody had read a value for the first time. */
  const seen = new Map<number, number>();
  for (const { kind, value, end } of all)
    if (kind === 'read') seen.set(value, Math.min(end, seen.get(value) ?? Number.POSITIVE_INFINITY));
  // A write nobody got an answer to and nobody has ever seen may never have been.
  const operations = all
    .filter(({ kind, value, end }) => kind === 'read' || end !== Number.POSITIVE_INFINITY || seen.has(value))
    // What has been read was written by then, whenever its writer heard of it. Some values are written more than once.
    .map((each) =>
      each.kind === 'write' && each.value !== initial && each.again !== true
        ? { ...each, end: Math.min(each.end, seen.get(each.value) ?? Number.POSITIVE_INFINITY) }
        : each,
    )
    .sort((a, b) => a.start - b.start);
  const written = new Set(operations.filter(({ kind }) => kind === 'write').map(({ value }) => value));
  const stray = operations.find(({ kind, value }) => kind === 'read' && value !== initial && !written.has(value));
  if (stray !== undefined) return `${describe(stray)} was never written`;
  // Writes nobody knows of need not have been: one is taken only where a read needs its value. Those of the same value are
  // as good as each other, but for when they began: the oldest is taken first.
  const sure = operations.filter(({ end }) => end !== Number.POSITIVE_INFINITY);
  const maybe = new Map<number, { starts: number[]; used: number }>();
  for (const { end, value, start } of operations) {
    if (end !== Number.POSITIVE_INFINITY) continue;
    const same = maybe.get(value) ?? { starts: [], used: 0 };
    maybe.set(value, same);
    same.starts.push(start);
  }
  let deepest = 0;
  const tried = new Set<string>();
  const done = new Uint8Array(sure.length);
  /** `first`: everything before it is done. */
  const search = (first: number, value: number): boolean => {
    while (first < sure.length && done[first] === 1) first++;
    deepest = Math.max(deepest, first);
    if (first === sure.length) return true;
    const taken = [...maybe.values()].map(({ used }) => used).join('.');
    const state = `${String(first)}:${String(value)}:${taken}:${further(done, first)}`;
    if (tried.has(state)) return false;
    if (tried.size >= MOST_STATES) throw new Undecided('too many orders to try');
    tried.add(state);
    // Whatever is first now began before anything else that is left ended.
    let soonest = Number.POSITIVE_INFINITY;
    for (let at = first; at < sure.length; at++) {
      const each = sure[at] as Operation;
      if (each.start > soonest) break;
      if (done[at] === 0) soonest = Math.min(soonest, each.end);
    }
    for (let at = first; at < sure.length; at++) {
      const each = sure[at] as Operation;
      if (each.start > soonest) break;
      if (done[at] === 1) continue;
      const isOther = each.kind === 'read' && each.value !== value;
      const same = isOther ? maybe.get(each.value) : undefined;
      if (isOther && (same === undefined || (same.starts[same.used] ?? Number.POSITIVE_INFINITY) > soonest)) continue;
      done[at] = 1;
      if (same !== undefined) same.used++;
      if (search(first, each.value)) return true;
      if (same !== undefined) same.used--;
      done[at] = 0;
      // A read that fits takes nothing away from what comes later: no other order is better.
      if (each.kind === 'read' && !isOther) return false;
    }
    return false;
  };
  if (search(0, initial)) return undefined;
  const at = operations.indexOf(sure[Math.min(deepest, sure.length - 1)] as Operation);
  const around = operations.slice(Math.max(0, at - 12), at + 6).map(describe);
  return `no order explains these:\n  ${around.join('\n  ')}`;
}

/** The operations that are done behind the first that is not. */
function further(done: Uint8Array, first: number): string {
  let text = '';
  for (let at = first; at < done.length; at++) if (done[at] === 1) text += `,${String(at)}`;
  return text;
}

function describe({ kind, value, start, end, by }: Operation): string {
  const until = end === Number.POSITIVE_INFINITY ? 'unknown' : end.toFixed(1);
  return `${by} ${kind} ${String(value)} [${start.toFixed(1)}, ${until}]`;
}
