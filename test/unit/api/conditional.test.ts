import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { routesOf } from '../../../core/api/app.ts';
import { jobKind } from '../../../core/control/jobs/job.ts';
import { withPlane } from '../control/fixture.ts';
import { withApi } from './fixture.ts';

const PATH = '/api/v1/volumes/v';
const BODY = JSON.stringify({ name: 'v', size: 8 << 20 });
const size = (mib: number): string => JSON.stringify({ size: mib << 20 });

/** Changes that no ETag stands for: nothing that is read has one of theirs. */
const WITHOUT = [
  ...['DELETE /cluster', 'DELETE /cluster/nodes/:node', 'PUT /cluster/nodes/:node/maintenance', 'PUT /cluster/etcd'],
  ...['DELETE /pools/:name/scrub', 'DELETE /session', 'PUT /session/password', 'PUT /jobs/:id/report'],
];

describe('conditional requests', () => {
  it('are possible wherever something is replaced, changed or deleted', async () => {
    await withPlane((plane) => {
      const changes = routesOf(plane).filter(({ method }) => ['put', 'patch', 'delete'].includes(method));
      const without = changes.filter(({ resource }) => resource === undefined);
      assert.deepEqual(
        without.map(({ method, path }) => `${method.toUpperCase()} ${path}`).sort(),
        [...WITHOUT].sort(),
      );
      return Promise.resolve();
    });
  });

  it('refuse a change of what somebody else has changed since', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const created = await ask('POST', '/api/v1/volumes', { token, body: BODY });
      assert.equal(created.headers.etag, undefined, 'a list has none');
      const first = String((await ask('GET', PATH, { token })).headers.etag);
      assert.match(first, /^"[\da-z]+\.[\w-]{16}"$/);
      const change = (tag: string, mib: number) =>
        ask('PATCH', PATH, { token, body: size(mib), headers: { 'If-Match': tag } });
      const changed = await change(first, 16);
      assert.equal(changed.status, 200, changed.text);
      const refused = await change(first, 32);
      assert.deepEqual([refused.status, refused.json['code']], [412, 'precondition-failed']);
      assert.equal((await change(`"x", ${String(changed.headers.etag)}`, 16)).status, 200);
      assert.equal((await change('*', 16)).status, 200);
      for (const bad of ['x', '"a" "b"', '', '"a', `"${'a'.repeat(3000)}"`])
        assert.equal((await change(bad, 16)).status, 400, bad);
      const now = String((await ask('GET', PATH, { token })).headers.etag);
      assert.equal((await change(`W/${now}`, 16)).status, 412, 'a weak one never matches');
      assert.equal((await ask('DELETE', PATH, { token, headers: { 'If-Match': first } })).status, 412);
      assert.equal((await ask('DELETE', PATH, { token, headers: { 'If-Match': now } })).status, 204);
      assert.equal((await change('"x"', 16)).status, 404);
    });
  });

  it('let only one of several changes at the same time through', async () => {
    await withApi(async ({ ask, admin: token }) => {
      await ask('POST', '/api/v1/volumes', { token, body: BODY });
      const etag = String((await ask('GET', PATH, { token })).headers.etag);
      const changes = [9, 10, 11, 12].map((mib) =>
        ask('PATCH', PATH, { token, body: size(mib), headers: { 'If-Match': etag } }),
      );
      const answers = await Promise.all(changes);
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 412, 412, 412]);
      const won = answers.find(({ status }) => status === 200);
      assert.equal((await ask('GET', PATH, { token })).json['size'], won?.json['size']);
    });
  });

  it('answer 304 for a copy that is what would be shown, and only then', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      await ask('POST', '/api/v1/volumes', { token, body: BODY });
      const etag = String((await ask('GET', PATH, { token })).headers.etag);
      const get = (tag: string) => ask('GET', PATH, { token, headers: { 'If-None-Match': tag } });
      const same = await get(`"old", W/${etag}`);
      assert.deepEqual([same.status, same.text, same.headers.etag], [304, '', etag]);
      await plane.units.unit('v')?.volume.write(0, Buffer.alloc(65_536, 1), 0, 65_536, true);
      const moved = await get(etag);
      assert.equal(moved.status, 200, 'more of it is allocated, though the record is the same');
      const change = { token, body: size(16), headers: { 'If-Match': etag } };
      assert.equal((await ask('PATCH', PATH, change)).status, 200, 'which does not stand in the way of a change');
    });
  });

  it('create without replacing', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const path = '/api/v1/initiators/iqn.2026-01.example.host:Alice';
      const put = (headers: Record<string, string>) => ask('PUT', path, { token, body: '{}', headers });
      assert.equal((await put({ 'If-Match': '*' })).status, 412);
      assert.equal((await put({ 'If-None-Match': '*' })).status, 200);
      assert.equal((await put({ 'If-None-Match': '*' })).status, 412);
      assert.equal((await put({ 'If-None-Match': '"x"' })).status, 400);
      assert.equal((await put({ 'If-Match': '*' })).status, 200);
    });
  });

  it('hold for users, tokens, alerts and settings, whose counters do not count', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const V1 = '/api/v1';
      const password = 'a long enough password';
      const tagOf = async (path: string): Promise<string> =>
        String((await ask('GET', V1 + path, { token })).headers.etag);
      const change = (method: string, path: string, tag: string, body?: object) =>
        ask(method, V1 + path, {
          ...{ token, headers: { 'If-Match': tag } },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
      await ask('POST', `${V1}/volumes`, { token, body: BODY });
      await plane.security.users.create({ name: 'ben', role: 'viewer', password });
      await ask('PUT', `${V1}/alert-targets/t`, { token, body: '{"syslog":{"host":"127.0.0.1","port":9}}' });
      const changes: [string, string, object, object][] = [
        ['PATCH', '/users/ben', { role: 'operator' }, { role: 'viewer' }],
        [
          'PUT',
          '/alert-targets/t',
          { syslog: { host: '127.0.0.1', port: 8 } },
          { atLeast: 'error', syslog: { host: 'x', port: 8 } },
        ],
        ['PATCH', '/alert-rules/certificate-expiring', { limit: 20 }, { enabled: false }],
        [
          'PUT',
          '/settings/security',
          { frameOrigins: [], apiNames: ['a.example'] },
          { frameOrigins: [], apiNames: [] },
        ],
        ['PUT', '/retention', { deletedVolumesMs: 60_000 }, { deletedVolumesMs: 0 }],
        ['PUT', '/copy-route', { policy: 'never' }, { policy: 'always', volume: 'v' }],
      ];
      for (const [method, path, first, second] of changes) {
        const before = await tagOf(path);
        const changed = await change(method, path, before, first);
        assert.equal(changed.status, 200, `${path} ${changed.text}`);
        const now = String(changed.headers.etag);
        assert.equal(await tagOf(path), now, path);
        const late = await change(method, path, before, second);
        assert.deepEqual([late.status, late.json['code']], [412, 'precondition-failed'], path);
        const copy = await ask('GET', V1 + path, { token, headers: { 'If-None-Match': now } });
        assert.equal(copy.status, 304, path);
        assert.equal((await change(method, path, now, second)).status, 200, path);
      }
      assert.equal((await ask('GET', `${V1}/alert-rules/toString`, { token })).status, 404);

      const ben = await tagOf('/users/ben');
      const login = { body: JSON.stringify({ user: 'ben', password }) };
      assert.equal((await ask('POST', `${V1}/session`, login)).status, 201);
      const next = { password: 'another good password' };
      assert.equal((await change('PUT', '/users/BEN/password', ben, next)).status, 204, 'to log in is no change');
      assert.equal((await change('DELETE', '/users/ben/sessions', ben)).status, 412, 'a new password is one');
      assert.equal((await change('DELETE', '/users/ben', ben)).status, 412);
      assert.equal((await change('DELETE', '/users/ben', await tagOf('/users/ben'))).status, 204);

      await plane.tokens.issue('script', 'viewer', 'A'.repeat(43));
      const script = await tagOf('/tokens/script');
      const { tokens } = plane.catalog;
      await plane.catalog.apply(tokens.edit('script', { ...plane.tokens.get('script'), lastUsed: 1 }));
      assert.equal((await change('DELETE', '/tokens/script', script)).status, 204, 'to use it is no change');
      await plane.tokens.issue('script', 'operator', 'A'.repeat(43));
      assert.equal((await change('DELETE', '/tokens/script', script)).status, 412, 'it is another one');
      const target = await tagOf('/alert-targets/t');
      assert.equal((await change('DELETE', '/alert-targets/t', `"x${target.slice(1)}`)).status, 412);
      assert.equal((await change('DELETE', '/alert-targets/t', target)).status, 204);
    });
  });

  it('hold off while a job changes what was read, and not while it only looks', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      await ask('POST', '/api/v1/volumes', { token, body: BODY });
      let go: () => void = () => undefined;
      const wait = (): Promise<undefined> =>
        new Promise(
          (resolve) =>
            (go = () => {
              resolve(undefined);
            }),
        );
      const kind = (name: string, background: boolean) =>
        jobKind<{ readonly of: string }>({
          ...{ kind: name, resume: 'continue', cancellable: false, title: () => name, prepare: (asked) => asked },
          object: ({ of }) => ({ kind: 'volume', name: of }),
          steps: () => [{ name: 'wait', background, do: wait }],
        });
      plane.jobs.register([kind('changes', false), kind('looks', true)]);
      const change = async (mib: number) => {
        const tag = String((await ask('GET', PATH, { token })).headers.etag);
        return ask('PATCH', PATH, { token, body: size(mib), headers: { 'If-Match': tag } });
      };
      const begin = async (name: string, of: string): Promise<string> => {
        const { id } = await plane.jobs.submit(name, { of });
        await plane.jobs.wait(id, 60_000, ({ steps }) => steps[0]?.state === 'running');
        return id;
      };
      const changing = await begin('changes', 'v');
      const refused = await change(16);
      assert.deepEqual([refused.status, refused.json['code']], [412, 'precondition-failed']);
      assert.match(String(refused.json['detail']), /a job is changing it/);
      assert.equal((await ask('PATCH', PATH, { token, body: size(16) })).status, 200, 'who does not ask is served');
      go();
      await plane.jobs.wait(changing);
      assert.equal((await change(24)).status, 200);
      for (const [name, of] of [
        ['changes', 'w'],
        ['looks', 'v'],
      ] as const) {
        const id = await begin(name, of);
        assert.equal((await change(24)).status, 200, `${name} ${of}`);
        go();
        await plane.jobs.wait(id);
      }
    });
  });
});
