// Which frame of the cache holds a grain of a volume. Two levels, so that a large volume with little in the cache needs
// little memory: 4 KiB for each 64 MiB of the volume that has something in the cache.

/** Grains of one leaf. */
const LEAF = 1024;

export class GrainIndex {
  /** Frame number plus one; 0 is empty. */
  readonly #leaves: (Int32Array | undefined)[] = [];
  readonly #used: number[] = [];

  /** Frame of this grain, or -1. Allocation-free. */
  get(grain: number): number {
    const leaf = this.#leaves[Math.floor(grain / LEAF)];
    return leaf === undefined ? -1 : (leaf[grain % LEAF] as number) - 1;
  }

  set(grain: number, frame: number): void {
    const at = Math.floor(grain / LEAF);
    while (this.#leaves.length <= at) {
      this.#leaves.push(undefined);
      this.#used.push(0);
    }
    const leaf = (this.#leaves[at] ??= new Int32Array(LEAF));
    if (leaf[grain % LEAF] === 0) this.#used[at] = (this.#used[at] ?? 0) + 1;
    leaf[grain % LEAF] = frame + 1;
  }

  delete(grain: number): void {
    const at = Math.floor(grain / LEAF);
    const leaf = this.#leaves[at];
    if (leaf === undefined || leaf[grain % LEAF] === 0) return;
    leaf[grain % LEAF] = 0;
    const left = (this.#used[at] ?? 0) - 1;
    this.#used[at] = left;
    if (left === 0) this.#leaves[at] = undefined;
  }

  /** The first grain from `first` up to and without `end` that is in the cache, or -1. */
  next(first: number, end: number): number {
    for (let at = Math.floor(first / LEAF); at < this.#leaves.length && at * LEAF < end; at++) {
      const leaf = this.#leaves[at];
      if (leaf === undefined) continue;
      const to = Math.min(end, (at + 1) * LEAF);
      for (let grain = Math.max(first, at * LEAF); grain < to; grain++) if (leaf[grain % LEAF] !== 0) return grain;
    }
    return -1;
  }
}
