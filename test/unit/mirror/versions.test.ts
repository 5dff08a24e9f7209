// Nodes of two versions: what the older one does not know is not asked of it, and everything else goes on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LINK_VERSIONS,
  commonVersion,
  versionOfMessage,
  versionOfOperation,
  versionsUpTo,
} from '../../../core/mirror/link/versions.ts';
import { MirrorMessage, Operation } from '../../../core/mirror/messages.ts';
import { assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

test('every message and operation belongs to a version this build speaks', () => {
  const types = Object.values(MirrorMessage).map(versionOfMessage);
  for (const each of [...types, ...Object.values(Operation).map(versionOfOperation)]) {
    assert.ok(each >= 1 && each <= LINK_VERSIONS.max, String(each));
  }
  assert.equal(versionOfMessage(MirrorMessage.ask), 2);
  assert.equal(versionOfOperation(Operation.snapshot), 2);
  assert.deepEqual(versionsUpTo(1), { min: 1, max: 1 });
  assert.deepEqual(versionsUpTo(undefined), LINK_VERSIONS);
  assert.deepEqual(versionsUpTo(99), LINK_VERSIONS);
  assert.equal(commonVersion({ min: 1, max: 2 }, { min: 2, max: 3 }), 2);
  assert.equal(commonVersion({ min: 1, max: 1 }, { min: 2, max: 3 }), undefined);
});

test('nodes of the last and of this version mirror, are upgraded one after the other, and only then do what is new', async () => {
  await withCluster(['a', 'b', 'c'], async (c) => {
    await c.inSync(['a', 'b', 'c']);
    for (const old of ['b', 'c']) {
      await c.kill(old);
      c.versions.set(old, versionsUpTo(1));
      await c.boot(old);
      await c.inSync(['a', 'b', 'c']);
    }
    const owner = c.node('a').mirror;
    await until(() => owner.peers.get('b')?.version === 1 && owner.peers.get('c')?.version === 1);
    for (let i = 0; i < 20; i++) await put(c, 'a', i, i + 7);
    await assertSame(c, 'a', 'b');
    const change = { what: 'remove', node: 'c' } as const;
    await owner.changeReplicas('v', change);
    await assert.rejects(owner.changeReplicas('v', { ...change, what: 'add' }), /[bc] runs an older version/);
    const writer = await c.volume('a').steward.serving();
    const point = {
      operation: Operation.snapshot,
      fua: true,
      position: 0,
      length: 0,
      source: { volume: 's', position: 1 },
    };
    await assert.rejects(
      writer.everywhere(point, () => Promise.resolve()),
      /b runs an older version/,
    );
    await c.inSync(['a', 'b']);
    // The older one takes over, and gives it back, as ever.
    await owner.handOver('v', 'b');
    assert.equal(await c.owner(), 'b');
    await put(c, 'b', 3, 1234);
    await c.kill('a');
    // Until the owner has left it out, it counts as in step.
    await c.inSync(['b']);
    c.versions.delete('a');
    await c.boot('a');
    await c.inSync(['a', 'b']);
    assert.equal(await get(c, 'b', 3), 1234);
    await c.node('b').mirror.handOver('v', 'a');
    for (const old of ['b', 'c']) {
      await c.kill(old);
      if (old === 'b') await c.inSync(['a']);
      c.versions.delete(old);
      await c.boot(old);
    }
    await c.inSync(['a', 'b']);
    await until(() => c.node('a').mirror.peers.get('c')?.version === 2);
    await c.node('a').mirror.changeReplicas('v', { what: 'add', node: 'c' });
    await c.inSync(['a', 'b', 'c']);
    await assertSame(c, 'a', 'c');
    assert.equal(await get(c, 'a', 3), 1234);
  });
});
