// Who uses how much of a pool: grains that only some maps name, and grains that others name as well.
import { SPACE_COUNT_MS } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { Allocator } from './allocator.ts';
import type { Leaf, VolumeMap } from './volume-map.ts';

/** In grains. */
export interface SpaceCount {
  /** Come back when all of the maps go, and not before. */
  readonly exclusive: number;
  /** Places of the maps where they name a grain that another map names too. */
  readonly shared: number;
}

/** Places looked at between two looks at the clock. */
const LOOK_EVERY = 16;

/**
 * Counts the grains of `maps` together. Takes at most SPACE_COUNT_MS of the event loop at a time; what is written meanwhile
 * may be counted or not.
 */
export async function countSpace(allocator: Allocator, maps: readonly VolumeMap[], clock: Clock): Promise<SpaceCount> {
  const rest = pauses(clock);
  const leaves = new Map<Leaf, number>();
  for (const map of maps) {
    for (let i = 0; i < map.leaves.length; i++) {
      const leaf = map.leaves[i];
      if (leaf !== undefined) leaves.set(leaf, (leaves.get(leaf) ?? 0) + 1);
      if (i % 1024 === 1023) await rest();
    }
    await rest();
  }
  // How often a grain that several leaves name was met. Zeroed memory costs nothing until it is used.
  const met = new Uint32Array(allocator.total);
  let exclusive = 0;
  let shared = 0;
  let looked = 0;
  for (const [leaf, users] of leaves) {
    // A leaf that another map contains too belongs to others with all it names.
    const ours = users >= leaf.refs;
    for (const place of leaf.places) {
      if (place === 0) continue;
      const refs = ours ? allocator.refs(place - 1) : 0;
      if (refs === 1) {
        exclusive++;
        continue;
      }
      shared++;
      if (!ours || place > met.length) continue;
      const times = (met[place - 1] as number) + 1;
      met[place - 1] = times;
      if (times !== refs) continue;
      // All who name it are here.
      exclusive++;
      shared -= refs;
    }
    if (++looked % LOOK_EVERY === 0) await rest();
  }
  return { exclusive, shared };
}

/** A function that gives the event loop away when it has been held for SPACE_COUNT_MS. */
function pauses(clock: Clock): () => Promise<void> {
  let since = clock.now();
  return async () => {
    if (clock.now() - since < SPACE_COUNT_MS) return;
    await new Promise<void>((resolve) => {
      clock.soon(resolve);
    });
    since = clock.now();
  };
}
