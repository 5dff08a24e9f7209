// Who serves a volume and who could, as a node shows it to the layers above and to people.
import type { ResyncProgress } from './join.ts';
import type { MemberState } from './member.ts';

/**
 * `owner`: it serves the volume; `replica`: it is in sync and could take over; `joining`: it is brought up to date;
 * `waiting`: it can do nothing until another node does something; `changing`: it is about to become owner, or to stand down.
 */
export type Role = 'owner' | 'replica' | 'joining' | 'waiting' | 'changing';

/** Who serves a volume, as this node knows it. */
export interface Ownership {
  readonly volume: string;
  readonly role: Role;
  /** Empty: nobody. */
  readonly owner: string;
  readonly epoch: number;
  readonly session: number;
  readonly inSync: readonly string[];
  readonly replicas: readonly string[];
  readonly forcedBy: string | undefined;
  /** Why it is like that, for people. */
  readonly why: string;
}

/** A replica as its owner sees it. */
export interface ReplicaStatus {
  readonly node: string;
  readonly inSync: boolean;
  readonly state: MemberState;
  readonly why: string;
  /** Bytes it is known to lack. */
  readonly lacks: number;
  readonly resync: ResyncProgress | undefined;
}
