// What is refused is put on record as well, but nobody is to wash the log away with it: beyond a measure, the refusals of one
// caller are counted and put on record together.
import { AUDIT_REFUSALS, AUDIT_REFUSAL_EVERY, AUDIT_SUMMARY, MAX_REFUSING } from '../../base/limits.ts';
import type { Clock, Timer } from '../../base/world.ts';
import type { AuditFacts, AuditSubject } from './entry.ts';

interface Tally {
  /** Entries the caller may still have. */
  left: number;
  /** Monotonic: when `left` was right. */
  at: number;
  /** Not on record one by one. */
  more: number;
  readonly codes: Map<string, number>;
  /** Milliseconds since 1970. */
  first: number;
  last: number;
  facts: AuditFacts | undefined;
}

export interface RefusalsOptions {
  readonly clock: Clock;
  readonly record: (facts: AuditFacts) => Promise<unknown>;
  /** Somebody should know. */
  readonly tell: (who: AuditSubject, count: number) => void;
}

export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #tallies = new Map<string, Tally>();
  #timer: Timer | undefined;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** False: it is counted, and will be on record with others. */
  admits(facts: AuditFacts): boolean {
    const { clock } = this.#options;
    const tally = this.#tally(`${facts.who.kind} ${facts.who.name}`);
    if (tally.left >= 1) {
      tally.left -= 1;
      return true;
    }
    const wall = clock.wall();
    if (tally.more === 0) tally.first = wall;
    tally.more += 1;
    tally.last = wall;
    tally.facts = facts;
    const code = facts.code ?? '';
    tally.codes.set(code, (tally.codes.get(code) ?? 0) + 1);
    this.#timer ??= clock.after(AUDIT_SUMMARY, () => {
      this.#timer = undefined;
      void this.flush();
    });
    return false;
  }

  /** Puts on record what was counted. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const tally of this.#tallies.values()) {
      const { more, facts, first, last } = tally;
      if (facts === undefined) continue;
      const codes = Object.fromEntries(tally.codes);
      Object.assign(tally, { more: 0, facts: undefined });
      tally.codes.clear();
      const times = { first: new Date(first).toISOString(), last: new Date(last).toISOString() };
      const request = { refusedMore: more, codes, ...times, lastObject: facts.object };
      this.#options.tell(facts.who, more);
      await this.#options.record({ ...facts, route: '*', object: '*', request, before: null, after: null });
    }
  }

  #tally(key: string): Tally {
    const now = this.#options.clock.now();
    const known = this.#tallies.get(key);
    if (known !== undefined) {
      known.left = Math.min(AUDIT_REFUSALS, known.left + (now - known.at) / AUDIT_REFUSAL_EVERY);
      known.at = now;
      return known;
    }
    if (this.#tallies.size >= MAX_REFUSING) {
      // Who has been quiet for longest, of those of whom nothing waits.
      const quiet = [...this.#tallies].find(([, { more }]) => more === 0)?.[0] ?? key;
      this.#tallies.delete(quiet);
    }
    const made: Tally = {
      left: AUDIT_REFUSALS,
      at: now,
      more: 0,
      codes: new Map(),
      first: 0,
      last: 0,
      facts: undefined,
    };
    this.#tallies.set(key, made);
    return made;
  }
}
