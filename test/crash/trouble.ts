// What goes wrong with the disk in one life of a scenario besides the power: it fills up for a while, cannot write some of its
// grains, or fails for good. Whoever is told so by an error may stop; what was acknowledged before must be there afterwards.
import { ServiceError } from '../../core/base/errors.ts';
import { sumsBytes } from '../../core/pool/format.ts';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import type { Running } from './machine.ts';
import { GRAIN } from './record.ts';
import type { Random } from './sim-disk.ts';

const KINDS = ['none', 'none', 'none', 'full', 'full', 'grains', 'journal', 'sync', 'commit'] as const;
export type TroubleKind = (typeof KINDS)[number];

/** Operations of the disk until it begins, at most; and for how many a disk is full. */
const BEGINS = 150;
const LASTS = 80;
/** One grain in so many cannot be written. */
const BAD_SHARE = 12;

const failure = (code: string): Error => Object.assign(new Error(code), { code });

export class Trouble {
  readonly kind: TroubleKind;
  readonly #running: Running;

  constructor(running: Running, random: Random) {
    const pick = (limit: number): number => Math.floor(random() * limit);
    this.kind = KINDS[pick(KINDS.length)] ?? 'none';
    this.#running = running;
    const from = running.power.operations + pick(BEGINS);
    const length = 1 + pick(LASTS);
    const shift = pick(BAD_SHARE);
    // Not the disk's own count: what fails is no operation, and those who try again must come to the end of it.
    let tries = 0;
    const later = (): boolean => running.power.operations >= from;
    const passing = (): boolean => later() && tries++ < length;
    running.disk.fault = (operation, path, position) => {
      const slab = path.includes('slab');
      switch (this.kind) {
        case 'full':
          return ((operation === 'write' && slab) || operation === 'commit') && passing()
            ? failure('ENOSPC')
            : undefined;
        case 'grains':
          return operation === 'write' && slab && isBad(position, shift) ? failure('EIO') : undefined;
        case 'journal':
          return operation === 'write' && path.endsWith('journal') && later() ? failure('EIO') : undefined;
        case 'sync':
          return operation === 'sync' && slab && later() ? failure('EIO') : undefined;
        case 'commit':
          return operation === 'commit' && later() ? failure('EIO') : undefined;
        default:
          return undefined;
      }
    };
  }

  /** True when somebody had to expect this error. */
  explains(error: unknown): boolean {
    if (this.#running.pool.trouble !== undefined) return true;
    // A slab that is being made is nobody's yet.
    if (this.kind === 'sync') return error instanceof ServiceError && error.code === 'io-error';
    return this.kind === 'grains' && error instanceof VolumeError && error.fault === VolumeFault.writeError;
  }
}

/** Checksums can be written everywhere. */
function isBad(position: number, shift: number): boolean {
  const grain = Math.floor((position - sumsBytes(64)) / GRAIN);
  return grain >= 0 && grain % BAD_SHARE === shift;
}
