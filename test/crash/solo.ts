// One host with a volume of its own that does one thing after the other: writes, clears, snapshots, rollbacks, resizes. So
// what the volume holds is known exactly, but for the one thing that was under way when the power failed.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import type { Pool } from '../../core/pool/pool.ts';
import { Durability } from '../../core/volume/volume.ts';
import type { Running } from './machine.ts';
import { GRAIN, Record, SECTOR, isFull, readVersions, stamp, unlessFull } from './record.ts';
import type { Random } from './sim-disk.ts';

export type SoloKind = 'thin' | 'thick' | 'volatile';

/** Bytes: where the end of the volume moves between. */
const SMALLEST = 5 * GRAIN + 4096;
const LARGEST = 9 * GRAIN;
const MAX_SNAPSHOTS = 2;

export class Solo {
  readonly kind: SoloKind;
  readonly #random: Random;
  /** Content now. For a volatile volume only what the last flush covered survives. */
  #record = new Record();
  #id = 0;
  #size = LARGEST;
  /** Sizes it may have after a crash. */
  #sizes = new Set<number>([LARGEST]);
  #snapshots = new Map<number, { record: Record; size: number }>();
  #version = 1;
  /** A rollback or a snapshot of everything is under way: all of it happens or nothing. */
  #rolling: { before: Record; after: Record } | undefined;

  /** An atomic write is under way: all of it happens or nothing. */
  #atomic: { first: number; count: number; version: number } | undefined;
  readonly #wide: boolean;

  /** `wide`: see Scenario. */
  constructor(kind: SoloKind, random: Random, wide: boolean) {
    this.kind = kind;
    this.#random = random;
    this.#wide = wide;
  }

  get snapshots(): Iterable<number> {
    return this.#snapshots.keys();
  }

  get id(): number {
    return this.#id;
  }

  get #durability(): Durability {
    return this.kind === 'volatile' ? Durability.volatile : Durability.durable;
  }

  #pick(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async create(pool: Pool): Promise<void> {
    this.#id = await pool.create({ size: LARGEST, thick: this.kind === 'thick', created: 0 });
  }

  async run(running: Running, steps: number): Promise<void> {
    const volume = running.open(this.#id, this.#durability);
    for (let step = 0; step < steps; step++) {
      const choice = this.#random();
      if (choice < 0.55) await (this.#wide && choice < 0.15 ? this.#writeAtomic(volume) : this.#write(volume));
      else if (choice < 0.65) await this.#clear(volume);
      else if (choice < 0.75) await this.#read(volume);
      else if (choice < 0.82) await this.#flush(volume);
      else if (choice < 0.88) await this.#snapshot(running.pool);
      else if (choice < 0.94) await this.#rollback(running.pool);
      else if (choice < 0.97) await this.#resize(volume);
      else await this.#deleteSnapshot(running.pool);
    }
    // What a volatile volume keeps may find the pool full.
    if (await unlessFull(() => volume.close())) this.#covered();
  }

  /** Everything so far survives. */
  #covered(): void {
    if (this.kind === 'volatile') this.#stable = this.#record.copy();
  }

  /** Of a volatile volume: what is promised. */
  #stable = new Record();
  /** Of a volatile volume: versions since then. */
  #since = new Map<number, Set<number>>();

  #sent(first: number, count: number, version: number): void {
    this.#record.begin(first, count, version);
    if (this.kind !== 'volatile') return;
    for (let sector = first; sector < first + count; sector++) {
      const set = this.#since.get(sector) ?? new Set<number>();
      this.#since.set(sector, set.add(version));
    }
  }

  #range(): { first: number; count: number } {
    const sectors = this.#size / SECTOR;
    if (this.#random() < 0.15) {
      const grain = this.#pick(Math.floor(this.#size / GRAIN) - 2);
      return { first: (grain * GRAIN) / SECTOR, count: 256 };
    }
    const first = this.#pick(sectors - 20);
    return { first, count: 1 + this.#pick(19) };
  }

  async #write(volume: CachedVolume): Promise<void> {
    const { first, count } = this.#range();
    const version = this.#random() < 0.1 ? 0 : this.#version++;
    this.#sent(first, count, version);
    const data = stamp(version, count);
    const fua = this.#random() < 0.1;
    const done = await unlessFull(() => volume.write(first * SECTOR, data, 0, data.length, fua));
    if (!done) return this.#look(volume, first, count);
    this.#record.end(first, count, version);
    if (this.kind !== 'volatile' || !fua) return;
    if (!this.#wide) return this.#flush(volume);
    for (let sector = first; sector < first + count; sector++) {
      this.#stable.decided(sector, version);
      this.#since.delete(sector);
    }
  }

  /** Over the limits of grains, mostly. */
  async #writeAtomic(volume: CachedVolume): Promise<void> {
    if (this.kind === 'volatile') return this.#write(volume);
    const first = this.#pick(this.#size / SECTOR - 300);
    const count = 1 + this.#pick(300);
    const version = this.#version++;
    this.#sent(first, count, version);
    this.#atomic = { first, count, version };
    const data = stamp(version, count);
    const done = await unlessFull(() => volume.writeAtomic(first * SECTOR, data, 0, data.length, false));
    if (done) this.#record.end(first, count, version);
    else await this.#look(volume, first, count);
    this.#atomic = undefined;
  }

  #checkAtomic(found: readonly number[]): void {
    if (this.#atomic === undefined) return;
    const { first, count, version } = this.#atomic;
    this.#atomic = undefined;
    const there = found.slice(first, first + count).filter((each) => each === version).length;
    const what = `${this.#name}: ${String(there)} of ${String(count)} sectors of an atomic write at ${String(first)}`;
    assert.ok(there === 0 || there === count, what);
  }

  /** After a write that failed. */
  async #look(volume: CachedVolume, first: number, count: number): Promise<void> {
    const found = await readVersions(volume, first, count, 'after a failed write');
    found.forEach((version, i) => {
      assert.ok(this.#record.allowed(first + i).has(version), 'after a failed write');
      this.#record.decided(first + i, version);
    });
  }

  async #clear(volume: CachedVolume): Promise<void> {
    const { first, count } = this.#range();
    this.#sent(first, count, 0);
    const unmap = this.#random() < 0.5;
    const [position, length] = [first * SECTOR, count * SECTOR];
    const done = await unlessFull(() => (unmap ? volume.unmap(position, length) : volume.zero(position, length)));
    if (!done) return this.#look(volume, first, count);
    this.#record.end(first, count, 0);
  }

  async #read(volume: CachedVolume): Promise<void> {
    const { first, count } = this.#range();
    const found = await readVersions(volume, first, count, this.#name);
    found.forEach((version, i) => {
      assert.equal(version, this.#record.value(first + i), `${this.#name}: sector ${String(first + i)}`);
    });
  }

  get #name(): string {
    return `${this.kind} volume ${String(this.#id)}`;
  }

  async #flush(volume: CachedVolume): Promise<void> {
    if (!(await unlessFull(() => volume.flush()))) return;
    this.#covered();
    this.#since.clear();
  }

  async #snapshot(pool: Pool): Promise<void> {
    if (this.#snapshots.size >= MAX_SNAPSHOTS) return;
    let id = 0;
    const done = await unlessFull(async () => {
      id = (await pool.copy([this.#id], false, 0))[0] as number;
    });
    if (!done) return;
    this.#snapshots.set(id, { record: this.#record.copy(), size: this.#size });
    // What a snapshot contains is stable, and it is what the volume contains.
    this.#covered();
    this.#since.clear();
  }

  async #rollback(pool: Pool): Promise<void> {
    const found = [...this.#snapshots].find(([, { size }]) => size === this.#size);
    if (found === undefined) return;
    const [id, { record }] = found;
    const before = this.#record;
    this.#rolling = { before, after: record };
    if (!(await unlessFull(() => pool.rollback(this.#id, id)))) {
      this.#rolling = undefined;
      return;
    }
    this.#record = record.copy();
    this.#rolling = undefined;
    this.#covered();
    this.#since.clear();
  }

  async #resize(volume: CachedVolume): Promise<void> {
    const size = SMALLEST + this.#pick((LARGEST - SMALLEST) / 4096 + 1) * 4096;
    this.#sizes.add(size);
    const cut = Math.max(0, (this.#size - size) / SECTOR);
    this.#sent(size / SECTOR, cut, 0);
    try {
      await volume.resize(size);
    } catch (error) {
      if (!isFull(error)) throw error;
      // A thick volume may find no room; then nothing has changed.
      this.#sizes = new Set([this.#size]);
      for (let i = 0; i < cut; i++) this.#record.underWay.delete(size / SECTOR + i);
      return;
    }
    this.#record.end(size / SECTOR, cut, 0);
    this.#size = size;
    this.#sizes = new Set([size]);
    this.#covered();
    this.#since.clear();
  }

  async #deleteSnapshot(pool: Pool): Promise<void> {
    const [id] = this.#snapshots.keys();
    if (id === undefined) return;
    this.#snapshots.delete(id);
    const deleting = pool.delete(id);
    // In the background, mostly.
    if (this.#random() < 0.3) await (this.#wide ? unlessFull(() => deleting) : deleting);
    else deleting.catch(() => undefined);
  }

  /** After a start; what is found is what counts from now on. */
  async verify(running: Running): Promise<void> {
    const { pool } = running;
    const { size } = pool.entry(this.#id).record;
    assert.ok(this.#sizes.has(size), `${this.#name} has ${String(size)} bytes, not ${[...this.#sizes].join(' or ')}`);
    const volume = running.open(this.#id, this.#durability);
    const found = await readVersions(volume, 0, size / SECTOR, this.#name);
    await volume.close();
    this.#checkAtomic(found);
    const allowed = (record: Record, sector: number): Set<number> => {
      if (this.kind !== 'volatile') return record.allowed(sector);
      return new Set([this.#stable.value(sector), record.value(sector), ...(this.#since.get(sector) ?? [])]);
    };
    const rolling = this.#rolling;
    const rolledBack = rolling !== undefined && found.every((version, i) => version === rolling.after.value(i));
    found.forEach((version, sector) => {
      const may = allowed(this.#record, sector);
      assert.ok(
        rolledBack || may.has(version),
        `${this.#name}, sector ${String(sector)}: ${String(version)}, allowed ${[...may].join(' ')}`,
      );
    });
    this.#record = new Record();
    found.forEach((version, sector) => {
      if (version !== 0) this.#record.decided(sector, version);
    });
    this.#rolling = undefined;
    this.#size = size;
    this.#sizes = new Set([size]);
    this.#since.clear();
    this.#covered();
    for (const [id, snapshot] of this.#snapshots) {
      const copy = running.open(id);
      const name = `snapshot ${String(id)} of ${this.#name}`;
      const versions = await readVersions(copy, 0, snapshot.size / SECTOR, name);
      await copy.close();
      versions.forEach((version, sector) => {
        assert.equal(version, snapshot.record.value(sector), `${name}, sector ${String(sector)}`);
      });
    }
  }
}
