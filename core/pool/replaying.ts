// What only the journal has goes to its place when the pool is opened.
import { crc32c } from '../base/crc32c.ts';
import { REPLAY_PARALLEL } from '../base/limits.ts';
import type { DiskFile } from '../base/world.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, blockMask, lowestBlock } from '../volume/grain.ts';
import { Durability } from '../volume/volume.ts';
import { GrainIo } from './grain-io.ts';
import type { Pool } from './pool.ts';
import type { PoolVolume } from './pool-volume.ts';
import { readData } from './replay.ts';
import type { Replay } from './replay.ts';

/** Checksums of grains that were written past the journal, then the data that is only in the journal. */
export async function placeReplayed(pool: Pool, replay: Replay, journal: DiskFile): Promise<void> {
  for (const [id, grains] of replay.volumes) {
    const map = pool.entry(id).map;
    for (const [grain, { place, cleared, data }] of grains) {
      // A grain that was cleared since may be somebody else's by now.
      if (place?.sums === undefined || place.place === 0 || map.place(grain) !== place.place) continue;
      // What was written into the grain since then, and shared since, has newer checksums in the table.
      let mask = ALL_BLOCKS & ~cleared;
      for (const block of data.keys()) mask &= ~(1 << block);
      await pool.slabs.setSums(place.place - 1, place.sums, mask);
    }
    const volume = pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
    const size = volume.info.size;
    // In order: what lies together in the volume does so in the pool. One grain does not wait for another.
    const next = [...grains].sort(([a], [b]) => a - b).values();
    const worker = async (): Promise<void> => {
      const buffer = Buffer.alloc(GRAIN);
      const found = Buffer.alloc(GRAIN);
      for (const [grain, state] of next) {
        if (grain * GRAIN >= size) continue;
        const within = blockMask(0, Math.min(BLOCKS, Math.ceil((size - grain * GRAIN) / BLOCK)));
        // All blocks at once: what is beside them is kept, and only what the journal does not have is sure to be whole.
        const inJournal = (await readData(journal, state, buffer)) & within;
        const damaged = blocksOf(state.lost) & within;
        const whole = inJournal & ~damaged;
        const mask = whole & ~(await inPlaceAlready(pool, volume, grain, whole, buffer, found));
        if (mask !== 0) await volume.placeGrain(grain, mask, buffer, 0);
        if (damaged !== 0)
          await spoil(pool, volume, grain, damaged & ~(await placedBefore(pool, volume, grain, state.lost)));
      }
    };
    // All of them end before the first failure is told: they use what is closed then.
    const ends = await Promise.allSettled(Array.from({ length: Math.min(REPLAY_PARALLEL, grains.size) }, worker));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    await volume.close();
  }
}

/**
 * The blocks of the mask that somebody else shares with the volume and that are what they should be. Writing them again would
 * need a grain, and a full pool has none: they were placed before they were shared.
 */
async function inPlaceAlready(
  pool: Pool,
  volume: PoolVolume,
  grain: number,
  mask: number,
  source: Buffer,
  found: Buffer,
): Promise<number> {
  const place = volume.map.place(grain);
  if (place === 0 || (volume.map.ownsLeaf(grain) && pool.allocator.alone(place - 1))) return 0;
  const io = new GrainIo(pool);
  let same = 0;
  for (let rest = mask & volume.map.valid(grain); rest !== 0; rest &= rest - 1) {
    const block = lowestBlock(rest);
    const [from, to] = [block * BLOCK, (block + 1) * BLOCK];
    const bad = await io.readBlocks(place - 1, 1 << block, found, 0).catch(() => block);
    if (bad < 0 && found.compare(source, from, to, from, to) === 0) same |= 1 << block;
  }
  return same;
}

/** As a mask. */
function blocksOf(blocks: ReadonlyMap<number, number>): number {
  let mask = 0;
  for (const block of blocks.keys()) mask |= 1 << block;
  return mask;
}

/** Of the blocks that the journal has damaged, those that have got into their place before: their checksum there is the same. */
async function placedBefore(
  pool: Pool,
  volume: PoolVolume,
  grain: number,
  lost: ReadonlyMap<number, number>,
): Promise<number> {
  const place = volume.map.place(grain);
  if (place === 0) return 0;
  const io = new GrainIo(pool);
  const found = Buffer.alloc(GRAIN);
  let there = 0;
  for (const [block, sum] of lost) {
    if (((volume.map.valid(grain) >> block) & 1) === 0) continue;
    const bad = await io.readBlocks(place - 1, 1 << block, found, 0).catch(() => block);
    if (bad < 0 && crc32c(found, block * BLOCK, (block + 1) * BLOCK) === sum) there |= 1 << block;
  }
  return there;
}

/** Blocks whose only copy the journal has damaged: they are not what they were before, either, so reading them fails. */
async function spoil(pool: Pool, volume: PoolVolume, grain: number, mask: number): Promise<void> {
  if (mask === 0) return;
  // Anything but zeros, which take no place; it gets one that is the volume's own.
  await volume.placeGrain(grain, mask, Buffer.alloc(GRAIN, 1), 0);
  await new GrainIo(pool).spoil(volume.map.place(grain) - 1, mask);
  for (let rest = mask; rest !== 0; rest &= rest - 1) {
    pool.damaged(
      volume.id,
      grain * GRAIN + lowestBlock(rest) * BLOCK,
      'what was written last is damaged in the journal',
    );
  }
}
