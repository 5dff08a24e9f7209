// Sessions of people in the console. The secret is in their cookie only; the catalog knows its hash.
import { createHash, createHmac } from 'node:crypto';
import { messageOf } from '../base/errors.ts';
import { MAX_USER_SESSIONS, SESSION_IDLE, SESSION_LIFETIME, SESSION_TOUCH_STEP } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { World } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { UserRecord, WebSessionRecord } from './security-records.ts';

/** What a cookie may contain: 256 random bits. */
const SECRET = /^[\w-]{43}$/;
const SECRET_BYTES = 32;

export interface WebSession extends WebSessionRecord {
  readonly id: string;
  /** What requests that change something have to repeat; whoever has only the cookie sent for him does not know it. */
  readonly csrf: string;
}

const idOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');
const csrfOf = (secret: string): string => createHmac('sha256', secret).update('gemel csrf').digest('base64url');

export class WebSessions {
  readonly #catalog: Catalog;
  readonly #world: World;
  readonly #log: Log;
  readonly #turn = new Turn();
  /** Last requests, exact, by session id. */
  readonly #seen = new Map<string, number>();
  /** Whose last request is being kept. */
  readonly #touching = new Set<string>();

  constructor(catalog: Catalog, world: World, log: Log) {
    this.#catalog = catalog;
    this.#world = world;
    this.#log = log;
  }

  /** A new session of `user`, with the secret for the cookie. The one that was idle longest goes when there are too many. */
  begin({ name, created: userCreated }: UserRecord): Promise<{ secret: string; session: WebSession }> {
    return this.#turn.run(async () => {
      const secret = this.#world.random.bytes(SECRET_BYTES).toString('base64url');
      const now = this.#world.clock.wall();
      const record = { user: name, userCreated, created: now, expires: now + SESSION_LIFETIME, lastSeen: now };
      const mine = this.#of(name).sort((a, b) => this.#seenAt(b) - this.#seenAt(a));
      await this.#drop([...mine.slice(MAX_USER_SESSIONS - 1), ...this.#dead()], { id: idOf(secret), record });
      return { secret, session: { ...record, id: idOf(secret), csrf: csrfOf(secret) } };
    });
  }

  /** The session of this cookie; undefined: none that lives. `touch`: its idle time begins anew. */
  find(secret: string, touch: boolean): WebSession | undefined {
    if (!SECRET.test(secret)) return undefined;
    const id = idOf(secret);
    const record = this.#catalog.security.sessions.get(id);
    if (record === undefined || !this.#lives(id, record)) return undefined;
    if (touch) this.#touch(id, record);
    return { ...record, id, csrf: csrfOf(secret) };
  }

  /** True while the session with this id lives; for streams that outlast a request. */
  isAlive(id: string): boolean {
    const record = this.#catalog.security.sessions.get(id);
    return record !== undefined && this.#lives(id, record);
  }

  count(user: string): number {
    return this.#of(user).filter(([id, record]) => this.#lives(id, record)).length;
  }

  end(id: string): Promise<void> {
    return this.#turn.run(() => this.#drop(this.#catalog.security.sessions.entries().filter(([each]) => each === id)));
  }

  /** All of `user`, but the one with the id `except`. */
  endAll(user: string, except?: string): Promise<void> {
    return this.#turn.run(() => this.#drop(this.#of(user).filter(([id]) => id !== except)));
  }

  #of(user: string): [string, WebSessionRecord][] {
    return this.#catalog.security.sessions.entries().filter(([, record]) => record.user === user);
  }

  #dead(): [string, WebSessionRecord][] {
    return this.#catalog.security.sessions.entries().filter(([id, record]) => !this.#lives(id, record));
  }

  #seenAt([id, record]: [string, WebSessionRecord]): number {
    return this.#seen.get(id) ?? record.lastSeen;
  }

  #lives(id: string, record: WebSessionRecord): boolean {
    const now = this.#world.clock.wall();
    // A clock that was put back must not make a session live longer than it may.
    if (now < record.created - SESSION_TOUCH_STEP) return false;
    return now < record.expires && now - this.#seenAt([id, record]) < SESSION_IDLE;
  }

  #touch(id: string, { lastSeen }: WebSessionRecord): void {
    const now = this.#world.clock.wall();
    this.#seen.set(id, now);
    // One at a time: while the store does not answer, others would only queue up behind it.
    if (now - lastSeen < SESSION_TOUCH_STEP || this.#touching.has(id)) return;
    this.#touching.add(id);
    const keep = async (): Promise<void> => {
      const record = this.#catalog.security.sessions.get(id);
      if (record === undefined || now - record.lastSeen < SESSION_TOUCH_STEP) return;
      await this.#catalog.apply(this.#catalog.security.sessions.edit(id, { ...record, lastSeen: now }));
    };
    this.#turn
      .run(keep)
      .catch((error: unknown) => {
        this.#log.warn({ error: messageOf(error) }, 'the last request of a session could not be kept');
      })
      .finally(() => this.#touching.delete(id));
  }

  async #drop(all: [string, WebSessionRecord][], add?: { id: string; record: WebSessionRecord }): Promise<void> {
    const { sessions } = this.#catalog.security;
    const edits = [...new Map(all).keys()].map((id) => sessions.edit(id, undefined));
    if (add !== undefined) edits.push(sessions.edit(add.id, add.record));
    if (edits.length > 0) await this.#catalog.apply(...edits);
    for (const [id] of all) this.#seen.delete(id);
  }
}
