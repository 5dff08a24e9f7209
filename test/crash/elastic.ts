// A volume that gets what others hold, by reference, while it is resized, cleared, copied and rolled back. Nobody knows what
// exactly it holds; but each of its sectors is one that some other volume had at the same place, or zeros.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { ServiceError } from '../../core/base/errors.ts';
import type { Pool } from '../../core/pool/pool.ts';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, readVersions, unlessFull } from './record.ts';
import type { Random } from './sim-disk.ts';

/** Bytes: the end of the volume moves between. */
const SMALLEST = 2 * GRAIN;
const LARGEST = 6 * GRAIN;

export class Elastic {
  readonly #random: Random;
  /** By sector: versions that other volumes had there. */
  readonly #known = new Map<number, Set<number>>();
  id = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  #pick(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** Some other volume may have this version there from now on. */
  note(first: number, count: number, version: number): void {
    for (let sector = first; sector < Math.min(first + count, LARGEST / SECTOR); sector++) {
      const set = this.#known.get(sector) ?? new Set<number>();
      this.#known.set(sector, set.add(version));
    }
  }

  async create(pool: Pool): Promise<void> {
    this.id = await pool.create({ size: LARGEST, thick: false, created: 0 });
  }

  /** Two at once: one copies to it, the other changes it in every other way. */
  async run(running: Running, sources: () => CachedVolume[], steps: number): Promise<void> {
    const volume = running.open(this.id);
    await Promise.all([this.#fill(volume, sources, steps), this.#change(running, volume, steps)]);
    await unlessFull(() => volume.close());
  }

  async #fill(volume: CachedVolume, sources: () => CachedVolume[], steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const all = sources();
      const source = all[this.#pick(all.length)];
      const grains = Math.floor(volume.info.size / GRAIN);
      const first = this.#pick(grains);
      const count = 1 + this.#pick(grains - first);
      if (source === undefined) return;
      await unlessFull(async () => {
        await volume.shareFrom(source, first * GRAIN, first * GRAIN, count * GRAIN).catch((error: unknown) => {
          // It waited for the new size.
          if (!isCutOff(error)) throw error;
        });
      });
      if (this.#random() < 0.3) await this.#look(volume);
    }
  }

  async #change({ pool }: Running, volume: CachedVolume, steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const choice = this.#random();
      if (choice < 0.35) {
        const size = SMALLEST + this.#pick((LARGEST - SMALLEST) / 4096 + 1) * 4096;
        await unlessFull(() => volume.resize(size));
      } else if (choice < 0.6) {
        const sectors = volume.info.size / SECTOR;
        const first = this.#pick(sectors);
        const count = 1 + this.#pick(sectors - first);
        await unlessFull(() => volume.unmap(first * SECTOR, count * SECTOR));
      } else if (choice < 0.8) {
        await unlessFull(async () => {
          const [copy] = await pool.copy([this.id], false, 0);
          // Both wait for their turn: the one that comes second finds the snapshot gone, or the volume as it was.
          const rolling = pool.rollback(this.id, copy as number);
          const deleting =
            this.#random() < 0.5 ? pool.delete(copy as number) : rolling.then(() => pool.delete(copy as number));
          for (const each of await Promise.allSettled([rolling, deleting])) {
            if (each.status === 'rejected' && !isRefused(each.reason)) throw each.reason;
          }
        });
      } else await volume.flush();
    }
  }

  async #look(volume: CachedVolume): Promise<void> {
    const found = await readVersions(volume, 0, SMALLEST / SECTOR, 'the elastic volume');
    this.#check(found);
  }

  #check(found: readonly number[]): void {
    found.forEach((version, sector) => {
      const known = version === 0 || this.#known.get(sector)?.has(version) === true;
      assert.ok(known, `the elastic volume, sector ${String(sector)}: ${String(version)} comes from nowhere`);
    });
  }

  async verify(running: Running): Promise<void> {
    const volume = running.open(this.id);
    this.#check(await readVersions(volume, 0, volume.info.size / SECTOR, 'the elastic volume'));
    await volume.close();
  }
}

/** The volume ended within the range by then; it may be larger again. */
const isCutOff = (error: unknown): boolean =>
  error instanceof VolumeError && error.fault === VolumeFault.writeError && error.message.endsWith('smaller');

/** It was resized, or deleted, meanwhile. */
export const isRefused = (error: unknown): boolean =>
  error instanceof ServiceError && ['not-found', 'in-use', 'bad-request', 'no-space'].includes(error.code);
