import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_REPORTED_JOBS } from '../../../core/base/limits.ts';
import { withApi } from './fixture.ts';

const V1 = '/api/v1';
const IQN = 'iqn.2026-01.example.host:alice';

describe('the API of jobs, hosts, schedules and deleted volumes', () => {
  it('provisions, shows, waits, and lists what happened', async () => {
    await withApi(async ({ ask, plane, admin: token, viewer, tls }) => {
      const send = (method: string, path: string, body: unknown): ReturnType<typeof ask> =>
        ask(method, V1 + path, { token, body: JSON.stringify(body) });
      await plane.pools.create({ name: 'tank', size: 32 << 20 });
      const host = { name: 'esx1', iqns: [IQN], chap: { user: 'esx', secret: 'correct-horse-battery' } };
      const request = { volume: { name: 'v', size: 8 << 20 }, host };
      const operator = await plane.tokens.issue('operator', 'operator', tls.fingerprint);
      const body = JSON.stringify({ kind: 'provision', request });
      const forbidden = await ask('POST', `${V1}/jobs`, { token: operator, body });
      assert.deepEqual([forbidden.status, forbidden.json['code']], [403, 'forbidden'], 'a host is for admins');
      const submitted = await send('POST', '/jobs', { kind: 'provision', key: 'k', request });
      assert.equal(submitted.status, 202, submitted.text);
      const id = String(submitted.json['id']);
      const over = await ask('GET', `${V1}/jobs/${id}?wait=30`, { token: viewer });
      assert.deepEqual([over.json['state'], over.json['progress']], ['done', 1], over.text);
      assert.ok(!over.text.includes('correct-horse'));
      assert.equal((await send('POST', '/jobs', { kind: 'provision', key: 'k', request })).json['id'], id);
      const reused = await send('POST', '/jobs', { kind: 'pool-check', key: 'k', request: { pool: 'tank' } });
      assert.deepEqual([reused.status, reused.json['code']], [422, 'key-reused']);
      const seen = await ask('GET', `${V1}/hosts/esx1`, { token: viewer });
      assert.deepEqual([seen.json['chapUser'], seen.json['volumes']], ['esx', ['v']], seen.text);
      assert.ok(!seen.text.includes('correct-horse'));
      assert.equal((await send('PUT', '/host-groups/g', { hosts: ['esx1'] })).status, 200);
      const mapped = await send('PUT', '/volumes/v/maps/group:g', { access: 'read-only' });
      assert.equal(mapped.status, 200, mapped.text);
      assert.equal((await ask('DELETE', `${V1}/host-groups/g`, { token })).json['code'], 'in-use');
      const cancel = await ask('POST', `${V1}/jobs/${id}/cancel`, { token });
      assert.equal(cancel.json['code'], 'not-found');
      const bad = await send('POST', '/jobs', { kind: 'volume-resize', request: { name: 'v', size: -1 } });
      assert.equal(bad.status, 400);
      const rules = [{ every: 'day', time: '02:00', keep: 7 }];
      const schedule = await send('PUT', '/schedules/nightly', { volumes: ['v'], rules });
      assert.equal(schedule.status, 200, schedule.text);
      assert.match(String(schedule.json['next']), /T02:00:00\.000Z$/);
      const failed = await send('POST', '/jobs', {
        kind: 'clone-group',
        request: {
          volumes: [
            { source: 'v', name: 'same' },
            { source: 'v', name: 'same' },
          ],
        },
      });
      await plane.jobs.wait(String(failed.json['id']));
      await plane.events.settled();
      const events = await ask('GET', `${V1}/events?severity=error&sort=-id`, { token: viewer });
      assert.match(events.text, /"code":"job-failed"/);
    });
  });

  it('is told of jobs done elsewhere, by operators, and has their begin and end on record', async () => {
    await withApi(async ({ ask, plane, admin: token, viewer, tls }) => {
      const operator = await plane.tokens.issue('operator', 'operator', tls.fingerprint);
      const told = {
        ...{ kind: 'kvm-attach', title: 't', object: { kind: 'volume', name: 'v' }, host: 'h', cancellable: true },
        ...{ state: 'running', steps: [{ name: 's', state: 'running' }] },
      };
      const tell = (id: string, change: object = {}, as = operator): ReturnType<typeof ask> =>
        ask('PUT', `${V1}/jobs/${id}/report`, { token: as, body: JSON.stringify({ ...told, ...change }) });
      const id = '0'.repeat(16);
      assert.equal((await tell(id, {}, viewer)).json['code'], 'forbidden');
      for (const state of ['running', 'running', 'running', 'done'])
        assert.equal((await tell(id, { state })).status, 200);
      assert.equal((await tell(id, { state: 'done', title: 'another' }, token)).status, 200);
      const page = await ask('GET', `${V1}/audit?limit=100`, { token });
      const entries = page.json['items'] as { route: string; code: string | null; request: { state: string } }[];
      const found = entries.filter(({ route, code }) => route === '/jobs/:id/report' && code === null);
      assert.deepEqual(
        found.map(({ request }) => request.state).reverse(),
        ['running', 'done', 'done'],
        'each turn, and not each sign of life',
      );
      for (let i = 1; i <= MAX_REPORTED_JOBS; i++) await tell(i.toString(16).padStart(16, '0'));
      const late = 'f'.repeat(16);
      assert.equal((await tell(late)).json['code'], 'limit-reached');
      assert.equal((await tell(id)).json['code'], 'limit-reached', 'nor does one begin again');
      assert.equal((await tell(late, { state: 'done' })).status, 200, 'what is over takes no place');
      assert.equal((await tell('1'.padStart(16, '0'), { state: 'failed' })).status, 200);
      assert.equal((await tell(id)).status, 200);
    });
  });

  it('keeps what is deleted, brings it back, and purges it', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      await plane.pools.create({ name: 'tank', size: 32 << 20 });
      await plane.provisioner.create({ name: 'v', size: 8 << 20 });
      await plane.units.unit('v')?.volume.write(0, Buffer.alloc(65_536, 1), 0, 65_536, false);
      assert.equal((await ask('DELETE', `${V1}/volumes/v`, { token })).status, 204);
      const list = async (): Promise<string[]> => {
        const { json } = await ask('GET', `${V1}/deleted-volumes?name=v`, { token });
        return (json['items'] as { name: string }[]).map(({ name }) => name);
      };
      assert.deepEqual(await list(), ['v']);
      assert.equal((await ask('GET', `${V1}/volumes/v`, { token })).status, 404);
      const back = await ask('POST', `${V1}/deleted-volumes/v/restore`, { token, body: '{"name":"w"}' });
      assert.deepEqual([back.status, back.json['name']], [200, 'w'], back.text);
      assert.equal((await ask('DELETE', `${V1}/volumes/w`, { token })).status, 204);
      // The same name may be another volume by the time it is purged.
      const seen = String((await ask('GET', `${V1}/deleted-volumes/w`, { token })).headers.etag);
      await plane.provisioner.create({ name: 'w', size: 8 << 20, pool: 'tank' });
      await plane.units.unit('w')?.volume.write(0, Buffer.alloc(65_536, 1), 0, 65_536, false);
      assert.equal((await ask('DELETE', `${V1}/volumes/w`, { token })).status, 204);
      const purge = { token, headers: { 'If-Match': seen } };
      assert.equal((await ask('DELETE', `${V1}/deleted-volumes/w`, purge)).status, 412);
      for (let left = 2; left > 0; left--)
        assert.equal((await ask('DELETE', `${V1}/deleted-volumes/w`, { token })).status, 204);
      assert.deepEqual(await list(), []);
      const kept = await ask('PUT', `${V1}/retention`, { token, body: '{"deletedVolumesMs":60000}' });
      assert.deepEqual(kept.json, { deletedVolumesMs: 60_000 });
      assert.equal(plane.trash.keep, 60_000);
    });
  });
});
