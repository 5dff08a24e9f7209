// What copies had differently is kept, with what the choice between them was made by.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import type { Catalog } from '../../../core/control/catalog.ts';
import { Divergence } from '../../../core/control/divergence.ts';
import { recordKey } from '../../../core/mirror/config-record.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { BLOCK, assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
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

/** A write that is on the copy of a only, and then both lose power. False: it took so long that b had been left out before. */
async function blackout(c: MirrorCluster): Promise<boolean> {
  await c.inSync(['a', 'b']);
  assert.equal(await c.owner(), 'a');
  await put(c, 'a', 1, 1);
  c.relay('a', 'b').isDeaf = true;
  const lost = put(c, 'a', 1, 2).then(
    () => 'acknowledged',
    () => 'failed',
  );
  const here = c.node('a').copies.get('v');
  const data = Buffer.alloc(BLOCK);
  await until(() => here?.readNow(BLOCK, BLOCK, data, 0) === true && data.readUInt32BE(0) === 2);
  await Promise.all([c.kill('b'), c.kill('a')]);
  const outcome = await lost;
  c.heal('a', 'b');
  const { inSync } = (await c.store.get(recordKey('v')))?.value as { inSync: string[] };
  return inSync.length === 2 && outcome === 'failed';
}

for (const first of ['a', 'b']) {
  const other = first === 'a' ? 'b' : 'a';
  test(`a write under way when both lost power is on both afterwards, or on none, and told: ${first} is back first`, async () => {
    let isDone = false as boolean;
    for (let tries = 0; tries < 5 && !isDone; tries++) {
      await withCluster(['a', 'b'], async (c) => {
        if (!(await blackout(c))) return;
        const before = (await c.store.get(recordKey('v')))?.value as { epoch: number };
        const up = c.boot(first);
        // As in the daemon, it is there before the volume is open.
        const divergence = await watched(c, first);
        await up;
        assert.equal(await c.owner(), first);
        await c.boot(other);
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        // Nobody was told that the write was done: the copy of who is back first counts.
        assert.equal(await get(c, first, 1), first === 'a' ? 2 : 1);
        await eventually('told', () => Promise.resolve(divergence.list()[0]?.copies[0]?.complete === true));
        const [report, ...more] = divergence.list();
        assert.equal(more.length, 0);
        assert.equal(report?.cause, 'both-down');
        assert.equal(report.by, null);
        assert.deepEqual(report.before.inSync, ['a', 'b']);
        assert.equal(report.before.owner, 'a');
        assert.equal(report.epoch, before.epoch + 1);
        assert.deepEqual(report.copies[0]?.ranges, [[0, REGION / 512]]);
        assert.equal(report.copies[0].node, other);
        divergence.stop();
        isDone = true;
      });
    }
    assert.ok(isDone, 'this machine is too slow');
  });
}
