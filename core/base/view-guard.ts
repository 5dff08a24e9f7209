// Who may still be reading memory that was handed out without a copy. A sender takes a hold before it queues the first
// view and releases it when the operating system has taken everything; memory that was viewed since the oldest hold began
// must neither be used for something else nor change.

export class ViewGuard {
  /** Counts holds; memory remembers the value of its last view. */
  epoch = 1;
  /** Smallest hold that is not released; Infinity: nobody reads anything. */
  oldest = Number.POSITIVE_INFINITY;
  /** Sends what somebody has collected in this turn; undefined: nobody has collected anything. */
  unsent: (() => void) | undefined;
  /** In order of taking. */
  readonly #holds = new Set<number>();

  /** Protects every view taken from now on, and those taken in this very epoch. Never 0. */
  hold(): number {
    const mine = this.epoch++;
    this.#holds.add(mine);
    if (this.oldest > mine) this.oldest = mine;
    return mine;
  }

  release(mine: number): void {
    this.#holds.delete(mine);
    if (mine !== this.oldest) return;
    for (const next of this.#holds) {
      this.oldest = next;
      return;
    }
    this.oldest = Number.POSITIVE_INFINITY;
  }

  /** True while memory that was viewed last in `epoch` may still be read by somebody. */
  protects(epoch: number): boolean {
    return epoch >= this.oldest;
  }
}

/** The guard of this event loop: whoever hands out views and whoever sends them meet here. */
export const viewGuard = new ViewGuard();
