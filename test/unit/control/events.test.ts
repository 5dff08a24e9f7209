import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EVENT_REPEAT, MAX_EVENT_QUEUE, MAX_EVENT_TEXT, MAX_EVENTS } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import type { CatalogChange } from '../../../core/control/change-feed.ts';
import { Events } from '../../../core/control/events.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/manual-clock.ts';

async function withCatalog(body: (catalog: Catalog, reopen: () => Promise<Catalog>) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('events');
  const { random } = await nodeWorld();
  const open = (): Promise<Catalog> => Catalog.open(new EmbeddedStore(folder.path), random, 'iqn.2026-01.x', 1);
  let catalog = await open();
  try {
    await body(catalog, async () => {
      await catalog.close();
      return (catalog = await open());
    });
  } finally {
    await catalog.close();
    folder.remove();
  }
}

const target = (name: string): { name: string; iqn: string } => ({ name, iqn: `iqn.2026-01.x:${name}` });

describe('the catalog', () => {
  it('tells the revision of a record, which every change makes larger', async () => {
    await withCatalog(async (catalog, reopen) => {
      const { targets } = catalog;
      assert.equal(targets.revision('a'), undefined);
      await catalog.apply(targets.edit('a', target('a')), targets.edit('b', target('b')));
      const first = targets.revision('a');
      assert.ok(first !== undefined && first > 0);
      assert.equal(targets.revision('b'), first);
      await catalog.apply(targets.edit('a', target('a')));
      assert.ok((targets.revision('a') ?? 0) > first);
      assert.equal(targets.revision('b'), first);
      const again = await reopen();
      assert.equal(again.targets.revision('b'), first);
      await again.apply(again.targets.edit('b', undefined));
      assert.equal(again.targets.revision('b'), undefined);
    });
  });

  it('tells watchers every change, after the collections show it, and none that failed', async () => {
    await withCatalog(async (catalog) => {
      const seen: CatalogChange[] = [];
      const shown: unknown[] = [];
      const end = catalog.watch((change) => {
        seen.push(change);
        if (change.kind === 'targets') shown.push(catalog.targets.get(change.id)?.iqn);
      });
      const { targets, tokens } = catalog;
      const lost = targets.edit('a', target('lost'));
      await catalog.apply(
        targets.edit('a', target('a')),
        tokens.edit('t', { name: 't', role: 'viewer', hash: 'x', created: 1 }),
      );
      await assert.rejects(catalog.apply(lost), /changed by another request/);
      await catalog.apply(targets.edit('a', undefined));
      end();
      await catalog.apply(targets.edit('z', target('z')));
      assert.deepEqual(
        seen.map(({ kind, id, value }) => [kind, id, value === undefined]),
        [
          ['targets', 'a', false],
          ['tokens', 't', false],
          ['targets', 'a', true],
        ],
      );
      assert.deepEqual(shown, ['iqn.2026-01.x:a', undefined]);
      assert.equal(seen[0]?.revision, seen[1]?.revision);
      assert.ok((seen[2]?.revision ?? 0) > (seen[1]?.revision ?? 0));
    });
  });
});

describe('Events', () => {
  it('keeps what happened over a restart, newest first, and finds it again', async () => {
    await withCatalog(async (catalog, reopen) => {
      const clock = new ManualClock();
      const events = new Events(catalog, clock, silentLog);
      events.post({ severity: 'info', code: 'made', object: { kind: 'volume', name: 'a' }, text: 'one' });
      clock.advance(5);
      events.post({ severity: 'error', code: 'broke', object: { kind: 'pool', name: 'p' }, text: 'x'.repeat(9999) });
      await events.settled();
      const again = new Events(await reopen(), clock, silentLog);
      again.post({ severity: 'warning', code: 'made', text: 'three' });
      await again.settled();
      assert.deepEqual(
        again.list().map(({ id, severity, time }) => [Number(id), severity, time]),
        [
          [3, 'warning', 5],
          [2, 'error', 5],
          [1, 'info', 0],
        ],
      );
      assert.equal(again.list()[1]?.text.length, MAX_EVENT_TEXT);
      const ids = (filter: Parameters<Events['list']>[0]): number[] => again.list(filter).map(({ id }) => Number(id));
      assert.deepEqual(ids({ atLeast: 'warning' }), [3, 2]);
      assert.deepEqual(ids({ code: 'made' }), [3, 1]);
      assert.deepEqual(ids({ kind: 'pool', name: 'p' }), [2]);
      assert.deepEqual(ids({ before: '000000000003', limit: 1 }), [2]);
    });
  });

  it('makes one of what happens again and again', async () => {
    await withCatalog(async (catalog) => {
      const clock = new ManualClock();
      const events = new Events(catalog, clock, silentLog);
      const again = { severity: 'error', code: 'disk', object: { kind: 'pool', name: 'p' }, text: 'slow' } as const;
      for (let i = 0; i < 1000; i++) events.post(again);
      await events.settled();
      clock.advance(EVENT_REPEAT - 1);
      events.post(again);
      await events.settled();
      assert.deepEqual(
        events.list().map(({ count, time, last }) => ({ count, time, last })),
        [{ count: 1001, time: 0, last: EVENT_REPEAT - 1 }],
      );
      clock.advance(EVENT_REPEAT);
      events.post(again);
      await events.settled();
      assert.equal(events.list().length, 2);
    });
  });

  it('is bounded, and says that it lost some', async () => {
    await withCatalog(async (catalog) => {
      const events = new Events(catalog, new ManualClock(), silentLog);
      let posted = 0;
      const burst = (count: number): void => {
        for (let i = 0; i < count; i++) events.post({ severity: 'info', code: 'n', text: String(posted++) });
      };
      while (posted < MAX_EVENTS + MAX_EVENT_QUEUE) {
        burst(MAX_EVENT_QUEUE);
        await events.settled();
      }
      assert.equal(catalog.events.size, MAX_EVENTS);
      assert.equal(events.list()[0]?.text, String(posted - 1));
      burst(MAX_EVENT_QUEUE + 7);
      await events.settled();
      assert.equal(catalog.events.size, MAX_EVENTS);
      assert.equal(events.list({ code: 'events-lost' })[0]?.text, '7 events came too fast to be kept');
    });
  });
});
