// Two nodes of a cluster: what one lets in, the other one knows.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import { SESSION_TOUCH_STEP } from '../../../core/base/limits.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import type { UserRecord } from '../../../core/control/security-records.ts';
import { WebSessions } from '../../../core/control/web-sessions.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { until } from '../../support/until.ts';

test('a session that began at one node lives at the other, and ends at both', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gemel-sessions-'));
  const stores = ['a', 'b', 'shared'].map((name) => new EmbeddedStore(join(folder, name)));
  const [a, b, shared] = stores;
  assert.ok(a !== undefined && b !== undefined && shared !== undefined);
  const world = await nodeWorld();
  try {
    const [one, two] = await Promise.all(
      [a, b].map(async (own) => {
        const catalog = await Catalog.open(own, world.random, 'iqn.x', world.clock.wall(), shared);
        return new WebSessions(catalog, world, silentLog);
      }),
    );
    assert.ok(one !== undefined && two !== undefined);
    const { secret, session } = await one.begin({ name: 'ann', created: 1 } as UserRecord);
    await until(() => two.find(secret, false)?.user === 'ann');
    assert.equal(two.find(secret, false)?.csrf, session.csrf);
    await two.endAll('ann');
    await until(() => one.find(secret, false) === undefined);
  } finally {
    for (const store of stores) await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('requests of a session do not queue up while the store does not answer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gemel-sessions-'));
  const [own, shared] = ['a', 'shared'].map((name) => new EmbeddedStore(join(folder, name)));
  assert.ok(own !== undefined && shared !== undefined);
  const world = await nodeWorld();
  let later = 0;
  const clock = { now: () => world.clock.now(), wall: () => world.clock.wall() + later };
  try {
    const catalog = await Catalog.open(own, world.random, 'iqn.x', world.clock.wall(), shared);
    const sessions = new WebSessions(catalog, { ...world, clock: { ...world.clock, ...clock } }, silentLog);
    const { secret } = await sessions.begin({ name: 'ann', created: 1 } as UserRecord);
    let asked = 0;
    const fail: ((error: Error) => void)[] = [];
    shared.commit = () => {
      asked++;
      return new Promise((_, reject) => fail.push(reject));
    };
    later = 2 * SESSION_TOUCH_STEP;
    for (let i = 0; i < 50; i++) assert.equal(sessions.find(secret, true)?.user, 'ann');
    await until(() => asked === 1);
    for (const each of fail) each(new Error('no answer'));
    // What had queued up would be asked now.
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, 1);
    // The next request tries again.
    sessions.find(secret, true);
    await until(() => asked === 2);
  } finally {
    for (const store of [own, shared]) await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
