// What every ConfigStore has to do, whatever it is kept in.
import assert from 'node:assert/strict';
import type { ConfigEvent, ConfigStore } from '../../core/cluster/config-store.ts';

/** Every part of the contract, to be run one after the other on a store that may hold other records. */
export const CONTRACT: readonly (readonly [name: string, run: (store: ConfigStore) => Promise<void>])[] = [
  [
    'what was committed is read back, with the revision of its transaction',
    async (store) => {
      const value = { text: 'é\n"', list: [1, null, true], nested: { deep: 'x' } };
      const { ok, revision } = await store.commit([
        { key: 'a/1', value },
        { key: 'a/2', value: 7 },
      ]);
      assert.equal(ok, true);
      assert.deepEqual(await store.get('a/1'), { key: 'a/1', value, revision });
      assert.deepEqual(await store.get('a/2'), { key: 'a/2', value: 7, revision });
      assert.equal(await store.get('a/3'), undefined);
    },
  ],
  [
    'a list has the records below a prefix in order of key, and no others',
    async (store) => {
      const keys = ['l/b', 'l/a', 'l/a/x', 'lx', 'k/z', 'm/a'];
      await store.commit(keys.map((key) => ({ key, value: key })));
      assert.deepEqual(
        (await store.list('l/')).map(({ key }) => key),
        ['l/a', 'l/a/x', 'l/b'],
      );
      assert.deepEqual(await store.list('nothing/'), []);
    },
  ],
  [
    'a list of many records is whole',
    async (store) => {
      const keys = Array.from({ length: 1_203 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
      await store.commit(keys.map((key) => ({ key, value: key })));
      assert.deepEqual(
        (await store.list('many/')).map(({ key, value }) => [key, value]),
        keys.map((key) => [key, key]),
      );
      await store.commit(keys.map((key) => ({ key, value: undefined })));
      assert.deepEqual(await store.list('many/'), []);
    },
  ],
  [
    'an expectation that does not hold changes nothing',
    async (store) => {
      const first = await store.commit([{ key: 'e/1', value: 1 }], [{ key: 'e/1', revision: 0 }]);
      assert.equal(first.ok, true);
      const again = await store.commit([{ key: 'e/1', value: 2 }], [{ key: 'e/1', revision: 0 }]);
      assert.equal(again.ok, false);
      const wrong = await store.commit(
        [
          { key: 'e/1', value: 3 },
          { key: 'e/2', value: 3 },
        ],
        [
          { key: 'e/1', revision: first.revision },
          { key: 'e/2', revision: first.revision },
        ],
      );
      assert.equal(wrong.ok, false);
      assert.equal((await store.get('e/1'))?.value, 1);
      assert.equal(await store.get('e/2'), undefined);
      const right = await store.commit([{ key: 'e/1', value: 4 }], [{ key: 'e/1', revision: first.revision }]);
      assert.equal(right.ok, true);
      assert.ok(right.revision > first.revision);
    },
  ],
  [
    'a removed record is gone, and can be made again',
    async (store) => {
      await store.commit([{ key: 'r/1', value: 1 }]);
      await store.commit([{ key: 'r/1', value: undefined }]);
      assert.equal(await store.get('r/1'), undefined);
      const { ok } = await store.commit([{ key: 'r/1', value: 2 }], [{ key: 'r/1', revision: 0 }]);
      assert.equal(ok, true);
    },
  ],
  [
    'of two changes at once with one expectation, one happens',
    async (store) => {
      const before = await store.commit([{ key: 'race', value: 'none' }]);
      const expectations = [{ key: 'race', revision: before.revision }];
      const results = await Promise.all(
        ['a', 'b', 'c', 'd'].map((value) => store.commit([{ key: 'race', value }], expectations)),
      );
      assert.equal(results.filter(({ ok }) => ok).length, 1);
    },
  ],
  [
    'the last change of a record in a transaction counts',
    async (store) => {
      await store.commit([
        { key: 'twice', value: 1 },
        { key: 'twice', value: 2 },
      ]);
      assert.equal((await store.get('twice'))?.value, 2);
    },
  ],
  [
    'a watcher is told every change below its prefix, in order, with its revision, until it ends',
    async (store) => {
      const events: ConfigEvent[] = [];
      const end = store.watch('w/', (event) => events.push(event));
      await store.commit([{ key: 'w/1', value: 1 }]);
      await store.commit([{ key: 'elsewhere', value: 1 }]);
      await store.commit([
        { key: 'w/1', value: 2 },
        { key: 'w/2', value: { a: [] } },
      ]);
      const last = await store.commit([{ key: 'w/1', value: undefined }]);
      for (let i = 0; i < 1_000 && events.length < 4; i++) await new Promise((resolve) => setTimeout(resolve, 10));
      end();
      const told = events.map(({ key, value }) => ({ key, value }));
      assert.deepEqual(told[0], { key: 'w/1', value: 1 });
      assert.deepEqual(
        told.slice(1, 3).sort((a, b) => (a.key < b.key ? -1 : 1)),
        [
          { key: 'w/1', value: 2 },
          { key: 'w/2', value: { a: [] } },
        ],
      );
      assert.deepEqual(told.slice(3), [{ key: 'w/1', value: undefined }]);
      assert.equal(events.at(-1)?.revision, last.revision);
      await store.commit([{ key: 'w/3', value: 1 }]);
      assert.equal(events.length, 4);
    },
  ],
  [
    'a key that is none is refused',
    async (store) => {
      for (const key of ['', 'a b', 'ü', 'x'.repeat(501), 'a\0'])
        await assert.rejects(store.commit([{ key, value: 1 }]), RangeError);
    },
  ],
];
