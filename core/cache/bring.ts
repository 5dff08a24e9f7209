// Cold data straight into the frames of the cache: what is read from below is copied nowhere else before it is sent.
import { blockMask, lowestBlock, runEnd, BLOCK } from '../volume/grain.ts';
import type { Place, Volume } from '../volume/volume.ts';
import type { CachedBlocks } from './cached-blocks.ts';
import { FRAME, touchedBlocks } from './l1-cache.ts';

const NOT_SO = Promise.resolve(false);
/** Bytes bringSoon() takes at most: beyond that the promises of the other way cost nothing any more. */
const MOST_SOON = 1_048_576;

/** Blocks of a frame that are being read from below. */
interface Fill {
  readonly grain: number;
  readonly frame: number;
  readonly bits: number;
  readonly version: number;
}

/**
 * Reads what the cache does not have of the range. False: somebody else is reading it too, it has been written meanwhile, or
 * frames are short; use CachedBlocks.read. Rejects with a VolumeError.
 */
export function bring(blocks: CachedBlocks, position: number, length: number): Promise<boolean> {
  const grain = Math.floor(position / FRAME);
  const from = position - grain * FRAME;
  return from + length <= FRAME ? bringOne(blocks, grain, from, from + length) : bringAll(blocks, position, length);
}

/** The same without a promise, see Volume.bringSoon: blocks of one grain, none of which is there, or of several. */
export function bringSoon(
  blocks: CachedBlocks,
  position: number,
  length: number,
  done: (there: boolean) => void,
): boolean {
  const { cache, backing } = blocks;
  const grain = Math.floor(position / FRAME);
  const from = position - grain * FRAME;
  if (from + length > FRAME) return bringAllSoon(blocks, position, length, done);
  if (backing.readSoon === undefined) return false;
  const frame = blocks.frameFor(grain);
  if (frame < 0) return false;
  const bits = touchedBlocks(from, from + length);
  if ((bits & ((cache.valid[frame] as number) | (cache.filling[frame] as number))) !== 0) return false;
  const first = lowestBlock(bits);
  const end = runEnd(bits, first);
  const start = grain * FRAME + first * BLOCK;
  const bytes = Math.min((end - first) * BLOCK, backing.info.size - start);
  const version = blocks.version(grain);
  const ended = (whole: boolean): void => {
    cache.filling[frame] = (cache.filling[frame] as number) & ~bits;
    done(whole && publishOne(blocks, grain, frame, bits, version));
  };
  if (!backing.readSoon(start, bytes, cache.slab(frame), cache.offset(frame) + first * BLOCK, ended)) return false;
  cache.filling[frame] = (cache.filling[frame] as number) | bits;
  return true;
}

function bringAllSoon(blocks: CachedBlocks, position: number, length: number, done: (there: boolean) => void): boolean {
  const { backing, cache } = blocks;
  if (backing.readPlacesSoon === undefined || length > MOST_SOON) return false;
  const fills: Fill[] = [];
  const free = (): void => {
    for (const { frame, bits } of fills) cache.filling[frame] = (cache.filling[frame] as number) & ~bits;
  };
  const ended = (whole: boolean): void => {
    free();
    done(whole && publish(blocks, fills));
  };
  if (begin(blocks, position, length, fills) && backing.readPlacesSoon(placesOf(blocks, fills), ended)) return true;
  free();
  return false;
}

/** Bytes [from, upTo) of a grain. Most cold reads are small: this makes as little as it can for one. */
function bringOne(blocks: CachedBlocks, grain: number, from: number, upTo: number): Promise<boolean> {
  const { cache, backing } = blocks;
  const frame = blocks.frameFor(grain);
  if (frame < 0) return NOT_SO;
  const bits = touchedBlocks(from, upTo) & ~(cache.valid[frame] as number);
  const first = lowestBlock(bits);
  const end = runEnd(bits, first);
  const filling = cache.filling[frame] as number;
  if (bits === 0 || bits !== blockMask(first, end)) return bringAll(blocks, grain * FRAME + from, upTo - from);
  if ((bits & filling) !== 0) return NOT_SO;
  cache.filling[frame] = filling | bits;
  const version = blocks.version(grain);
  const position = grain * FRAME + first * BLOCK;
  const bytes = Math.min((end - first) * BLOCK, backing.info.size - position);
  return backing.read(position, bytes, cache.slab(frame), cache.offset(frame) + first * BLOCK).then(
    () => {
      const whole = publishOne(blocks, grain, frame, bits, version);
      cache.filling[frame] = (cache.filling[frame] as number) & ~bits;
      return whole;
    },
    (error: unknown) => {
      cache.filling[frame] = (cache.filling[frame] as number) & ~bits;
      throw error;
    },
  );
}

async function bringAll(blocks: CachedBlocks, position: number, length: number): Promise<boolean> {
  const fills: Fill[] = [];
  try {
    if (!begin(blocks, position, length, fills)) return false;
    await fill(blocks.backing, placesOf(blocks, fills));
    return publish(blocks, fills);
  } finally {
    const { filling } = blocks.cache;
    for (const { frame, bits } of fills) filling[frame] = (filling[frame] as number) & ~bits;
  }
}

/** Frames for the range, in which nobody else touches the blocks that are missing. False: not all of them can be had. */
function begin(blocks: CachedBlocks, position: number, length: number, fills: Fill[]): boolean {
  const { cache } = blocks;
  const end = position + length;
  const last = Math.floor((end - 1) / FRAME);
  for (let grain = Math.floor(position / FRAME); grain <= last; grain++) {
    const base = grain * FRAME;
    const frame = blocks.frameFor(grain);
    if (frame < 0) return false;
    const wanted = touchedBlocks(Math.max(position - base, 0), Math.min(end - base, FRAME));
    const bits = wanted & ~(cache.valid[frame] as number);
    const filling = cache.filling[frame] as number;
    if ((bits & filling) !== 0) return false;
    if (bits === 0) continue;
    cache.filling[frame] = filling | bits;
    fills.push({ grain, frame, bits, version: blocks.version(grain) });
  }
  return true;
}

function fill(backing: Volume, places: readonly Place[]): Promise<void> {
  const [only] = places;
  if (only === undefined) return Promise.resolve();
  if (places.length === 1) return backing.read(only.position, only.length, only.memory, only.at);
  if (backing.readPlaces !== undefined) return backing.readPlaces(places);
  return fillEach(backing, places);
}

async function fillEach(backing: Volume, places: readonly Place[]): Promise<void> {
  // All of them, also when one fails: they have our frames.
  const reads = places.map((each) => backing.read(each.position, each.length, each.memory, each.at));
  for (const read of await Promise.allSettled(reads)) if (read.status === 'rejected') throw read.reason;
}

function placesOf({ cache, backing }: CachedBlocks, fills: readonly Fill[]): Place[] {
  const { size } = backing.info;
  const places: Place[] = [];
  for (const { grain, frame, bits } of fills) {
    const memory = cache.slab(frame);
    for (let rest = bits; rest !== 0;) {
      const first = lowestBlock(rest);
      const end = runEnd(rest, first);
      const position = grain * FRAME + first * BLOCK;
      const length = Math.min((end - first) * BLOCK, size - position);
      places.push({ position, length, memory, at: cache.offset(frame) + first * BLOCK });
      rest &= ~blockMask(first, end);
    }
  }
  return places;
}

/** False: some of it is not what the volume holds any more. */
function publish(blocks: CachedBlocks, fills: readonly Fill[]): boolean {
  let all = true;
  for (const { grain, frame, bits, version } of fills)
    if (!publishOne(blocks, grain, frame, bits, version)) all = false;
  return all;
}

function publishOne(blocks: CachedBlocks, grain: number, frame: number, bits: number, version: number): boolean {
  const { cache } = blocks;
  if (blocks.version(grain) !== version || blocks.index.get(grain) !== frame) return false;
  cache.valid[frame] = (cache.valid[frame] as number) | bits;
  // Whoever asked for it looks at it next: that is no second use.
  cache.fresh[frame] = 1;
  return true;
}
