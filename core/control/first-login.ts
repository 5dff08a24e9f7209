// The first admin is made with a code that only who can read the data folder, or sees the daemon start, knows.
import { createHash, timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../base/errors.ts';
import { FIRST_LOGIN_LIFETIME } from '../base/limits.ts';
import type { World } from '../base/world.ts';
import type { LoginThrottle } from './login-throttle.ts';
import type { UserRecord } from './security-records.ts';
import type { Users } from './users.ts';

const CODE_BYTES = 24;
const hashOf = (code: string): Buffer => createHash('sha256').update(code).digest();

export interface FirstLoginCode {
  readonly code: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

/** The code is in memory only, as a hash: a restart makes it void, and another one is made on demand. */
export class FirstLogin {
  readonly #users: Users;
  readonly #throttle: LoginThrottle;
  readonly #world: World;
  #known: { readonly hash: Buffer; readonly expires: number } | undefined;

  constructor(users: Users, throttle: LoginThrottle, world: World) {
    this.#users = users;
    this.#throttle = throttle;
    this.#world = world;
  }

  /** True while nobody can log in, because there is nobody. */
  get open(): boolean {
    return this.#users.size === 0;
  }

  /** Makes a new code; the one before is void. Throws ServiceError exists when there is a user. */
  issue(): FirstLoginCode {
    if (!this.open) throw new ServiceError('exists', 'there are users already: log in as one of them');
    const code = this.#world.random.bytes(CODE_BYTES).toString('base64url');
    const expires = this.#world.clock.wall() + FIRST_LOGIN_LIFETIME;
    this.#known = { hash: hashOf(code), expires };
    return { code, expires };
  }

  /**
   * Makes the first user, an admin. Rejects with unauthorized, throttled, bad-request (the code stays good: it is the name or
   * the password that has to be another) or exists.
   */
  async use(code: string, name: string, password: string, address: string): Promise<UserRecord> {
    this.#throttle.begin(address, undefined);
    const known = this.#known;
    const good = known !== undefined && timingSafeEqual(hashOf(code), known.hash) && this.open;
    if (!good || this.#world.clock.wall() >= known.expires) {
      const message = 'this code of the first login is not, or no longer, good; `gemel first-login` makes a new one';
      throw new ServiceError('unauthorized', message);
    }
    this.#throttle.succeed(address, undefined);
    // Only one of two requests at the same time finds no user.
    const user = await this.#users.create({ name, role: 'admin', password }, true);
    this.#known = undefined;
    return user;
  }
}
