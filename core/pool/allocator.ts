// Which grains of the pool are free, how many maps name each of the others, and which have become free but must not be
// used again yet: as long as the metadata on disk still names a grain, a crash would bring the old user back.
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import type { PlaceCounts } from './volume-map.ts';

/**
 * References counted in the table; what is beyond is counted in a map of its own. A count is by leaves, not by maps: a grain
 * with so many has as many leaves of 6 KiB that name it, beside which its place in the map does not matter.
 */
const TABLE_LIMIT = 0xff;

export class Allocator implements PlaceCounts {
  #refs: Uint8Array;
  /** Counts at and above TABLE_LIMIT. */
  readonly #many = new Map<number, number>();
  /** Where the search for a free grain goes on. */
  #cursor = 0;
  #total: number;
  #free: number;
  #reserved = 0;
  /** Of the reserved ones, those that have to be free now: data that was acknowledged goes there. */
  #promised = 0;
  /** Grains nobody names any more, in quarantine. Their count in the table is 0, but `#held` says they are not free. */
  #quarantine: number[] = [];
  /** Grains that takeQuarantine gave out and endQuarantine has not freed yet. */
  #leaving = 0;
  #held: Uint8Array;
  #alarmAt = Number.POSITIVE_INFINITY;
  #tell: () => void = () => undefined;
  /**
   * Bits of grains that lost one of several users since takeQuarantine(), and before it. As long as the metadata on disk
   * still names such a grain for the user that is gone, who is left must not write into it: a crash would show that to both.
   */
  #parted: Uint8Array;
  #parting: Uint8Array;
  #anyParted = false;
  /** References that are on their way into a map, or back: of grains just taken, or held for somebody. */
  readonly #inHand = new Map<number, number>();
  /** Bits of grains whose users changed since watch(). */
  #watched: Uint8Array | undefined;
  /** Grains the disk could not write: not used again until the pool is opened anew. */
  readonly #retired = new Set<number>();
  /** Bits of grains that were free when a map could not be read: it may name them. */
  #suspended: Uint8Array | undefined;
  /** Retired grains that nobody names any more, and suspended ones. */
  #lost = 0;
  /** Free grains that are lent, see borrow(). */
  #borrowed = 0;

  constructor(grains: number) {
    this.#total = grains;
    this.#free = grains;
    this.#refs = new Uint8Array(grains);
    this.#held = new Uint8Array(Math.ceil(grains / 8));
    this.#parted = new Uint8Array(Math.ceil(grains / 8));
    this.#parting = new Uint8Array(Math.ceil(grains / 8));
  }

  get total(): number {
    return this.#total;
  }

  /** Grains that can be promised to somebody. */
  get available(): number {
    return this.#free - this.#reserved;
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** Of the reserved grains, those that are free for sure. */
  get promised(): number {
    return this.#promised;
  }

  get quarantined(): number {
    return this.#quarantine.length + this.#leaving;
  }

  /** Grains that are neither free nor about to be. */
  get used(): number {
    return this.#total - this.#free - this.quarantined - this.#lost - this.#borrowed;
  }

  /** Grains that are used or promised: nobody else can have them. */
  get taken(): number {
    return this.used + this.#reserved;
  }

  /** Calls `tell` once, from inside the call that takes a grain, when so many are taken. Replaces an earlier alarm. */
  alarm(at: number, tell: () => void): void {
    this.#alarmAt = at;
    this.#tell = tell;
  }

  #look(): void {
    if (this.taken < this.#alarmAt) return;
    this.#alarmAt = Number.POSITIVE_INFINITY;
    this.#tell();
  }

  /** Room has been added behind the last grain. */
  grow(grains: number): void {
    const refs = new Uint8Array(grains);
    refs.set(this.#refs);
    const larger = (bits: Uint8Array): Uint8Array => {
      const grown = new Uint8Array(Math.ceil(grains / 8));
      grown.set(bits);
      return grown;
    };
    this.#refs = refs;
    this.#held = larger(this.#held);
    this.#parted = larger(this.#parted);
    this.#parting = larger(this.#parting);
    this.#free += grains - this.#total;
    this.#total = grains;
  }

  /** Promises `count` grains. Throws VolumeError no-space. */
  reserve(count: number): void {
    if (this.available < count) throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
    this.#reserved += count;
    this.#look();
  }

  /** Promises grains to somebody who had them: they may be in quarantine still. */
  reserveAgain(count: number): void {
    this.#reserved += count;
  }

  unreserve(count: number): void {
    this.#reserved -= count;
  }

  /**
   * Promises one grain to data that is about to be acknowledged; `aside`: one that is reserved already. What is reserved may
   * be in quarantine still, what is promised is not. False: none is free.
   */
  promise(aside: boolean): boolean {
    if (this.#free - this.#promised < 1 || (!aside && this.available < 1)) return false;
    this.#promised++;
    if (!aside) this.reserve(1);
    return true;
  }

  /** A grain that was promised could not be used: the next one. */
  promiseAgain(): void {
    this.#promised++;
    this.#reserved++;
  }

  /** `aside`: it stays reserved. */
  unpromise(aside: boolean): void {
    this.#promised--;
    if (!aside) this.#reserved--;
  }

  /**
   * A free grain that was not promised: one that is reserved (`aside`), or of what others have reserved, because what was
   * acknowledged goes before that. Throws VolumeError no-space.
   */
  allocateUnpromised(aside: boolean, from = this.#cursor): number {
    if (this.#free - this.#promised < 1) throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
    if (aside) this.#reserved--;
    const grain = this.#take(this.#next(from));
    this.#look();
    return grain;
  }

  /**
   * A free grain with one reference, preferably `from` or one behind it; `promised`: see promise(). Throws VolumeError
   * no-space.
   */
  allocate(promised: boolean, from = this.#cursor): number {
    // Grains promised may turn out to be unusable (retire): then there is nothing left to keep the promise with.
    if (this.#free < 1 || (!promised && this.available < 1)) {
      throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
    }
    if (promised) this.unpromise(false);
    const grain = this.#take(this.#next(from));
    this.#look();
    return grain;
  }

  /** At most `count` free grains one behind the other, each with one reference: the first, and how many. */
  allocateRun(count: number): { readonly first: number; readonly count: number } {
    if (this.available < 1) throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
    const wanted = Math.min(count, this.available);
    const first = this.#next(this.#cursor);
    let length = 0;
    while (length < wanted && first + length < this.#total && this.#isFree(first + length))
      this.#take(first + length++);
    this.#look();
    return { first, count: length };
  }

  refs(grain: number): number {
    const count = this.#refs[grain] as number;
    return count === TABLE_LIMIT ? (this.#many.get(grain) ?? TABLE_LIMIT) : count;
  }

  retain(grain: number): void {
    this.#setRefs(grain, this.refs(grain) + 1);
  }

  retainAll(places: Uint32Array): void {
    const refs = this.#refs;
    // Nobody is told of each, and the table has room: as a rule.
    const most = this.#watched === undefined ? TABLE_LIMIT - 1 : 0;
    for (const place of places) {
      if (place === 0) continue;
      const count = refs[place - 1] as number;
      if (count < most) refs[place - 1] = count + 1;
      else this.retain(place - 1);
    }
  }

  /** References to the grain that no map has yet: the one it was taken with, and those of hold(). */
  inHand(grain: number): number {
    return this.#inHand.get(grain) ?? 0;
  }

  /** One reference more, which stays in hand until landed() or letGo(). */
  hold(grain: number): void {
    this.retain(grain);
    this.#inHand.set(grain, this.inHand(grain) + 1);
  }

  /**
   * One reference more that lands in this very turn, or is let go. It need not be noted as in hand, but where somebody else's is:
   * landed() would take that note for ours.
   */
  pass(grain: number): void {
    if (this.#inHand.has(grain)) this.hold(grain);
    else this.retain(grain);
  }

  /** The same for each of these: grains plus one; 0: none. */
  passAll(places: Uint32Array): void {
    if (this.#inHand.size === 0) this.retainAll(places);
    else for (const place of places) if (place !== 0) this.pass(place - 1);
  }

  landed(grain: number): void {
    const count = this.inHand(grain);
    if (count > 1) this.#inHand.set(grain, count - 1);
    else this.#inHand.delete(grain);
    // Who counts users may have been past the map it is in now.
    if (this.#watched !== undefined) setBit(this.#watched, grain, true);
  }

  exchange(before: Uint32Array, after: Uint32Array): void {
    const isNoted = this.#inHand.size > 0 || this.#watched !== undefined;
    for (let i = 0; i < after.length; i++) {
      const [from, to] = [before[i] as number, after[i] as number];
      // What was there already has one reference too many.
      if (to !== 0 && isNoted) this.landed(to - 1);
      if (from !== 0) this.release(from - 1);
    }
  }

  /** Gives back a reference that was in hand. */
  letGo(grain: number): void {
    this.landed(grain);
    this.release(grain);
  }

  /** The same for each of these: grains plus one; 0: none. */
  letGoAll(places: Uint32Array): void {
    for (const place of places) if (place !== 0) this.letGo(place - 1);
  }

  release(grain: number): void {
    const count = this.refs(grain);
    if (count === 0) throw new RangeError(`grain ${String(grain)} is released more often than it was used`);
    this.#setRefs(grain, count - 1);
    if (count > 1) {
      this.part(grain);
      return;
    }
    this.#hold(grain, true);
    this.#quarantine.push(grain);
  }

  /** One of several users of the grain is gone. */
  part(grain: number): void {
    setBit(this.#parted, grain, true);
    this.#anyParted = true;
  }

  /** True when the grain has one user, also for the metadata on disk: it may be written in place. */
  alone(grain: number): boolean {
    return this.refs(grain) === 1 && !bit(this.#parted, grain) && !bit(this.#parting, grain);
  }

  /** The disk cannot write the grain: once it is given back, nobody gets it until the pool is opened again. */
  retire(grain: number): void {
    this.#retired.add(grain);
  }

  /** Takes note that a map on disk names the grain (when a pool is opened). Throws RangeError for a grain that is not there. */
  load(grain: number): void {
    if (grain >= this.#total) throw new RangeError(`grain ${String(grain)} lies outside the pool`);
    const count = this.refs(grain);
    if (count === 0) this.#free--;
    this.#setRefs(grain, count + 1);
  }

  /**
   * Grains that became free up to now. They may be used again when neither the metadata on disk nor what would be replayed of
   * the journal names them. One at a time: endQuarantine or returnQuarantine comes before the next call.
   */
  takeQuarantine(): number[] {
    const taken = this.#quarantine;
    this.#quarantine = [];
    this.#leaving += taken.length;
    if (this.#anyParted) {
      [this.#parted, this.#parting] = [this.#parting, this.#parted];
      this.#anyParted = false;
    }
    return taken;
  }

  /** Puts back what takeQuarantine gave out: it is still named. */
  returnQuarantine(grains: readonly number[]): void {
    this.#leaving -= grains.length;
    for (const grain of grains) this.#quarantine.push(grain);
    this.#parting.forEach((bits, i) => {
      if (bits === 0) return;
      this.#parted[i] = (this.#parted[i] as number) | bits;
      this.#anyParted = true;
    });
    this.#parting.fill(0);
  }

  endQuarantine(grains: readonly number[]): void {
    this.#leaving -= grains.length;
    for (const grain of grains) {
      if (this.#retired.has(grain)) {
        this.#lost++;
        continue;
      }
      this.#hold(grain, false);
      this.#free++;
    }
    this.#parting.fill(0);
  }

  /** Free grains nobody has been promised. */
  get spare(): number {
    return this.#free - Math.max(this.#promised, this.#reserved);
  }

  get borrowed(): number {
    return this.#borrowed;
  }

  areFree(first: number, count: number): boolean {
    for (let grain = first; grain < first + count; grain++) if (!this.#isFree(grain)) return false;
    return first + count <= this.#total;
  }

  /** Nobody gets these grains, which are free, before giveBack(). False: there are not `times` as many besides. */
  borrow(first: number, count: number, times: number): boolean {
    if (this.spare < count * (times + 1) || !this.areFree(first, count)) return false;
    for (let grain = first; grain < first + count; grain++) this.#hold(grain, true);
    this.#free -= count;
    this.#borrowed += count;
    return true;
  }

  giveBack(first: number, count: number): void {
    for (let grain = first; grain < first + count; grain++) this.#hold(grain, false);
    this.#free += count;
    this.#borrowed -= count;
  }

  /** From now on the bits of grains whose users change are set in what it returns, until the next call or unwatch(). */
  watch(): Uint8Array {
    return (this.#watched = new Uint8Array(Math.ceil(this.#total / 8)));
  }

  unwatch(): void {
    this.#watched = undefined;
  }

  /** No grain that is free now is used before resume(). */
  suspend(): void {
    const bits = new Uint8Array(this.#held.length);
    for (let grain = 0; grain < this.#total; grain++) {
      if (!this.#isFree(grain)) continue;
      setBit(bits, grain, true);
      this.#hold(grain, true);
    }
    this.#suspended = bits;
    this.#lost += this.#free;
    this.#free = 0;
  }

  resume(): void {
    const bits = this.#suspended;
    if (bits === undefined) return;
    this.#suspended = undefined;
    for (let grain = 0; grain < bits.length * 8; grain++) {
      if (!bit(bits, grain)) continue;
      this.#hold(grain, false);
      this.#lost--;
      this.#free++;
    }
  }

  #take(grain: number): number {
    this.#setRefs(grain, 1);
    this.#inHand.set(grain, 1);
    this.#free--;
    this.#cursor = grain + 1;
    return grain;
  }

  #isFree(grain: number): boolean {
    return this.#refs[grain] === 0 && !bit(this.#held, grain);
  }

  #next(from: number): number {
    for (let grain = from; grain < this.#total; grain++) if (this.#isFree(grain)) return grain;
    for (let grain = 0; grain < Math.min(from, this.#total); grain++) if (this.#isFree(grain)) return grain;
    throw new RangeError('no grain is free although some should be');
  }

  #hold(grain: number, held: boolean): void {
    setBit(this.#held, grain, held);
  }

  #setRefs(grain: number, count: number): void {
    const before = this.#refs[grain];
    // A pool that has grown meanwhile has grains the bits do not reach.
    if (this.#watched !== undefined) setBit(this.#watched, grain, true);
    this.#refs[grain] = Math.min(count, TABLE_LIMIT);
    if (count >= TABLE_LIMIT) this.#many.set(grain, count);
    else if (before === TABLE_LIMIT) this.#many.delete(grain);
  }
}

const bit = (bits: Uint8Array, grain: number): boolean => (((bits[grain >> 3] as number) >> (grain & 7)) & 1) === 1;

function setBit(bits: Uint8Array, grain: number, value: boolean): void {
  const mask = 1 << (grain & 7);
  const byte = bits[grain >> 3] as number;
  bits[grain >> 3] = value ? byte | mask : byte & ~mask;
}
