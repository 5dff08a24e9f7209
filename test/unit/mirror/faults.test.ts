import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OutcomeUnknownError } from '../../../core/cluster/config-store.ts';
import { recordKey } from '../../../core/mirror/config-record.ts';
import { PeerRefusal } from '../../../core/mirror/link/peer-link.ts';
import { MirrorMessage, Operation, operationHeader } from '../../../core/mirror/messages.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

/** Writes rounds of versions to a few blocks, remembering what was acknowledged; false: a write failed. */
class Host {
  readonly acked = new Map<number, number>();
  readonly tried = new Map<number, Set<number>>();
  #version = 0;
  readonly #c: MirrorCluster;

  constructor(c: MirrorCluster) {
    this.#c = c;
  }
  async write(node: string, n: number): Promise<boolean> {
    const version = ++this.#version;
    const tried = this.tried.get(n) ?? new Set();
    this.tried.set(n, tried.add(version));
    try {
      await put(this.#c, node, n, version);
    } catch {
      return false;
    }
    this.acked.set(n, version);
    tried.clear();
    return true;
  }
  /** Every block says what was acknowledged last, or something that was tried after it. */
  async check(node: string): Promise<void> {
    for (const [n, tried] of this.tried) {
      const found = await get(this.#c, node, n);
      assert.ok(found === (this.acked.get(n) ?? 0) || tried.has(found), `block ${String(n)} says ${String(found)}`);
    }
  }
}

describe('faults of the mirror', { timeout: 170_000 }, () => {
  test('the link breaks at every message: nothing acknowledged is lost, and the copies come together', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const host = new Host(c);
      const directions: readonly (readonly [string, string])[] = [
        ['a', 'b'],
        ['b', 'a'],
      ];
      for (const [from, to] of directions) {
        for (let budget = 0; budget < 14; budget++) {
          const relay = c.relay(from, to);
          relay.budget = budget;
          await Promise.all(Array.from({ length: 6 }, (_, i) => host.write('a', (budget * 7 + i * 5) % 40)));
          relay.cut();
          for (let i = 0; i < 4; i++) assert.ok(await host.write('a', i * 3));
          relay.heal();
          await c.inSync(['a', 'b']);
          await host.check('a');
          await assertSame(c, 'a', 'b');
        }
      }
    });
  });

  test('the outcome of every change of the record stays unknown to who made it', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const host = new Host(c);
      let calls = 0;
      for (const node of c.nodes.values()) {
        node.store.trouble = {
          before: () => (++calls % 3 === 0 ? Promise.reject(new Error('not reached')) : Promise.resolve()),
          after: () => (calls % 2 === 0 ? Promise.reject(new OutcomeUnknownError('no answer')) : Promise.resolve()),
        };
      }
      for (let round = 0; round < 3; round++) {
        c.cut('a', 'b');
        for (let i = 0; i < 5; i++) assert.ok(await host.write('a', i));
        c.heal('a', 'b');
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
      }
      await c.kill('a');
      assert.equal(await c.owner(), 'b');
      await host.check('b');
      assert.ok(await host.write('b', 1));
    });
  });

  test('without the configuration store replicas that are in sync go on; nobody is left out, and nothing acknowledged', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const host = new Host(c);
      const down = { before: () => Promise.reject(new Error('no quorum')) };
      for (const node of c.nodes.values()) node.store.trouble = down;
      assert.ok(await host.write('a', 1));
      assert.equal(await get(c, 'a', 1), host.acked.get(1));
      c.cut('a', 'b');
      const held = host.write('a', 1);
      let isOver = false;
      void held.then(() => (isOver = true));
      await until(() => c.node('a').mirror.replicas('v')[0]?.state === 'leaving');
      // Whoever fails counts until the record says otherwise, for writes that begin now as well.
      let late = 0;
      const others = [host.write('a', 2), host.write('a', 30)];
      for (const each of others) void each.then(() => late++);
      // Longer than any lease: nobody can be the owner, and nobody says that he is.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      assert.deepEqual([isOver, late], [false, 0]);
      assert.notEqual(c.volume('b').ownership.role, 'owner');
      assert.equal(c.volume('a').steward.term?.mayServe, false);
      for (const node of c.nodes.values()) node.store.trouble = undefined;
      const owner = await c.owner();
      c.heal('a', 'b');
      await Promise.all([held, ...others]);
      await c.inSync(['a', 'b']);
      await host.check(owner);
      await assertSame(c, 'a', 'b');
    });
  });

  test('both lose power: whoever is in sync starts, and the other one gets what it lacks', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const host = new Host(c);
      for (let i = 0; i < 10; i++) await host.write('a', i);
      await Promise.all([c.kill('a'), c.kill('b')]);
      await c.boot('b');
      assert.equal(await c.owner(), 'b');
      await host.check('b');
      assert.ok(await host.write('b', 3));
      await c.boot('a');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('a copy that lacks something waits, however long, until it is promoted by a person', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await c.kill('b');
      await put(c, 'a', 1, 7);
      await c.inSync(['a']);
      await assert.rejects(c.node('a').mirror.handOver('v', 'b'), /does not have everything/);
      await c.kill('a');
      await c.boot('b');
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      assert.equal(c.volume('b').ownership.role, 'waiting');
      assert.match(c.volume('b').ownership.why, /only a has everything/);
      await c.node('b').mirror.promote('v', 'operator');
      await c.inSync(['b']);
      assert.equal(await get(c, 'b', 1), 0);
      assert.equal(c.volume('b').ownership.forcedBy, 'operator');
      await put(c, 'b', 2, 8);
      // What a had beyond that is gone, and it knows.
      await c.boot('a');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
      assert.equal(await get(c, 'b', 1), 0);
    });
  });

  test('nobody is promoted while the owner answers', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await assert.rejects(c.node('b').mirror.promote('v', 'operator'), /a is not off/);
    });
  });

  test('an owner that another node has deposed serves nothing more', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await put(c, 'a', 1, 1);
      // a keeps its beacons to itself, and hears none: b may take over, and does.
      c.node('a').store.trouble = { before: () => Promise.reject(new Error('cut off')) };
      c.cut('a', 'b');
      assert.equal(await c.owner('v', 'a'), 'b');
      await put(c, 'b', 1, 2);
      assert.equal(c.volume('a').readNow(4096, 4096, Buffer.alloc(4096), 0), false);
      await assert.rejects(get(c, 'a', 1));
      const late = put(c, 'a', 1, 3);
      c.heal('a', 'b');
      await assert.rejects(late);
      c.node('a').store.trouble = undefined;
      await c.inSync(['a', 'b']);
      assert.equal(await get(c, 'b', 1), 2);
      await assertSame(c, 'a', 'b');
    });
  });

  test('a node whose copy is gone does not serve it, and gets everything', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let i = 0; i < 30; i++) await put(c, 'a', i * 20, i + 1);
      await c.kill('a');
      c.node('a').copies.clear();
      const { RegionLog } = await import('../../../core/mirror/region-log.ts');
      await RegionLog.remove(c.world, `${c.folder}/a/v`);
      await c.boot('a');
      assert.equal(await c.owner(), 'b');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
      assert.equal(await get(c, 'b', 20), 2);
    });
  });

  test('a replica does nothing for an older epoch, an older session, out of order, or for somebody else', async () => {
    await withCluster(['a', 'b', 'c'], async (c) => {
      await c.inSync(['a', 'b', 'c']);
      const term = c.volume('a').steward.term;
      const member = term?.members.get('b');
      assert.ok(term !== undefined && member !== undefined);
      const data = Buffer.alloc(4096, 0xee);
      const write = (from: string, epoch: number, session: number, sequence: number): Promise<string> => {
        const what = { operation: Operation.write, fua: false, position: 0, length: 4096 } as const;
        const header = operationHeader({ volume: 'v', epoch, session, sequence, ...what });
        const link = c.node(from).mirror.peers.get('b');
        assert.ok(link);
        return link.request(MirrorMessage.operation, header, [data], 20_000).then(
          () => 'done',
          (error: unknown) => (error instanceof PeerRefusal ? error.code : String(error)),
        );
      };
      const { session, sequence } = member;
      assert.equal(await write('a', term.epoch - 1, session, sequence + 1), 'stale');
      assert.equal(await write('a', term.epoch, session - 1, sequence + 1), 'stale');
      assert.equal(await write('a', term.epoch + 1, session, sequence + 1), 'stale');
      assert.equal(await write('c', term.epoch, session, sequence + 1), 'stale');
      assert.equal(await write('a', term.epoch, session, sequence), 'gap');
      assert.equal(await write('a', term.epoch, session, sequence + 2), 'gap');
      await assertSame(c, 'a', 'b');
      // Nothing of it has changed anything: the owner goes on where it was.
      await put(c, 'a', 0, 5);
      await c.inSync(['a', 'b', 'c']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('a copy of unknown content stays one over any number of starts', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      await put(c, 'a', 1, 1);
      await Promise.all([c.kill('a'), c.kill('b')]);
      const { RegionLog } = await import('../../../core/mirror/region-log.ts');
      await RegionLog.remove(c.world, `${c.folder}/a/v`);
      for (let start = 0; start < 2; start++) {
        await c.boot('a');
        await until(() => /cannot be used/.test(c.volume('a').ownership.why));
        await assert.rejects(c.node('a').mirror.promote('v', 'operator'));
        await c.kill('a');
      }
      await c.boot('a');
      await c.boot('b');
      await c.inSync(['a', 'b']);
      assert.equal(await get(c, 'b', 1), 1);
      await assertSame(c, 'a', 'b');
    });
  });

  test('the record of somebody else is not touched by a stale attempt', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const key = recordKey('v');
      const before = await c.store.get(key);
      await c.node('a').mirror.handOver('v', 'b');
      await c.inSync(['a', 'b']);
      const after = await c.store.get(key);
      assert.ok(before !== undefined && after !== undefined && after.revision > before.revision);
      const { ok } = await c.store.commit([{ key, value: before.value }], [{ key, revision: before.revision }]);
      assert.equal(ok, false);
    });
  });
});
