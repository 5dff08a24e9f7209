// What was seen over hours, kept over restarts: fill levels, sessions of hosts. Less of it than is in memory.
import { MAX_KEPT_SAMPLES } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { ObservationRecord } from './records.ts';

export interface Sample {
  /** Milliseconds, monotonic. */
  readonly at: number;
  readonly value: number;
}

/** One set of series in the catalog, each with its name. */
export class Observations {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #id: string;
  readonly #turn = new Turn();

  constructor(catalog: Catalog, clock: Clock, log: Log, id: string) {
    this.#catalog = catalog;
    this.#clock = clock;
    this.#log = log;
    this.#id = id;
  }

  /** What was kept and is not older than `oldest` milliseconds; times are before now, whatever has become of the clock. */
  load(oldest: number): Map<string, Sample[]> {
    const record = this.#catalog.observations.get(this.#id);
    if (record === undefined) return new Map();
    const now = this.#clock.now();
    const since = Math.max(0, this.#clock.wall() - record.saved);
    const young = Object.entries(record.series).map(([name, samples]): [string, Sample[]] => [
      name,
      samples.map(([age, value]) => ({ at: now - since - age, value })).filter(({ at }) => now - at <= oldest),
    ]);
    return new Map(young.filter(([, samples]) => samples.length > 0));
  }

  /** Resolves when it is kept, or could not be (which is logged). */
  async save(series: ReadonlyMap<string, readonly Sample[]>): Promise<void> {
    const now = this.#clock.now();
    const record: ObservationRecord = {
      saved: this.#clock.wall(),
      series: Object.fromEntries(
        [...series].map(([name, samples]) => [
          name,
          thinned(samples).map(({ at, value }): [number, number] => [Math.round(now - at), value]),
        ]),
      ),
    };
    const { observations } = this.#catalog;
    await this.#turn.run(async () => {
      await this.#catalog.apply(observations.edit(this.#id, record)).catch((error: unknown) => {
        this.#log.warn({ what: this.#id, error: messageOf(error) }, 'what was observed could not be kept');
      });
    });
  }
}

/** At most MAX_KEPT_SAMPLES of them, with the first and the last. */
function thinned(samples: readonly Sample[]): readonly Sample[] {
  const step = (samples.length - 1) / (MAX_KEPT_SAMPLES - 1);
  if (step <= 1) return samples;
  return Array.from({ length: MAX_KEPT_SAMPLES }, (_, i) => samples[Math.round(i * step)] as Sample);
}
