// How fast pools fill: a line through what was in use lately, and when it meets the capacity.
import { TREND_INTERVAL, TREND_LEAST, TREND_SAMPLES } from '../base/limits.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { poolFacts } from './pool-views.ts';
import type { PoolManager } from './pools.ts';

export interface PoolUse {
  readonly pool: string;
  /** Bytes. */
  readonly capacityBytes: number;
  readonly usedBytes: number;
}

export interface TrendView extends PoolUse {
  /** Seconds the line is drawn through; 0: nothing is known yet. */
  readonly observedSeconds: number;
  /** Null: not observed for long enough. */
  readonly bytesPerDay: number | null;
  /** Null: not known, or it does not grow. */
  readonly secondsToFull: number | null;
}

interface Sample {
  /** Milliseconds, monotonic. */
  readonly at: number;
  readonly used: number;
}

const DAY = 86_400_000;

/** Looks at the pools at intervals; forgets everything at the next start, and then says that it does not know yet. */
export class CapacityTrend {
  readonly #clock: Clock;
  readonly #use: () => readonly PoolUse[];
  readonly #samples = new Map<string, Sample[]>();
  #timer: Timer | undefined;

  constructor(clock: Clock, use: () => readonly PoolUse[]) {
    this.#clock = clock;
    this.#use = use;
  }

  start(): void {
    this.look();
    this.#timer = this.#clock.after(TREND_INTERVAL, () => {
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  look(): void {
    const at = this.#clock.now();
    const use = this.#use();
    for (const { pool, usedBytes } of use) {
      const samples = this.#samples.get(pool) ?? [];
      samples.push({ at, used: usedBytes });
      if (samples.length > TREND_SAMPLES) samples.shift();
      this.#samples.set(pool, samples);
    }
    const names = new Set(use.map(({ pool }) => pool));
    for (const pool of this.#samples.keys()) if (!names.has(pool)) this.#samples.delete(pool);
  }

  views(): TrendView[] {
    return this.#use().map((use) => {
      const samples = this.#samples.get(use.pool) ?? [];
      const [first] = samples;
      const observed = first === undefined ? 0 : (samples.at(-1)?.at ?? 0) - first.at;
      const slope = observed < TREND_LEAST ? undefined : slopeOf(samples);
      const left = Math.max(0, use.capacityBytes - use.usedBytes);
      return {
        ...use,
        observedSeconds: Math.round(observed / 1000),
        bytesPerDay: slope === undefined ? null : Math.round(slope * DAY),
        secondsToFull: slope === undefined || slope <= 0 ? null : Math.round(left / slope / 1000),
      };
    });
  }
}

/** Of the pools that are open. */
export function poolUse(pools: PoolManager, catalog: Catalog): PoolUse[] {
  const open = catalog.pools.values().filter(({ name }) => pools.problem(name) === undefined);
  return open.map(({ name: pool }) => {
    const { capacityBytes, usedBytes } = poolFacts(pools, pool);
    return { pool, capacityBytes, usedBytes };
  });
}

/** Bytes a millisecond of the line with the least squares. */
function slopeOf(samples: readonly Sample[]): number {
  const n = samples.length;
  const meanAt = samples.reduce((sum, { at }) => sum + at, 0) / n;
  const meanUsed = samples.reduce((sum, { used }) => sum + used, 0) / n;
  let above = 0;
  let below = 0;
  for (const { at, used } of samples) {
    above += (at - meanAt) * (used - meanUsed);
    below += (at - meanAt) ** 2;
  }
  return below === 0 ? 0 : above / below;
}
