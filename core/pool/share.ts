// Copying a range between volumes of one pool: the target names the grains of the source. Nothing is read or written but
// the journal.
import { POOL_SHARE_GRAINS } from '../base/limits.ts';
import { GRAIN } from '../volume/grain.ts';
import { isNowhere } from './places.ts';
import type { PoolCore } from './pool-core.ts';
import type { Volume } from '../volume/volume.ts';
import { PoolVolume } from './pool-volume.ts';

/**
 * Volume.shareFrom of a volume of a pool. Only thin ones take part: a thick one has room of its own for every grain, and
 * sharing any of them would make a later write of it need more.
 */
export async function shareInto(
  core: PoolCore,
  target: PoolVolume,
  source: Volume,
  from: number,
  to: number,
  length: number,
): Promise<boolean> {
  const origin = sharerOf(target, source);
  if (origin === undefined) return false;
  await shareGrains(core, origin, from, target, to, length);
  return true;
}

/** The volume of the same pool whose grains the target can share; undefined: it cannot. */
export function sharerOf(target: PoolVolume, source: Volume): PoolVolume | undefined {
  const origin = source.origin ?? source;
  if (!(origin instanceof PoolVolume) || !target.isBeside(origin)) return undefined;
  return origin.info.thin && target.info.thin ? origin : undefined;
}

/**
 * Bytes [from, from+length) of `source` are bytes [to, to+length) of `target` too from now on; all whole grains. Overlapping
 * ranges of one volume give what copying by way of a buffer would. Stable when it resolves.
 */
export async function shareGrains(
  core: PoolCore,
  source: PoolVolume,
  from: number,
  target: PoolVolume,
  to: number,
  length: number,
): Promise<void> {
  if (from % GRAIN !== 0 || to % GRAIN !== 0 || length % GRAIN !== 0) throw new RangeError('not whole grains');
  const count = length / GRAIN;
  if (shareNow(core, source, from, target, to, length)) return target.stable();
  // All of the source is held before any of the target changes: the ranges may overlap.
  const held = await source.settled(from, length, () => source.hold(from / GRAIN, count));
  let next = 0;
  try {
    // What the source has in its places must be stable before the journal says that it is the target's too: replaying
    // the journal for the source does not repair the target.
    if (source.unsynced) await core.sync();
    while (next < count) {
      const part = held.part(next, next + POOL_SHARE_GRAINS);
      const at = to / GRAIN + next;
      const done = await target.settled(at * GRAIN, part.count * GRAIN, () => target.setPlaces(at, part));
      if (done) next += part.count;
      else await target.room();
    }
  } finally {
    core.allocator.letGoAll(held.part(next, count).places);
    // What has been shared can be read, also when the rest fails.
    await target.stable();
  }
}

/**
 * The same in this turn, as a rule: nothing of either range waits to be placed, and the journal has room. References go from
 * map to map, so nobody who counts them sees one in between. False: something has to be waited for; nothing has changed.
 */
export function shareNow(
  { journal, allocator }: PoolCore,
  source: PoolVolume,
  from: number,
  target: PoolVolume,
  to: number,
  length: number,
): boolean {
  if (length > POOL_SHARE_GRAINS * GRAIN || source.unsynced || !journal.ready) return false;
  if (!source.isQuiet(from, length) || !target.isQuiet(to, length)) return false;
  const places = source.map.read(from / GRAIN, length / GRAIN);
  // Holes that become holes.
  if (isNowhere(places.places) && target.map.placed(to / GRAIN, (to + length) / GRAIN) === 0) return true;
  // Before any of the target changes: the ranges may overlap.
  allocator.passAll(places.places);
  let done = false;
  try {
    done = target.setPlaces(to / GRAIN, places);
  } finally {
    if (!done) allocator.letGoAll(places.places);
  }
  return done;
}
