// What the volumes of the crash harness may hold: the record of what was sent and what was acknowledged.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { ServiceError } from '../../core/base/errors.ts';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import type { Random } from './sim-disk.ts';

export const SECTOR = 512;
export const GRAIN = 65_536;

export function seeded(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a sector may hold: versions; 0 is zeros. */
export class Record {
  /** By sector number: acknowledged content. */
  readonly acknowledged = new Map<number, number>();
  /** By sector number: what has been sent and not acknowledged. */
  readonly underWay = new Map<number, Set<number>>();
  /** Called with each sector and version that is sent. */
  readonly watchers = new Set<(sector: number, version: number) => void>();

  value(sector: number): number {
    return this.acknowledged.get(sector) ?? 0;
  }

  begin(first: number, count: number, version: number): void {
    for (let sector = first; sector < first + count; sector++) {
      let set = this.underWay.get(sector);
      if (set === undefined) this.underWay.set(sector, (set = new Set<number>()));
      set.add(version);
      for (const watcher of this.watchers) watcher(sector, version);
    }
  }

  end(first: number, count: number, version: number): void {
    for (let sector = first; sector < first + count; sector++) {
      this.acknowledged.set(sector, version);
      this.underWay.delete(sector);
    }
  }

  /** Versions the sector may have: what was acknowledged last, and what was sent since. */
  allowed(sector: number): Set<number> {
    return new Set([this.value(sector), ...(this.underWay.get(sector) ?? [])]);
  }

  /** The sector was seen to have this version. */
  decided(sector: number, version: number): void {
    this.acknowledged.set(sector, version);
    this.underWay.delete(sector);
  }

  /** The sector was read as this version. Whoever has read it must not see what was there before again. */
  read(sector: number, version: number): void {
    if (this.underWay.get(sector)?.has(version) === true) this.acknowledged.set(sector, version);
  }

  /** Collects every version that is under way or acknowledged from now until the returned function is called. */
  watch(also: (sector: number, version: number) => void = () => undefined): () => Map<number, Set<number>> {
    const seen = new Map<number, Set<number>>();
    const add = (sector: number, version: number): void => {
      let set = seen.get(sector);
      if (set === undefined) seen.set(sector, (set = new Set<number>()));
      set.add(version);
      also(sector, version);
    };
    for (const [sector, set] of this.underWay) for (const version of set) add(sector, version);
    this.watchers.add(add);
    return () => {
      this.watchers.delete(add);
      return seen;
    };
  }

  copy(): Record {
    const copy = new Record();
    for (const [sector, version] of this.acknowledged) copy.acknowledged.set(sector, version);
    return copy;
  }
}

export const stamp = (version: number, sectors: number): Buffer => {
  const bytes = Buffer.alloc(sectors * SECTOR);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(version, at);
  return bytes;
};

/** Version of each sector read; throws when a sector is torn. */
export function versions(bytes: Buffer, what: string): number[] {
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const version = bytes.readUInt32LE(at);
    assert.ok(
      bytes.subarray(at, at + SECTOR).equals(stamp(version, 1)),
      `${what}: sector ${String(at / SECTOR)} is torn`,
    );
    found.push(version);
  }
  return found;
}

export async function readVersions(
  volume: CachedVolume,
  first: number,
  count: number,
  what: string,
): Promise<number[]> {
  const bytes = Buffer.alloc(count * SECTOR);
  await volume.read(first * SECTOR, bytes.length, bytes, 0);
  return versions(bytes, what);
}

/** Runs a write. False: the pool is full; nobody knows how much of it was written. */
export async function unlessFull(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (isFull(error)) return false;
    throw error;
  }
}

export const isFull = (error: unknown): boolean =>
  (error instanceof VolumeError && error.fault === VolumeFault.noSpace) ||
  (error instanceof ServiceError && error.code === 'no-space');

/** Waits as long as `turns` turns of the event loop. */
export async function idle(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
