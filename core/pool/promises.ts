// What a volume was promised for data that it has acknowledged and not placed yet: a grain of the pool for each of its
// grains that will need one. So everything acknowledged can be placed, also on a pool without a single free grain.
import type { Allocator } from './allocator.ts';
import type { VolumeMap } from './volume-map.ts';

export class Promises {
  readonly #allocator: Allocator;
  readonly #map: VolumeMap;
  readonly #thick: boolean;
  /** By grain; true: the promise is beside what is set aside for a thick volume. */
  readonly #held = new Map<number, boolean>();
  /** Grains of which nobody knows whether they need their promise, or their place with no block in it, any more. */
  readonly #loose = new Set<number>();

  constructor(allocator: Allocator, map: VolumeMap, thick: boolean) {
    this.#allocator = allocator;
    this.#map = map;
    this.#thick = thick;
  }

  has(grain: number): boolean {
    return this.#held.has(grain);
  }

  /** True: promised, now or before. False: no grain is free. A thick volume takes of what is set aside for it. */
  make(grain: number): boolean {
    if (this.#held.has(grain)) return true;
    const beside = !this.#thick || this.#map.place(grain) !== 0;
    if (!this.#allocator.promise(!beside)) return false;
    this.#held.set(grain, beside);
    return true;
  }

  /** The promise is not needed. */
  drop(grain: number): void {
    const beside = this.#held.get(grain);
    if (beside === undefined) return;
    this.#held.delete(grain);
    this.#allocator.unpromise(!beside);
  }

  /** The same for grains [first, end). */
  dropAll(first: number, end: number): void {
    if (this.#held.size === 0) return;
    if (end - first <= this.#held.size) for (let grain = first; grain < end; grain++) this.drop(grain);
    else for (const grain of this.#held.keys()) if (grain >= first && grain < end) this.drop(grain);
  }

  /** Grains that tidy() looks at. */
  loosen(grain: number): void {
    this.#loose.add(grain);
  }

  /**
   * A free grain for this one, as promised, or else of what is set aside for a thick volume, or of what others have set aside.
   * `give` undoes it for a grain that could not be written. Throws VolumeError no-space.
   */
  take(grain: number, from: number | undefined): { readonly fresh: number; readonly undo: () => void } {
    const allocator = this.#allocator;
    const isNew = this.#thick && this.#map.place(grain) === 0;
    const beside = this.#held.get(grain);
    if (beside === undefined) {
      const fresh = allocator.allocateUnpromised(isNew, from);
      return {
        fresh,
        undo: () => {
          allocator.letGo(fresh);
          if (isNew) allocator.reserveAgain(1);
        },
      };
    }
    const fresh = allocator.allocate(true, from);
    this.#held.delete(grain);
    return {
      fresh,
      undo: () => {
        allocator.letGo(fresh);
        // It will be tried again, and must not find the pool full then.
        allocator.promiseAgain();
        this.#held.set(grain, beside);
      },
    };
  }

  /** The map names no grain for this one any more: a thick volume sets one aside again. */
  emptied(grain: number): void {
    if (!this.#thick) return;
    if (this.#held.get(grain) === true) this.#held.set(grain, false);
    else this.#allocator.reserveAgain(1);
  }

  /** Gives back what is not needed. `quiet`: nothing of the grain waits to be placed. `empty`: its place is to go. */
  tidy(all: boolean, quiet: (grain: number) => boolean, empty: (grain: number) => void): void {
    for (const grain of this.#loose) {
      if (!quiet(grain)) continue;
      this.#loose.delete(grain);
      this.drop(grain);
      if (this.#map.place(grain) !== 0 && this.#map.valid(grain) === 0) empty(grain);
    }
    if (all) for (const grain of this.#held.keys()) if (quiet(grain)) this.drop(grain);
  }
}
