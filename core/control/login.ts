// Logging in with a password: throttled, and the same answer whatever is wrong.
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Caller } from './callers.ts';
import type { LoginThrottle } from './login-throttle.ts';
import type { UserRecord } from './security-records.ts';
import type { Users } from './users.ts';
import type { WebSession, WebSessions } from './web-sessions.ts';

export interface LoggedIn {
  readonly caller: Caller;
  /** For the cookie. */
  readonly secret: string;
}

export class Login {
  readonly #users: Users;
  readonly #sessions: WebSessions;
  readonly #throttle: LoginThrottle;
  readonly #log: Log;

  constructor(users: Users, sessions: WebSessions, throttle: LoginThrottle, log: Log) {
    this.#users = users;
    this.#sessions = sessions;
    this.#throttle = throttle;
    this.#log = log;
  }

  /** Rejects with unauthorized or throttled. */
  async withPassword(name: string, password: string, address: string): Promise<LoggedIn> {
    await this.#verified(name, password, address, 'the user is not known or not enabled, or the password is wrong');
    await this.#users.loggedIn(name, password).catch((error: unknown) => {
      // On a full disk people have to get in all the more.
      this.#log.warn({ error: messageOf(error) }, 'the time of a login could not be kept');
    });
    return this.begin(this.#users.get(name));
  }

  /** A session for who has proved to be `user`. */
  async begin(user: UserRecord): Promise<LoggedIn> {
    const { secret, session } = await this.#sessions.begin(user);
    return { secret, caller: callerOf(user, session) };
  }

  /** Rejects with unauthorized, throttled or bad-request. Ends all other sessions of the user. */
  async changePassword(caller: Caller, current: string, next: string, address: string): Promise<void> {
    if (caller.session === undefined) {
      throw new ServiceError('bad-request', 'a token has no password: log in as a user to change it');
    }
    await this.#verified(caller.name, current, address, 'the current password is wrong');
    await this.#users.setPassword(caller.name, next);
    await this.#sessions.endAll(caller.name, caller.session.id);
  }

  /** Who has this cookie; undefined: nobody who may do anything. `touch`: a person's request, the idle time begins anew. */
  withCookie(secret: string, touch: boolean): Caller | undefined {
    const session = this.#sessions.find(secret, touch);
    const user = session === undefined ? undefined : this.#users.find(session.user);
    if (session === undefined || user?.enabled !== true || user.created !== session.userCreated) return undefined;
    return callerOf(user, session);
  }

  async #verified(name: string, password: string, address: string, refusal: string): Promise<void> {
    const account = name.toLowerCase();
    this.#throttle.begin(address, account);
    if ((await this.#users.verify(account, password)) === undefined) {
      this.#log.info({ address }, 'a login was refused');
      throw new ServiceError('unauthorized', refusal);
    }
    this.#throttle.succeed(address, account);
  }
}

function callerOf({ name, role }: UserRecord, { id, csrf, created, expires }: WebSession): Caller {
  return { kind: 'user', name, role, session: { id, csrf, created, expires } };
}
