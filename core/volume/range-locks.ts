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
  /** Its place in the line; -1 when it has been released. */
  index: number;
  /** Set while it waits. */
  go: (() => void) | undefined;
  readonly #locks: RangeLocks;

  constructor(locks: RangeLocks, position: number, end: number, exclusive: boolean, index: number) {
    this.#locks = locks;
    this.position = position;
    this.end = end;
    this.exclusive = exclusive;
    this.index = index;
    this.go = undefined;
  }

  release(): void {
    this.#locks.leave(this);
  }

  makeExclusive(): void {
    this.#locks.sharpen(this);
  }
}

const overlap = (a: Held, b: Held): boolean => a.position < b.end && b.position < a.end && (a.exclusive || b.exclusive);

let nextSerial = 0;

export class RangeLocks {
  /** Whoever wants ranges of several volumes and waits with some of them in hand takes them in this order. */
  readonly serial = nextSerial++;
  /** Granted and waiting ones in order of arrival: nobody overtakes somebody he conflicts with. */
  readonly #line: Held[] = [];
  #exclusive = 0;
  #waiting = 0;
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
    for (const each of this.#line) {
      if ((each.exclusive || exclusive) && each.position < end && position < each.end) return true;
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
    const mine = new Held(this, position, position + length, exclusive, this.#line.length);
    this.#line.push(mine);
    if (exclusive) this.#exclusive++;
    return mine;
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
    if (mine.exclusive) this.#exclusive--;
    if (this.#waiting === 0) {
      // Among locks that are all granted the order means nothing: the last one takes the place.
      const last = this.#line.pop() as Held;
      if (last === mine) return;
      last.index = at;
      this.#line[at] = last;
      return;
    }
    this.#line.splice(at, 1);
    for (let i = at; i < this.#line.length; i++) (this.#line[i] as Held).index = i;
    for (let i = at; i < this.#line.length && this.#waiting > 0; i++) {
      const each = this.#line[i] as Held;
      if (each.go === undefined || !overlap(each, mine) || this.#waitsBehind(each, i)) continue;
      const go = each.go;
      each.go = undefined;
      this.#waiting--;
      go();
    }
  }

  #waitsBehind(each: Held, at: number): boolean {
    for (let i = 0; i < at; i++) if (overlap(this.#line[i] as Held, each)) return true;
    return false;
  }
}
