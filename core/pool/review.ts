// Free space of a pool that has just been opened: what became free before it was closed, or while it was killed, may take
// storage still. Nobody kept note of that; what the slab files take says it.
import { RECLAIM_LOOK, RECLAIM_UNIT } from '../base/limits.ts';
import { BLOCK, GRAIN, countBlocks } from '../volume/grain.ts';
import { LEAF_GRAINS } from './format.ts';
import type { PoolParts } from './pool-parts.ts';
import type { Leaf } from './volume-map.ts';

/** Of the bytes in use, the share that a file may take besides (one in so many): what the file system needs for itself. */
const SLACK_SHARE = 64;

/**
 * The first grains of units that are free, in slab files that take clearly more storage than the blocks that somebody has.
 * undefined: enough was looked at for one turn of the event loop.
 */
export function* freeUnits({
  slabs,
  allocator,
  entries,
}: Pick<PoolParts, 'slabs' | 'allocator' | 'entries'>): Generator<number | undefined> {
  const files = [...slabs.files()];
  const used = new Float64Array(files.length);
  const seen = new Set<Leaf>();
  let slab = -1;
  for (const { map } of [...entries.values()]) {
    // The map may change between two turns; this is an estimate.
    for (let index = 0; index < map.leaves.length; index++) {
      const leaf = map.leaves[index];
      if (leaf === undefined || seen.has(leaf)) continue;
      seen.add(leaf);
      for (let at = 0; at < LEAF_GRAINS; at++) {
        const place = leaf.places[at] as number;
        if (place === 0) continue;
        // Most often the one before lies in the same.
        if (!holds(files[slab], place - 1)) slab = files.findIndex((file) => holds(file, place - 1));
        if (slab >= 0) used[slab] = (used[slab] as number) + countBlocks(leaf.valid[at] as number) * BLOCK;
      }
      if ((seen.size * LEAF_GRAINS) % RECLAIM_LOOK === 0) yield undefined;
    }
  }
  let looked = 0;
  for (const [i, { first, end, bytes }] of files.entries()) {
    const inUse = used[i] as number;
    if (bytes() < inUse + inUse / SLACK_SHARE + RECLAIM_UNIT * GRAIN) continue;
    for (let grain = first; grain + RECLAIM_UNIT <= end; grain += RECLAIM_UNIT) {
      if (allocator.areFree(grain, RECLAIM_UNIT)) yield grain;
      if ((looked += RECLAIM_UNIT) % RECLAIM_LOOK === 0) yield undefined;
    }
  }
}

const holds = (file: { readonly first: number; readonly end: number } | undefined, grain: number): boolean =>
  file !== undefined && grain >= file.first && grain < file.end;
