// Which parts of a volume use space.
import { ALL_BLOCKS, BLOCK, GRAIN } from '../volume/grain.ts';
import type { Extent } from '../volume/volume.ts';
import type { VolumeMap } from './volume-map.ts';

/** The states of bytes [position, end): at most `limit` extents. All of a thick volume is mapped. */
export function extentsOf(map: VolumeMap, thick: boolean, position: number, end: number, limit: number): Extent[] {
  const found: { position: number; length: number; mapped: boolean }[] = [];
  for (let at = position; at < end;) {
    const grain = Math.floor(at / GRAIN);
    let upTo = at - (at % BLOCK) + BLOCK;
    let mapped = false;
    if (map.leafMissing(grain)) upTo = (map.lastOfLeaf(grain) + 1) * GRAIN;
    else if (map.place(grain) === 0) upTo = (grain + 1) * GRAIN;
    else {
      const valid = map.valid(grain);
      if (valid === ALL_BLOCKS) upTo = map.fullUpTo(grain, Math.ceil(end / GRAIN)) * GRAIN;
      mapped = ((valid >> Math.floor((at % GRAIN) / BLOCK)) & 1) === 1;
    }
    mapped ||= thick;
    upTo = Math.min(upTo, end);
    const last = found.at(-1);
    if (last?.mapped === mapped) last.length += upTo - at;
    else if (found.length === limit) break;
    else found.push({ position: at, length: upTo - at, mapped });
    at = upTo;
  }
  return found;
}
