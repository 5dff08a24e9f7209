import type { ModeState } from '../mode-state.ts';
import type { SenseRow } from '../sense.ts';

/** One registered I_T nexus (SPC-4 5.13.7). */
export interface Registration {
  /** LunNexus.key. */
  readonly nexus: string;
  /** SCSI port name of the initiator, for READ FULL STATUS. */
  readonly initiatorPort: string;
  readonly relativeTargetPort: number;
  /** Reservation key, 16 hexadecimal digits. */
  readonly key: string;
}

/** What APTPL keeps over a restart. */
export interface SavedReservations {
  readonly generation: number;
  readonly registrations: readonly Registration[];
  readonly reservation?: { readonly type: number; readonly holder: string };
}

export interface ReservationStore {
  /** The state saved last, or undefined. Called once, when the logical unit is opened. */
  load(): SavedReservations | undefined;
  /** Makes the state durable; undefined forgets it. PERSISTENT RESERVE OUT answers only after it resolved. */
  save(state: SavedReservations | undefined): Promise<void>;
}

/** What the next owner of a volume goes on with, whether it is to survive a restart (APTPL) or not. */
export interface UnitState extends SavedReservations {
  /** Persist through power loss is active. */
  readonly persistent: boolean;
  /** LunNexus.key of the holder of an SPC-2 reservation. */
  readonly legacy?: string;
  readonly modes: ModeState;
  /** Unit attentions not told yet when the volume was handed over in good order, by LunNexus.key. */
  readonly attentions: ReadonlyMap<string, readonly SenseRow[]>;
}

/** The state of a unit where all nodes that may own it have it. */
export interface UnitStateStore {
  /** The state saved last by whichever owner, or undefined. */
  load(): UnitState | undefined;
  /** Every node that may be the next owner has it when this resolves. */
  save(state: UnitState): Promise<void>;
}

/** Keeps nothing: APTPL is refused. */
export const noReservationStore: ReservationStore = {
  load: () => undefined,
  save: () => Promise.reject(new Error('this logical unit keeps no reservations')),
};
