import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withPlane } from '../control/fixture.ts';
import { Contract } from './contract.ts';
import { withApi } from './fixture.ts';

const PROBLEM = { type: 'x', title: 'x', status: 404, detail: 'x', remedy: 'x', retriable: false };

describe('the contract', () => {
  it('is broken by a status, a media type, a field or a code the document does not have', async () => {
    await withPlane((plane) => {
      const contract = new Contract(plane);
      const type = 'application/json; charset=utf-8';
      const page = { items: [], next: null };
      const check =
        (method: string, path: string, status: number, body: object, as = type) =>
        () => {
          contract.check(method, path, { status, type: as, text: JSON.stringify(body) });
        };
      check('GET', '/api/v1/volumes?limit=1', 200, page)();
      assert.throws(check('GET', '/api/v1/volumes', 201, page));
      assert.throws(check('GET', '/api/v1/volumes', 200, page, 'text/html'));
      assert.throws(check('GET', '/api/v1/volumes', 200, { ...page, more: 1 }));
      assert.throws(check('GET', '/api/v1/volumes', 200, { items: [{}], next: null }));
      const problem = 'application/problem+json';
      check('GET', '/api/v1/volumes/v', 404, { ...PROBLEM, code: 'not-found' }, problem)();
      assert.throws(check('GET', '/api/v1/volumes/v', 404, { ...PROBLEM, code: 'exists' }, problem));
      return Promise.resolve();
    });
  });
});

describe('health', () => {
  it('is there for who is nobody, with reasons and without names', async () => {
    await withApi(async ({ ask, plane }) => {
      assert.deepEqual((await ask('GET', '/healthz?x=1')).json, { status: 'ok' });
      assert.deepEqual((await ask('GET', '/readyz')).json, { status: 'ready', reasons: [] });
      const record = await plane.provisioner.create({ name: 'secret-name', size: 1 << 20 });
      const lu = plane.units.withdraw(record, plane.catalog.iqnOf(record.target));
      const degraded = await ask('GET', '/readyz');
      assert.deepEqual([degraded.status, degraded.json['status']], [200, 'degraded']);
      assert.deepEqual(degraded.json['reasons'], ['1 of 1 volumes are not served']);
      await lu?.volume.close();
      (plane.server()?.portals as unknown[]).length = 0;
      const off = await ask('GET', '/readyz');
      assert.deepEqual([off.status, off.json['status']], [503, 'not-ready']);
    });
  });
});
