// Who gets what over the real HTTPS server: every route, every kind of caller.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { routesOf } from '../../../core/api/app.ts';
import { rawRoutesOf } from '../../../core/api/raw.ts';
import type { Route } from '../../../core/api/route.ts';
import { ROLES } from '../../../core/control/records.ts';
import { isSecretName } from '../../../core/control/redact.ts';
import type { Role } from '../../../core/control/records.ts';
import { withApi } from './fixture.ts';
import type { Answer, Api, Asking } from './fixture.ts';

const V1 = '/api/v1';
/** What anybody may call. A route that is added here has to be in docs/api-security.md as well. */
const PUBLIC = ['POST /session', 'GET /first-login', 'POST /first-login'];
const PUBLIC_RAW = ['/healthz', '/readyz'];
const PASSWORD = 'a long enough password';

const keyOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string => `${method.toUpperCase()} ${path}`;
const json = (value: unknown): string => JSON.stringify(value);

/** A path whose parameters name nothing that exists. */
const filled = (path: string): string =>
  V1 + path.replaceAll(/:(\w+)/g, (_, name: string) => (name === 'iqn' ? 'iqn.2026-01.example:nobody' : 'nobody'));

interface Session {
  readonly cookie: string;
  readonly csrf: string;
}

/** What a browser sends along. */
function browser({ cookie, csrf }: Session): Asking {
  return { headers: { Cookie: cookie, 'Gemel-CSRF': csrf } };
}

async function login({ ask }: Api, user: string, password = PASSWORD): Promise<Session> {
  const answer = await ask('POST', `${V1}/session`, { body: json({ user, password }) });
  assert.equal(answer.status, 201, answer.text);
  const cookie = answer.headers['set-cookie']?.[0] ?? '';
  assert.match(cookie, /^__Host-gemel=[\w-]{43}; Max-Age=43200; Path=\/; Secure; HttpOnly; SameSite=Strict$/);
  return { cookie: cookie.split(';')[0] ?? '', csrf: String(answer.json['csrf']) };
}

/** Users of all roles, who are logged in. */
async function people(api: Api): Promise<Record<Role, Session>> {
  const sessions: Partial<Record<Role, Session>> = {};
  for (const role of ROLES) {
    await api.plane.security.users.create({ name: `a-${role}`, role, password: PASSWORD });
    sessions[role] = await login(api, `a-${role}`);
  }
  return sessions as Record<Role, Session>;
}

describe('every route', () => {
  it('is public by name, or refuses whoever has not its role', async () => {
    await withApi(async (api) => {
      const { ask, plane, tls } = api;
      const sessions = await people(api);
      const token = (role: Role): Promise<string> => plane.tokens.issue(`t-${role}`, role, tls.fingerprint);
      const expired = await token('admin');
      const record = plane.tokens.get('t-admin');
      await plane.catalog.apply(plane.catalog.tokens.edit('t-admin', { ...record, expires: 1 }));
      await plane.security.users.create({ name: 'gone', role: 'admin', password: PASSWORD });
      const revoked = await login(api, 'gone');
      await plane.security.sessions.endAll('gone');
      const disabled = await login(api, 'gone');
      // Not by way of Security, which would end the session as well: that the user is looked at is what is tested.
      await plane.security.users.change('gone', { enabled: false });
      const nobodies: Record<string, Asking> = {
        nobody: {},
        'a wrong token': { token: `gemel.${'A'.repeat(43)}.${tls.fingerprint}` },
        'an expired token': { token: expired },
        'a disabled user': browser(disabled),
        'a revoked session': browser(revoked),
        'a made-up cookie': browser({ cookie: `__Host-gemel=${'A'.repeat(43)}`, csrf: 'x' }),
      };
      const callers = [
        ...ROLES.map((role) => ({ role, how: browser(sessions[role]) })),
        { role: 'viewer' as const, how: { token: await token('viewer') } },
        { role: 'operator' as const, how: { token: await token('operator') } },
      ];
      const routes = routesOf(plane);
      assert.deepEqual(
        routes
          .filter(({ role }) => role === 'public')
          .map(keyOf)
          .sort(),
        [...PUBLIC].sort(),
      );
      const raw = rawRoutesOf(plane, () => ({}));
      assert.deepEqual(
        raw
          .filter(({ role }) => role === 'public')
          .map(({ path }) => path)
          .sort(),
        PUBLIC_RAW,
      );
      for (const { path, role } of raw) {
        for (const [name, how] of Object.entries(nobodies)) {
          const { status } = await ask('GET', path, how);
          assert.equal(status === 401, role !== 'public', `${path} by ${name}: ${String(status)}`);
        }
      }
      for (const row of routes) {
        const method = row.method.toUpperCase();
        const call = (how: Asking): Promise<Answer> => ask(method, filled(row.path), how);
        for (const [name, how] of Object.entries(nobodies)) {
          const { status } = await call(how);
          const isPublic = row.role === 'public' && how.token === undefined;
          assert.equal(status === 401, !isPublic, `${keyOf(row)} by ${name}: ${String(status)}`);
        }
        for (const { role, how } of callers) {
          // It would end the session the rest of the walk needs.
          if (keyOf(row) === 'DELETE /session') continue;
          const { status, json: problem } = await call(how);
          const may = row.role === 'public' || ROLES.indexOf(role) >= ROLES.indexOf(row.role);
          assert.equal(status === 403, !may, `${keyOf(row)} by ${role}: ${String(status)}`);
          assert.ok(status !== 401 && status !== 500, `${keyOf(row)} by ${role}: ${json(problem)}`);
        }
      }
    });
  });
});

describe('every secret', () => {
  /** Names of the fields in a JSON schema for which `is` holds, however deep. */
  function fields(schema: unknown, is: (name: string, field: Record<string, unknown>) => boolean): string[] {
    if (typeof schema !== 'object' || schema === null) return [];
    const { properties = {} } = schema as { properties?: Record<string, Record<string, unknown>> };
    const own = Object.entries(properties).filter(([name, field]) => is(name, field));
    return [...own.map(([name]) => name), ...Object.values(schema).flatMap((each) => fields(each, is))];
  }

  it('in a body has a name that the audit log leaves out; an answer with one is kept nowhere', async () => {
    await withApi(({ plane }) => {
      const routes = routesOf(plane);
      const bodies = routes.flatMap(({ body }) => (body === undefined ? [] : [z.toJSONSchema(body, { io: 'input' })]));
      const secret = bodies.flatMap((body) => fields(body, (_name, field) => field['writeOnly'] === true));
      assert.ok(secret.length > 6, secret.join(' '));
      assert.deepEqual(
        secret.filter((name) => !isSecretName(name)),
        [],
      );
      for (const row of routes) {
        if (row.response === undefined || row.method === 'get') continue;
        const shown = fields(z.toJSONSchema(row.response), (name) => ['secret', 'csrf'].includes(name));
        const isLink = ['POST /first-login/code', 'POST /cluster/tokens'].includes(keyOf(row));
        assert.equal(row.confidential, isLink || shown.length > 0, keyOf(row));
      }
      return Promise.resolve();
    });
  });
});

describe('a session', () => {
  it('begins with a password, changes things only with its CSRF token, and ends', async () => {
    await withApi(async (api) => {
      const { ask, plane } = api;
      await plane.security.users.create({ name: 'anna', role: 'operator', password: PASSWORD });
      for (const [user, password] of [
        ['anna', 'wrong'],
        ['nobody', PASSWORD],
      ]) {
        const { status, json: problem } = await ask('POST', `${V1}/session`, { body: json({ user, password }) });
        assert.deepEqual([status, problem['code']], [401, 'unauthorized']);
        assert.match(String(problem['detail']), /^the user is not known or not enabled, or the password is wrong/);
      }
      const session = await login(api, 'ANNA');
      const { Cookie = '' } = browser(session).headers ?? {};
      const me = await ask('GET', `${V1}/session`, { headers: { Cookie } });
      assert.deepEqual(
        [me.json['kind'], me.json['name'], me.json['role'], me.json['csrf'], me.json['idleSeconds']],
        ['session', 'anna', 'operator', session.csrf, 1800],
      );
      const body = json({ name: 'v', size: 1 << 20 });
      const create = (headers: Record<string, string>): Promise<Answer> =>
        ask('POST', `${V1}/volumes`, { body, headers: { Cookie, ...headers } });
      const csrf = { 'Gemel-CSRF': session.csrf };
      for (const forged of [
        {},
        { 'Gemel-CSRF': 'x' },
        { ...csrf, Origin: 'https://evil.example' },
        { ...csrf, Origin: 'null' },
        { ...csrf, 'Sec-Fetch-Site': 'cross-site' },
      ]) {
        assert.equal((await create(forged)).status, 403, json(forged));
      }
      assert.equal((await create({ ...csrf, Origin: api.url, 'Sec-Fetch-Site': 'same-origin' })).status, 201);
      const next = 'another good password';
      const change = (current: string): Promise<Answer> =>
        ask('PUT', `${V1}/session/password`, { body: json({ current, next }), ...browser(session) });
      const other = await login(api, 'anna');
      assert.equal((await change('wrong')).status, 401);
      assert.equal((await change(PASSWORD)).status, 204);
      assert.equal((await ask('GET', `${V1}/session`, browser(other))).status, 401, 'other sessions end');
      assert.equal((await ask('GET', `${V1}/session`, browser(session))).status, 200);
      const out = await ask('DELETE', `${V1}/session`, browser(session));
      assert.deepEqual(
        [out.status, out.headers['set-cookie']?.[0]?.startsWith('__Host-gemel=; Max-Age=0')],
        [204, true],
      );
      assert.equal((await ask('GET', `${V1}/session`, browser(session))).status, 401);
      await login(api, 'anna', next);
    });
  });

  it('is hard to guess a way into', async () => {
    await withApi(async ({ ask, plane }) => {
      await plane.security.users.create({ name: 'anna', role: 'admin', password: PASSWORD });
      const attempt = (user: string): Promise<Answer> =>
        ask('POST', `${V1}/session`, { body: json({ user, password: 'guess' }) });
      const statuses: number[] = [];
      for (let i = 0; i < 8; i++) statuses.push((await attempt(`user-${String(i)}`)).status);
      assert.deepEqual(statuses.slice(0, 4), [401, 401, 401, 401]);
      assert.ok(statuses.includes(429), statuses.join(' '));
      const right = await ask('POST', `${V1}/session`, { body: json({ user: 'anna', password: PASSWORD }) });
      assert.deepEqual([right.status, right.json['code']], [429, 'throttled']);
      assert.ok(Number(right.headers['retry-after']) >= 1);
    });
  });
});

describe('the first login', () => {
  it('takes the code once, and makes an admin', async () => {
    await withApi(async ({ ask, plane, admin: token, viewer }) => {
      const open = async (): Promise<unknown> => (await ask('GET', `${V1}/first-login`)).json['open'];
      assert.equal(await open(), true);
      assert.equal((await ask('POST', `${V1}/first-login/code`, { token: viewer })).status, 403);
      const void_ = (await ask('POST', `${V1}/first-login/code`, { token })).json['code'];
      const link = await ask('POST', `${V1}/first-login/code`, { token });
      const code = String(link.json['code']);
      assert.equal(link.json['url'], `https://192.0.2.1:7480/#first-login=${code}`);
      const use = (more: object): Promise<Answer> =>
        ask('POST', `${V1}/first-login`, { body: json({ code, user: 'anna', password: PASSWORD, ...more }) });
      assert.equal((await use({ code: void_ })).status, 401, 'only the latest');
      assert.equal((await use({ password: 'short' })).status, 400);
      assert.equal(await open(), true);
      const both = await Promise.all([use({}), use({ user: 'mallory' })]);
      assert.deepEqual(both.map(({ status }) => status === 201).sort(), [false, true]);
      const [made] = plane.security.users.list();
      assert.deepEqual([plane.security.users.size, made?.role, await open()], [1, 'admin', false]);
      assert.equal((await use({ user: 'late' })).status, 401);
      assert.equal((await ask('POST', `${V1}/first-login/code`, { token })).status, 409);
    });
  });
});

describe('users and tokens', () => {
  it('keep an admin who can log in', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const call = (method: string, path: string, body?: object): Promise<Answer> =>
        ask(method, V1 + path, { token, ...(body === undefined ? {} : { body: json(body) }) });
      for (const [name, role] of [
        ['anna', 'admin'],
        ['ben', 'viewer'],
      ]) {
        assert.equal((await call('POST', '/users', { name, role, password: PASSWORD })).status, 201);
      }
      assert.equal((await call('POST', '/users', { name: 'Anna', role: 'viewer', password: PASSWORD })).status, 409);
      for (const answer of [
        await call('DELETE', '/users/anna'),
        await call('PATCH', '/users/anna', { role: 'operator' }),
        await call('PATCH', '/users/anna', { enabled: false }),
      ]) {
        assert.deepEqual([answer.status, answer.json['code']], [409, 'last-admin']);
      }
      assert.equal((await call('PATCH', '/users/ben', { role: 'admin' })).status, 200);
      const both = await Promise.all(['anna', 'ben'].map((name) => call('DELETE', `/users/${name}`)));
      assert.deepEqual(both.map(({ status }) => status).sort(), [204, 409], 'not both at once');
      const list = await call('GET', '/users');
      assert.equal((list.json['items'] as unknown[]).length, 1);
      for (const bad of [
        { name: 'x y', role: 'viewer', password: PASSWORD },
        { name: 'c', role: 'root', password: PASSWORD },
        { name: 'c', role: 'viewer', password: 'too short' },
        { name: 'longusername', role: 'viewer', password: 'longusername1' },
        { name: 'c', role: 'viewer', password: 'aaaaaaaaaaaaaaaaa' },
      ]) {
        assert.equal((await call('POST', '/users', bad)).status, 400, json(bad));
      }
    });
  });

  it('shows a token once; it works until it is revoked', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const expires = new Date(Date.now() + 3_600_000).toISOString();
      const made = await ask('POST', `${V1}/tokens`, {
        token,
        body: json({ name: 'backup', role: 'operator', expires }),
      });
      assert.equal(made.status, 201, made.text);
      const secret = String(made.json['secret']);
      const me = await ask('GET', `${V1}/session`, { token: secret });
      assert.deepEqual(
        [me.json['kind'], me.json['name'], me.json['expires'], me.json['csrf']],
        ['token', 'backup', expires, null],
      );
      let shown = await ask('GET', `${V1}/tokens/backup`, { token });
      // It is noted behind the request.
      while (shown.json['lastUsed'] === null) shown = await ask('GET', `${V1}/tokens/backup`, { token });
      assert.match(shown.text, /"lastUsed":"[^"]+:00:00\.000Z"/);
      assert.ok(!shown.text.includes(secret.split('.')[1] ?? '-'));
      const past = json({ name: 'old', role: 'viewer', expires: '2020-01-01T00:00:00Z' });
      assert.equal((await ask('POST', `${V1}/tokens`, { token, body: past })).status, 400);
      await plane.tokens.issue('owner', 'admin', secret.split('.')[2] ?? '');
      assert.equal((await ask('DELETE', `${V1}/tokens/owner`, { token })).status, 409);
      assert.equal((await ask('DELETE', `${V1}/tokens/backup`, { token })).status, 204);
      assert.equal((await ask('GET', `${V1}/session`, { token: secret })).status, 401);
    });
  });
});

describe('every answer', () => {
  it('tells browsers what they may do with it', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const policy = async (): Promise<string> =>
        String((await ask('GET', '/healthz')).headers['content-security-policy']);
      assert.match(await policy(), /^default-src 'self'; .*frame-ancestors 'self'$/);
      const put = (frameOrigins: string[], apiNames: string[] = []): Promise<Answer> =>
        ask('PUT', `${V1}/settings/security`, { token, body: json({ frameOrigins, apiNames }) });
      assert.equal((await put(['https://vcenter.example:8443'])).status, 200);
      assert.match(await policy(), /frame-ancestors 'self' https:\/\/vcenter\.example:8443$/);
      for (const bad of ['*', 'http://x.example', 'https://x.example/path', "https://x; script-src 'unsafe-inline'"]) {
        assert.equal((await put([bad])).status, 400, bad);
      }
      for (const [path, how] of [
        [`${V1}/volumes`, { token }],
        [`${V1}/volumes`, {}],
        ['/nope', { token }],
      ] as [string, Asking][]) {
        const { headers } = await ask('GET', path, how);
        assert.equal(headers['cache-control'], 'no-store');
        assert.equal(headers['x-content-type-options'], 'nosniff');
        assert.equal(headers['referrer-policy'], 'no-referrer');
        assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
        assert.equal(headers['strict-transport-security'], 'max-age=31536000');
        assert.equal(headers['x-powered-by'], undefined);
      }
      const local = await ask('GET', '/healthz', { headers: { Host: 'localhost:7480' } });
      assert.equal(local.headers['strict-transport-security'], undefined);
    });
  });

  it('is for hosts we are known as', async () => {
    await withApi(async ({ ask, admin: token, plane }) => {
      const from = async (host: string, how: Asking = {}): Promise<number> =>
        (await ask('GET', `${V1}/first-login`, { ...how, headers: { Host: host } })).status;
      for (const host of ['127.0.0.1', '[::1]:7480', 'localhost:1', 'storage.example:7480', 'STORAGE.example']) {
        assert.equal(await from(host), 200, host);
      }
      for (const host of ['evil.example', 'storage.example.evil.example', 'x@localhost', ':7480']) {
        assert.equal(await from(host), 421, host);
      }
      assert.equal(await from('evil.example', { token }), 200, 'a token is no web page');
      await plane.security.settings.put({ frameOrigins: [], apiNames: ['other.example'] });
      assert.equal(await from('other.example:443'), 200);
    });
  });
});
