// `gemel pool check`: counts every reference anew from the maps and compares with what the pool believes, a little at a time.
import { CHECK_MS, CHECK_PASSES } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import { GRAIN, countBlocks } from '../volume/grain.ts';
import type { Pool } from './pool.ts';
import type { Leaf } from './volume-map.ts';

export interface CheckResult {
  /** Distinct leaves, and grains that lie somewhere. */
  readonly leaves: number;
  readonly grains: number;
  /** Grains whose users changed each time they were counted: nothing is said of them. */
  readonly unsettled: number;
  /** What is wrong, in words; empty when nothing is. At most MAX_FINDINGS. */
  readonly findings: readonly string[];
}

export interface CheckOptions {
  readonly clock: Clock;
  /** 0 to 1. */
  readonly progress?: (done: number) => void;
  readonly aborted?: () => boolean;
}

const MAX_FINDINGS = 100;
/** Leaves of a map, or grains of the pool, between two looks at the clock. */
const LOOK_GRAINS = 8192;

/** Leaves by how often the maps contain them, and how many users they had when they were met first. */
type Users = Map<Leaf, { count: number; readonly refs: number }>;
/** Yields now and then how far it is, 0 to 1. */
type Steps<T> = Generator<number, T>;
type Say = (text: string) => void;

/** Compares maps, reference counts and free space in one turn of the event loop: for pools that are small, and idle. */
export function checkPool(pool: Pool): CheckResult {
  const findings: string[] = [];
  const say = limited(findings);
  const users = drained(leavesOf(pool, say));
  drained(leavesMatch(users, say));
  const changes = pool.allocator.watch();
  const before = new Uint8Array(changes.length).fill(0xff);
  const grains = drained(grainsMatch(pool, users, { changes, before, suspects: changes }, say));
  pool.allocator.unwatch();
  return { leaves: users.size, grains, unsettled: 0, findings };
}

/**
 * The same while the pool is in use; takes CHECK_MS of the event loop at a time. Every change of who uses a grain goes through
 * the allocator: what changed while it was counted is counted again, and so is what does not match. Rejects with a RangeError
 * when it is aborted.
 */
export async function checkPoolInSteps(pool: Pool, options: CheckOptions): Promise<CheckResult> {
  const findings: string[] = [];
  const say = limited(findings);
  const { allocator } = pool;
  let before = new Uint8Array(0);
  let leaves = 0;
  let grains = 0;
  let unsettled = 0;
  try {
    for (let pass = 0; pass < CHECK_PASSES; pass++) {
      const changes = allocator.watch();
      const suspects = new Uint8Array(changes.length);
      // Volumes neither come nor go meanwhile; what is written to them may.
      const users = await pool.still(() => inSteps(leavesOf(pool, pass === 0 ? say : () => undefined), options, 0));
      if (pass === 0) await inSteps(leavesMatch(users, say), options, 0);
      const found = await inSteps(grainsMatch(pool, users, { changes, before, suspects }, say), options, 1);
      if (pass === 0) [leaves, grains] = [users.size, found];
      unsettled = 0;
      changes.forEach((bits, i) => (unsettled += countBlocks(bits | (suspects[i] as number))));
      if (unsettled === 0) break;
      before = suspects;
      for (const { open } of [...pool.entries.values()]) await open?.written();
    }
  } finally {
    allocator.unwatch();
  }
  return { leaves, grains, unsettled, findings };
}

const limited =
  (findings: string[]): Say =>
  (text) => {
    if (findings.length < MAX_FINDINGS && !findings.includes(text)) findings.push(text);
  };

function drained<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** `weight`: of the progress that is told. */
async function inSteps<T>(steps: Steps<T>, options: CheckOptions, weight: number): Promise<T> {
  const { clock } = options;
  for (let since = clock.now(); ;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (clock.now() - since < CHECK_MS) continue;
    options.progress?.(step.value * weight);
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
    if (options.aborted?.() === true) throw new RangeError('the check was stopped');
    since = clock.now();
  }
}

/** All leaves; says where the blocks of a volume are not as many as it believes. */
function* leavesOf(pool: Pool, say: Say): Steps<Users> {
  const users: Users = new Map();
  for (const { record, map, damage } of pool.entries.values()) {
    if (damage !== undefined) say(`the map of volume ${pool.nameOf(record.id)} is damaged (${damage})`);
    // In one go: the sum is of one instant.
    let blocks = 0;
    for (const leaf of map.leaves) blocks += leaf?.blocks ?? 0;
    if (blocks !== map.blocks)
      say(`volume ${String(record.id)} has ${String(blocks)} blocks, not ${String(map.blocks)}`);
    for (let index = 0; index < map.leaves.length; index++) {
      const leaf = map.leaves[index];
      if (index % LOOK_GRAINS === LOOK_GRAINS - 1) yield 0;
      if (leaf === undefined) continue;
      const known = users.get(leaf);
      if (known === undefined) users.set(leaf, { count: 1, refs: leaf.refs });
      else known.count++;
    }
    yield 0;
  }
  return users;
}

function* leavesMatch(users: Users, say: Say): Steps<void> {
  for (const [leaf, { count, refs }] of users) {
    // One that lost a user meanwhile was counted before or after that.
    if (refs === leaf.refs && count !== refs)
      say(`leaf ${String(leaf.id)} has ${String(count)} users, not ${String(leaf.refs)}`);
    let blocks = 0;
    for (const mask of leaf.valid) blocks += countBlocks(mask);
    if (blocks !== leaf.blocks) say(`leaf ${String(leaf.id)} has ${String(blocks)} blocks, not ${String(leaf.blocks)}`);
    for (let at = 0; at < leaf.places.length; at++) {
      // The reverse is allowed: a grain without blocks waits for what the journal has of it.
      if (leaf.places[at] === 0 && leaf.valid[at] !== 0) say(`leaf ${String(leaf.id)} has blocks without a grain`);
    }
    yield 0;
  }
}

/** Bits of grains. */
interface Bits {
  /** Their users changed while they were counted. */
  readonly changes: Uint8Array;
  /** They did not match the last time either. */
  readonly before: Uint8Array;
  /** They do not match this time, for the first time. */
  readonly suspects: Uint8Array;
}

/** Counts the users of all grains; how many are used. */
function* grainsMatch(pool: Pool, users: Users, { changes, before, suspects }: Bits, say: Say): Steps<number> {
  const { allocator } = pool;
  const total = changes.length * 8;
  const counted = new Uint32Array(total);
  let looked = 0;
  for (const leaf of users.keys()) {
    for (const place of leaf.places) {
      if (place > allocator.total)
        say(`leaf ${String(leaf.id)} names grain ${String(place - 1)}, which is outside the pool`);
      else if (place !== 0) counted[place - 1] = (counted[place - 1] as number) + 1;
    }
    yield ++looked / users.size / 2;
  }
  const has = (bits: Uint8Array, grain: number): boolean => (((bits[grain >> 3] ?? 0) >> (grain & 7)) & 1) === 1;
  let grains = 0;
  let matches = true;
  for (let grain = 0; grain < Math.min(total, allocator.total); grain++) {
    if (grain % LOOK_GRAINS === LOOK_GRAINS - 1) yield 0.5 + grain / total / 2;
    // Whoever copies or writes a grain has references to it before they are in a map.
    const count = (counted[grain] as number) + allocator.inHand(grain);
    if (count > 0) grains++;
    if (count === allocator.refs(grain) || has(changes, grain)) continue;
    matches = false;
    if (has(before, grain))
      say(`grain ${String(grain)} has ${String(count)} users, not ${String(allocator.refs(grain))}`);
    else suspects[grain >> 3] = (suspects[grain >> 3] as number) | (1 << (grain & 7));
  }
  // The sums are of one instant when nothing has changed.
  if (!matches || changes.some((bits) => bits !== 0)) return grains;
  if (grains !== allocator.used) say(`${String(grains)} grains are in use, not ${String(allocator.used)}`);
  let setAside = 0;
  for (const { record, map, damage } of pool.entries.values()) {
    if (record.thick && !record.deleting && damage === undefined)
      setAside += Math.ceil(record.size / GRAIN) - map.grains();
  }
  if (setAside > allocator.reserved)
    say(`${String(setAside)} grains should be set aside, not ${String(allocator.reserved)}`);
  return grains;
}
