// Locks over byte ranges of one volume. Plain reads and writes that complete in one turn only ask whether somebody is in
// the way; everything that takes time holds a lock: shared for plain reads and writes, exclusive for atomic commands.
import { MAX_RANGE_LOCKS } from '../base/limits.ts';
import { VolumeError, VolumeFault } from './volume.ts';

export interface RangeLock {
  /** Gives the range free. Harmless when repeated. */
  release(): void;
  /** From now on others wait for it even where they would have shared the range. Who shares it already is not touched. */
  makeExclusive(): void;
}

/** A range in the line. It is its own lock, so that a lock is one object. */
class Held implements RangeLock {
  readonly position: number;
  readonly end: number;
  exclusive: boolean;
  /** Its place in the list of all; -1 when it has been released. */
  index: number;
  /** Who came earlier has the smaller one. */
  readonly turn: number;
  /** Set while it waits. */
  go: (() => void) | undefined;
  readonly #locks: RangeLocks;

  constructor(
    locks: RangeLocks,
    { position, end, exclusive, index, turn }: Pick<Held, 'position' | 'end' | 'exclusive' | 'index' | 'turn'>,
  ) {
    this.#locks = locks;
    this.position = position;
    this.end = end;
    this.exclusive = exclusive;
    this.index = index;
    this.turn = turn;
    this.go = undefined;
  }

  release(): void {
    this.#locks.leave(this);
  }

  makeExclusive(): void {
    this.#locks.sharpen(this);
  }
}

/**
 * Bytes of a region. Who asks looks only at those who are in the same regions, so thousands of commands under way on one volume
 * do not have to be gone through for each that comes.
 */
const REGION = 262_144;
/** Ranges of ordinary commands lie in so many regions at most; longer ones are few, and in a list of their own. */
const MAX_REGIONS = 5;

const firstRegion = (position: number): number => Math.floor(position / REGION);
const lastRegion = (end: number): number => Math.floor((end - 1) / REGION);

const overlap = (a: Held, b: Held): boolean => a.position < b.end && b.position < a.end && (a.exclusive || b.exclusive);

function anyBlocks(list: readonly Held[], position: number, end: number, exclusive: boolean): boolean {
  for (const each of list) {
    if ((each.exclusive || exclusive) && each.position < end && position < each.end) return true;
  }
  return false;
}

/** Of a list in which the order means nothing. */
function remove(list: Held[], mine: Held): void {
  const last = list.pop() as Held;
  if (last !== mine) list[list.indexOf(mine)] = last;
}

let nextSerial = 0;

export class RangeLocks {
  /** Whoever wants ranges of several volumes and waits with some of them in hand takes them in this order. */
  readonly serial = nextSerial++;
  /** Granted and waiting ones. Nobody overtakes somebody he conflicts with: Held.turn. */
  readonly #line: Held[] = [];
  /** The same by region; each in every region it touches. */
  readonly #regions = new Map<number, Held[]>();
  /** Those that touch more than MAX_REGIONS. */
  readonly #wide: Held[] = [];
  #exclusive = 0;
  #waiting = 0;
  #turns = 0;
  readonly #limit: number;

  /** `limit`: locks held or waited for at once. */
  constructor(limit = MAX_RANGE_LOCKS) {
    this.#limit = limit;
  }

  /** True when nobody holds or wants anything. */
  get idle(): boolean {
    return this.#line.length === 0;
  }

  /** Locks held or waited for. */
  get length(): number {
    return this.#line.length;
  }

  /** True when somebody who holds or waits for a conflicting range is in the way. Bytes. Allocation-free. */
  blocks(position: number, length: number, exclusive: boolean): boolean {
    if (!exclusive && this.#exclusive === 0) return false;
    const end = position + length;
    const first = firstRegion(position);
    const last = lastRegion(end);
    if (last - first >= MAX_REGIONS) return anyBlocks(this.#line, position, end, exclusive);
    if (this.#wide.length > 0 && anyBlocks(this.#wide, position, end, exclusive)) return true;
    for (let region = first; region <= last; region++) {
      const there = this.#regions.get(region);
      if (there !== undefined && anyBlocks(there, position, end, exclusive)) return true;
    }
    return false;
  }

  /** The range, if it is free now and fewer locks than the limit are out. Bytes. */
  tryAcquire(position: number, length: number, exclusive: boolean): RangeLock | undefined {
    if (this.#line.length >= this.#limit || this.blocks(position, length, exclusive)) return undefined;
    return this.#enter(position, length, exclusive);
  }

  /**
   * Resolves when the range is ours, in order of arrival among those that conflict. Bytes.
   * Rejects with a VolumeError not-ready when the limit is reached.
   */
  acquire(position: number, length: number, exclusive: boolean): Promise<RangeLock> {
    if (this.#line.length >= this.#limit) {
      return Promise.reject(new VolumeError(VolumeFault.notReady, 'too many commands wait for this volume', position));
    }
    const waits = this.blocks(position, length, exclusive);
    const mine = this.#enter(position, length, exclusive);
    if (!waits) return Promise.resolve(mine);
    this.#waiting++;
    return new Promise((resolve) => {
      mine.go = () => {
        resolve(mine);
      };
    });
  }

  #enter(position: number, length: number, exclusive: boolean): Held {
    const end = position + length;
    const mine = new Held(this, { position, end, exclusive, index: this.#line.length, turn: this.#turns++ });
    this.#line.push(mine);
    if (exclusive) this.#exclusive++;
    const first = firstRegion(position);
    const last = lastRegion(mine.end);
    if (last - first >= MAX_REGIONS) this.#wide.push(mine);
    else for (let region = first; region <= last; region++) this.#put(region, mine);
    return mine;
  }

  #put(region: number, mine: Held): void {
    const there = this.#regions.get(region);
    if (there === undefined) this.#regions.set(region, [mine]);
    else there.push(mine);
  }

  #takeOut(mine: Held): void {
    const first = firstRegion(mine.position);
    const last = lastRegion(mine.end);
    if (last - first >= MAX_REGIONS) {
      remove(this.#wide, mine);
      return;
    }
    for (let region = first; region <= last; region++) {
      const there = this.#regions.get(region) as Held[];
      if (there.length === 1) this.#regions.delete(region);
      else remove(there, mine);
    }
  }

  /** RangeLock.makeExclusive(). */
  sharpen(mine: Held): void {
    if (mine.index < 0 || mine.exclusive) return;
    mine.exclusive = true;
    this.#exclusive++;
  }

  /** RangeLock.release(). */
  leave(mine: Held): void {
    const at = mine.index;
    if (at < 0) return;
    mine.index = -1;
    this.#takeOut(mine);
    if (mine.exclusive) this.#exclusive--;
    const last = this.#line.pop() as Held;
    if (last !== mine) {
      last.index = at;
      this.#line[at] = last;
    }
    if (this.#waiting === 0) return;
    const freed = this.#near(mine).filter((each) => each.go !== undefined && overlap(each, mine));
    for (const each of freed.sort((a, b) => a.turn - b.turn)) {
      const { go } = each;
      // In several regions, so in the list more than once.
      if (go === undefined || this.#waitsBehind(each)) continue;
      each.go = undefined;
      this.#waiting--;
      go();
    }
  }

  /** Everybody who may overlap with it; some more than once. */
  #near({ position, end }: Held): readonly Held[] {
    const first = firstRegion(position);
    const last = lastRegion(end);
    if (last - first >= MAX_REGIONS) return this.#line;
    if (first === last && this.#wide.length === 0) return this.#regions.get(first) ?? [];
    const lists = [this.#wide];
    for (let region = first; region <= last; region++) lists.push(this.#regions.get(region) ?? []);
    return lists.flat();
  }

  /** Also behind one that came later and was granted, because they would have shared the range, and has become exclusive since. */
  #waitsBehind(mine: Held): boolean {
    return this.#near(mine).some((each) => (each.turn < mine.turn || each.go === undefined) && overlap(each, mine));
  }
}
