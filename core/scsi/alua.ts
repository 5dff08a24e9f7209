// Asymmetric logical unit access (SPC-4 5.15): which target ports reach a logical unit how well. States are data of the
// logical unit; only the target changes them (implicit ALUA), initiators read them with REPORT TARGET PORT GROUPS.
import type { TargetPort } from './lun-nexus.ts';
import { SENSE } from './sense.ts';
import type { SenseRow } from './sense.ts';

/** Asymmetric access states (SPC-4 5.15.2.4). */
export const AluaState = {
  activeOptimized: 0x0,
  activeNonOptimized: 0x1,
  standby: 0x2,
  unavailable: 0x3,
  transitioning: 0xf,
} as const;
export type AluaState = (typeof AluaState)[keyof typeof AluaState];

/** What brought a group into its state (SPC-4 6.37). SET TARGET PORT GROUPS is not offered, so 01h never occurs. */
export const AluaCause = { none: 0x00, implicit: 0x02 } as const;
export type AluaCause = (typeof AluaCause)[keyof typeof AluaCause];

/** A target port group as REPORT TARGET PORT GROUPS tells it. */
export interface AluaGroup {
  /** TARGET PORT GROUP, 1 to 65535. */
  readonly id: number;
  readonly state: AluaState;
  readonly preferred: boolean;
  readonly cause: AluaCause;
  /** Relative target port identifiers. */
  readonly ports: readonly number[];
}

/** Group of the ports of a node that has no other number. */
export const DEFAULT_GROUP = 1;

/** The group a port belongs to: one group per node. */
export const groupIdOf = (port: TargetPort): number => port.group ?? DEFAULT_GROUP;

interface GroupState {
  readonly state: AluaState;
  readonly preferred: boolean;
  readonly cause: AluaCause;
}

const INITIAL: GroupState = { state: AluaState.activeOptimized, preferred: false, cause: AluaCause.none };

const REFUSALS: ReadonlyMap<AluaState, SenseRow> = new Map<AluaState, SenseRow>([
  [AluaState.standby, SENSE.standby],
  [AluaState.unavailable, SENSE.unavailable],
  [AluaState.transitioning, SENSE.asymmetricAccessTransition],
]);

/** Access states of one logical unit, by target port group. A group nobody has spoken of is Active/Optimized. */
export class AluaStates {
  readonly #states = new Map<number, GroupState>();

  stateOf(group: number): AluaState {
    return this.#stateOf(group).state;
  }

  /** Why commands for the medium end through ports of this group (SPC-4 5.15.2.4); undefined in the active states. */
  refusal(group: number): SenseRow | undefined {
    return REFUSALS.get(this.stateOf(group));
  }

  /**
   * Puts a group into a state. True when that is a change initiators must hear of (06/2A/06): the beginning of a
   * transition is not, they hear of it when it is over (SPC-4 5.15.2.5).
   */
  set(group: number, state: AluaState, preferred = false): boolean {
    const before = this.#stateOf(group);
    if (before.state === state && before.preferred === preferred) return false;
    this.#states.set(group, { state, preferred, cause: AluaCause.implicit });
    return state !== AluaState.transitioning;
  }

  /** The groups these ports form, in order of their numbers. */
  groups(ports: readonly TargetPort[]): AluaGroup[] {
    const ids = [...new Set(ports.map(groupIdOf))].sort((a, b) => a - b);
    return ids.map((id) => {
      const members = ports.filter((port) => groupIdOf(port) === id).map((port) => port.relativeId);
      return { id, ...this.#stateOf(id), ports: members };
    });
  }

  #stateOf(group: number): GroupState {
    return this.#states.get(group) ?? INITIAL;
  }
}
