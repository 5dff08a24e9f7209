import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COPY_RATE_MEMORY, COPY_RATE_STALE } from '../../../core/base/limits.ts';
import { COPY_ROUTES, CopyRoute, decideRoute } from '../../../core/volume/copy-route.ts';
import type { CopyRoutePolicy } from '../../../core/volume/copy-route.ts';

const MIB = 1_048_576;

describe('the route of a copy', () => {
  test('every policy, sharing or not, whatever was measured', () => {
    const rates = [
      { storage: undefined, host: undefined },
      { storage: 100, host: undefined },
      { storage: undefined, host: 100 },
      { storage: 100, host: 100 },
      { storage: 100, host: 125 },
      { storage: 100, host: 126 },
    ];
    const routes = (policy: CopyRoutePolicy, shareable: boolean): string[] =>
      rates.map((each) => {
        const { route, why } = decideRoute(policy, shareable, each);
        return `${route === 'accept' ? '+' : '-'}${why}`;
      });
    const same = (text: string): string[] => rates.map(() => text);
    for (const shareable of [true, false]) {
      assert.deepEqual(routes('always', shareable), same('+fixed'));
      assert.deepEqual(routes('never', shareable), same('-fixed'));
    }
    assert.deepEqual(routes('share-only', true), same('+shared'));
    assert.deepEqual(routes('share-only', false), same('-fixed'));
    assert.deepEqual(routes('auto', true), same('+shared'));
    const unknown = '+not-measured';
    assert.deepEqual(routes('auto', false), [unknown, unknown, unknown, '+faster', '+faster', '-slower']);
    assert.equal(COPY_ROUTES.length, 4);
  });

  test('learns from copies, forgets slowly, and asks anew when it has not seen one for long', () => {
    let now = 0;
    let policy: CopyRoutePolicy = 'auto';
    const clock = { now: () => now, wall: () => 0, after: () => ({ cancel: () => undefined }), soon: () => undefined };
    const hostRate = (host: string): number | undefined => (host === 'fast' ? 200 * MIB : undefined);
    const route = new CopyRoute({ clock, policy: () => policy, hostRate });
    const ask = (host = 'fast', shareable = false): string => route.decide({ host, shareable, bytes: 64 * MIB });
    const measured = (): number => route.storageRate ?? 0;
    assert.equal(ask(), 'accept');
    assert.equal(route.last?.why, 'not-measured');
    route.copied(MIB - 1, 1);
    route.copied(MIB, 0);
    assert.equal(route.storageRate, undefined, 'too short to tell');
    route.copied(100 * MIB, 1_000_000);
    assert.equal(route.storageRate, 100 * MIB);
    assert.equal(ask(), 'refuse');
    assert.equal(ask('unknown'), 'accept');
    assert.equal(ask('fast', true), 'accept');
    now = COPY_RATE_STALE;
    assert.equal(ask(), 'refuse');
    now++;
    assert.equal(ask(), 'accept', 'measured too long ago: try again');
    // Ten times the memory at another rate, and the old one is hardly seen any more.
    for (let i = 0; i < 10; i++) route.copied(COPY_RATE_MEMORY, (COPY_RATE_MEMORY / (300 * MIB)) * 1e6);
    const rate = measured();
    assert.ok(rate > 290 * MIB && rate <= 301 * MIB, String(rate));
    assert.equal(ask(), 'accept');
    policy = 'never';
    assert.equal(ask('unknown', true), 'refuse');
  });
});
