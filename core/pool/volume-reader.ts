// Reading a volume of a pool: which grains, in as few reads as there are runs of them, and what to do when one of them does
// not match its checksums.
import { MAX_MOVES } from '../base/limits.ts';
import { BLOCK, BLOCKS, GRAIN, blockMask, lowestBlock } from '../volume/grain.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import { eachRun } from './each-grain.ts';
import type { GrainIo } from './grain-io.ts';
import type { PoolCore } from './pool-core.ts';
import type { VolumeMap } from './volume-map.ts';

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
  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    const from = position - (position % BLOCK);
    const to = Math.ceil((position + length) / BLOCK) * BLOCK;
    // Checksums are of whole blocks.
    const ragged = from !== position || to !== position + length;
    const whole = ragged ? Buffer.allocUnsafe(to - from) : target;
    await this.#readBlocks(from, to, whole, ragged ? 0 : at);
    if (ragged) whole.copy(target, at, position - from, position - from + length);
  }

  /** Bytes [from, to) of the volume, whole blocks, checked. */
  #readBlocks(from: number, to: number, target: Buffer, at: number): Promise<void> {
    const grain = Math.floor(from / GRAIN);
    const base = grain * GRAIN;
    if (to <= base + GRAIN) return this.#readGrain(grain, (from - base) / BLOCK, (to - base) / BLOCK, target, at);
    return eachRun(this.#map, from, to, (place) => this.#io.untilSlabEnd(place), {
      one: (each, first, end, done) => this.#readGrain(each, first, end, target, at + done),
      many: (each, count, start, end) => this.#readRun(each, count, start, end, target, at + start - from),
    });
  }

  /** Bytes [from, to) of the volume, in `count` grains that are one behind the other in the pool, with a single read. */
  async #readRun(grain: number, count: number, from: number, to: number, target: Buffer, at: number): Promise<void> {
    const place = this.#map.place(grain);
    const read = this.#io.readRun(place - 1, from - grain * GRAIN, to - from, target, at);
    // What goes wrong here is looked at grain by grain.
    const whole = await read.then(
      () => true,
      () => false,
    );
    for (let i = 0; i < count; i++) {
      const base = (grain + i) * GRAIN;
      const first = Math.max(0, (from - base) / BLOCK);
      const end = Math.min(BLOCKS, (to - base) / BLOCK);
      const loading = whole ? this.#io.loadSums(place - 1 + i) : undefined;
      if (loading !== undefined) await loading;
      const fine =
        whole &&
        this.#map.place(grain + i) === place + i &&
        this.#io.matches(place - 1 + i, blockMask(first, end), target, at + base - from);
      if (!fine) await this.#readGrain(grain + i, first, end, target, at + base + first * BLOCK - from);
    }
  }

  /** Blocks [first, end) of a grain, checked. */
  async #readGrain(grain: number, first: number, end: number, target: Buffer, at: number): Promise<void> {
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
