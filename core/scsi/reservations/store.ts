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

/** Keeps nothing: APTPL is refused. */
export const noReservationStore: ReservationStore = {
  load: () => undefined,
  save: () => Promise.reject(new Error('this logical unit keeps no reservations')),
};
