// Work on a range of a volume, grain by grain.
import { BLOCK, GRAIN, blockMask } from '../volume/grain.ts';
import type { VolumeMap } from './volume-map.ts';

/** Grains that are read or written at a time for one call. */
const PARALLEL = 16;

/** Calls `work` for the part of the range in each grain: blocks [first, end), `done` bytes into the range. */
export async function eachGrain(
  position: number,
  length: number,
  work: (grain: number, first: number, end: number, done: number) => Promise<void>,
): Promise<void> {
  const last = Math.floor((position + length - 1) / GRAIN);
  let running: Promise<void>[] = [];
  for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
    const base = grain * GRAIN;
    const from = Math.max(position, base);
    const to = Math.min(position + length, base + GRAIN);
    running.push(work(grain, (from - base) / BLOCK, (to - base) / BLOCK, from - position));
    if (running.length < PARALLEL) continue;
    await allOf(running);
    running = [];
  }
  await allOf(running);
}

/** Bytes that are read in one piece: several pieces at once are faster than a long one. */
const RUN = 4 * GRAIN;

interface RunWork {
  /** Blocks [first, end) of a grain, `done` bytes into the range. */
  readonly one: (grain: number, first: number, end: number, done: number) => Promise<void>;
  /** Bytes [from, to) of the volume: in `count` grains, every block of them there, one behind the other in the pool. */
  readonly many: (grain: number, count: number, from: number, to: number) => Promise<void>;
}

/**
 * The same for reading bytes [position, end), whole blocks: grains that lie one behind the other are one piece. `room` is how
 * many grains of the pool, from that one on, may be one.
 */
export async function eachRun(
  map: VolumeMap,
  position: number,
  end: number,
  room: (place: number) => number,
  { one, many }: RunWork,
): Promise<void> {
  let running: Promise<void>[] = [];
  for (let from = position; from < end;) {
    const grain = Math.floor(from / GRAIN);
    const place = map.place(grain);
    const most = place === 0 ? 1 : Math.min(RUN / GRAIN, room(place - 1));
    let to = from;
    let count = 0;
    for (; count < most && to < end; count++) {
      const base = (grain + count) * GRAIN;
      const upTo = Math.min(end, base + GRAIN);
      const wanted = blockMask((to - base) / BLOCK, (upTo - base) / BLOCK);
      if (map.place(grain + count) !== place + count || (map.valid(grain + count) & wanted) !== wanted) break;
      to = upTo;
    }
    if (count > 1) {
      running.push(many(grain, count, from, to));
    } else {
      const base = grain * GRAIN;
      to = Math.min(end, base + GRAIN);
      running.push(one(grain, (from - base) / BLOCK, (to - base) / BLOCK, from - position));
    }
    from = to;
    if (running.length < PARALLEL) continue;
    await allOf(running);
    running = [];
  }
  await allOf(running);
}

/** Waits for all, also when one fails: what runs uses memory of the caller. */
async function allOf(running: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(running);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
