import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { TypedApi } from '../../../plugins/sdk/typed-api.ts';
import type { Answer, Schemas } from '../../../plugins/sdk/typed-api.ts';
import { withApi } from '../api/fixture.ts';

describe('the typed client', () => {
  it('calls what it says, with names that need escaping, and gets what the types promise', async () => {
    await withApi(async ({ url, admin }) => {
      const client = new ApiClient(url, admin);
      const api = new TypedApi((...args) => client.call(...args));
      const made: Schemas.Volume = await api.ask('POST /volumes', {
        body: { name: 'v', size: 1 << 20, kind: 'memory' },
      });
      assert.equal(made.size, 1 << 20);
      const initiator = 'iqn.2026-01.example.host:a';
      await api.ask('PUT /volumes/{name}/maps/{initiator}', { params: { name: 'v', initiator }, body: {} });
      const shown = await api.ask('GET /volumes/{name}', { params: { name: 'v' } });
      assert.deepEqual(
        shown.maps.map((map) => map.initiator),
        [initiator],
      );
      const page: Answer<'GET /volumes'> = await api.ask('GET /volumes', { query: { limit: 1, name: 'v' } });
      assert.deepEqual([page.items.length, page.next], [1, null]);
      await api.ask('DELETE /volumes/{name}', { params: { name: 'v' } });
      const code = 'not-found';
      await assert.rejects(api.ask('GET /volumes/{name}', { params: { name: 'a/../b' } }), { code });
      await assert.rejects(api.ask('GET /volumes/{name}', { params: { name: 'v' } }), { code });
      // @ts-expect-error there is no such operation
      await assert.rejects(api.ask('GET /nonsense', {}), { code });
      const body = { name: 'w', size: '1' };
      // @ts-expect-error a size is a number
      await assert.rejects(api.ask('POST /volumes', { body }), { code: 'bad-request' });
    });
  });
});
