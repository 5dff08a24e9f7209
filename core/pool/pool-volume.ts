// A volume of a pool. It puts blocks into grains of the pool: into the grain it has, if nobody shares it, else into a fresh
// one. Whatever changes is in the journal before.
import { WRITE_TRIES } from '../base/limits.ts';
import { BLOCK, BLOCKS, GRAIN, blockMask } from '../volume/grain.ts';
import { VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, LogUpper, Place, StableWaiter, Volume, VolumeInfo, WriteLog } from '../volume/volume.ts';
import { eachGrain } from './each-grain.ts';
import { extentsOf } from './extents.ts';
import { GrainIo, isWriteError, zeroBlocks } from './grain-io.ts';
import type { PoolCore, PoolVolumeOptions } from './pool-core.ts';
import type { Places } from './places.ts';
import { Promises } from './promises.ts';
import { shareInto, sharerOf } from './share.ts';
import { Unstable } from './unstable.ts';
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
  readonly #promises: Promises; // of grains that will need a fresh grain of the pool when what was admitted is placed
  readonly #unstable: Unstable;
  readonly #arriving = new Set<number>(); // grains on the way to a fresh one: what is admitted meanwhile goes there, too
  #placedAt = -1; // how many syncs had begun when something was put into its place last; -1: never
  readonly #placingIn = new Map<number, Promise<void>>(); // by grain: the last call that puts something into it
  readonly #writing = new Set<Promise<boolean>>(); // large writes, and copies into this volume, that have begun
  readonly #placing = new Set<Promise<void>>(); // logged by write() and on the way to its place
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
    this.#promises = new Promises(core.allocator, map, options.thick);
    this.#unstable = new Unstable(core.journal);
    this.log = this;
    const { size, blockSize, durability, readOnly, thick } = options;
    const info = { size, blockSize, durability, readOnly, thin: !thick };
    this.info = { ...info, unmapGranularity: GRAIN, quickZero: true };
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

  readSoon(position: number, length: number, target: Buffer, at: number, done: (whole: boolean) => void): boolean {
    return !this.#closed && this.#reader.readSoon(position, length, target, at, done);
  }

  readPlacesSoon(places: readonly Place[], done: (whole: boolean) => void): boolean {
    return !this.#closed && this.#reader.readPlacesSoon(places, done);
  }

  readPlaces(places: readonly Place[]): Promise<void> {
    if (this.#closed) return Promise.reject(new VolumeError(VolumeFault.notReady, 'the volume is closed'));
    return this.#reader.readPlaces(places);
  }

  // ---- writing: the log

  admit(position: number, length: number): boolean {
    this.#mayWrite();
    if (!this.#core.journal.ready) return false;
    if (this.#promise(position, length)) return true;
    // Not half way: as long as nothing is in the cache, a promise that was made for this write looks like one nobody needs.
    this.tidy(false);
    if (this.#promise(position, length)) return true;
    this.#core.mayWait();
    this.#short = true;
    return false;
  }

  /** Promises a grain for each that will need one. False: there are not enough. */
  #promise(position: number, length: number): boolean {
    const last = Math.floor((position + length - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
      if (!this.#inPlace(grain) && !this.#arriving.has(grain) && !this.#promises.make(grain)) return false;
    }
    return true;
  }

  append(position: number, source: Buffer, at: number, length: number): void {
    if (!this.#core.journal.data(this.id, position / BLOCK, source, at, length / BLOCK)) {
      throw new RangeError('the journal has no room for what it admitted');
    }
    this.#unstable.add(position / BLOCK, length / BLOCK);
  }

  unstable(position: number, length: number): boolean {
    const from = Math.floor(position / BLOCK);
    return this.#unstable.has(from, Math.ceil((position + length) / BLOCK) - from);
  }

  together(length: number): boolean {
    return this.#core.journal.together(length / BLOCK, length / GRAIN + 2);
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
    this.#unstable.add(position / BLOCK, length / BLOCK);
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
    const zeros = this.#thick ? 0 : zeroBlocks(written, source, base);
    const data = written & ~zeros;
    const place = this.map.place(grain);
    const valid = this.map.valid(grain);
    const next = (valid & ~zeros) | data;
    // Zeros change the map only, also where the grain is shared.
    if (data === 0) {
      this.#thin(grain, next);
      return;
    }
    if (this.#inPlace(grain)) {
      this.#promises.drop(grain);
      try {
        if (data !== 0) await this.#write(place - 1, data, source, base);
        if (next !== valid) this.#set(grain, place, next);
      } catch (error) {
        // What cannot be written here may be written elsewhere. A full disk is another matter.
        if (!isWriteError(error)) throw error;
        await this.#move(grain, place, valid & ~written, data, source, base, error);
      }
      return;
    }
    await this.#move(grain, place, valid & ~written, data, source, base, undefined);
  }

  /**
   * The grain has only these blocks any more. What of it is still to be placed needs the promise, or the place where there is
   * none: then the place stays although no block is in it. tidy() gives both back.
   */
  #thin(grain: number, valid: number): void {
    const place = this.map.place(grain);
    if (place !== 0) {
      const stays = valid !== 0 || (!this.#promises.has(grain) && !this.#quiet(grain));
      if (!stays || valid !== this.map.valid(grain)) this.#set(grain, stays ? place : 0, valid);
    }
    this.#promises.loosen(grain);
  }

  /** Nothing of the grain is waiting to be placed, as far as one can tell. */
  #quiet(grain: number): boolean {
    return !this.#arriving.has(grain) && this.isQuiet(grain * GRAIN, GRAIN);
  }

  /** Gives back grains and promises that nothing needs any more; `all`: looks at every promise. */
  tidy(all: boolean, quiet = (grain: number): boolean => this.#quiet(grain)): void {
    this.#promises.tidy(all, quiet, (grain) => {
      this.#set(grain, 0, 0);
    });
  }

  /**
   * Blocks `kept` of the place, and `data`, to a fresh grain. One that cannot be written is given up for another. `failed`:
   * why the place itself cannot be written.
   */
  async #move(
    grain: number,
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
    this.#arriving.add(grain);
    try {
      for (let tries = 0; tries < WRITE_TRIES; tries++) {
        // Trouble is often not alone: the next try is behind the page of checksums, then in another slab.
        const from = trouble === undefined ? undefined : tries < 2 ? slabs.pageEnd(last) : slabs.slabEnd(last);
        const { fresh, undo } = this.#take(grain, from, trouble);
        try {
          if (kept !== 0) await this.#io.copy(this.id, grain, place - 1, fresh, kept);
          await this.#write(fresh, data, source, base);
        } catch (error) {
          undo();
          trouble = error;
          last = fresh;
          if (!isWriteError(error)) break;
          allocator.retire(fresh);
          continue;
        }
        // Not before there is something else: the place is given back with this.
        if (failed !== undefined) allocator.retire(place - 1);
        this.#set(grain, fresh + 1, kept | data);
        return;
      }
      throw trouble;
    } finally {
      this.#arriving.delete(grain);
    }
  }

  #take(grain: number, from: number | undefined, trouble: unknown): ReturnType<Promises['take']> {
    try {
      return this.#promises.take(grain, from);
    } catch (error) {
      // That there is no other place is not what went wrong.
      throw trouble ?? error;
    }
  }

  /** Changes the map; a thick volume sets room aside again for what it gives back. */
  #set(grain: number, place: number, valid: number): void {
    const before = this.map.place(grain);
    this.map.set(grain, place, valid);
    if (before !== 0 && place === 0) this.#promises.emptied(grain);
  }

  async #write(grain: number, mask: number, source: Buffer, base: number): Promise<void> {
    await this.#io.writeBlocks(grain, mask, source, base);
    this.#placedAt = this.#core.syncsBegun;
  }

  // ---- sharing

  /** Somebody keeps data of this volume: it is placed, and nothing else is, before `work` runs. */
  async settled<T>(position: number, length: number, work: () => T): Promise<T> {
    if (this.isQuiet(position, length)) return work(); // as a rule
    if (this.upper !== undefined) return this.upper.settled(position, length, work);
    return this.placed().then(work);
  }

  /** True when nothing of the range waits to be placed: who keeps it need not wait for settled(). */
  isQuiet(position: number, length: number): boolean {
    if (this.upper !== undefined) return this.upper.quiet(position, length);
    // What write() has logged waits for the journal before it is on its way to its grain.
    return this.#placing.size === 0 && this.#placingIn.size === 0;
  }

  /**
   * Where the grains lie, with one reference more, which is in hand. Inside settled() only. What was admitted for them
   * meanwhile needs other grains from now on. Throws VolumeError no-space; nothing is in hand then.
   */
  hold(first: number, count: number): Places {
    const { allocator } = this.#core;
    const found = this.map.read(first, count);
    const quiet = this.#arriving.size === 0 && this.isQuiet(first * GRAIN, count * GRAIN);
    found.places.forEach((place, i) => {
      if (place === 0) return;
      if (!quiet && !this.#quiet(first + i) && !this.#promises.make(first + i)) {
        allocator.letGoAll(found.places.subarray(0, i));
        throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
      }
      allocator.hold(place - 1);
    });
    return found;
  }

  /** True when what is in the places of this volume may not be stable yet. */
  get unsynced(): boolean {
    return this.#placedAt >= this.#core.syncs;
  }

  /**
   * The grains from `first` on lie there from now on; the references come with them. False: the journal has no room, and
   * nothing has changed. Inside settled() only, and only for a thin volume: a thick one has room of its own.
   */
  setPlaces(first: number, places: Places): boolean {
    this.#mayWrite();
    if (!this.#core.journal.map(this.id, first, places)) return false;
    const end = first + places.count;
    this.#unstable.add(first * BLOCKS, places.count * BLOCKS);
    this.#promises.dropAll(first, end);
    // A grain that came from elsewhere stands for one that was set aside.
    if (this.#thick) this.#core.allocator.unreserve(places.placed - this.map.placed(first, end));
    this.map.setAll(first, places);
    this.upper?.replaced(first * GRAIN, places.count * GRAIN);
    return true;
  }

  shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    const sharing = shareInto(this.#core, this, source, from, to, length);
    this.#writing.add(sharing);
    return sharing.finally(() => this.#writing.delete(sharing));
  }

  sharesWith(source: Volume): boolean {
    return sharerOf(this, source) !== undefined;
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
        const switchNow = (): boolean => this.setPlaces(first, places);
        const upper = this.upper;
        const quiet = upper === undefined || upper.quiet(position, count * GRAIN);
        taken = quiet ? switchNow() : await upper.settled(position, count * GRAIN, switchNow);
        if (taken) break;
        await this.room();
      }
      await this.stable();
      return true;
    } finally {
      if (!taken) core.allocator.letGoAll(places.places);
    }
  }

  /** Resolves when every write that has begun, here or in a grain, is over. */
  async written(): Promise<void> {
    await Promise.allSettled([...this.#placing, ...this.#writing, ...this.#placingIn.values()]);
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
    const [first, last] = [Math.ceil(position / GRAIN), Math.floor(end / GRAIN)];
    if (first * GRAIN !== position) this.#clearPart(first - 1, position, end);
    if (last >= first && last * GRAIN !== end) this.#clearPart(last, position, end);
    if (last <= first) return;
    this.#promises.dropAll(first, last);
    if (this.#thick) this.#core.allocator.reserveAgain(this.map.placed(first, last));
    this.map.clear(first, last);
  }

  #clearPart(grain: number, position: number, end: number): void {
    if (this.map.leafMissing(grain)) return;
    const from = Math.max(position - grain * GRAIN, 0) / BLOCK;
    const to = Math.min(end - grain * GRAIN, GRAIN) / BLOCK;
    this.#thin(grain, this.map.valid(grain) & ~blockMask(from, to));
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
