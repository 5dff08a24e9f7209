// The people who may use the console.
import { ServiceError } from '../base/errors.ts';
import { MAX_USERS } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { printable } from './names.ts';
import { checkNewPassword } from './passwords.ts';
import type { Passwords } from './passwords.ts';
import type { Role } from './records.ts';
import type { UserRecord } from './security-records.ts';

const USER_NAME = /^[a-z0-9][a-z0-9._@-]{0,62}$/;

/** The name in lower case; throws ServiceError bad-request for what cannot be one. */
export function checkUserName(name: string): string {
  const folded = name.toLowerCase();
  if (USER_NAME.test(folded)) return folded;
  const rule = '1 to 63 characters of a-z, 0-9, ".", "_", "@" and "-", beginning with a letter or digit';
  throw new ServiceError('bad-request', `'${printable(name)}' cannot name a user: ${rule}`);
}

export interface UserRequest {
  readonly name: string;
  readonly role: Role;
  readonly password: string;
}

/** Users and their passwords. There is always an enabled admin, once there has been one. */
export class Users {
  readonly #catalog: Catalog;
  readonly #passwords: Passwords;
  readonly #clock: Clock;
  readonly #turn = new Turn();

  constructor(catalog: Catalog, passwords: Passwords, clock: Clock) {
    this.#catalog = catalog;
    this.#passwords = passwords;
    this.#clock = clock;
  }

  get size(): number {
    return this.#catalog.security.users.size;
  }

  list(): UserRecord[] {
    return this.#catalog.security.users.values();
  }

  /** Throws ServiceError not-found. */
  get(name: string): UserRecord {
    const user = this.find(name);
    if (user === undefined) throw new ServiceError('not-found', `there is no user '${printable(name)}'`);
    return user;
  }

  /** `name` in any case. */
  find(name: string): UserRecord | undefined {
    return this.#catalog.security.users.get(name.toLowerCase());
  }

  /** Rejects with bad-request, exists or limit-reached. `only`: and with exists when there is any user. */
  create(request: UserRequest, only = false): Promise<UserRecord> {
    return this.#turn.run(async () => {
      const name = checkUserName(request.name);
      if (only && this.size > 0) throw new ServiceError('exists', 'there are users already');
      if (this.find(name) !== undefined) throw new ServiceError('exists', `there is a user '${name}' already`);
      if (this.size >= MAX_USERS)
        throw new ServiceError('limit-reached', `there are ${String(MAX_USERS)} users already`);
      checkNewPassword(request.password, name);
      const password = await this.#passwords.hash(request.password);
      const user: UserRecord = { name, role: request.role, enabled: true, password, created: this.#clock.wall() };
      await this.#put(name, user);
      return user;
    });
  }

  /** Changes role or state. Rejects with not-found or last-admin. */
  change(name: string, change: { role?: Role | undefined; enabled?: boolean | undefined }): Promise<UserRecord> {
    return this.#turn.run(async () => {
      const before = this.get(name);
      const user = { ...before, role: change.role ?? before.role, enabled: change.enabled ?? before.enabled };
      if (!isAdmin(user)) this.#keepAnAdmin(before);
      await this.#put(user.name, user);
      return user;
    });
  }

  /** Rejects with not-found or bad-request. */
  setPassword(name: string, password: string): Promise<void> {
    return this.#turn.run(async () => {
      const user = this.get(name);
      checkNewPassword(password, user.name);
      await this.#put(user.name, { ...user, password: await this.#passwords.hash(password) });
    });
  }

  /** Rejects with not-found or last-admin. */
  remove(name: string): Promise<UserRecord> {
    return this.#turn.run(async () => {
      const user = this.get(name);
      this.#keepAnAdmin(user);
      await this.#put(user.name, undefined);
      return user;
    });
  }

  /**
   * The user of that name if it is enabled and has that password. Takes the same time for a wrong password, a user that does
   * not exist and one that is disabled.
   */
  async verify(name: string, password: string): Promise<UserRecord | undefined> {
    const kept = this.find(name);
    const right = await this.#passwords.verify(password, kept?.password);
    // Whatever it was when the hash began: it may have been disabled or have another password meanwhile.
    const user = this.find(name);
    return right && user?.enabled === true && user.password.hash === kept?.password.hash ? user : undefined;
  }

  /** After a login: remembers it, and makes the hash anew when its parameters are no longer those of today. */
  loggedIn(name: string, password: string): Promise<void> {
    return this.#turn.run(async () => {
      const user = this.find(name);
      if (user === undefined) return;
      const outdated = this.#passwords.isOutdated(user.password);
      const hash = outdated ? await this.#passwords.hash(password) : user.password;
      await this.#put(user.name, { ...user, password: hash, lastLogin: this.#clock.wall() });
    });
  }

  /** Throws ServiceError last-admin when `user` is the only admin who can log in. */
  #keepAnAdmin(user: UserRecord): void {
    const others = this.list().some((each) => each.name !== user.name && isAdmin(each));
    if (isAdmin(user) && !others) {
      throw new ServiceError('last-admin', `'${user.name}' is the only admin who can log in`);
    }
  }

  async #put(name: string, user: UserRecord | undefined): Promise<void> {
    await this.#catalog.apply(this.#catalog.security.users.edit(name, user));
  }
}

const isAdmin = ({ role, enabled }: UserRecord): boolean => enabled && role === 'admin';
