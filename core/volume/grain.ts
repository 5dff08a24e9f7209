// The units in which storage is mapped, cached and summed.

/** Bytes of a grain: the unit of mapping and of sharing between volumes. */
export const GRAIN = 65_536;
/** Bytes of a block of a grain: the unit of validity and of checksums. */
export const BLOCK = 4096;
/** Blocks of a grain; sets of them are 16-bit masks, bit n for block n. */
export const BLOCKS = GRAIN / BLOCK;
/** All blocks of a grain. */
export const ALL_BLOCKS = (1 << BLOCKS) - 1;

/** Bits of the blocks from `first` up to and without `end`. */
export function blockMask(first: number, end: number): number {
  return ((1 << end) - 1) & ~((1 << first) - 1);
}

/** Number of the lowest block in a mask that is not empty. */
export function lowestBlock(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

/** Where the run of blocks that begins at `first` ends in the mask. */
export function runEnd(mask: number, first: number): number {
  let end = first + 1;
  while (((mask >> end) & 1) === 1) end++;
  return end;
}

/** Number of blocks in a mask. */
export function countBlocks(mask: number): number {
  // Added up in pairs, fours, eights: opening a pool does this for every grain.
  let sums = mask - ((mask >> 1) & 0x5555);
  sums = (sums & 0x3333) + ((sums >> 2) & 0x3333);
  sums = (sums + (sums >> 4)) & 0x0f0f;
  return (sums + (sums >> 8)) & 0x1f;
}
