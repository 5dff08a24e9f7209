// Two nodes of a cluster: what one lets in, the other one knows.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
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
