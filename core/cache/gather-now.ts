import type { Gather } from '../base/gather.ts';
import { viewGuard } from '../base/view-guard.ts';
import type { CachedBlocks } from './cached-blocks.ts';
import { FRAME } from './l1-cache.ts';

/** Adds the memory of the range, bytes, to `gather`; see Volume.gatherNow. Allocation-free when it is a hit. */
export function gatherNow(blocks: CachedBlocks, position: number, length: number, gather: Gather): boolean {
  const { cache } = blocks;
  const grain = Math.floor(position / FRAME);
  const from = position - grain * FRAME;
  // Small reads hardly ever go across the end of a grain.
  if (from + length > FRAME) return false;
  // What is not there is looked for, and counted, by who copies it.
  const frame = blocks.hitNow(grain, from, from + length);
  if (frame < 0) return false;
  const address = cache.address(frame);
  if (address === undefined) return false;
  cache.viewed[frame] = viewGuard.epoch;
  gather.add(cache.slab(frame), address, cache.offset(frame) + from, length);
  return true;
}
