// A host that writes through a cluster while things fail, and knows what each block must hold.
export interface FaultHost {
  /** Resolves when it has written for a moment, without a pause, since it was called. Rejects when it has seen what it must not. */
  progress(): Promise<void>;
  /** Milliseconds of the longest pause since the last call. */
  takePause(): number;
  /** Acknowledged writes so far; failed I/Os; blocks that did not hold what was acknowledged. */
  readonly counts: { readonly writes: number; readonly errors: number; readonly bad: number };
  /**
   * Reads all blocks while nobody writes. Rejects when one is not what was acknowledged last. `everywhere`: by each path, where the
   * host lets itself be told which.
   */
  verify(everywhere: boolean): Promise<void>;
  end(): Promise<void>;
}
