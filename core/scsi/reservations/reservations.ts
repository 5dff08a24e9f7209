// Who may use a logical unit: SPC-2 RESERVE/RELEASE and persistent reservations (SPC-4 5.13). State and rules only; the
// commands that change it are in persistent-out.ts and reserve-release.ts.
import type { Reserved } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import type { SenseRow } from '../sense.ts';
import { FORWARD_HOLD } from '../../base/limits.ts';
import { messageOf } from '../../base/errors.ts';
import type { ModeState } from '../mode-state.ts';
import type { Registration, ReservationStore, SavedReservations, UnitState, UnitStateStore } from './store.ts';

/** Reservation types (SPC-4 table 64). */
export const ReservationType = {
  writeExclusive: 1,
  exclusiveAccess: 3,
  writeExclusiveRegistrantsOnly: 5,
  exclusiveAccessRegistrantsOnly: 6,
  writeExclusiveAllRegistrants: 7,
  exclusiveAccessAllRegistrants: 8,
} as const;
export type ReservationType = (typeof ReservationType)[keyof typeof ReservationType];

/** True for the types every registrant holds. */
export const isAllRegistrants = (type: number): boolean => type === 7 || type === 8;
/** True for the types that let all registrants in. */
export const isRegistrants = (type: number): boolean => type >= 5;
const isWriteExclusive = (type: number): boolean => type === 1 || type === 5 || type === 7;

/** The reservation: its type and, unless all registrants hold it, the I_T nexus that does. */
export interface PersistentReservation {
  readonly type: number;
  readonly holder: string;
}

export class Reservations {
  readonly #lu: LogicalUnit;
  readonly #store: ReservationStore;
  /** Where the next owner of the volume finds all of this, in a cluster. */
  readonly #shared: UnitStateStore | undefined;
  /** LunNexus.key of the holder of an SPC-2 reservation. */
  #legacy: string | undefined;
  #registrations = new Map<string, Registration>();
  #reservation: PersistentReservation | undefined;
  /** PRGENERATION (SPC-4 5.13.6). */
  #generation = 0;
  /** Persist through power loss is active. */
  #persistent = false;
  /** Unit attentions of the change that is being made; raised when it is durable. */
  #tellings: (() => void)[] = [];
  /** Unit attentions the next owner has to tell; empty but while the volume is being handed over. */
  #leaving: ReadonlyMap<string, readonly SenseRow[]> = new Map();
  /** What the owner before us had to tell nexuses, by their keys. */
  #inherited = new Map<string, readonly SenseRow[]>();
  /** Changes run one after the other: each is durable before the next begins. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(lu: LogicalUnit, store: ReservationStore, shared?: UnitStateStore) {
    this.#lu = lu;
    this.#store = store;
    this.#shared = shared;
    if (shared !== undefined) return;
    const saved = store.load();
    if (saved === undefined) return;
    this.#persistent = true;
    // SPC-4 6.15.2: whatever APTPL says, the generation is 0 after a power on.
    this.#restore({ ...saved, generation: 0 });
  }

  get generation(): number {
    return this.#generation;
  }

  get registrations(): readonly Registration[] {
    return [...this.#registrations.values()];
  }

  get reservation(): PersistentReservation | undefined {
    return this.#reservation;
  }

  get persistent(): boolean {
    return this.#persistent;
  }

  /** True when a command of this kind from this nexus ends with RESERVATION CONFLICT (SPC-4 tables 62 and 63). */
  conflicts(nexus: LunNexus, kind: Reserved): boolean {
    if (kind === 'allowed') return false;
    if (this.legacyConflicts(nexus)) return true;
    const held = this.#reservation;
    if (held === undefined || this.holds(nexus.key)) return false;
    if (isRegistrants(held.type) && this.#registrations.has(nexus.key)) return false;
    return !(kind === 'unless-exclusive' && isWriteExclusive(held.type));
  }

  /** Another nexus holds an SPC-2 reservation. */
  legacyConflicts(nexus: LunNexus): boolean {
    return this.#legacy !== undefined && this.#legacy !== nexus.key;
  }

  /** Some nexus holds an SPC-2 reservation. */
  get legacyReserved(): boolean {
    return this.#legacy !== undefined;
  }

  /** True when this I_T nexus is a reservation holder (SPC-4 5.13.10). */
  holds(nexusKey: string): boolean {
    const held = this.#reservation;
    if (held === undefined) return false;
    return isAllRegistrants(held.type) ? this.#registrations.has(nexusKey) : held.holder === nexusKey;
  }

  registration(nexusKey: string): Registration | undefined {
    return this.#registrations.get(nexusKey);
  }

  // ---- SPC-2

  /** RESERVE by this nexus. False: conflict. While anybody is registered, SPC-2 reservations are refused (CRH=0). */
  async reserveLegacy(nexus: LunNexus): Promise<boolean> {
    if (this.#shared !== undefined) return this.change(() => this.#reserveLegacy(nexus));
    const done = this.#reserveLegacy(nexus);
    this.#lu.refreshAll();
    return done;
  }

  #reserveLegacy(nexus: LunNexus): boolean {
    if (this.legacyConflicts(nexus) || this.#registrations.size > 0) return false;
    this.#legacy = nexus.key;
    return true;
  }

  /** RELEASE by this nexus; without effect when another one holds the reservation. */
  async releaseLegacy(nexus: LunNexus): Promise<void> {
    if (this.#legacy !== nexus.key) return;
    this.#legacy = undefined;
    this.#lu.refreshAll();
    if (this.#shared !== undefined) await this.change(() => undefined);
  }

  nexusLost(nexus: LunNexus): void {
    this.#endLegacy(nexus.key);
  }

  /** Logical unit or target reset: SPC-2 reservations end, persistent ones stay. */
  reset(): void {
    this.#legacy = undefined;
    if (this.#shared !== undefined) this.#keepLater();
  }

  #endLegacy(key: string): void {
    if (this.#legacy !== key) return;
    this.#legacy = undefined;
    this.#lu.refreshAll();
    if (this.#shared !== undefined) this.#keepLater();
  }

  /** Nobody waits for it: a next owner that does not have it keeps a reservation nobody holds, and ends that itself. */
  #keepLater(): void {
    this.change(() => undefined).catch((error: unknown) => {
      this.#lu.log.warn({ error: messageOf(error) }, 'the end of a reservation could not be passed on');
    });
  }

  // ---- a cluster

  /** Puts the mode parameters into effect; in a cluster the next owner has them when the promise resolves. */
  async selectModes(next: ModeState): Promise<void> {
    if (this.#shared === undefined) Object.assign(this.#lu.modes, next);
    else await this.change(() => Object.assign(this.#lu.modes, next));
  }

  /** Goes on with what the owner before us has left. */
  inherit(): void {
    const state = this.#shared?.load();
    if (state === undefined) return;
    this.#restore(state);
    this.#persistent = state.persistent;
    this.#legacy = state.legacy;
    Object.assign(this.#lu.modes, state.modes);
    this.#inherited = new Map(state.attentions);
    for (const nexus of this.#lu.nexuses) this.greet(nexus);
    const { legacy } = state;
    // The initiator that holds it may have been logged in at a node that is gone: then its nexus is lost (SAM-5 6.3.4).
    if (legacy !== undefined) {
      this.#lu.clock.after(FORWARD_HOLD, () => {
        const there = [...this.#lu.nexuses].some((nexus) => nexus.key === legacy);
        if (!there && this.#lu.role.here) this.#endLegacy(legacy);
      });
    }
    this.#lu.refreshAll();
  }

  /** A nexus we have not known: what the owner before us had to tell it. */
  greet(nexus: LunNexus): void {
    for (const row of this.#inherited.get(nexus.key) ?? []) nexus.attentions.add(row);
    this.#inherited.delete(nexus.key);
  }

  /** Saves what the next owner goes on with, with the unit attentions it has to tell. */
  async leave(): Promise<void> {
    await this.change(() => {
      this.#leaving = new Map(
        [...this.#lu.nexuses]
          .filter((nexus) => nexus.owner.forwardedBy !== undefined && nexus.attentions.any)
          .map((nexus) => [nexus.key, nexus.attentions.pending]),
      );
    });
  }

  // ---- changes of the persistent state

  /**
   * Runs one change. What it did is durable (with APTPL) when the promise resolves; if it cannot be made durable, or the
   * change throws, the state is as before.
   */
  change<T>(act: () => T): Promise<T> {
    const result = this.#turn.then(() => this.#changeNow(act));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #changeNow<T>(act: () => T): Promise<T> {
    const before = this.#snapshot();
    this.#tellings = [];
    const wasPersistent = this.#persistent;
    const legacy = this.#legacy;
    const modes: ModeState = { ...this.#lu.modes };
    try {
      const result = act();
      if (this.#shared !== undefined) await this.#shared.save(this.state());
      else if (this.#persistent) await this.#store.save(this.#snapshot());
      else if (wasPersistent) await this.#store.save(undefined);
      for (const tell of this.#tellings) tell();
      return result;
    } catch (error) {
      this.#restore(before);
      this.#persistent = wasPersistent;
      this.#legacy = legacy;
      Object.assign(this.#lu.modes, modes);
      throw error;
    } finally {
      this.#leaving = new Map();
      this.#lu.refreshAll();
    }
  }

  setPersistent(on: boolean): void {
    this.#persistent = on;
  }

  nextGeneration(): void {
    this.#generation = (this.#generation + 1) >>> 0;
  }

  /** Registers or re-registers a nexus. `key`: 16 hexadecimal digits. */
  register(entry: Registration): void {
    this.#registrations.set(entry.nexus, entry);
  }

  /** Removes a registration. The caller decides about the reservation. */
  unregister(nexusKey: string): void {
    this.#registrations.delete(nexusKey);
  }

  setReservation(reservation: PersistentReservation | undefined): void {
    this.#reservation = reservation;
  }

  /** Raises a unit attention for every registered nexus that is logged in, except `except`. */
  tellRegistered(row: SenseRow, except: string): void {
    for (const nexus of this.#lu.nexuses) {
      if (nexus.key !== except && this.#registrations.has(nexus.key)) this.#tellLater(nexus, row);
    }
  }

  /** Raises a unit attention for one nexus, if it is logged in. */
  tell(nexusKey: string, row: SenseRow): void {
    for (const nexus of this.#lu.nexuses) if (nexus.key === nexusKey) this.#tellLater(nexus, row);
  }

  #tellLater(nexus: LunNexus, row: SenseRow): void {
    this.#tellings.push(() => {
      nexus.attention(row);
    });
  }

  #snapshot(): SavedReservations {
    const base = { generation: this.#generation, registrations: this.registrations };
    return this.#reservation === undefined ? base : { ...base, reservation: this.#reservation };
  }

  /** All of it, for who goes on with the volume. */
  state(): UnitState {
    const legacy = this.#legacy;
    return {
      ...this.#snapshot(),
      persistent: this.#persistent,
      modes: { ...this.#lu.modes },
      attentions: this.#leaving,
      ...(legacy === undefined ? {} : { legacy }),
    };
  }

  #restore(saved: SavedReservations): void {
    this.#generation = saved.generation;
    this.#registrations = new Map(saved.registrations.map((each) => [each.nexus, each]));
    this.#reservation = saved.reservation;
  }
}
