import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ALERT_ATTEMPTS,
  ALERT_HOLD,
  ALERT_INTERVAL,
  ALERT_QUEUE,
  MAX_ALERT_BACKOFF,
} from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import { Delivery } from '../../../core/control/alerts/delivery.ts';
import { DeliveryError } from '../../../core/control/alerts/notification.ts';
import type { Notification } from '../../../core/control/alerts/notification.ts';
import { Readings } from '../../../core/control/alerts/readings.ts';
import { AlertStates, RULES } from '../../../core/control/alerts/rules.ts';
import type { Reading, RuleName, RuleSettings } from '../../../core/control/alerts/rules.ts';
import type { SessionView } from '../../../core/control/sessions.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { withPlane } from '../control/fixture.ts';

const pool = { kind: 'pool', name: 'tank' };
const settings = (rule: RuleName): RuleSettings => ({ enabled: true, limit: RULES[rule].limit });

/** Takes readings of one rule, one value each `ALERT_INTERVAL`; what was told, with its time in seconds. */
function told(rule: RuleName, values: readonly number[], of = settings): string[] {
  const states = new AlertStates(ALERT_HOLD);
  return values.flatMap((value, i) => {
    const reading: Reading = { rule, object: pool, value, text: String(value) };
    const now = i * ALERT_INTERVAL;
    return states.take([reading], of, now, now).map(({ state, text }) => `${String(now / 1000)} ${state} ${text}`);
  });
}

describe('rules', () => {
  it('tell what has held for a while, and tell it once', () => {
    assert.deepEqual(told('pool-filling', [81, 82, 83, 84, 85, 86]), ['45 raised 84']);
    // Shorter than that: nothing.
    assert.deepEqual(told('pool-filling', [81, 81, 70, 81, 81, 81, 79]), []);
  });

  it('do not tell a value that trembles around the limit again and again', () => {
    const trembling = [81, 81, 81, 81, 79, 81, 78, 80, 76, 82, 79, 79, 79, 79, 79];
    assert.deepEqual(told('pool-filling', trembling), ['45 raised 81']);
    assert.deepEqual(told('pool-filling', [...trembling, 74, 74, 74, 74]), ['45 raised 81', '270 cleared 82']);
  });

  it('count downwards where less is worse', () => {
    assert.deepEqual(told('certificate-expiring', [31, 29, 29, 29, 29, 33, 33, 33, 33, 36, 36, 36, 36]), [
      '60 raised 29',
      '180 cleared 29',
    ]);
    assert.deepEqual(told('pool-time-to-full', [Infinity, Infinity, Infinity, Infinity]), []);
  });

  it('are over when their object is gone, and when they are switched off', () => {
    const states = new AlertStates(0);
    const reading: Reading = { rule: 'pool-failed', object: pool, value: 1, text: 'x' };
    assert.equal(states.take([reading], settings, 0, 0)[0]?.state, 'raised');
    assert.equal(states.active().length, 1);
    assert.equal(states.take([], settings, 1, 1)[0]?.state, 'cleared');
    assert.equal(states.active().length, 0);
    states.take([reading], settings, 2, 2);
    assert.equal(states.take([reading], () => ({ enabled: false, limit: 1 }), 3, 3)[0]?.state, 'cleared');
  });
});

describe('readings', () => {
  it('see a pool, its disks, lost paths and the certificate', async () => {
    await withPlane(async (plane) => {
      const clock = new ManualClock();
      const host = 'iqn.2026-01.example:host';
      let sessions: SessionView[] = [];
      const session = { initiator: host.toUpperCase(), target: 'iqn.x' } as unknown as SessionView;
      const source = {
        portals: [],
        sessions: () => sessions,
        latencies: () => new Map(),
        closeTarget: () => undefined,
      };
      const certificate: { end?: number } = {};
      const watched = { ...plane, server: () => source, certificateEnd: () => certificate.end };
      const readings = new Readings(watched, clock, silentLog);
      const value = (rule: RuleName): number | undefined => readings.take().find((each) => each.rule === rule)?.value;

      await plane.pools.create({ name: 'tank', size: 64 << 20 });
      await plane.provisioner.create({
        name: 'v',
        size: 48 << 20,
        thin: false,
        pool: 'tank',
        maps: [{ who: host, readOnly: false }],
      });
      assert.equal(value('pool-failed'), 0);
      assert.ok((value('pool-filling') ?? 0) > 70, String(value('pool-filling')));
      assert.equal(readings.take().find((each) => each.rule === 'pool-filling')?.limit, 80);
      assert.equal(value('checksum-error'), 0);
      assert.equal(value('volume-failed'), 0);
      assert.equal(value('pool-time-to-full'), Infinity);

      // Nobody misses a host that has never been there.
      assert.equal(value('host-gone'), undefined);
      sessions = [session, session];
      assert.deepEqual([value('host-gone'), value('path-lost')], [0, 0]);
      sessions = [session];
      assert.deepEqual([value('host-gone'), value('path-lost')], [0, 1]);
      sessions = [];
      assert.deepEqual([value('host-gone'), value('path-lost')], [1, 0]);
      clock.advance(86_400_001);
      assert.equal(value('host-gone'), undefined);

      const counters = plane.units.unit('v')!.counters;
      value('slow-device');
      counters.readLatency.add(10, 500_000);
      assert.equal(value('slow-device'), 0, 'too few to say anything');
      counters.writeLatency.add(100, 200_000);
      assert.equal(value('slow-device'), 200);
      assert.equal(value('slow-device'), 0);

      assert.equal(value('certificate-expiring'), undefined);
      certificate.end = clock.wall() + 12 * 86_400_000;
      assert.equal(value('certificate-expiring'), 12);
    });
  });
});

describe('delivery', () => {
  const notification = (id: string): Notification => ({
    ...{ id, state: 'raised', code: 'pool-full', severity: 'critical', object: pool, text: 'full', time: 0, node: 'n' },
    version: '1',
  });

  /** Lets promises go on. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };

  it('tries again with longer and longer pauses, in order, and gives up', async () => {
    const clock = new ManualClock();
    const attempts: [string, number][] = [];
    let broken = true;
    const delivery = new Delivery(
      't',
      ({ id }) => {
        attempts.push([id, clock.now()]);
        return broken ? Promise.reject(new DeliveryError('refused', false)) : Promise.resolve();
      },
      clock,
      silentLog,
    );
    delivery.post(notification('a'));
    delivery.post(notification('b'));
    for (let i = 0; i < ALERT_ATTEMPTS - 1; i++) {
      await settle();
      clock.advance(MAX_ALERT_BACKOFF);
    }
    await settle();
    assert.deepEqual(
      attempts.slice(0, ALERT_ATTEMPTS).map(([id]) => id),
      Array<string>(ALERT_ATTEMPTS).fill('a'),
    );
    assert.equal(delivery.view.lost, 1);
    assert.equal(delivery.view.lastError, 'refused');
    broken = false;
    clock.advance(MAX_ALERT_BACKOFF);
    await settle();
    assert.deepEqual([delivery.view.sent, delivery.view.waiting, delivery.view.lastError], [1, 0, null]);
    delivery.close();
  });

  it('keeps no more than it may, and does not try what is final again', async () => {
    const clock = new ManualClock();
    let count = 0;
    const delivery = new Delivery(
      't',
      () => {
        count++;
        return count === 1
          ? Promise.reject(new DeliveryError('busy', false))
          : Promise.reject(new DeliveryError('no', true));
      },
      clock,
      silentLog,
    );
    for (let i = 0; i < ALERT_QUEUE + 50; i++) delivery.post(notification(String(i)));
    assert.equal(delivery.view.waiting, ALERT_QUEUE);
    assert.equal(delivery.view.lost, 50);
    await settle();
    clock.advance(MAX_ALERT_BACKOFF);
    const waits = (): boolean => delivery.view.waiting > 0;
    while (waits()) await settle();
    assert.equal(count, ALERT_QUEUE + 1);
    delivery.close();
  });
});
