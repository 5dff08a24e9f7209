// When there is something to tell: rules over readings, with hysteresis, so that a value that trembles tells nothing twice.
import type { EventObject, Severity } from '../events.ts';

/** Codes people and scripts know; never renamed. `limit`: where a rule begins; `clear`: how far back it has to go. */
export const RULES = {
  'pool-filling': { severity: 'warning', limit: 80, clear: 5, unit: 'percent', text: 'a pool is filling up' },
  'pool-full': { severity: 'critical', limit: 95, clear: 2, unit: 'percent', text: 'a pool is nearly full' },
  'pool-time-to-full': { severity: 'warning', limit: 24, clear: 12, unit: 'hours', text: 'a pool will be full soon' },
  'pool-failed': { severity: 'critical', limit: 1, clear: 0, unit: 'count', text: 'a pool cannot be used' },
  'journal-filling': {
    severity: 'warning',
    limit: 90,
    clear: 15,
    unit: 'percent',
    text: 'a journal fills faster than it empties',
  },
  'checksum-error': { severity: 'error', limit: 1, clear: 0, unit: 'count', text: 'data does not match its checksum' },
  'volume-failed': { severity: 'error', limit: 1, clear: 0, unit: 'count', text: 'a disk is not served' },
  'slow-device': { severity: 'warning', limit: 100, clear: 50, unit: 'milliseconds', text: 'a disk answers slowly' },
  'path-lost': {
    severity: 'warning',
    limit: 1,
    clear: 0,
    unit: 'count',
    text: 'a host has fewer sessions than it had',
  },
  'host-gone': { severity: 'error', limit: 1, clear: 0, unit: 'count', text: 'a host has no session any more' },
  'certificate-expiring': {
    severity: 'warning',
    limit: 30,
    clear: 5,
    unit: 'days',
    text: 'a certificate expires soon',
  },
  'job-failed': { severity: 'error', limit: 1, clear: 0, unit: 'count', text: 'a job failed' },
} as const satisfies Record<string, { severity: Severity; limit: number; clear: number; unit: string; text: string }>;
export type RuleName = keyof typeof RULES;

/** Rules where less is worse: time that is left. */
const DOWNWARD: ReadonlySet<RuleName> = new Set(['pool-time-to-full', 'certificate-expiring']);

/** What one rule sees of one object. */
export interface Reading {
  readonly rule: RuleName;
  readonly object: EventObject;
  /** In the unit of the rule. */
  readonly value: number;
  /** One sentence for people, in case it is bad. */
  readonly text: string;
  /** Where the rule begins for this object, when the object has its own. */
  readonly limit?: number;
}

export interface RuleSettings {
  readonly enabled: boolean;
  readonly limit: number;
}

/** Bad, good, or in between, where what was said last stays true. */
export function judge({ rule, value, limit }: Reading, settings: RuleSettings): 'bad' | 'good' | 'between' {
  const begins = limit ?? settings.limit;
  const { clear } = RULES[rule];
  if (DOWNWARD.has(rule)) return value < begins ? 'bad' : value > begins + clear ? 'good' : 'between';
  return value >= begins ? 'bad' : value < begins - clear || clear === 0 ? 'good' : 'between';
}

export interface Alert {
  readonly rule: RuleName;
  readonly severity: Severity;
  readonly object: EventObject;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface AlertChange extends Alert {
  readonly state: 'raised' | 'cleared';
}

/** By which an alert is known, also in the catalog. */
export const keyOf = ({ rule, object }: Pick<Alert, 'rule' | 'object'>): string =>
  `${rule}/${object.kind}/${object.name}`;

interface Standing {
  alert: Alert;
  raised: boolean;
  /** Of the monotonic clock: since when the readings say the opposite of what was told. */
  contrary: number | undefined;
}

/** Remembers what is wrong. Tells a change once it has held for a while. */
export class AlertStates {
  readonly #hold: number;
  readonly #standing = new Map<string, Standing>();

  /** `hold`: milliseconds something has to be so before it is told. */
  constructor(hold: number) {
    this.#hold = hold;
  }

  /** What was wrong and told before a restart. */
  restore(alerts: readonly Omit<Alert, 'severity'>[]): void {
    for (const each of alerts) {
      const alert = { ...each, severity: RULES[each.rule].severity };
      this.#standing.set(keyOf(each), { alert, raised: true, contrary: undefined });
    }
  }

  active(): Alert[] {
    const raised = [...this.#standing.values()].filter((each) => each.raised);
    return raised.map(({ alert }) => alert).sort((a, b) => a.since - b.since);
  }

  /** Takes all readings of one moment. What is not among them any more is over. */
  take(
    readings: readonly Reading[],
    settings: (rule: RuleName) => RuleSettings,
    now: number,
    wall: number,
  ): AlertChange[] {
    const changes: AlertChange[] = [];
    const seen = new Set<string>();
    for (const reading of readings) {
      const { rule, object, text } = reading;
      const key = keyOf(reading);
      const rules = settings(rule);
      const verdict = rules.enabled ? judge(reading, rules) : 'good';
      const known = this.#standing.get(key);
      if (known === undefined && verdict !== 'bad') continue;
      seen.add(key);
      const alert = { rule, severity: RULES[rule].severity, object, text, since: wall };
      const standing = known ?? { alert, raised: false, contrary: undefined };
      this.#standing.set(key, standing);
      // The text is kept current as long as it is bad.
      if (verdict === 'bad') standing.alert = { ...alert, since: standing.raised ? standing.alert.since : wall };
      if (verdict === 'between' || (verdict === 'bad') === standing.raised) {
        standing.contrary = undefined;
        if (!standing.raised) this.#standing.delete(key);
        continue;
      }
      standing.contrary ??= now;
      if (now - standing.contrary < this.#hold) continue;
      standing.contrary = undefined;
      standing.raised = verdict === 'bad';
      changes.push({ ...standing.alert, state: standing.raised ? 'raised' : 'cleared' });
      if (!standing.raised) this.#standing.delete(key);
    }
    for (const [key, { alert, raised }] of this.#standing) {
      if (seen.has(key)) continue;
      this.#standing.delete(key);
      if (raised) changes.push({ ...alert, state: 'cleared' });
    }
    return changes;
  }
}
