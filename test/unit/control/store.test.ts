import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import type { ConfigEvent } from '../../../core/cluster/config-store.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

async function withStore(
  body: (store: EmbeddedStore, reopen: () => Promise<EmbeddedStore>) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('store');
  let store = new EmbeddedStore(folder.path);
  try {
    await body(store, async () => {
      await store.close();
      return (store = new EmbeddedStore(folder.path));
    });
  } finally {
    await store.close();
    folder.remove();
  }
}

describe('EmbeddedStore', () => {
  it('keeps records and revisions over a reopen', async () => {
    await withStore(async (store, reopen) => {
      await store.commit([
        { key: 'a/1', value: { x: 1 } },
        { key: 'a/2', value: 'two' },
        { key: 'b/1', value: null },
      ]);
      await store.commit([
        { key: 'a/1', value: undefined },
        { key: 'a/10', value: [true] },
      ]);
      const again = await reopen();
      assert.deepEqual(await again.list('a/'), [
        { key: 'a/10', value: [true], revision: 2 },
        { key: 'a/2', value: 'two', revision: 1 },
      ]);
      assert.equal(await again.get('a/1'), undefined);
      assert.deepEqual(await again.commit([{ key: 'c', value: 1 }]), { ok: true, revision: 3 });
    });
  });

  it('changes all records or none, and only when every expectation holds', async () => {
    await withStore(async (store) => {
      await store.commit([{ key: 'a', value: 1 }]);
      const both = [
        { key: 'a', value: 2 },
        { key: 'b', value: 2 },
      ];
      const lost = await store.commit(both, [
        { key: 'a', revision: 1 },
        { key: 'b', revision: 7 },
      ]);
      assert.deepEqual(lost, { ok: false, revision: 1 });
      assert.equal((await store.get('a'))?.value, 1);
      assert.equal(await store.get('b'), undefined);
      const racing = [1, 2, 3].map((value) => store.commit([{ key: 'r', value }], [{ key: 'r', revision: 0 }]));
      assert.deepEqual((await Promise.all(racing)).filter((result) => result.ok).length, 1);
    });
  });

  it('tells watchers about later changes below their prefix', async () => {
    await withStore(async (store) => {
      const seen: ConfigEvent[] = [];
      const end = store.watch('v/', (event) => seen.push(event));
      await store.commit([
        { key: 'v/1', value: 1 },
        { key: 'w/1', value: 1 },
      ]);
      await store.commit([{ key: 'v/1', value: undefined }], [{ key: 'v/1', revision: 99 }]);
      await store.commit([{ key: 'v/1', value: undefined }]);
      end();
      await store.commit([{ key: 'v/2', value: 1 }]);
      assert.deepEqual(seen, [
        { key: 'v/1', value: 1, revision: 1 },
        { key: 'v/1', value: undefined, revision: 2 },
      ]);
    });
  });

  it('refuses keys it could not keep apart', async () => {
    await withStore(async (store) => {
      for (const key of ['', '\u0001revision', 'a b', 'x'.repeat(501)]) {
        await assert.rejects(store.commit([{ key, value: 1 }]), RangeError);
      }
    });
  });
});
