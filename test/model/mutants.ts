// The models, the bounds they are run at, and what is left out of each to see that it notices: a guard without which the model
// finds an error, or one that another guard stands in for, which is said.
export interface Check {
  readonly model: 'lease' | 'data';
  /** What is different from the model's own bounds, and the guard that is left out (M_). */
  readonly define: readonly string[];
  readonly name: string;
}

export interface Mutant extends Check {
  /** Undefined: the model finds an error. Else nothing is lost, and this is why. */
  readonly masked?: string;
  /** Takes longer than a run of all tests should; `npm run model` has it. */
  readonly slow?: true;
}

const lease = (name: string, ...define: string[]): Check => ({
  model: 'lease',
  name,
  define: ['L=1', 'WRITES=1', ...define],
});
const data = (name: string, ...define: string[]): Check => ({ model: 'data', name, define: ['WRITES=2', ...define] });

/** Bounds small enough for every run. */
export const SMALL: readonly Check[] = [
  lease('two nodes, one takeover, answers of the store lost', 'CRASHES=0', 'REVISIONS=2'),
  lease('two nodes, a crash', 'CRASHES=1', 'REVISIONS=2', 'LOST=0'),
  data('two nodes, a crash, three takeovers', 'CRASHES=1', 'EPOCHS=4', 'SESSIONS=8'),
  data('two blocks', 'B=2', 'CRASHES=1', 'EPOCHS=3', 'SESSIONS=4'),
];

/** `npm run model -- --large`. */
export const LARGE: readonly Check[] = [
  lease('two nodes, a crash, two changes of the record', 'CRASHES=1', 'REVISIONS=3'),
  lease('leases of two ticks', 'L=2', 'CRASHES=0', 'REVISIONS=3'),
  lease('stand-down', 'STANDDOWNS=1', 'CRASHES=0', 'REVISIONS=3', 'LOST=0'),
  lease('forced promotion', 'FORCED=1', 'CRASHES=1', 'REVISIONS=4', 'LOST=0', 'WRITES=2'),
  lease('three nodes', 'N=3', 'CRASHES=0', 'REVISIONS=2', 'LOST=0'),
  data('two crashes, three takeovers', 'CRASHES=2', 'EPOCHS=4', 'SESSIONS=8'),
  data('two blocks, a crash, three takeovers', 'B=2', 'CRASHES=1', 'EPOCHS=4', 'SESSIONS=7'),
  data('forced promotion', 'FORCED=1', 'CRASHES=2', 'EPOCHS=4', 'SESSIONS=8', 'K=1'),
  data('three nodes', 'N=3', 'CRASHES=1', 'EPOCHS=3', 'SESSIONS=5', 'WRITES=1'),
];

type Row = readonly [check: Check, masked?: string | undefined, slow?: true];
const D = ['CRASHES=1', 'EPOCHS=4', 'SESSIONS=8'];
const ROWS: readonly Row[] = [
  [lease('a lease at all: who was owner goes on serving', 'CRASHES=0', 'REVISIONS=2', 'M_OLD_SERVES')],
  [lease('a promise longer than a lease', 'CRASHES=0', 'REVISIONS=2', 'G=2'), undefined, true],
  [lease('counting from when a beacon was sent', 'CRASHES=0', 'REVISIONS=2', 'M_FROM_REPLY'), undefined, true],
  [lease('a monotonic clock', 'CRASHES=0', 'REVISIONS=2', 'M_WALL_CLOCK'), undefined, true],
  [lease('asking after a gap whether the replica still follows', 'CRASHES=0', 'REVISIONS=2', 'M_NO_CONFIRM')],
  [lease('keeping the promise before the swap is tried', 'CRASHES=0', 'REVISIONS=2', 'M_PROMISE_LATE')],
  [lease('waiting after a restart', 'CRASHES=1', 'REVISIONS=3', 'LOST=0', 'M_NO_BOOT_WAIT'), undefined, true],
  // It takes a change of the record whose answer is lost.
  [lease('taking over anew after a restart', 'CRASHES=1', 'REVISIONS=3', 'M_RESUME'), undefined, true],
  [lease('removing a member before the acknowledgement', 'CRASHES=0', 'REVISIONS=3', 'LOST=0', 'M_ACK_FIRST')],
  [lease('asking whether one is in sync before taking over', 'CRASHES=0', 'REVISIONS=3', 'LOST=0', 'M_NON_MEMBER')],
  [lease('the larger set while a swap is unknown', 'CRASHES=0', 'REVISIONS=4', 'M_OPTIMISTIC'), undefined, true],
  [lease('a lease from every member', 'N=3', 'CRASHES=0', 'REVISIONS=2', 'LOST=0', 'M_ONE_LEASE'), undefined, true],
  [data('removing a member before the acknowledgement', ...D, 'M_ACK_FIRST')],
  [data('asking whether one is in sync before taking over', ...D, 'M_NON_MEMBER')],
  [data('refusing what is not of the promised epoch and session', ...D, 'M_NO_FENCE')],
  [data('refusing what is not of the promised session', ...D, 'M_NO_SESSION')],
  [
    data('a new session for each rejoin', ...D, 'M_NO_SESSION_BUMP'),
    'the removal that came before has begun a session of its own',
  ],
  [data('draining the disk before promising', ...D, 'M_NO_DRAIN')],
  [data('what the joining replica had under way', ...D, 'M_FORGET_INTENTS')],
  [data('marking what an absent replica lacks', ...D, 'M_NO_MARK')],
  [data('noting a region before it is written to', ...D, 'M_NO_INTENT')],
  [data('keeping reads from what is not everywhere yet', ...D, 'M_DIRTY_READ')],
  [data('ending what was begun in an earlier term', ...D, 'M_NO_TERM')],
];
export const MUTANTS: readonly Mutant[] = ROWS.map(([check, masked, slow]) => ({
  ...check,
  ...(masked === undefined ? {} : { masked }),
  ...(slow === undefined ? {} : { slow }),
}));
