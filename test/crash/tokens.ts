// Tokens in the crash harness: points in time of volumes that are being written to. One that was acknowledged is there after
// a crash, and stands for what it stood for; one that was not is whole, or not there at all.
import assert from 'node:assert/strict';
import { silentLog } from '../../core/base/log.ts';
import { PoolRodStore } from '../../core/pool/rod-store.ts';
import type { Pool } from '../../core/pool/pool.ts';
import { RodLimit } from '../../core/volume/rod.ts';
import type { Rod, RodRange } from '../../core/volume/rod.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { share } from './share.ts';
import { GRAIN, SECTOR, isFull, versions } from './record.ts';
import type { Random } from './sim-disk.ts';

const MAX_KEPT = 4;

/** Time stands still: a token ends when it is deleted. */
const clock = new ManualClock();

/** From now on; what a sector of the volume has held since then. */
export type Watch = () => (sector: number) => Set<number>;

export class Tokens {
  readonly #random: Random;
  /** By ROD: the version of each of its sectors. */
  readonly #kept = new Map<string, number[]>();
  /** Begun, and not acknowledged when the power failed. */
  readonly #begun = new Set<string>();
  /** Given up: they may still be there after a crash. */
  readonly #given = new Set<string>();
  #store: PoolRodStore | undefined;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  #pick(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** The pool has been opened. */
  async open(pool: Pool): Promise<void> {
    this.#store = await PoolRodStore.open({ id: 'ab01', pool, clock, log: silentLog });
  }

  /** Before the pool is closed. */
  async close(): Promise<void> {
    await this.#store?.close();
    this.#store = undefined;
  }

  /** A token of some ranges of the window, which others write to. */
  async make(pool: Pool, volume: number, window: { from: number; to: number }, watch: Watch): Promise<void> {
    const store = this.#store;
    const source = pool.entry(volume).open;
    if (store === undefined || source === undefined) return;
    if (this.#kept.size >= MAX_KEPT) this.#delete(store);
    const id = (++this.#count).toString(16).padStart(32, '0');
    this.#begun.add(id);
    const ranges = this.#ranges(window);
    const facts = { id, blockSize: SECTOR, initiator: 'host', source: 'disk', timeout: 60_000 };
    const allowed = watch();
    let rod: Rod;
    try {
      rod = await store.make(source, { ...facts, ranges, held: () => undefined });
    } catch (error) {
      if (!(error instanceof RodLimit) && !isFull(error)) throw error;
      this.#begun.delete(id);
      this.#given.add(id);
      return;
    }
    const found = await contentOf(rod);
    const sectors = ranges.flatMap(({ position, length }) =>
      Array.from({ length: length / SECTOR }, (_, i) => position / SECTOR + i),
    );
    found.forEach((version, i) => {
      const sector = sectors[i] as number;
      assert.ok(allowed(sector).has(version), `sector ${String(sector)} of a token has ${String(version)}`);
    });
    // A full pool makes a token of the first part of what was asked for.
    assert.ok(found.length > 0 && found.length <= sectors.length, 'sectors of a token');
    this.#begun.delete(id);
    this.#kept.set(id, found);
  }

  /** One or two ranges, mostly of whole grains. */
  #ranges({ from, to }: { from: number; to: number }): RodRange[] {
    const grains = (to - from) / GRAIN;
    const half = Math.floor(grains / 2);
    const range = (first: number): RodRange => {
      const position = from + (first + this.#pick(half - 1)) * GRAIN;
      if (this.#random() < 0.6) return { position, length: GRAIN };
      return { position: position + this.#pick(100) * SECTOR, length: (1 + this.#pick(150)) * SECTOR };
    };
    return this.#random() < 0.5 ? [range(0)] : [range(half), range(0)];
  }

  /** One is read again: it is still what it was. Or it is given up. */
  async step(): Promise<void> {
    const store = this.#store;
    if (store === undefined) return;
    if (this.#random() < 0.2) this.#delete(store);
    else for (const id of this.#kept.keys()) await this.#check(store, id);
  }

  /**
   * A whole grain of one to a volume, by reference. What it gave is told by `begin` and `end`, sector by sector; nothing when
   * there is no such token, or the pool is full.
   */
  async use(
    pool: Pool,
    target: number,
    to: number,
    begin: (sector: number, version: number) => void,
    end: (sector: number, version: number) => void,
  ): Promise<void> {
    const [id, content] = [...this.#kept][this.#pick(this.#kept.size)] ?? [];
    const rod = id === undefined ? undefined : this.#store?.find(id);
    if (rod === undefined || typeof rod === 'string' || content === undefined) return;
    const segment = rod.segments.find(({ position, length }) => position % GRAIN === 0 && length === GRAIN);
    const hidden = [...pool.entries.values()].find(({ open }) => open === rod.volume);
    if (segment === undefined || hidden === undefined) return;
    const before = rod.segments.slice(0, rod.segments.indexOf(segment));
    const skipped = before.reduce((sum, { length }) => sum + length, 0) / SECTOR;
    const given = content.slice(skipped, skipped + GRAIN / SECTOR);
    const first = to / SECTOR;
    given.forEach((version, i) => {
      begin(first + i, version);
    });
    const release = this.#store?.use(rod);
    try {
      await share(pool, hidden.record.id, segment.position, target, to, GRAIN);
    } catch (error) {
      if (isFull(error)) return;
      throw error;
    } finally {
      release?.();
    }
    given.forEach((version, i) => {
      end(first + i, version);
    });
  }

  #delete(store: PoolRodStore): void {
    const ids = [...this.#kept.keys()];
    const id = ids[this.#pick(ids.length)];
    const rod = id === undefined ? undefined : store.find(id);
    if (id === undefined || rod === undefined || typeof rod === 'string') return;
    this.#kept.delete(id);
    this.#given.add(id);
    store.delete(rod);
  }

  async #check(store: PoolRodStore, id: string): Promise<void> {
    const rod = store.find(id);
    assert.ok(rod !== undefined && typeof rod !== 'string', `token ${id} is not there`);
    assert.deepEqual(await contentOf(rod), this.#kept.get(id), `token ${id}`);
  }

  /** After a start. */
  async verify(pool: Pool): Promise<void> {
    await this.open(pool);
    const store = this.#store as PoolRodStore;
    for (const id of this.#kept.keys()) await this.#check(store, id);
    for (const rod of [...store.rods()]) {
      if (this.#kept.has(rod.id)) continue;
      assert.ok(this.#begun.has(rod.id) || this.#given.has(rod.id), `nobody made token ${rod.id}`);
      await contentOf(rod);
      store.delete(rod);
    }
    this.#begun.clear();
    this.#given.clear();
    await this.close();
  }
}

/** Versions of its sectors, in order. */
async function contentOf(rod: Rod): Promise<number[]> {
  const found: number[] = [];
  for (const { position, length } of rod.segments) {
    const bytes = Buffer.alloc(length);
    await rod.volume.read(position, length, bytes, 0);
    found.push(...versions(bytes, 'a token'));
  }
  return found;
}
