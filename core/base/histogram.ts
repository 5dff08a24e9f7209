/** Buckets per doubling. Four keep every value within 19 % of its bucket's bound. */
const PER_DOUBLING = 4;
/** From 1 microsecond to about 67 seconds. */
const DOUBLINGS = 26;
const BUCKETS = PER_DOUBLING * DOUBLINGS + 1;

/** Upper bounds of the buckets in microseconds; the last bucket has none. */
const BOUNDS = Float64Array.from({ length: BUCKETS - 1 }, (_, i) => 2 ** ((i + 1) / PER_DOUBLING));

/** A distribution of durations. Adding allocates nothing. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  count = 0;
  /** Sum of all durations, microseconds. */
  sum = 0;

  /** `count` events that took `microseconds` each. */
  add(count: number, microseconds: number): void {
    this.count += count;
    this.sum += count * microseconds;
    const bucket = microseconds <= 1 ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log2(microseconds) * PER_DOUBLING) - 1);
    this.#counts[bucket] = (this.#counts[bucket] as number) + count;
  }

  /** The duration that `share` (0 to 1) of the events did not exceed, microseconds; 0 when there were none. */
  percentile(share: number): number {
    let left = this.count * share;
    for (let i = 0; i < BUCKETS; i++) {
      left -= this.#counts[i] as number;
      if (left <= 0 && this.count > 0) return BOUNDS[Math.min(i, BOUNDS.length - 1)] as number;
    }
    return 0;
  }

  /** For longestSince(). */
  counts(): number[] {
    return [...this.#counts];
  }

  /** Microseconds (of its bucket's bound) of the longest event added since `before` was taken; 0: there was none. */
  longestSince(before: readonly number[]): number {
    for (let i = BUCKETS - 1; i >= 0; i--) {
      if ((this.#counts[i] as number) > (before[i] ?? 0)) return BOUNDS[Math.min(i, BOUNDS.length - 1)] as number;
    }
    return 0;
  }

  /** Upper bounds in microseconds with the number of events up to each, one per doubling, as Prometheus wants them. */
  *cumulative(): Generator<{ upTo: number; count: number }> {
    let count = 0;
    for (let i = 0; i < BUCKETS - 1; i++) {
      count += this.#counts[i] as number;
      if ((i + 1) % PER_DOUBLING === 0) yield { upTo: BOUNDS[i] as number, count };
    }
  }
}
