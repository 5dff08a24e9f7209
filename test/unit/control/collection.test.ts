import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Collection, applyEdits } from '../../../core/control/collection.ts';

interface Thing {
  readonly colours: readonly string[];
}

describe('Collection', () => {
  it('keeps its order and its indexes through every change, and after loading', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gemel-collection-'));
    const store = new EmbeddedStore(folder);
    const things = new Collection<Thing>(store, 'things/');
    const byColour = things.index(({ colours }) => colours);
    const model = new Map<string, Thing>();
    const expectAll = (): void => {
      const ids = [...model.keys()].sort();
      assert.deepEqual(
        things.values(),
        ids.map((id) => model.get(id)),
      );
      for (const colour of ['red', 'blue', 'none']) {
        const expected = ids
          .filter((id) => model.get(id)?.colours.includes(colour) === true)
          .map((id) => model.get(id));
        assert.deepEqual(byColour(colour), expected, colour);
      }
    };
    const thing = fc.record({ colours: fc.uniqueArray(fc.constantFrom('red', 'blue')) }, { noNullPrototype: true });
    const step = fc.record({ id: fc.constantFrom('a', 'b', 'B', 'c', 'd1', 'd10', 'd2'), value: fc.option(thing) });
    try {
      for (const { id, value } of fc.sample(step, { seed: 5, numRuns: 100 })) {
        await applyEdits(store, [things.edit(id, value ?? undefined)]);
        if (value === null) model.delete(id);
        else model.set(id, value);
        expectAll();
      }
      await things.load();
      expectAll();
    } finally {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
