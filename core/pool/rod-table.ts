// Where the RODs of a pool are: in two volumes that nobody sees. One has what they contain: each ROD has a region of whole
// grains, and a grain of a region is the grain of the source, so that a ROD of any size costs some records of the journal
// and no copying. The other one is a table with one entry in a grain.
import { MAX_TOKENS, MAX_VOLUME } from '../base/limits.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import type { RodFacts, RodRange } from '../volume/rod.ts';

/** Tags of the volumes in the pool. Tags of others are hexadecimal digits. */
export const CONTENT_TAG = '#rods';
export const TABLE_TAG = '#tokens';
/** True for volumes of a pool that are its own business. */
export const isHidden = (tag: string | undefined): boolean => tag === CONTENT_TAG || tag === TABLE_TAG;
/** Bytes of the volumes; only what is in use takes space or memory. */
export const CONTENT_SIZE = MAX_VOLUME;
export const TABLE_SIZE = MAX_TOKENS * GRAIN;

/** Grains of the volume of contents. */
export interface Region {
  readonly first: number;
  readonly count: number;
}

/** An entry of the table. */
export interface RodRecord {
  readonly facts: RodFacts;
  readonly region: Region;
  readonly segments: readonly RodRange[];
}

/** The grains a range of a volume touches. */
export function grainsOf({ position, length }: RodRange): Region {
  const first = Math.floor(position / GRAIN);
  return { first, count: Math.ceil((position + length) / GRAIN) - first };
}

/** One block. */
export function encodeRecord({ facts, region, segments }: RodRecord): Buffer {
  const { id, blockSize, initiator, source, timeout } = facts;
  const places = segments.map(({ position, length }) => [position, length]);
  const text = JSON.stringify({ id, blockSize, initiator, source, timeout, region, places });
  const length = Buffer.byteLength(text);
  if (length > BLOCK - 2) throw new RangeError('an entry of the table of RODs is too long');
  const bytes = Buffer.alloc(BLOCK);
  bytes.writeUInt16BE(length, 0);
  bytes.write(text, 2);
  return bytes;
}

/** undefined: the block holds no entry. Blocks are summed by the pool, so what looks like an entry is one. */
export function decodeRecord(bytes: Buffer): RodRecord | undefined {
  const length = bytes.readUInt16BE(0);
  if (length === 0 || length > BLOCK - 2) return undefined;
  const { region, places, ...facts } = JSON.parse(bytes.toString('utf8', 2, 2 + length)) as RodFacts & {
    region: Region;
    places: [number, number][];
  };
  return { facts, region, segments: places.map(([position, size]) => ({ position, length: size })) };
}

/** The lowest free region of so many grains; `taken` in order. undefined: there is none. */
export function freeRegion(taken: readonly Region[], count: number): Region | undefined {
  let first = 0;
  for (const region of taken) {
    if (region.first - first >= count) break;
    first = region.first + region.count;
  }
  return (first + count) * GRAIN <= CONTENT_SIZE ? { first, count } : undefined;
}

/** What lies between the regions, up to grain `end`. */
export function* gaps(taken: readonly Region[], end: number): Generator<Region> {
  let first = 0;
  for (const region of taken) {
    if (region.first > first) yield { first, count: region.first - first };
    first = region.first + region.count;
  }
  if (end > first) yield { first, count: end - first };
}
