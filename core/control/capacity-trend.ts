// How fast pools fill: a line through what was in use lately, and when it meets the capacity.
import { TREND_INTERVAL, TREND_LEAST, TREND_SAMPLES, TREND_SAVE } from '../base/limits.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { Observations, Sample } from './observations.ts';
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

const DAY = 86_400_000;

/** Looks at the pools at intervals; what it saw is kept over restarts. */
export class CapacityTrend {
  readonly #clock: Clock;
  readonly #use: () => readonly PoolUse[];
  readonly #samples: Map<string, Sample[]>;
  readonly #kept: Observations | undefined;
  #looks = 0;
  #timer: Timer | undefined;

  /** `kept`: where earlier lives of the daemon have left what they saw. */
  constructor(clock: Clock, use: () => readonly PoolUse[], kept?: Observations) {
    this.#clock = clock;
    this.#use = use;
    this.#kept = kept;
    this.#samples = kept?.load(TREND_INTERVAL * TREND_SAMPLES) ?? new Map<string, Sample[]>();
  }

  start(): void {
    this.look();
    if (++this.#looks % TREND_SAVE === 0) void this.#kept?.save(this.#samples);
    this.#timer = this.#clock.after(TREND_INTERVAL, () => {
      this.start();
    });
  }

  /** Resolves when what it saw is kept. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#kept?.save(this.#samples);
  }

  look(): void {
    const at = this.#clock.now();
    const use = this.#use();
    for (const { pool, usedBytes } of use) {
      const samples = this.#samples.get(pool) ?? [];
      samples.push({ at, value: usedBytes });
      // The oldest go by their age: what was kept over a restart is less dense.
      while (at - (samples[0]?.at ?? at) > TREND_INTERVAL * TREND_SAMPLES) samples.shift();
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
  const meanUsed = samples.reduce((sum, { value }) => sum + value, 0) / n;
  let above = 0;
  let below = 0;
  for (const { at, value } of samples) {
    above += (at - meanAt) * (value - meanUsed);
    below += (at - meanAt) ** 2;
  }
  return below === 0 ? 0 : above / below;
}
