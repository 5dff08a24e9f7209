// A volume of a pool. It puts blocks into grains of the pool: into the grain it has, if nobody shares it, else into a fresh
// one. Whatever changes is in the journal before.
import { WRITE_TRIES } from '../base/limits.ts';
import { BLOCK, BLOCKS, GRAIN, blockMask, lowestBlock } from '../volume/grain.ts';
import { VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, LogUpper, StableWaiter, Volume, VolumeInfo, WriteLog } from '../volume/volume.ts';
import { eachGrain } from './each-grain.ts';
import { extentsOf } from './extents.ts';
import { GrainIo, isWriteError, zeroBlocks } from './grain-io.ts';
import type { PoolCore, PoolVolumeOptions } from './pool-core.ts';
import type { GrainPlace } from './record.ts';
import { shareInto } from './share.ts';
import type { VolumeMap } from './volume-map.ts';
import { VolumeReader } from './volume-reader.ts';

export class PoolVolume implements Volume, WriteLog {
  info: VolumeInfo;
  readonly id: number;
  readonly log: WriteLog;
  readonly map: VolumeMap;
  readonly #core: PoolCore;
  readonly #io: GrainIo;
  readonly #reader: VolumeReader;
  readonly #thick: boolean;
  /** Grains that will need a fresh grain of the pool when what was admitted is placed. */
  readonly #pending = new Set<number>();
  /** Grains that are being written to a fresh grain of the pool: what is admitted meanwhile goes there, too. */
  readonly #arriving = new Set<number>();
  /** How many syncs had begun when something was put into its place last; -1: never. */
  #placedAt = -1;
  /** By grain: the last call that puts something into it. */
  readonly #placingIn = new Map<number, Promise<void>>();
  /** Large writes that have begun. */
  readonly #writing = new Set<Promise<boolean>>();
  /** Logged by write() and on the way to its place. */
  readonly #placing = new Set<Promise<void>>();
  #short = false; // admit() found no free grain, and some will be
  upper: LogUpper | undefined;
  #closed = false;

  constructor(core: PoolCore, map: VolumeMap, options: PoolVolumeOptions) {
    this.#core = core;
    this.#io = new GrainIo(core);
    this.map = map;
    this.id = options.id;
    this.#reader = new VolumeReader(core, this.#io, map, options.id);
    this.#thick = options.thick;
    this.log = this;
    const { size, blockSize, durability, readOnly, thick } = options;
    const info = { size, blockSize, durability, readOnly, thin: !thick };
    this.info = { ...info, unmapGranularity: BLOCK, quickZero: true };
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    if (this.#closed) return false;
    const last = Math.floor((position + length - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
      if (this.map.place(grain) !== 0) return false;
    }
    target.fill(0, at, at + length);
    return true;
  }

  viewNow(): boolean {
    return false;
  }

  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    if (this.#closed) return Promise.reject(new VolumeError(VolumeFault.notReady, 'the volume is closed'));
    return this.#reader.read(position, length, target, at);
  }

  // ---- writing: the log

  admit(position: number, length: number): boolean {
    this.#mayWrite();
    if (!this.#core.journal.ready) return false;
    const last = Math.floor((position + length - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
      if (this.#pending.has(grain) || this.#inPlace(grain) || this.#arriving.has(grain)) continue;
      // A thick volume has room for itself; what it shares with a snapshot needs more.
      if ((!this.#thick || this.map.place(grain) !== 0) && !this.#core.reserve()) {
        this.#short = true;
        return false;
      }
      this.#pending.add(grain);
    }
    return true;
  }

  append(position: number, source: Buffer, at: number, length: number): void {
    if (!this.#core.journal.data(this.id, position / BLOCK, source, at, length / BLOCK)) {
      throw new RangeError('the journal has no room for what it admitted');
    }
  }

  stable(): Promise<void> {
    return this.#core.journal.stable();
  }

  room(): Promise<void> {
    // The journal may have room all the time: waiting for it would be no waiting.
    if (!this.#short) return this.#core.journal.room();
    this.#short = false;
    return this.#core.grainsFreed();
  }

  clear(position: number, length: number): boolean {
    this.#mayWrite();
    if (!this.#core.journal.clear(this.id, position / BLOCK, length / BLOCK)) return false;
    this.clearMap(position, length);
    return true;
  }

  attach(upper: LogUpper): void {
    this.upper = upper;
  }

  async place(position: number, source: Buffer, at: number, length: number): Promise<void> {
    await eachGrain(position, length, (grain, first, end, done) =>
      this.placeGrain(grain, blockMask(first, end), source, at + done - first * BLOCK),
    );
  }

  /** True when writing the grain needs no other grain: it is there and nobody shares it, or would after a crash. */
  #inPlace(grain: number): boolean {
    const place = this.map.place(grain);
    return place !== 0 && this.map.ownsLeaf(grain) && this.#core.allocator.alone(place - 1);
  }

  /**
   * The blocks of the mask from `source`, where the grain would begin at `base`; one call after the other for each grain.
   */
  async placeGrain(grain: number, written: number, source: Buffer, base: number): Promise<void> {
    const before = this.#placingIn.get(grain);
    const place = (): Promise<void> => this.#placeNext(grain, written, source, base);
    const mine = before === undefined ? place() : before.then(place, place);
    this.#placingIn.set(grain, mine);
    try {
      await mine;
    } finally {
      if (this.#placingIn.get(grain) === mine) this.#placingIn.delete(grain);
    }
  }

  /** Blocks of zeros take no space in a thin volume. */
  async #placeNext(grain: number, written: number, source: Buffer, base: number): Promise<void> {
    const core = this.#core;
    const zeros = this.#thick ? 0 : zeroBlocks(written, source, base);
    const data = written & ~zeros;
    const place = this.map.place(grain);
    const valid = this.map.valid(grain);
    const promised = this.#pending.delete(grain) && (!this.#thick || place !== 0);
    const next = (valid & ~zeros) | data;
    // Zeros where there is nothing anyway change nothing, also where the grain is shared.
    if (next === 0 || (data === 0 && next === valid) || this.#inPlace(grain)) {
      if (promised) core.allocator.unreserve(1);
      try {
        if (data !== 0) await this.#write(place - 1, data, source, base);
        if (next !== valid) this.#set(grain, next === 0 ? 0 : place, next);
      } catch (error) {
        // What cannot be written here may be written elsewhere. A full disk is another matter.
        if (!isWriteError(error)) throw error;
        await this.#move(grain, false, place, valid & ~written, data, source, base, error);
      }
      return;
    }
    await this.#move(grain, promised, place, valid & ~written, data, source, base, undefined);
  }

  /**
   * Blocks `kept` of the place, and `data`, to a fresh grain. One that cannot be written is given up for another. `failed`:
   * why the place itself cannot be written.
   */
  async #move(
    grain: number,
    promised: boolean,
    place: number,
    kept: number,
    data: number,
    source: Buffer,
    base: number,
    failed: unknown,
  ): Promise<void> {
    const { allocator, slabs } = this.#core;
    let trouble = failed;
    let last = place - 1;
    let moved = false;
    this.#arriving.add(grain);
    try {
      for (let tries = 0; tries < WRITE_TRIES; tries++) {
        // Trouble is often not alone: the next try is behind the page of checksums, then in another slab.
        const from = trouble === undefined ? undefined : tries < 2 ? slabs.pageEnd(last) : slabs.slabEnd(last);
        // A thick volume takes what was set aside for it, unless it only moves.
        const fresh = allocator.allocateFor(promised || (this.#thick && place === 0), from, trouble);
        try {
          if (kept !== 0) await this.#copy(grain, place - 1, fresh, kept);
          if (data !== 0) await this.#write(fresh, data, source, base);
        } catch (error) {
          allocator.release(fresh);
          if (promised || (this.#thick && place === 0)) allocator.reserveAgain(1);
          trouble = error;
          last = fresh;
          if (!isWriteError(error)) break;
          allocator.retire(fresh);
          continue;
        }
        moved = true;
        // Not before there is something else: the place is given back with this.
        if (failed !== undefined) allocator.retire(place - 1);
        this.#set(grain, fresh + 1, kept | data);
        return;
      }
      throw trouble;
    } finally {
      // It will be tried again, and must not find the pool full then.
      if (!moved && promised) this.#pending.add(grain);
      this.#arriving.delete(grain);
    }
  }

  /** Changes the map; a thick volume sets room aside again for what it gives back. */
  #set(grain: number, place: number, valid: number): void {
    const before = this.map.place(grain);
    this.map.set(grain, place, valid);
    if (this.#thick && before !== 0 && place === 0) this.#core.allocator.reserveAgain(1);
  }

  async #write(grain: number, mask: number, source: Buffer, base: number): Promise<void> {
    await this.#io.writeBlocks(grain, mask, source, base);
    this.#placedAt = this.#core.syncsBegun;
  }

  /**
   * Blocks that cannot be read stay so where they go: the ones beside them must not wait for them, or what was acknowledged
   * would never get into its place.
   */
  async #copy(grain: number, from: number, to: number, mask: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(GRAIN);
    const lost = await this.#io.salvage(from, mask, buffer);
    for (let rest = lost; rest !== 0; rest &= rest - 1) {
      this.#core.damaged(this.id, grain * GRAIN + lowestBlock(rest) * BLOCK, 'a block was lost before it was moved');
    }
    if (mask !== lost) await this.#write(to, mask & ~lost, buffer, 0);
    if (lost !== 0) await this.#io.spoil(to, lost);
  }

  // ---- sharing

  /** Somebody keeps data of this volume: it is placed, and nothing else is, before `work` runs. */
  settled<T>(position: number, length: number, work: () => T): Promise<T> {
    if (this.upper !== undefined) return this.upper.settled(position, length, work);
    return this.placed().then(work);
  }

  /**
   * Where the grain lies, with one reference more. Inside settled() only. What was admitted for it meanwhile needs another
   * grain from now on. Throws VolumeError no-space.
   */
  hold(grain: number): GrainPlace {
    const place = this.map.place(grain);
    if (place === 0) return { place, valid: 0 };
    const { allocator } = this.#core;
    if (!this.#pending.has(grain) && this.upper?.quiet(grain * GRAIN, GRAIN) === false) {
      allocator.reserve(1);
      this.#pending.add(grain);
    }
    allocator.retain(place - 1);
    return { place, valid: this.map.valid(grain) };
  }

  /** True when what is in the places of this volume may not be stable yet. */
  get unsynced(): boolean {
    return this.#placedAt >= this.#core.syncs;
  }

  /**
   * The grains from `first` on lie there from now on; the references come with them. False: the journal has no room, and
   * nothing has changed. Inside settled() only, and only for a thin volume: a thick one has room of its own.
   */
  async setPlaces(first: number, places: readonly GrainPlace[]): Promise<boolean> {
    this.#mayWrite();
    if (!this.#core.journal.map(this.id, first, places)) return false;
    places.forEach(({ place, valid }, i) => {
      const grain = first + i;
      const before = this.map.place(grain);
      if (this.#pending.delete(grain) && (!this.#thick || before !== 0)) this.#core.allocator.unreserve(1);
      // A grain that came from elsewhere stands for one that was set aside.
      if (this.#thick && before === 0 && place !== 0) this.#core.allocator.unreserve(1);
      this.#set(grain, place, valid);
      // Nothing was taken for a grain that was there already.
      if (before === place && place !== 0) this.#core.allocator.release(place - 1);
    });
    await this.upper?.replaced(first * GRAIN, places.length * GRAIN);
    return true;
  }

  shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    return shareInto(this.#core, this, source, from, to, length);
  }

  /** True when both are of one pool. */
  isBeside(other: PoolVolume): boolean {
    return other.#core === this.#core;
  }

  // ---- large writes

  writeGrains(position: number, source: Buffer, at: number, length: number): Promise<boolean> {
    this.#mayWrite();
    const writing = this.#direct(position / GRAIN, length / GRAIN, source, at);
    this.#writing.add(writing);
    return writing.finally(() => this.#writing.delete(writing));
  }

  /** Data to fresh grains, which is made stable; then the journal, and the map, say that they are the volume's. */
  async #direct(first: number, count: number, source: Buffer, at: number): Promise<boolean> {
    const core = this.#core;
    const places = await this.#io.writeFresh(count, source, at, !this.#thick);
    if (places === undefined) return false;
    let taken = false;
    try {
      await core.dataStable();
      for (;;) {
        const position = first * GRAIN;
        // The checksums are only with this record: whoever shares the grains must not depend on it.
        this.#placedAt = core.syncsBegun;
        const switchNow = (): Promise<boolean> => this.setPlaces(first, places);
        const upper = this.upper;
        const quiet = upper === undefined || upper.quiet(position, count * GRAIN);
        taken = quiet ? await switchNow() : await upper.settled(position, count * GRAIN, switchNow);
        if (taken) break;
        await this.room();
      }
      await this.stable();
      return true;
    } finally {
      if (!taken) for (const { place } of places) if (place !== 0) core.allocator.release(place - 1);
    }
  }

  /** Resolves when every write that has begun is over. */
  async written(): Promise<void> {
    await Promise.allSettled([...this.#placing, ...this.#writing]);
  }

  // ---- writing without anybody above

  writeNow(): WriteNow {
    return WriteNow.refused;
  }

  whenStable(waiter: StableWaiter): void {
    this.#core.journal.wait(waiter);
  }

  /** Whole blocks; stable and in its place when it resolves. */
  async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    await eachGrain(position, length, async (grain, first, end, done) => {
      const start = grain * GRAIN + first * BLOCK;
      const bytes = (end - first) * BLOCK;
      while (!this.admit(start, bytes)) await this.room();
      this.append(start, source, at + done, bytes);
      const placing = this.stable().then(() =>
        this.placeGrain(grain, blockMask(first, end), source, at + done - first * BLOCK),
      );
      this.#placing.add(placing);
      await placing.finally(() => this.#placing.delete(placing));
    });
  }

  /** Resolves when what write() has logged so far is in its place, or has failed. */
  async placed(): Promise<void> {
    await Promise.allSettled(this.#placing);
  }

  flush(): Promise<void> {
    return this.stable();
  }

  zero(position: number, length: number): Promise<void> {
    return this.unmap(position, length);
  }

  /** Whole blocks. */
  async unmap(position: number, length: number): Promise<void> {
    while (!this.clear(position, length)) await this.room();
    await this.stable();
  }

  /** Takes the blocks out of the map. The journal knows of it, or the metadata will. */
  clearMap(position: number, length: number): void {
    const end = position + length;
    for (let grain = Math.floor(position / GRAIN); grain * GRAIN < end; grain++) {
      if (this.map.leafMissing(grain)) {
        grain = this.map.lastOfLeaf(grain);
        continue;
      }
      const from = Math.max(position - grain * GRAIN, 0) / BLOCK;
      const to = Math.min(end - grain * GRAIN, GRAIN) / BLOCK;
      const place = this.map.place(grain);
      if (to - from === BLOCKS && this.#pending.delete(grain) && (!this.#thick || place !== 0)) {
        this.#core.allocator.unreserve(1);
      }
      if (place === 0) continue;
      const valid = this.map.valid(grain);
      const next = valid & ~blockMask(from, to);
      if (next !== valid) this.#set(grain, next === 0 ? 0 : place, next);
    }
  }

  // ---- the rest

  extents(position: number, length: number, limit: number): Promise<Extent[]> {
    const end = Math.min(position + length, this.info.size);
    return Promise.resolve(extentsOf(this.map, this.#thick, position, end, limit));
  }

  /** Bytes of blocks that hold data, shared or not. */
  allocatedBytes(): number {
    return this.map.blocks * BLOCK;
  }

  resize(size: number): Promise<void> {
    return this.#core.resize(this, size);
  }

  /** The size has changed (by the pool). */
  resized(size: number): void {
    this.info = { ...this.info, size };
  }

  /** Promises that will not be used any more go back. */
  forgetPending(): void {
    for (const grain of this.#pending) {
      if (!this.#thick || this.map.place(grain) !== 0) this.#core.allocator.unreserve(1);
    }
    this.#pending.clear();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#core.closed(this);
  }

  #mayWrite(): void {
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    if (this.#closed) throw new VolumeError(VolumeFault.notReady, 'the volume is closed');
    this.#core.mayWrite();
  }
}
