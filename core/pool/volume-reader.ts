// Reading a volume of a pool: which grains, in as few reads as there are runs of them, and what to do when one of them does
// not match its checksums.
import { MAX_MOVES } from '../base/limits.ts';
import { BLOCK, GRAIN, blockMask, lowestBlock } from '../volume/grain.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Place } from '../volume/volume.ts';
import { PARALLEL, allOf } from './each-grain.ts';
import type { GrainIo } from './grain-io.ts';
import type { PoolCore } from './pool-core.ts';
import type { VolumeMap } from './volume-map.ts';

/** Bytes that are read in one piece: several pieces at once are faster than a long one. */
const RUN = 4 * GRAIN;

export class VolumeReader {
  readonly #core: PoolCore;
  readonly #io: GrainIo;
  readonly #map: VolumeMap;
  /** Number of the volume. */
  readonly #id: number;

  constructor(core: PoolCore, io: GrainIo, map: VolumeMap, id: number) {
    this.#core = core;
    this.#io = io;
    this.#map = map;
    this.#id = id;
  }

  /** `length` bytes from byte `position` on. Rejects with a VolumeError. */
  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    const from = position - (position % BLOCK);
    const to = Math.ceil((position + length) / BLOCK) * BLOCK;
    if (from === position && to === position + length) return this.#readBlocks(from, to, target, at);
    // Checksums are of whole blocks.
    const whole = Buffer.allocUnsafe(to - from);
    return this.#readBlocks(from, to, whole, 0).then(() => {
      whole.copy(target, at, position - from, position - from + length);
    });
  }

  /** The same where one read of a disk is all that it takes, see Volume.readSoon: everything is there, as are its checksums. */
  readSoon(position: number, length: number, target: Buffer, at: number, done: (whole: boolean) => void): boolean {
    const grain = Math.floor(position / GRAIN);
    const from = position - grain * GRAIN;
    if (position % BLOCK !== 0 || length % BLOCK !== 0 || from + length > GRAIN) return false;
    const wanted = wantedOf(position, length);
    const place = this.#map.place(grain);
    const io = this.#io;
    if ((this.#map.valid(grain) & wanted) !== wanted || !io.hasSums(place - 1)) return false;
    return io.readSoon(place - 1, from, length, target, at, (whole) => {
      done(whole && this.#map.place(grain) === place && io.matches(place - 1, wanted, target, at - from));
    });
  }

  /** The same into several places. */
  async readPlaces(places: readonly Place[]): Promise<void> {
    let running: Promise<void>[] = [];
    for (let i = 0; i < places.length;) {
      const count = this.#together(places, i);
      running.push(count > 1 ? this.#readRun(places.slice(i, i + count)) : this.#readPlace(places[i] as Place));
      i += count;
      if (running.length < PARALLEL) continue;
      await allOf(running);
      running = [];
    }
    await allOf(running);
  }

  /** readPlaces() where everything is there, as are its checksums, see Volume.readPlacesSoon: with a read for each run. */
  readPlacesSoon(places: readonly Place[], done: (whole: boolean) => void): boolean {
    for (const { position, length } of places) {
      const grain = Math.floor(position / GRAIN);
      const wanted = wantedOf(position, length);
      if (position % BLOCK !== 0 || length % BLOCK !== 0) return false;
      if ((this.#map.valid(grain) & wanted) !== wanted || !this.#io.hasSums(this.#map.place(grain) - 1)) return false;
    }
    let running = 0;
    let all = true;
    const ended = (whole: boolean): void => {
      if (!whole) all = false;
      if (--running === 0) done(all);
    };
    for (let i = 0; i < places.length;) {
      const count = this.#together(places, i);
      if (!this.#readRunSoon(places.slice(i, i + count), ended)) {
        // What has begun has to end before anybody else may use its memory.
        all = false;
        return running > 0;
      }
      running++;
      i += count;
    }
    return running > 0;
  }

  #readRunSoon(places: readonly Place[], done: (whole: boolean) => void): boolean {
    const { position: from } = places[0] as Place;
    const grain = Math.floor(from / GRAIN);
    const place = this.#map.place(grain);
    return this.#io.readRunSoon(place - 1, from - grain * GRAIN, viewsOf(places), (whole) => {
      done(whole && places.every((each, i) => this.#fine(each, grain + i, place + i)));
    });
  }

  /** True when what was read of a grain is what the volume has there. */
  #fine({ position, length, memory, at }: Place, grain: number, place: number): boolean {
    const base = at - (position - grain * GRAIN);
    return this.#map.place(grain) === place && this.#io.matches(place - 1, wantedOf(position, length), memory, base);
  }

  /** Bytes [from, to) of the volume, whole blocks, checked. */
  #readBlocks(from: number, to: number, memory: Buffer, at: number): Promise<void> {
    const grain = Math.floor(from / GRAIN);
    const base = grain * GRAIN;
    if (to <= base + GRAIN) return this.#readGrain(grain, (from - base) / BLOCK, (to - base) / BLOCK, memory, at);
    const places: Place[] = [];
    for (let position = from; position < to;) {
      const length = Math.min(to, (Math.floor(position / GRAIN) + 1) * GRAIN) - position;
      places.push({ position, length, memory, at: at + position - from });
      position += length;
    }
    return this.readPlaces(places);
  }

  #readPlace({ position, length, memory, at }: Place): Promise<void> {
    // A volume may end within a block.
    if (position % BLOCK !== 0 || length % BLOCK !== 0) return this.read(position, length, memory, at);
    const grain = Math.floor(position / GRAIN);
    const first = (position - grain * GRAIN) / BLOCK;
    return this.#readGrain(grain, first, first + length / BLOCK, memory, at);
  }

  /** How many places from the one at `i` on are one piece in the pool, every block of them there. At least 1. */
  #together(places: readonly Place[], i: number): number {
    const { position: from } = places[i] as Place;
    const grain = Math.floor(from / GRAIN);
    const place = this.#map.place(grain);
    if (place === 0) return 1;
    const most = Math.min(places.length - i, RUN / GRAIN, this.#io.untilSlabEnd(place - 1));
    let next = from;
    let count = 0;
    for (; count < most; count++) {
      const { position, length } = places[i + count] as Place;
      if (position !== next || position % BLOCK !== 0 || length % BLOCK !== 0) break;
      const wanted = wantedOf(position, length);
      if (this.#map.place(grain + count) !== place + count) break;
      if ((this.#map.valid(grain + count) & wanted) !== wanted) break;
      next = position + length;
    }
    return Math.max(1, count);
  }

  /** Places that are one piece in the pool, with a single read. */
  async #readRun(places: readonly Place[]): Promise<void> {
    const { position: from } = places[0] as Place;
    const grain = Math.floor(from / GRAIN);
    const place = this.#map.place(grain);
    const read = this.#io.readRun(place - 1, from - grain * GRAIN, viewsOf(places));
    // What goes wrong here is looked at grain by grain.
    const whole = await read.then(
      () => true,
      () => false,
    );
    for (const [i, each] of places.entries()) {
      const loading = whole ? this.#io.loadSums(place - 1 + i) : undefined;
      if (loading !== undefined) await loading;
      if (!whole || !this.#fine(each, grain + i, place + i)) await this.#readPlace(each);
    }
  }

  /** Blocks [first, end) of a grain, checked. Nearly always all of them are there, and right: then little is made for it. */
  #readGrain(grain: number, first: number, end: number, target: Buffer, at: number): Promise<void> {
    const place = this.#map.place(grain);
    const wanted = blockMask(first, end);
    const io = this.#io;
    if ((this.#map.valid(grain) & wanted) !== wanted || io.loadSums(place - 1) !== undefined) {
      return this.#readCarefully(grain, first, end, target, at);
    }
    return io.readRaw(place - 1, first, end, target, at).then(
      () => {
        const fine = this.#map.place(grain) === place && io.matches(place - 1, wanted, target, at - first * BLOCK);
        return fine ? undefined : this.#readCarefully(grain, first, end, target, at);
      },
      () => this.#readCarefully(grain, first, end, target, at),
    );
  }

  /** The same with several tries, whatever is there. */
  async #readCarefully(grain: number, first: number, end: number, target: Buffer, at: number): Promise<void> {
    for (let tries = 0; ; tries++) {
      const place = this.#map.place(grain);
      const wanted = blockMask(first, end);
      const valid = this.#map.valid(grain) & wanted;
      if (valid !== wanted) target.fill(0, at, at + (end - first) * BLOCK);
      let bad = -1;
      let trouble: unknown;
      try {
        if (valid !== 0) bad = await this.#io.readBlocks(place - 1, valid, target, at - first * BLOCK);
      } catch (error) {
        bad = lowestBlock(valid);
        trouble = error;
      }
      // A grain that was given back meanwhile may hold something else by now.
      if (this.#map.place(grain) !== place && tries < MAX_MOVES) continue;
      if (bad < 0) return;
      // The data and its checksum are changed one after the other.
      if (tries === 0) continue;
      this.#damaged(grain, bad, trouble);
    }
  }

  #damaged(grain: number, block: number, cause: unknown): never {
    const what = cause === undefined ? 'the data does not match its checksum' : 'the disk cannot read';
    const position = grain * GRAIN + block * BLOCK;
    this.#core.damaged(this.#id, position, what);
    throw new VolumeError(VolumeFault.readError, what, position, { cause });
  }
}

/** Bits of the blocks of its grain that a place is for. */
function wantedOf(position: number, length: number): number {
  const first = (position % GRAIN) / BLOCK;
  return blockMask(first, first + length / BLOCK);
}

/** The memory of the places; what is adjacent is one piece. */
function viewsOf(places: readonly Place[]): Buffer[] {
  const views: Buffer[] = [];
  for (let i = 0; i < places.length;) {
    const { memory, at } = places[i] as Place;
    let end = at;
    for (let next = places[i]; next?.memory === memory && next.at === end; next = places[i]) {
      end += next.length;
      i++;
    }
    views.push(memory.subarray(at, end));
  }
  return views;
}
