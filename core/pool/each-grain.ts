// Work on a range of a volume, grain by grain.
import { BLOCK, GRAIN } from '../volume/grain.ts';

/** Grains that are read or written at a time for one call. */
export const PARALLEL = 16;

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

/** Waits for all, also when one fails: what runs uses memory of the caller. */
export async function allOf(running: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(running);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
