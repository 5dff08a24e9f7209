/** How the data is made irretrievable. */
export type SanitizePlan =
  | { readonly kind: 'erase' }
  | {
      readonly kind: 'overwrite';
      readonly passes: number;
      readonly invert: boolean;
      /** What fills every block, hexadecimal digits. */
      readonly pattern: string;
    };

/** A sanitize operation that has not succeeded (SBC-3 4.11). */
export interface SavedSanitize {
  readonly state: 'running' | 'failed';
  /** It was asked for without AUSE: only a successful operation ends a failure. */
  readonly restricted: boolean;
  readonly plan: SanitizePlan;
}

/** Remembers it over a restart: half erased data must not come back because the daemon did. */
export interface SanitizeStore {
  /** The state saved last, or undefined. */
  load(): SavedSanitize | undefined;
  /** Makes the state durable; undefined: the operation has succeeded, or its failure has been accepted. */
  save(state: SavedSanitize | undefined): Promise<void>;
}

/** Keeps nothing: for logical units that do not outlive the process. */
export const noSanitizeStore: SanitizeStore = {
  load: () => undefined,
  save: () => Promise.resolve(),
};
