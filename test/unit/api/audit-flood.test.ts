// Somebody who is known asks for what is refused, over and over.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AUDIT_REFUSALS } from '../../../core/base/limits.ts';
import { withApi } from './fixture.ts';

const ASKED = AUDIT_REFUSALS + 40;

describe('a flood of refused requests', () => {
  it('does not fill the audit log, loses no change, and is told', async () => {
    await withApi(async ({ plane, ask, admin, viewer }) => {
      for (let i = 0; i < ASKED; i++) {
        const { status } = await ask('DELETE', `/api/v1/pools/none-${String(i)}`, { token: viewer });
        assert.equal(status, 403);
        if (i % 25 > 0) continue;
        const body = JSON.stringify({ iqns: [] });
        assert.equal((await ask('PUT', `/api/v1/hosts/h${String(i)}`, { token: admin, body })).status, 200);
      }
      const { items } = await plane.security.audit.page({ limit: 1000 });
      const of = (name: string): number => items.filter(({ who }) => who.name === name).length;
      assert.deepEqual([of('viewer'), of('admin')], [AUDIT_REFUSALS, ASKED / 25]);
      await plane.security.refusals.flush();
      const [last] = (await plane.security.audit.page({ limit: 1 })).items;
      const { refusedMore, codes } = last?.request as { refusedMore: number; codes: unknown };
      assert.deepEqual(
        [last?.who.name, last?.code, refusedMore, codes],
        ['viewer', 'forbidden', 40, { forbidden: 40 }],
      );
      const { ok, findings } = await plane.security.audit.verify();
      assert.ok(ok, findings.join('; '));
      await plane.events.settled();
      const event = plane.catalog.events.values().find(({ code }) => code === 'requests-refused');
      assert.match(event?.text ?? '', /^40 requests of token 'viewer' were refused within a minute/);
      // Who asks for the log sees it as any other entry.
      const shown = await ask('GET', '/api/v1/audit?limit=1', { token: admin });
      assert.equal((shown.json['items'] as { route: string }[])[0]?.route, '*');
    });
  });
});
