// The RODs of a pool (rod-table.ts says where they are). The order in the journal keeps them whole: a region is filled
// before its entry is written, and the entry goes before the region is cleared.
import { messageOf } from '../base/errors.ts';
import {
  MAX_GONE_TOKENS,
  MAX_TOKENS,
  MAX_TOKEN_BYTES,
  MAX_TOKEN_LIFETIME,
  ODX_PATIENCE,
  ODX_STEP,
  POOL_SHARE_GRAINS,
  TOKEN_CHECK_INTERVAL,
  TOKEN_FREE_SPACE,
  TOKEN_GRACE,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock, Timer } from '../base/world.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import { RodLimit } from '../volume/rod.ts';
import type { NewRod, Rod, RodEnd, RodRange, RodStore } from '../volume/rod.ts';
import { Durability, VolumeError, VolumeFault } from '../volume/volume.ts';
import { LEAF_GRAINS } from './format.ts';
import { isNowhere } from './places.ts';
import type { Places } from './places.ts';
import type { Pool } from './pool.ts';
import type { PoolVolume } from './pool-volume.ts';
import {
  CONTENT_SIZE,
  CONTENT_TAG,
  TABLE_SIZE,
  TABLE_TAG,
  decodeRecord,
  encodeRecord,
  freeRegion,
  gaps,
  grainsOf,
} from './rod-table.ts';
import type { Region, RodRecord } from './rod-table.ts';
import { shareNow } from './share.ts';

/** Grains that are held at a time: between two of them the time is looked at. */
const HOLD_STEP = Math.min(ODX_STEP / GRAIN, POOL_SHARE_GRAINS);

interface Entry {
  readonly rod: Rod;
  /** Number of its entry in the table. */
  readonly slot: number;
  readonly region: Region;
  readonly born: number;
  lastUse: number;
  uses: number;
  /** Why nobody finds it any more. */
  end: RodEnd | undefined;
}

/** The hidden volumes. Nothing is ever written to `content` but by sharing, so it never has anything to be made stable. */
interface RodVolumes {
  readonly content: PoolVolume;
  readonly table: PoolVolume;
}

export interface RodStoreParts {
  /** Hexadecimal digits. */
  readonly id: string;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly log: Log;
}

export class PoolRodStore implements RodStore {
  readonly id: string;
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  readonly #slots = new Set<number>();
  /** Regions in use, in order, also those that are being filled or cleared. */
  #regions: Region[] = [];
  /** Bytes all RODs stand for. */
  #bytes = 0;
  readonly #gone = new Map<string, RodEnd>();
  readonly #making = new Turn();
  /** Regions that are being cleared. */
  readonly #clearing = new Set<Promise<void>>();
  #volumes: RodVolumes | undefined;
  #timer: Timer | undefined;
  #closed = false;

  private constructor({ id, pool, clock, log }: RodStoreParts) {
    this.id = id;
    this.#pool = pool;
    this.#clock = clock;
    this.#log = log;
  }

  /** The store of a pool that has just been opened, with the RODs it had. */
  static async open(parts: RodStoreParts): Promise<PoolRodStore> {
    const store = new PoolRodStore(parts);
    const { content, table } = { content: store.#known(CONTENT_TAG), table: store.#known(TABLE_TAG) };
    if (content !== undefined && table !== undefined) {
      await store.#restore({ content: store.#openVolume(content), table: store.#openVolume(table) });
    }
    return store;
  }

  /** RODs, and bytes they stand for. */
  get facts(): { readonly count: number; readonly bytes: number } {
    return { count: this.#entries.size, bytes: this.#bytes };
  }

  // ---- RodStore

  find(id: string): Rod | RodEnd | undefined {
    return this.#entries.get(id)?.rod ?? this.#gone.get(id);
  }

  *rods(): Iterable<Rod> {
    for (const { rod } of this.#entries.values()) yield rod;
  }

  use(rod: Rod): () => void {
    const entry = this.#entries.get(rod.id);
    if (entry === undefined) return () => undefined;
    entry.uses++;
    let used = true;
    return () => {
      if (!used) return;
      used = false;
      entry.lastUse = this.#clock.now();
      if (--entry.uses === 0 && entry.end !== undefined) this.#giveBack(entry);
    };
  }

  delete(rod: Rod): void {
    const entry = this.#entries.get(rod.id);
    if (entry !== undefined) this.#end(entry, 'deleted');
  }

  // ---- making

  /** `source`: a volume of this pool. */
  async make(source: PoolVolume, wanted: NewRod): Promise<Rod> {
    const { content, table } = (this.#volumes ??= await this.#making.run(() => this.#volumesOfPool()).catch(noRoom));
    const size = wanted.ranges.reduce((sum, range) => sum + range.length, 0);
    const { slot, region } = this.#take(wanted.ranges, size);
    let taken = size;
    try {
      const segments = await this.#fill(content, source, region, wanted);
      const made = segments.reduce((sum, { length }) => sum + length, 0);
      this.#bytes -= taken - made;
      taken = made;
      const { id, blockSize, initiator, timeout } = wanted;
      const facts = { id, blockSize, initiator, source: wanted.source, timeout };
      await table.write(slot * GRAIN, encodeRecord({ facts, region, segments }), 0, BLOCK);
      return this.#enter({ ...facts, size: made, volume: content, segments }, slot, region);
    } catch (error) {
      this.#later(this.#clear(slot, region, taken));
      return noRoom(error);
    }
  }

  /** The hidden volumes; made when the first ROD is. */
  async #volumesOfPool(): Promise<RodVolumes> {
    if (this.#volumes !== undefined) return this.#volumes;
    const idOf = async (tag: string, size: number): Promise<number> =>
      this.#known(tag) ?? this.#pool.create({ size, thick: false, created: this.#clock.wall(), tag });
    const content = await idOf(CONTENT_TAG, CONTENT_SIZE);
    const table = await idOf(TABLE_TAG, TABLE_SIZE);
    this.#volumes = { content: this.#openVolume(content), table: this.#openVolume(table) };
    return this.#volumes;
  }

  /** The volume of the pool with this tag. */
  #known(tag: string): number | undefined {
    return [...this.#pool.entries.values()].find(({ record }) => record.tag === tag)?.record.id;
  }

  #openVolume(id: number): PoolVolume {
    return this.#pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
  }

  /** A place for a ROD. Throws RodLimit. */
  #take(ranges: readonly RodRange[], size: number): { slot: number; region: Region } {
    if (this.#closed) throw new VolumeError(VolumeFault.notReady, 'the pool is being closed');
    if (this.#slots.size >= MAX_TOKENS || this.#bytes + size > MAX_TOKEN_BYTES) this.#revokeIdle(1);
    if (this.#bytes + size > MAX_TOKEN_BYTES) throw new RodLimit('space', 'the tokens of the pool stand for too much');
    let slot = 0;
    while (this.#slots.has(slot)) slot++;
    const count = ranges.reduce((sum, range) => sum + grainsOf(range).count, 0);
    const region = freeRegion(this.#regions, count);
    if (slot >= MAX_TOKENS || region === undefined) throw new RodLimit('number', 'the pool has too many tokens');
    this.#occupy(slot, region, size);
    return { slot, region };
  }

  #occupy(slot: number, region: Region, size: number): void {
    this.#slots.add(slot);
    this.#bytes += size;
    const behind = this.#regions.findIndex((each) => each.first > region.first);
    this.#regions.splice(behind < 0 ? this.#regions.length : behind, 0, region);
  }

  /**
   * The grains of the ranges are those of the region, too, when it resolves; of the beginning of them when placing what the
   * source keeps takes too long, or needs more room than there is.
   */
  async #fill(volume: PoolVolume, source: PoolVolume, region: Region, wanted: NewRod): Promise<RodRange[]> {
    const parts: { at: number; places: Places }[] = [];
    const segments: RodRange[] = [];
    const until = this.#clock.now() + ODX_PATIENCE;
    let next = 0;
    try {
      let at = region.first;
      for (const { position, length } of wanted.ranges) {
        const { first, count } = grainsOf({ position, length });
        let end = position;
        for (let done = 0; done < count; done += HOLD_STEP) {
          const step = Math.min(HOLD_STEP, count - done);
          const mayStop = done > 0 || segments.length > 0;
          if (mayStop && this.#clock.now() > until) break;
          const [from, to] = [(first + done) * GRAIN, (at + done) * GRAIN];
          if (!shareNow(this.#pool, source, from, volume, to, step * GRAIN)) {
            const range = { from: end, to: position + length, mayStop };
            const places = await this.#hold(source, first + done, step, range);
            if (places === undefined) break;
            parts.push({ at: at + done, places });
          }
          end = Math.min(position + length, (first + done + step) * GRAIN);
        }
        if (end > position) segments.push({ position: at * GRAIN + (position % GRAIN), length: end - position });
        if (end < position + length) break;
        at += count;
      }
      wanted.held();
      // See shareGrains: replaying the journal for the source does not repair what shares its grains.
      if (source.unsynced) await this.#pool.sync();
      for (; next < parts.length; next++) {
        const { at: first, places } = parts[next] as (typeof parts)[number];
        if (isNowhere(places.places)) continue;
        while (!volume.setPlaces(first, places)) await volume.room();
      }
      return segments;
    } finally {
      for (const { places } of parts.slice(next)) this.#pool.allocator.letGoAll(places.places);
    }
  }

  /**
   * The places of some grains of bytes [from, to) of the source, each with one reference more. undefined: there is no room for
   * them, and what there is may be enough for this ROD (`mayStop`).
   */
  async #hold(
    source: PoolVolume,
    first: number,
    count: number,
    { from, to, mayStop }: { from: number; to: number; mayStop: boolean },
  ): Promise<Places | undefined> {
    const end = Math.min(to, (first + count) * GRAIN);
    try {
      return await source.settled(from, end - from, () => source.hold(first, count));
    } catch (error) {
      const full = error instanceof VolumeError && error.fault === VolumeFault.noSpace;
      if (full && mayStop) return undefined;
      throw error;
    }
  }

  #enter(rod: Rod, slot: number, region: Region): Rod {
    const now = this.#clock.now();
    this.#entries.set(rod.id, { rod, slot, region, born: now, lastUse: now, uses: 0, end: undefined });
    this.#plan();
    return rod;
  }

  // ---- ending

  #plan(): void {
    if (this.#closed || this.#timer !== undefined || this.#entries.size === 0) return;
    this.#timer = this.#clock.after(TOKEN_CHECK_INTERVAL, () => {
      this.#timer = undefined;
      this.#expire();
      this.#plan();
    });
  }

  /** Ends what has expired; when the pool is short of space, what nobody uses as well. */
  #expire(): void {
    const now = this.#clock.now();
    for (const entry of [...this.#entries.values()]) {
      const { uses, lastUse, born, rod } = entry;
      const idle = uses === 0 && now - lastUse >= rod.timeout;
      if (idle || now - born >= MAX_TOKEN_LIFETIME * 1000) this.#end(entry, 'expired');
    }
    const { available, total } = this.#pool.allocator;
    if (available < (total * TOKEN_FREE_SPACE) / 100) this.#revokeIdle(this.#entries.size);
  }

  /** Revokes up to so many of those that have not been used for a while, the longest unused first. */
  #revokeIdle(count: number): void {
    const since = this.#clock.now() - TOKEN_GRACE;
    const idle = [...this.#entries.values()].filter(({ uses, lastUse }) => uses === 0 && lastUse <= since);
    idle.sort((a, b) => a.lastUse - b.lastUse);
    for (const entry of idle.slice(0, count)) this.#end(entry, 'revoked');
  }

  #end(entry: Entry, why: RodEnd): void {
    const { id } = entry.rod;
    entry.end = why;
    this.#entries.delete(id);
    this.#gone.set(id, why);
    for (const old of this.#gone.keys()) {
      if (this.#gone.size <= MAX_GONE_TOKENS) break;
      this.#gone.delete(old);
    }
    if (entry.uses === 0) this.#giveBack(entry);
  }

  #giveBack({ slot, region, rod }: Entry): void {
    this.#later(this.#clear(slot, region, rod.size));
  }

  /** A failure leaves the place occupied; the next opening of the pool clears it. */
  #later(work: Promise<void>): void {
    const quiet = work.catch((error: unknown) => {
      this.#log.warn({ error: messageOf(error) }, 'what a token pinned could not be given back');
    });
    this.#clearing.add(quiet);
    void quiet.then(() => this.#clearing.delete(quiet));
  }

  async #clear(slot: number, region: Region, size: number): Promise<void> {
    if (this.#volumes === undefined) return;
    const { content, table } = this.#volumes;
    await clearGrains(table, { first: slot, count: 1 });
    await clearGrains(content, region);
    this.#slots.delete(slot);
    this.#regions = this.#regions.filter((each) => each !== region);
    this.#bytes -= size;
  }

  // ---- opening and closing

  /** What the table says. Each lives on as if it had been used just now: nobody knows for how long we were away. */
  async #restore(volumes: RodVolumes): Promise<void> {
    const { content, table } = volumes;
    this.#volumes = volumes;
    for (const slot of [...table.map.mapped(0, MAX_TOKENS)]) {
      const record = await readRecord(table, slot);
      if (record === undefined) {
        await clearGrains(table, { first: slot, count: 1 });
        continue;
      }
      const { facts, region, segments } = record;
      const size = segments.reduce((sum, segment) => sum + segment.length, 0);
      this.#occupy(slot, region, size);
      this.#enter({ ...facts, size, volume: content, segments }, slot, region);
    }
    // What a crash left between the filling of a region and its entry, or behind an entry that went.
    const end = content.map.leaves.length * LEAF_GRAINS;
    for (const gap of [...gaps(this.#regions, end)]) {
      if (content.map.mapped(gap.first, gap.first + gap.count).next().done === true) continue;
      await clearGrains(content, gap);
    }
  }

  /** What has been made stays for the next opening. The source volumes must be closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await Promise.all(this.#clearing);
    await this.#volumes?.table.written();
    await this.#volumes?.table.close();
    await this.#volumes?.content.close();
  }
}

/** In the journal; not waited for. */
async function clearGrains(volume: PoolVolume, { first, count }: Region): Promise<void> {
  while (!volume.clear(first * GRAIN, count * GRAIN)) await volume.room();
}

/** undefined: it cannot be read, or holds nothing. */
async function readRecord(table: PoolVolume, slot: number): Promise<RodRecord | undefined> {
  const bytes = Buffer.alloc(BLOCK);
  try {
    await table.read(slot * GRAIN, BLOCK, bytes, 0);
    return decodeRecord(bytes);
  } catch {
    return undefined;
  }
}

/** Throws RodLimit for a pool, or a disk below it, that is full. */
function noRoom(error: unknown): never {
  if (!(error instanceof VolumeError) || error.fault !== VolumeFault.noSpace) throw error;
  throw new RodLimit('space', 'the pool is full', { cause: error });
}
