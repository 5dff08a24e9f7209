// What copies had differently is kept, with what the choice between them was made by.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import type { Catalog } from '../../../core/control/catalog.ts';
import { Divergence } from '../../../core/control/divergence.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { BLOCK, assertSame, put, withCluster } from '../../support/mirror-use.ts';
import { eventually } from '../../support/daemon-pair.ts';
import { until } from '../../support/until.ts';

const REGION = 65_536;

async function watched(c: MirrorCluster, node: string): Promise<Divergence> {
  const { mirror, store } = c.node(node);
  const record = { id: 'v', name: 'disk', blockSize: 512 };
  const catalog = { volumes: { values: () => [record] } } as unknown as Catalog;
  const self = { id: node, index: 0, name: node, role: 'data' as const, address: { host: '-', port: 1 } };
  const divergence = new Divergence({ catalog, member: { self, store }, mirror, clock: c.world.clock, log: silentLog });
  divergence.prepare();
  await divergence.start();
  return divergence;
}

test('a promotion is reported with what was lost, the record it was made by, and by whom; over restarts', async () => {
  await withCluster(['a', 'b'], async (c) => {
    await c.inSync(['a', 'b']);
    const owner = await c.owner();
    const other = owner === 'a' ? 'b' : 'a';
    await put(c, owner, 0, 1);
    await c.kill(other);
    // Only the owner has these, and then it is gone.
    await put(c, owner, 0, 2);
    await put(c, owner, (8 * REGION) / BLOCK, 3);
    // As if it were long ago: notes of what is being written to are not kept for ever.
    c.volume(owner).steward.options.regions.coolAll();
    await c.volume(owner).setUnitState(undefined);
    await c.kill(owner);
    await c.boot(other);
    await until(() => c.volume(other).ownership.role === 'waiting' && c.volume(other).ownership.epoch > 0);
    const before = c.volume(other).ownership;
    const divergence = await watched(c, other);
    await eventually('promoted', async () => {
      await c
        .node(other)
        .mirror.promote('v', 'eve')
        .catch(() => undefined);
      return c.volume(other).ownership.role === 'owner';
    });
    divergence.promoted(before, 'eve');
    await c.boot(owner);
    await c.inSync(['a', 'b']);
    await assertSame(c, 'a', 'b');
    const kept = async (): Promise<unknown[]> => (await c.store.list('divergence/')).map(({ value }) => value);
    await eventually('kept', async () => JSON.stringify(await kept()).includes('"complete":true'));
    divergence.stop();
    // Another life of the daemon.
    const again = await watched(c, other);
    const [report, ...more] = again.list();
    assert.equal(more.length, 0);
    assert.equal(report?.cause, 'promoted');
    assert.equal(report.by, 'eve');
    assert.equal(report.volume, 'disk');
    assert.deepEqual(report.before.inSync, [owner]);
    assert.equal(report.before.owner, owner);
    assert.equal(report.epoch, before.epoch + 1);
    const ranges = [
      [0, REGION / 512],
      [(8 * REGION) / 512, REGION / 512],
    ];
    assert.deepEqual(report.copies, [{ node: owner, complete: true, bytes: 2 * REGION, ranges }]);
    again.stop();
  });
});
