// `gemel pool scrub`: reads every block that holds data and compares it with its checksum, at a bounded rate.
import { SCRUB_GRAINS } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import { BLOCK, GRAIN, countBlocks } from '../volume/grain.ts';
import { GrainIo } from './grain-io.ts';
import type { Pool } from './pool.ts';

export interface ScrubProgress {
  /** Bytes read so far, and bytes to read when it began. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly damaged: readonly Damage[];
}

export interface Damage {
  readonly volume: number;
  /** Bytes from the start of the volume. */
  readonly position: number;
  readonly reason: string;
}

export interface ScrubOptions {
  /** Bytes a second. */
  readonly rate: number;
  readonly clock: Clock;
  readonly progress?: (progress: ScrubProgress) => void;
  readonly aborted?: () => boolean;
}

/** Damage is listed up to this number of blocks. */
const MAX_DAMAGE = 1000;

/** Reads all volumes of the pool; what several of them share is read once. Never rejects because of damage. */
export async function scrubPool(pool: Pool, options: ScrubOptions): Promise<ScrubProgress> {
  const io = new GrainIo(pool);
  const seen = new Set<number>();
  const damaged: Damage[] = [];
  const buffer = Buffer.allocUnsafe(GRAIN);
  const ids = [...pool.entries.keys()];
  let totalBytes = 0;
  for (const { map } of pool.entries.values()) totalBytes += map.blocks * BLOCK;
  let doneBytes = 0;
  let sinceRest = 0;
  for (const id of ids) {
    const map = pool.entries.get(id)?.map;
    for (let grain = 0; map !== undefined && grain * GRAIN < (pool.entries.get(id)?.record.size ?? 0); grain++) {
      if (map.leafMissing(grain)) {
        grain = map.lastOfLeaf(grain);
        continue;
      }
      const place = map.place(grain);
      if (place === 0) continue;
      const mask = map.valid(grain);
      const bytes = countBlocks(mask) * BLOCK;
      doneBytes += bytes;
      if (seen.has(place)) continue;
      seen.add(place);
      const moved = (): boolean => map.place(grain) !== place;
      const reason = await look(io, place - 1, mask, buffer, moved);
      if (reason !== undefined && damaged.length < MAX_DAMAGE) {
        damaged.push({ volume: id, position: grain * GRAIN + reason.block * BLOCK, reason: reason.text });
      }
      sinceRest += bytes;
      if (sinceRest < SCRUB_GRAINS * GRAIN) continue;
      options.progress?.({ doneBytes, totalBytes, damaged });
      if (options.aborted?.() === true) return { doneBytes, totalBytes, damaged };
      const pause = (sinceRest / options.rate) * 1000;
      sinceRest = 0;
      await new Promise<void>((resolve) => options.clock.after(pause, resolve));
    }
  }
  return { doneBytes, totalBytes: Math.max(totalBytes, doneBytes), damaged };
}

/** What is wrong with the blocks of a grain; looked at again, because a write may be in between data and checksum. */
async function look(
  io: GrainIo,
  grain: number,
  mask: number,
  buffer: Buffer,
  moved: () => boolean,
): Promise<{ block: number; text: string } | undefined> {
  let found: { block: number; text: string } | undefined;
  for (let tries = 0; tries < 3; tries++) {
    try {
      const bad = await io.readBlocks(grain, mask, buffer, 0);
      if (bad < 0 || moved()) return undefined;
      found = { block: bad, text: 'the data does not match its checksum' };
    } catch {
      found = { block: 0, text: 'the disk cannot read it' };
    }
  }
  return moved() ? undefined : found;
}
