// Blocks of grains between memory and the slabs, with their checksums.
import { crc32c } from '../base/crc32c.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, blockMask, lowestBlock, runEnd } from '../volume/grain.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import { diskError } from './disk-error.ts';
import { joinedSum } from './joined-sums.ts';
import type { PoolCore } from './pool-core.ts';
import { Places } from './places.ts';

const ZEROS = Buffer.alloc(BLOCK);
/** Times a block is read before it counts as lost. */
const READ_TRIES = 3;

function cannotRead(cause: unknown): VolumeError {
  return new VolumeError(VolumeFault.readError, 'the disk cannot read', undefined, { cause });
}

export class GrainIo {
  readonly #core: PoolCore;

  constructor(core: PoolCore) {
    this.#core = core;
  }

  /** Reads the blocks of the mask to their places behind `at`; the first that does not match its checksum, or -1. */
  async readBlocks(grain: number, mask: number, target: Buffer, at: number): Promise<number> {
    const { slabs } = this.#core;
    try {
      for (let rest = mask; rest !== 0;) {
        const first = lowestBlock(rest);
        const end = runEnd(rest, first);
        await slabs.readRaw(grain, first * BLOCK, (end - first) * BLOCK, target, at + first * BLOCK);
        rest &= ~blockMask(first, end);
      }
      if (slabs.sumsNow(grain) === undefined) return firstBad(mask, target, at, await slabs.sums(grain), 0);
    } catch (error) {
      throw cannotRead(error);
    }
    return firstBad(mask, target, at, slabs.sumsNow(grain) as Uint32Array, slabs.sumsAt(grain));
  }

  /** Blocks [first, end) of a grain to `at`, unchecked. See matches(). */
  readRaw(grain: number, first: number, end: number, target: Buffer, at: number): Promise<void> {
    try {
      return this.#core.slabs.readRaw(grain, first * BLOCK, (end - first) * BLOCK, target, at);
    } catch (error) {
      // A grain outside the pool.
      return Promise.reject(cannotRead(error));
    }
  }

  /** Bytes [from, from+length) of a grain, unchecked, without a promise; see DiskFile.readSoon. */
  readSoon(
    grain: number,
    from: number,
    length: number,
    target: Buffer,
    at: number,
    done: (whole: boolean) => void,
  ): boolean {
    try {
      return this.#core.slabs.readSoon(grain, from, length, target, at, done);
    } catch {
      // A grain outside the pool: the long way says so.
      return false;
    }
  }

  /** readRun() without a promise; see DiskFile.readLargeSoon. */
  readRunSoon(first: number, from: number, into: readonly Buffer[], done: (whole: boolean) => void): boolean {
    try {
      return this.#core.slabs.readLargeSoon(first, from, into, done);
    } catch {
      return false;
    }
  }

  /** Bytes from `from` on of grains that are one behind the other in a slab, to `into`, unchecked. See matches(). */
  async readRun(first: number, from: number, into: readonly Buffer[]): Promise<void> {
    const { slabs } = this.#core;
    try {
      await slabs.readLarge(first, from, into);
    } catch (error) {
      throw cannotRead(error);
    }
  }

  /** True when the checksums of the grain are in memory. */
  hasSums(grain: number): boolean {
    return this.#core.slabs.sumsNow(grain) !== undefined;
  }

  /** Resolves when the checksums of the grain are in memory, or when they cannot be read. */
  loadSums(grain: number): Promise<unknown> | undefined {
    return this.hasSums(grain) ? undefined : this.#core.slabs.sums(grain).catch(() => undefined);
  }

  /** True when the blocks of the mask, where the grain begins at `at`, match checksums that are in memory. */
  matches(grain: number, mask: number, target: Buffer, at: number): boolean {
    const { slabs } = this.#core;
    const sums = slabs.sumsNow(grain);
    return sums !== undefined && firstBad(mask, target, at, sums, slabs.sumsAt(grain)) < 0;
  }

  /** Grains from this one on that may be read in one piece: those up to the end of its slab. */
  untilSlabEnd(grain: number): number {
    return this.#core.slabs.slabEnd(grain) - grain;
  }

  /**
   * Reads the blocks of the mask like readBlocks, one by one where that fails. The blocks that cannot be had: their places in
   * `target` are zeros. A disk gets several tries.
   */
  async salvage(grain: number, mask: number, target: Buffer): Promise<number> {
    let lost = 0;
    for (let rest = mask; rest !== 0; rest &= rest - 1) {
      const block = lowestBlock(rest);
      let whole = false;
      for (let tries = 0; tries < READ_TRIES && !whole; tries++) {
        whole = await this.readBlocks(grain, 1 << block, target, 0).then(
          (bad) => bad < 0,
          () => false,
        );
      }
      if (whole) continue;
      target.fill(0, block * BLOCK, (block + 1) * BLOCK);
      lost |= 1 << block;
    }
    return lost;
  }

  /**
   * The blocks of the mask of a grain of a volume from one place to another. Those that cannot be read stay so where they go:
   * the ones beside them must not wait for them, or what was acknowledged would never get into its place.
   */
  async copy(volume: number, grain: number, from: number, to: number, mask: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(GRAIN);
    const lost = await this.salvage(from, mask, buffer);
    for (let rest = lost; rest !== 0; rest &= rest - 1) {
      this.#core.damaged(volume, grain * GRAIN + lowestBlock(rest) * BLOCK, 'a block was lost before it was moved');
    }
    if (mask !== lost) await this.writeBlocks(to, mask & ~lost, buffer, 0);
    if (lost !== 0) await this.spoil(to, lost);
  }

  /** Makes the blocks of the mask such that reading them fails. */
  async spoil(grain: number, mask: number): Promise<void> {
    const wrong = [~crc32c(ZEROS, 0, BLOCK) >>> 0];
    for (let rest = mask; rest !== 0; rest &= rest - 1) {
      const block = lowestBlock(rest);
      try {
        await this.#core.slabs.write(grain, block * BLOCK, BLOCK, ZEROS, 0, wrong);
      } catch (error) {
        throw diskError(error);
      }
    }
  }

  /** Writes the blocks of the mask from `source`, where the grain would begin at `at`. */
  async writeBlocks(grain: number, mask: number, source: Buffer, at: number): Promise<void> {
    for (let rest = mask; rest !== 0;) {
      const first = lowestBlock(rest);
      const end = runEnd(rest, first);
      const sums: number[] = [];
      for (let block = first; block < end; block++) {
        sums.push(crc32c(source, at + block * BLOCK, at + (block + 1) * BLOCK));
      }
      try {
        await this.#core.slabs.write(grain, first * BLOCK, (end - first) * BLOCK, source, at + first * BLOCK, sums);
      } catch (error) {
        throw diskError(error);
      }
      rest &= ~blockMask(first, end);
    }
  }

  /** Grains of zeros are not written. undefined: there is no room, or it cannot be written. */
  async writeFresh(count: number, source: Buffer, at: number, thin: boolean): Promise<Places | undefined> {
    const { allocator, slabs } = this.#core;
    const sums: Uint32Array[] = [];
    const masks: number[] = [];
    for (let i = 0; i < count; i++) {
      const base = at + i * GRAIN;
      sums.push(sumsOf(source, base));
      masks.push(thin ? ALL_BLOCKS & ~zeroBlocks(ALL_BLOCKS, source, base) : ALL_BLOCKS);
    }
    const found = new Places(count, sums);
    try {
      for (let i = 0; i < count;) {
        if (masks[i] === 0) {
          i++;
          continue;
        }
        let wanted = 1;
        while (i + wanted < count && masks[i + wanted] !== 0) wanted++;
        const run = allocator.allocateRun(wanted);
        for (let j = 0; j < run.count; j++) {
          found.put(i + j, run.first + j + 1, masks[i + j] as number);
        }
        for (let done = 0; done < run.count;) {
          const from = i + done;
          done += await slabs.writeRun(run.first + done, run.count - done, source, at + from * GRAIN, sums.slice(from));
        }
        i += run.count;
      }
    } catch (error) {
      allocator.letGoAll(found.places);
      if (error instanceof VolumeError && error.fault === VolumeFault.noSpace) return undefined;
      const trouble = diskError(error);
      // By way of the log the data finds a place that can be written.
      if (trouble.fault === VolumeFault.writeError) return undefined;
      throw trouble;
    }
    return found;
  }
}

/** The first block of the mask, where the grain begins at `at`, that does not match its checksum; -1: they all do. */
function firstBad(mask: number, target: Buffer, at: number, sums: Uint32Array, sumsAt: number): number {
  for (let rest = mask; rest !== 0;) {
    const first = lowestBlock(rest);
    const end = runEnd(rest, first);
    const from = at + first * BLOCK;
    const sum = crc32c(target, from, at + end * BLOCK);
    if (sum !== joinedSum(sums, sumsAt + first, end - first)) {
      for (let block = first; block < end; block++) {
        if (crc32c(target, at + block * BLOCK, at + (block + 1) * BLOCK) !== sums[sumsAt + block]) return block;
      }
    }
    rest &= ~blockMask(first, end);
  }
  return -1;
}

/** The blocks of the mask that are all zeros in `source`, where the grain would begin at `at`. */
export function zeroBlocks(mask: number, source: Buffer, at: number): number {
  let zeros = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) {
    const block = lowestBlock(rest);
    const from = at + block * BLOCK;
    if (source[from] === 0 && ZEROS.compare(source, from, from + BLOCK) === 0) zeros |= 1 << block;
  }
  return zeros;
}

export const isWriteError = (error: unknown): boolean =>
  error instanceof VolumeError && error.fault === VolumeFault.writeError;

/** CRC32C of the 16 blocks of a grain. */
function sumsOf(source: Buffer, at: number): Uint32Array {
  return Uint32Array.from({ length: BLOCKS }, (_, block) =>
    crc32c(source, at + block * BLOCK, at + (block + 1) * BLOCK),
  );
}
