// Nodes that get a copy of a volume, and nodes that have none any more.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

/** A new disk at the node in place of what it had. */
async function freshCopy(c: MirrorCluster, name: string): Promise<void> {
  const node = c.node(name);
  await node.mirror.close('v');
  const copy = new MemoryVolume(c.size, 512);
  node.copies.set('v', copy);
  await node.mirror.open({ id: 'v', durability: c.durability, folder: join(c.folder, name), fresh: true }, copy);
}

describe('the number of copies', { timeout: 120_000 }, () => {
  test('a volume of one copy gets a second one, with everything, and that one takes over', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a']);
        for (let i = 0; i < 200; i++) await put(c, 'a', i * 5, i + 1);
        await c.node('a').mirror.changeReplicas('v', { what: 'add', node: 'b' });
        await put(c, 'a', 7, 77);
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        await c.kill('a');
        assert.equal(await c.owner('v', 'a'), 'b');
        assert.equal(await get(c, 'b', 7), 77);
        assert.equal(await get(c, 'b', 199 * 5), 200);
      },
      (c) => {
        c.replicas = ['a'];
      },
    );
  });

  test('a third copy comes and goes; one that comes again is compared as a whole, whatever it has', async () => {
    await withCluster(
      ['a', 'b', 'c'],
      async (c) => {
        const { mirror } = c.node('a');
        await c.inSync(['a', 'b']);
        await put(c, 'a', 1, 1);
        await mirror.changeReplicas('v', { what: 'add', node: 'c' });
        await c.inSync(['a', 'b', 'c']);
        // It is told before the record is read again: from now on it notes where it is writing.
        await put(c, 'a', 2, 2);
        const intents = (): number => c.volume('b').steward.options.regions.intents(c.size).length;
        assert.ok(intents() > 0, 'a replica of three notes what it writes');

        await mirror.changeReplicas('v', { what: 'remove', node: 'c' });
        await c.inSync(['a', 'b']);
        assert.deepEqual([...c.volume('a').ownership.replicas].sort(), ['a', 'b']);
        assert.equal(c.volume('c').ownership.role, 'waiting');
        await put(c, 'a', 2, 3);
        await put(c, 'a', 3, 4);
        // Its old copy, which looks as if it were known.
        await mirror.changeReplicas('v', { what: 'add', node: 'c' });
        await c.inSync(['a', 'b', 'c']);
        await assertSame(c, 'a', 'c');
        await mirror.changeReplicas('v', { what: 'remove', node: 'c' });
        await freshCopy(c, 'c');
        await mirror.changeReplicas('v', { what: 'add', node: 'c' });
        await c.inSync(['a', 'b', 'c']);
        await assertSame(c, 'a', 'c');
        await c.kill('a');
        const owner = await c.owner('v', 'a');
        assert.equal(await get(c, owner, 3), 4);
        await c.inSync(['b', 'c']);
        await assertSame(c, 'b', 'c');
      },
      (c) => {
        c.replicas = ['a', 'b'];
      },
    );
  });

  test('the copy of a dead node is given up; the owner, and a node that does not serve, are refused', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const owner = await c.owner();
      const other = owner === 'a' ? 'b' : 'a';
      const { mirror } = c.node(owner);
      await assert.rejects(mirror.changeReplicas('v', { what: 'remove', node: owner }), /hand it over first/);
      await assert.rejects(c.node(other).mirror.changeReplicas('v', { what: 'remove', node: owner }), /another node/);
      await c.kill(other);
      await put(c, owner, 0, 5);
      await mirror.changeReplicas('v', { what: 'remove', node: other });
      assert.deepEqual(c.volume(owner).ownership.inSync, [owner]);
      assert.deepEqual(c.volume(owner).ownership.replicas, [owner]);
      await put(c, owner, 0, 6);
      const { regions } = c.volume(owner).steward.options;
      assert.equal(regions.dirty(other).count, 0, 'nothing is noted of it any more');
      assert.deepEqual(regions.facts.tracks, {});
      // Back, it has nothing to say.
      await c.boot(other);
      await until(() => /no replica/.test(c.volume(other).ownership.why));
      assert.equal(await get(c, owner, 0), 6);
    });
  });
});
