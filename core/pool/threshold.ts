// Tells when a pool is so full that somebody should know (SBC-3 4.7.3.8), and when it is no longer.
import { THRESHOLD_HYSTERESIS } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import { GRAIN } from '../volume/grain.ts';
import type { SpaceResources } from '../volume/volume.ts';
import type { Allocator } from './allocator.ts';

/** `crossed`: true when the threshold was reached, false when the pool is well below it again. */
export type ThresholdListener = (crossed: boolean) => void;

export class SoftThreshold implements SpaceResources {
  readonly setBytes = GRAIN;
  readonly #allocator: Allocator;
  readonly #clock: Clock;
  #percent = 100;
  #listener: ThresholdListener | undefined;
  #crossed = false;

  constructor(allocator: Allocator, clock: Clock) {
    this.#allocator = allocator;
    this.#clock = clock;
  }

  /** Grains. What is in quarantine counts: nobody has it any more. */
  get available(): number {
    return Math.max(0, this.#allocator.total - this.#allocator.taken);
  }

  /** Grains that are available when the threshold is reached. */
  get threshold(): number {
    return this.#allocator.total - this.#at;
  }

  get #at(): number {
    return Math.ceil((this.#allocator.total * this.#percent) / 100);
  }

  /** True from the moment it was reached until the pool is THRESHOLD_HYSTERESIS percent below it. */
  get crossed(): boolean {
    return this.#crossed;
  }

  /** Watches `percent` of the pool (1 to 99) from now on. `listener` is called in a turn of its own. */
  watch(percent: number, listener: ThresholdListener): void {
    this.#percent = percent;
    this.#listener = listener;
    this.#crossed = false;
    this.check();
  }

  /** Looks at the pool; whoever frees or adds room calls it. Grains that are taken ring by themselves. */
  check(): void {
    if (this.#listener === undefined) return;
    const { taken, total } = this.#allocator;
    const at = this.#at;
    if (!this.#crossed && taken >= at) this.#become(true);
    else if (this.#crossed && taken < (total * (this.#percent - THRESHOLD_HYSTERESIS)) / 100) this.#become(false);
    const ring = (): void => {
      this.check();
    };
    this.#allocator.alarm(this.#crossed ? Number.POSITIVE_INFINITY : at, ring);
  }

  #become(crossed: boolean): void {
    this.#crossed = crossed;
    // Not inside the write that took the last grain.
    this.#clock.soon(() => this.#listener?.(crossed));
  }
}
