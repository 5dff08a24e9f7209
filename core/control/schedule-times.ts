// When a rule of a snapshot schedule is due. All times are UTC: every rule is a period and where in it.
import { ServiceError } from '../base/errors.ts';
import { MAX_SCHEDULE_KEEP } from '../base/limits.ts';
import type { ScheduleRule } from './records.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
/** 1970-01-01 was a Thursday; Sunday is 0. */
const FIRST_DAY = 4;
const TIME = /^([01]\d|2[0-3]):([0-5]\d)$/;

/** Milliseconds after midnight. Throws ServiceError bad-request unless it is HH:MM. */
function timeOf(text: string): number {
  const [, hours, minutes] = TIME.exec(text) ?? [];
  if (hours === undefined) throw new ServiceError('bad-request', `'${text.slice(0, 20)}' is not a time like 02:30`);
  return Number(hours) * HOUR + Number(minutes) * MINUTE;
}

/** Milliseconds. */
function beatOf(rule: ScheduleRule): { period: number; offset: number } {
  switch (rule.every) {
    case 'minutes':
      return { period: rule.minutes * MINUTE, offset: 0 };
    case 'hour':
      return { period: HOUR, offset: rule.minute * MINUTE };
    case 'day':
      return { period: DAY, offset: timeOf(rule.time) };
    case 'week':
      return { period: WEEK, offset: ((rule.day - FIRST_DAY + 7) % 7) * DAY + timeOf(rule.time) };
  }
}

/** The first time after `after` at which the rule is due; milliseconds since 1970. */
export function nextDue(rule: ScheduleRule, after: number): number {
  return lastDue(rule, after) + beatOf(rule).period;
}

/** The last time up to `now` at which the rule was due. */
export function lastDue(rule: ScheduleRule, now: number): number {
  const { period, offset } = beatOf(rule);
  return Math.floor((now - offset) / period) * period + offset;
}

/** Throws ServiceError bad-request. */
export function checkRule(rule: ScheduleRule): void {
  const within = (what: string, value: number, from: number, to: number): void => {
    if (Number.isInteger(value) && value >= from && value <= to) return;
    throw new ServiceError('bad-request', `${what} is a number from ${String(from)} to ${String(to)}`);
  };
  within('what a rule keeps', rule.keep, 1, MAX_SCHEDULE_KEEP);
  if (rule.every === 'minutes') within('the number of minutes', rule.minutes, 1, 1440);
  if (rule.every === 'hour') within('the minute', rule.minute, 0, 59);
  if (rule.every === 'week') within('the day of the week', rule.day, 0, 6);
  beatOf(rule);
}

/** What tells the rules of a schedule apart, also when there are two of a kind: `day`, `day-2`. */
export function labelsOf(rules: readonly ScheduleRule[]): string[] {
  const seen = new Map<string, number>();
  return rules.map(({ every }) => {
    const count = (seen.get(every) ?? 0) + 1;
    seen.set(every, count);
    return count === 1 ? every : `${every}-${String(count)}`;
  });
}

/** `20261127-0230` */
export function stamp(time: number): string {
  return new Date(time).toISOString().slice(0, 16).replaceAll('-', '').replace('T', '-').replace(':', '');
}
