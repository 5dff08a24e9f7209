// Another replica of a volume, as its owner sees it.
import { REJOIN_RETRY, REJOIN_RETRY_MAX } from '../base/limits.ts';
import type { NodeLink } from './link/peers.ts';
import { RegionSet } from './region-set.ts';

/**
 * `sync`: it gets everything, and counts; `joining`: it is brought up to date, and gets what is written where it is;
 * `leaving`: it has failed, and still counts until the record says otherwise; `out`: what it lacks is noted.
 */
export type MemberState = 'sync' | 'joining' | 'leaving' | 'out';

/** An operation it has not answered. */
export interface Pending {
  readonly position: number;
  readonly length: number;
  readonly done: () => void;
}

export class Member {
  readonly node: string;
  state: MemberState = 'out';
  /** The record may name it as in sync: it could take over. Then nothing is served without its lease. */
  counts = false;
  session = 0;
  sequence = 0;
  /** The lease under which it said last that it follows us; 0: not yet. */
  generation = 0;
  isAsking = false;
  readonly pending = new Set<Pending>();
  /** Writes under way that it does not get. */
  skipping = 0;
  /** While joining: regions that may differ, besides those it is known to lack. */
  readonly doubtful = new RegionSet();
  /** Resolves when a leaving one is out. */
  gone: Promise<void> = Promise.resolve();
  /** Why it is out, for people. */
  why = 'not connected yet';
  retryAt = 0;
  #retry = REJOIN_RETRY;
  /** Writes in a row that took it long. */
  slow = 0;
  /** Its copy is given up: it is not brought up to date any more. */
  isExcluded = false;

  constructor(node: string) {
    this.node = node;
  }

  /** It is out, and may be brought up to date from `now` on. */
  mayJoin(now: number): boolean {
    return this.state === 'out' && !this.isAsking && !this.isExcluded && now >= this.retryAt;
  }

  /** It has failed at `now`: when it is tried again. */
  postpone(now: number): void {
    this.retryAt = now + this.#retry;
    this.#retry = Math.min(this.#retry * 2, REJOIN_RETRY_MAX);
  }

  /** It is in sync. */
  settled(): void {
    this.#retry = REJOIN_RETRY;
    this.slow = 0;
    this.why = '';
  }
}

/** A member with the link to it. */
export interface Reachable {
  readonly member: Member;
  readonly link: NodeLink;
}
