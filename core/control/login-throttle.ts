// Who guesses passwords has to wait, longer with each guess.
import { isIPv6 } from 'node:net';
import { ServiceError } from '../base/errors.ts';
import {
  FREE_LOGIN_FAILURES,
  LOGIN_DELAY,
  LOGIN_MEMORY,
  MAX_ACCOUNT_DELAY,
  MAX_ADDRESS_DELAY,
  MAX_LOGIN_SUBJECTS,
} from '../base/limits.ts';
import type { Clock } from '../base/world.ts';

/** Refused for now. */
export class Throttled extends ServiceError {
  /** Seconds to wait. */
  readonly retryAfter: number;

  constructor(why: string, seconds: number) {
    super('throttled', `${why}: try again in ${String(seconds)} s`);
    this.retryAfter = seconds;
  }
}

interface Failures {
  count: number;
  /** No attempt before; by the monotonic clock. */
  until: number;
  last: number;
}

/** Failures of one kind of subject. */
class Subjects {
  readonly #known = new Map<string, Failures>();
  readonly #longest: number;

  /** `longest` delay in milliseconds. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** Milliseconds `subject` still has to wait. */
  wait(subject: string, now: number): number {
    return Math.max(0, (this.#known.get(subject)?.until ?? 0) - now);
  }

  failed(subject: string, now: number): void {
    const known = this.#known.get(subject);
    const count = (known === undefined || now - known.last > LOGIN_MEMORY ? 0 : known.count) + 1;
    const beyond = count - FREE_LOGIN_FAILURES;
    const delay = beyond <= 0 ? 0 : Math.min(this.#longest, LOGIN_DELAY * 2 ** Math.min(beyond - 1, 30));
    if (known === undefined && this.#known.size >= MAX_LOGIN_SUBJECTS) this.#forgetOne(now);
    this.#known.set(subject, { count, until: now + delay, last: now });
  }

  succeeded(subject: string): void {
    this.#known.delete(subject);
  }

  get size(): number {
    return this.#known.size;
  }

  /** Room for another one: who has failed least, so that a flood of names does not wash away who is guessing. */
  #forgetOne(now: number): void {
    let least: [string, number] | undefined;
    for (const [subject, { count, last }] of this.#known) {
      const weight = now - last > LOGIN_MEMORY ? 0 : count;
      if (least === undefined || weight < least[1]) least = [subject, weight];
      if (weight === 0) break;
    }
    if (least !== undefined) this.#known.delete(least[0]);
  }
}

/** Delays of logins, per address and per account. Kept in memory: a restart is the administrator's doing. */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #addresses = new Subjects(MAX_ADDRESS_DELAY);
  readonly #accounts = new Subjects(MAX_ACCOUNT_DELAY);
  /** Addresses an account was used from: who guesses elsewhere does not hold up its owner. Oldest first. */
  readonly #proven = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Before an attempt, which counts as failed until succeed() is called: many at once are many failures. `account` undefined:
   * there is none. Throws Throttled.
   */
  begin(address: string, account: string | undefined): void {
    const now = this.#clock.now();
    const from = networkOf(address);
    const proven = account !== undefined && this.#proven.has(`${from} ${account}`);
    const ofAccount = account === undefined || proven ? 0 : this.#accounts.wait(account, now);
    const wait = Math.max(this.#addresses.wait(from, now), ofAccount);
    if (wait > 0) throw new Throttled('too many failed logins', Math.ceil(wait / 1000));
    this.#addresses.failed(from, now);
    if (account !== undefined && !proven) this.#accounts.failed(account, now);
  }

  succeed(address: string, account: string | undefined): void {
    const from = networkOf(address);
    this.#addresses.succeeded(from);
    if (account === undefined) return;
    this.#accounts.succeeded(account);
    const pair = `${from} ${account}`;
    this.#proven.delete(pair);
    this.#proven.add(pair);
    const [oldest] = this.#proven;
    if (this.#proven.size > MAX_LOGIN_SUBJECTS && oldest !== undefined) this.#proven.delete(oldest);
  }

  /** Addresses and accounts that are remembered. */
  get size(): number {
    return Math.max(this.#addresses.size, this.#accounts.size);
  }
}

/** Who has one IPv6 address has 2^64 of them. */
export function networkOf(address: string): string {
  const bare = (address.split('%')[0] ?? '').toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
  if (!isIPv6(bare)) return bare;
  const [left = '', right] = bare.split('::');
  const head = left === '' ? [] : left.split(':');
  if (right === undefined) return `${head.slice(0, 4).join(':')}::/64`;
  const tail = right === '' ? [] : right.split(':');
  const all = [...head, ...new Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0'), ...tail];
  return `${all.slice(0, 4).join(':')}::/64`;
}
