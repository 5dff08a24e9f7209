import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { routesOf } from '../../../core/api/app.ts';
import { withApi } from './fixture.ts';

const V1 = '/api/v1';
const ALICE = 'iqn.2026-01.example.host:alice';

/** A path with every parameter filled in. */
const filled = (path: string): string =>
  V1 +
  path
    .replace(':name', 'some-volume')
    .replace(':user', 'some-user')
    .replace(':token', 'some-token')
    .replace(':snapshot', 'some-snapshot')
    .replace(':id', '0123456789abcdef')
    .replace(':initiator', ALICE)
    .replace(':iqn', ALICE);

describe('the API', () => {
  it('creates, shows, maps, grows and deletes a volume', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const body = JSON.stringify({ name: 'v', size: 8 << 20, maps: [{ initiator: 'loopback' }] });
      const created = await ask('POST', `${V1}/volumes`, { token, body });
      assert.equal(created.status, 201, created.text);
      const { name, iqn, lun, size, url } = created.json;
      assert.deepEqual(
        { name, lun, size, url },
        { name: 'v', lun: 0, size: 8 << 20, url: `iscsi://127.0.0.1:3260/${String(iqn)}/0` },
      );
      assert.equal((await ask('POST', `${V1}/volumes`, { token, body })).status, 409);
      const mapped = await ask('PUT', `${V1}/volumes/v/maps/${encodeURIComponent(ALICE)}`, {
        token,
        body: '{"access":"read-only"}',
      });
      assert.deepEqual(mapped.json['maps'], [
        { initiator: 'loopback', access: 'read-write' },
        { initiator: ALICE, access: 'read-only' },
      ]);
      const grown = await ask('PATCH', `${V1}/volumes/v`, { token, body: JSON.stringify({ size: 16 << 20 }) });
      assert.equal(grown.json['size'], 16 << 20);
      assert.equal((await ask('DELETE', `${V1}/volumes/v`, { token })).status, 204);
      const gone = await ask('GET', `${V1}/volumes/v`, { token });
      assert.equal(gone.status, 404);
      assert.match(gone.type, /^application\/problem\+json/);
      assert.equal(gone.json['code'], 'not-found');
      assert.ok(gone.json['remedy']);
    });
  });

  it('answers nothing but /healthz without a token, and only what the role may', async () => {
    await withApi(async ({ ask, plane, admin, viewer }) => {
      assert.equal((await ask('GET', '/healthz')).status, 200);
      const routes = routesOf(plane).filter((route) => route.role !== 'public');
      assert.ok(routes.length >= 14);
      const wrong = `gemel.${'A'.repeat(43)}.${admin.split('.')[2] ?? ''}`;
      for (const route of routes) {
        const path = filled(route.path);
        const method = route.method.toUpperCase();
        for (const token of [undefined, wrong, 'x', admin.slice(0, -1)]) {
          assert.equal((await ask(method, path, { token })).status, 401, `${method} ${path} ${String(token)}`);
        }
        const { status } = await ask(method, path, { token: viewer });
        assert.equal(status === 403, route.role !== 'viewer', `${method} ${path}: ${String(status)}`);
      }
      for (const path of ['/', '/metrics', `${V1}/openapi.json`, '/nope'])
        assert.equal((await ask('GET', path)).status, 401);
      assert.equal((await ask('GET', '/nope', { token: admin })).status, 404);
      const stored = JSON.stringify(plane.catalog.tokens.values());
      assert.ok(!stored.includes(admin.split('.')[1] ?? '-'), 'tokens are stored as hashes');
    });
  });

  it('creates a pool, snapshots, rolls back, clones and counts space', async () => {
    await withApi(async ({ ask, admin: token, viewer, plane }) => {
      const post = (path: string, body: unknown, by = token) =>
        ask('POST', V1 + path, { token: by, body: JSON.stringify(body) });
      const operator = await plane.tokens.issue('operator', 'operator', token.split('.')[2] ?? '');
      assert.equal((await post('/pools', { name: 'tank', size: 16 << 20 }, operator)).status, 403);
      const pool = await post('/pools', { name: 'tank', size: 16 << 20 });
      assert.equal(pool.status, 201, pool.text);
      assert.equal((await post('/pools', { name: 'tiny', size: 1 << 20 })).status, 400);
      for (const name of ['a', 'b'])
        assert.equal((await post('/volumes', { name, size: 8 << 20 }, operator)).status, 201);
      const group = await post('/snapshots', { volumes: ['a', 'b'], name: 's' }, operator);
      assert.equal(group.status, 201, group.text);
      const listed = await ask('GET', `${V1}/snapshots?volume=b`, { token: viewer });
      assert.deepEqual(
        (listed.json['items'] as { volume: string; name: string; pool: string }[]).map((each) => each.volume),
        ['b'],
      );
      assert.equal((await ask('POST', `${V1}/volumes/a/snapshots/s/rollback`, { token: operator })).status, 200);
      const clone = await post(
        '/volumes/a/clone',
        { name: 'c', snapshot: 's', maps: [{ initiator: 'all' }] },
        operator,
      );
      assert.equal(clone.status, 201, clone.text);
      assert.deepEqual([clone.json['kind'], clone.json['pool'], clone.json['size']], ['pool', 'tank', 8 << 20]);
      const space = await ask('GET', `${V1}/volumes/a/space`, { token: viewer });
      assert.deepEqual([space.json['logicalBytes'], space.json['exclusiveBytes']], [0, 0]);
      const grown = await ask('PATCH', `${V1}/pools/tank`, { token, body: '{"growBytes":1048576,"threshold":70}' });
      assert.equal(grown.json['threshold'], 70, grown.text);
      assert.equal((grown.json['facts'] as { capacityBytes: number }).capacityBytes, 32 << 20);
      assert.deepEqual((await ask('POST', `${V1}/pools/tank/check`, { token: operator })).json['findings'], []);
      assert.equal((await post('/pools/tank/scrub', {}, operator)).status, 202);
      const kept = await ask('DELETE', `${V1}/volumes/a`, { token: operator });
      assert.deepEqual([kept.status, kept.json['code']], [409, 'has-snapshots']);
      assert.equal((await ask('DELETE', `${V1}/volumes/a?withSnapshots=true&purge=true`, { token: operator })).status, 204);
      assert.equal((await ask('DELETE', `${V1}/volumes/b/snapshots/s`, { token: operator })).status, 204);
      assert.equal((await ask('DELETE', `${V1}/pools/tank`, { token })).status, 409);
      for (const name of ['b', 'c']) await ask('DELETE', `${V1}/volumes/${name}`, { token });
      assert.equal((await ask('DELETE', `${V1}/pools/tank`, { token })).status, 204);
    });
  });

  it('never shows a CHAP secret', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const secret = 'correct-horse-battery';
      const path = `${V1}/initiators/${encodeURIComponent(ALICE)}`;
      const put = await ask('PUT', path, { token, body: JSON.stringify({ chap: { user: 'alice', secret } }) });
      assert.equal(put.status, 200, put.text);
      const bad = await ask('PUT', path, {
        token,
        body: JSON.stringify({ chap: { user: 'a', secret }, mutual: { user: 'b', secret, more: 1 } }),
      });
      assert.equal(bad.status, 400);
      const broken = await ask('PUT', path, { token, body: `{"chap":{"secret":"${secret}"` });
      assert.equal(broken.status, 400);
      const list = await ask('GET', `${V1}/initiators`, { token });
      assert.ok(list.text.includes('alice'));
      for (const text of [put.text, bad.text, broken.text, list.text, plane.logged.join('\n')])
        assert.ok(!text.includes(secret));
    });
  });

  it('describes itself and its metrics', async () => {
    await withApi(async ({ ask, plane, viewer: token }) => {
      await plane.provisioner.create({ name: 'v', size: 1 << 20 });
      const document = (await ask('GET', `${V1}/openapi.json`, { token })).json;
      const paths = document['paths'] as Record<string, Record<string, { 'x-role': string }>>;
      for (const route of routesOf(plane)) {
        const path = V1 + route.path.replaceAll(/:(\w+)/g, '{$1}');
        assert.equal(paths[path]?.[route.method]?.['x-role'], route.role, path);
      }
      const metrics = await ask('GET', '/metrics', { token });
      assert.match(metrics.text, /^gemel_volume_up\{volume="v"\} 1$/m);
      assert.match(metrics.text, /^gemel_volume_read_seconds_bucket\{volume="v",le="\+Inf"\} 0$/m);
      for (const line of metrics.text.trimEnd().split('\n'))
        assert.match(line, /^(# (HELP|TYPE) \S+ .+|\w+(\{.*\})? [\d.e+-]+)$/);
      const status = (await ask('GET', `${V1}/status`, { token })).json;
      assert.deepEqual(status['volumes'], { total: 1, failed: 0 });
      assert.equal(status['uptimeSeconds'], 60);
    });
  });

  it('answers bad input with 4xx, never 5xx', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const bodies: (string | Buffer)[] = [
        '',
        'null',
        '[]',
        '{',
        '"x"',
        '{"name":',
        '{"__proto__":{}}',
        'x'.repeat(70_000),
      ];
      bodies.push(
        Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
        `${'['.repeat(9000)}${']'.repeat(9000)}`,
      );
      for (const { method, path } of routesOf(plane).filter((route) => route.body !== undefined)) {
        for (const body of bodies) {
          const { status, text } = await ask(method.toUpperCase(), filled(path), { token, body });
          assert.ok(status >= 400 && status < 500, `${path} ${String(body).slice(0, 30)}: ${String(status)} ${text}`);
        }
      }
      for (const path of [
        '/volumes/%ff',
        '/volumes/..%2f..%2fetc',
        '/volumes/%00',
        `/volumes/${'a'.repeat(5000)}`,
        '/volumes?x=1',
      ]) {
        const { status, text } = await ask('GET', V1 + path, { token });
        assert.ok(status >= 400 && status < 500, `${path}: ${String(status)} ${text}`);
      }
      const type = 'text/plain';
      assert.equal((await ask('POST', `${V1}/volumes`, { token, body: '{}', type })).status, 415);
    });
  });

  it('survives random requests', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const routes = routesOf(plane);
      const value = fc.oneof(fc.jsonValue(), fc.constantFrom('v', ALICE, 8 << 20, 512, 'durable', true));
      const keys = fc.constantFrom(
        'name',
        'size',
        'blockSize',
        'maps',
        'lun',
        'target',
        'force',
        'chap',
        'access',
        'kind',
        'x',
      );
      const cases = fc.tuple(
        fc.nat(routes.length - 1),
        fc.string({ minLength: 1, unit: 'grapheme' }),
        fc.dictionary(keys, value),
      );
      const check = async ([index, name, body]: [number, string, Record<string, unknown>]): Promise<void> => {
        const route = routes[index];
        assert.ok(route);
        const path = V1 + route.path.replaceAll(/:\w+/g, encodeURIComponent(name));
        const content = route.body === undefined ? {} : { body: JSON.stringify(body) };
        const { status, text } = await ask(route.method.toUpperCase(), path, { token, ...content });
        assert.ok(status < 500, `${path} ${JSON.stringify(body)}: ${text}`);
      };
      await fc.assert(fc.asyncProperty(cases, check), { numRuns: 150, seed: 7, interruptAfterTimeLimit: 5000 });
      assert.deepEqual(
        plane.logged.filter((line) => line.includes('request failed')),
        [],
      );
    });
  });
});

describe('the API port without TLS', () => {
  it('gives the CA certificate and nothing else', async () => {
    await withApi(async ({ plain, tls }) => {
      const ca = await plain('GET', '/ca.pem');
      assert.equal(ca.status, 200);
      assert.equal(ca.text, tls.ca);
      for (const [method, path] of [
        ['GET', '/healthz'],
        ['GET', `${V1}/volumes`],
        ['POST', '/ca.pem'],
        ['GET', '/'],
      ] as const) {
        const answer = await plain(method, path);
        assert.equal(answer.status, 426);
        assert.ok(!answer.text.includes('BEGIN'));
      }
    });
  });

  it('closes what speaks neither', async () => {
    await withApi(async ({ port, ask }) => {
      const socket = connect(port, '127.0.0.1');
      const closed = new Promise<void>((resolve) =>
        socket
          .on('error', () => undefined)
          .once('close', () => {
            resolve();
          }),
      );
      socket.resume();
      socket.end(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]));
      await closed;
      assert.equal((await ask('GET', '/healthz')).status, 200);
    });
  });
});
