// Everything about who may do what, put together.
import { join } from 'node:path';
import { ServiceError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { AuditLog } from './audit/audit-log.ts';
import { AUDIT_KEY_LENGTH } from './audit/entry.ts';
import { Refusals } from './audit/refusals.ts';
import type { Caller } from './callers.ts';
import type { Catalog } from './catalog.ts';
import type { Events } from './events.ts';
import { FirstLogin } from './first-login.ts';
import { LoginThrottle } from './login-throttle.ts';
import { Login } from './login.ts';
import { Passwords } from './passwords.ts';
import type { ScryptCost } from './passwords.ts';
import type { Role } from './records.ts';
import { SecuritySettings } from './security-settings.ts';
import type { UserRecord } from './security-records.ts';
import type { Tokens } from './tokens.ts';
import { Users } from './users.ts';
import { WebSessions } from './web-sessions.ts';

export interface SecurityContext {
  readonly catalog: Catalog;
  readonly tokens: Tokens;
  readonly events: Events;
  readonly world: World;
  readonly log: Log;
  /** The data folder. */
  readonly folder: string;
  /** Of password hashes; tests take less. */
  readonly cost?: ScryptCost;
}

export class Security {
  readonly users: Users;
  readonly sessions: WebSessions;
  readonly login: Login;
  readonly firstLogin: FirstLogin;
  readonly settings: SecuritySettings;
  readonly audit: AuditLog;
  /** Refused requests of somebody known go past this one. */
  readonly refusals: Refusals;
  readonly #tokens: Tokens;

  private constructor({ catalog, tokens, events, world, log, cost }: SecurityContext, audit: AuditLog) {
    const throttle = new LoginThrottle(world.clock);
    this.users = new Users(catalog, new Passwords(world.random, cost), world.clock);
    this.sessions = new WebSessions(catalog, world, log);
    this.login = new Login(this.users, this.sessions, throttle, log);
    this.firstLogin = new FirstLogin(this.users, throttle, world);
    this.settings = new SecuritySettings(catalog);
    this.audit = audit;
    this.refusals = new Refusals({
      clock: world.clock,
      record: (facts) => audit.record(facts),
      tell: ({ kind, name }, count) => {
        const text = `${String(count)} requests of ${kind} '${name}' were refused within a minute; the audit log has them in one entry`;
        events.post({ severity: 'warning', code: 'requests-refused', object: { kind, name }, text });
      },
    });
    this.#tokens = tokens;
  }

  /** Rejects with ServiceError folder-unusable. */
  static async open(context: SecurityContext): Promise<Security> {
    const { world, log, catalog } = context;
    const folder = join(context.folder, 'audit');
    await world.disk.makeFolder(folder);
    const { anchor } = catalog.security;
    const audit = await AuditLog.open({
      ...{ world, log, folder, key: await auditKey(world, context.folder) },
      anchor: () => anchor.get('self'),
      setAnchor: (record) => catalog.apply(anchor.edit('self', record)),
    });
    return new Security(context, audit);
  }

  /** True while the caller of a request that goes on (a stream of events) may still have what its role had. */
  isCurrent({ kind, name, role, session, token }: Caller): boolean {
    if (kind === 'token') return this.#tokens.isGood(name, token?.created);
    const user = this.users.find(name);
    return user?.enabled === true && user.role === role && session !== undefined && this.sessions.isAlive(session.id);
  }

  /** Changes role or state of a user; who is disabled is logged out. Rejects with not-found or last-admin. */
  async changeUser(
    name: string,
    change: { role?: Role | undefined; enabled?: boolean | undefined },
  ): Promise<UserRecord> {
    const user = await this.users.change(name, change);
    if (!user.enabled) await this.sessions.endAll(user.name);
    return user;
  }

  /** Rejects with not-found or bad-request. */
  async setPassword(name: string, password: string): Promise<void> {
    await this.users.setPassword(name, password);
    await this.sessions.endAll(this.users.get(name).name);
  }

  /** Rejects with not-found or last-admin. */
  async removeUser(name: string): Promise<void> {
    const user = await this.users.remove(name);
    await this.sessions.endAll(user.name);
  }

  async close(): Promise<void> {
    await this.refusals.flush();
    await this.audit.close();
  }
}

/** What the audit log is sealed with; made at the first start. */
async function auditKey(world: World, folder: string): Promise<Buffer> {
  const path = join(folder, 'audit.key');
  const kept = await world.disk.readFile(path);
  if (kept?.length === AUDIT_KEY_LENGTH) return kept;
  if (kept !== undefined) throw new ServiceError('folder-unusable', `${path} is damaged`);
  const key = world.random.bytes(AUDIT_KEY_LENGTH);
  await world.disk.replaceFile(path, key, 0o600);
  return key;
}
