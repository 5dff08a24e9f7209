import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { VolumeError } from '../../../core/volume/volume.ts';
import { assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

describe('a mirrored volume', { timeout: 120_000 }, () => {
  test('is served by one node, and every acknowledged write is on both', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      assert.equal(await c.owner(), 'a');
      await Promise.all(Array.from({ length: 50 }, (_, i) => put(c, 'a', i, i + 1)));
      await assertSame(c, 'a', 'b');
      assert.equal(await get(c, 'a', 49), 50);
      await assert.rejects(get(c, 'b', 1), (error: unknown) => error instanceof VolumeError && error.fault === 'moved');
    });
  });

  test('goes on when the replica dies; when it is back it gets what it lacks, and no more', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let i = 0; i < 20; i++) await put(c, 'a', i, 1);
      await c.kill('b');
      await Promise.all(Array.from({ length: 20 }, (_, i) => put(c, 'a', i * 16, 2)));
      await c.inSync(['a']);
      await c.boot('b');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('is taken over when the owner dies, with every acknowledged write', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let i = 0; i < 20; i++) await put(c, 'a', i, i + 100);
      const start = performance.now();
      await c.kill('a');
      assert.equal(await c.owner(), 'b');
      const pause = performance.now() - start;
      for (let i = 0; i < 20; i++) assert.equal(await get(c, 'b', i), i + 100);
      await put(c, 'b', 3, 999);
      await c.boot('a');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
      assert.equal(c.volume('a').ownership.role, 'replica');
      assert.ok(pause < 20_000, String(pause));
    });
  });

  test('is handed over without a gap', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await put(c, 'a', 1, 5);
      const pause = await c.node('a').mirror.handOver('v', 'b');
      await c.inSync(['a', 'b']);
      assert.equal(await c.owner(), 'b');
      assert.equal(await get(c, 'b', 1), 5);
      await put(c, 'b', 2, 6);
      await assertSame(c, 'a', 'b');
      assert.ok(pause < 5_000, String(pause));
    });
  });

  test('the node that was cut off stops, the other one goes on; they come together again', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await put(c, 'a', 1, 1);
      c.cut('a', 'b');
      await put(c, 'a', 1, 2);
      await c.inSync(['a']);
      await until(() => c.volume('b').ownership.role === 'waiting');
      c.heal('a', 'b');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });
});
