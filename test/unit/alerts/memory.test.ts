// What alerts and the trend know after a restart: a catalog that stays, and a monotonic clock that begins anew.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { describe, it } from 'node:test';
import { ALERT_HOLD, ALERT_SAVE, TREND_INTERVAL, TREND_LEAST } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import { Alerts } from '../../../core/control/alerts/alerts.ts';
import { Readings } from '../../../core/control/alerts/readings.ts';
import { CapacityTrend } from '../../../core/control/capacity-trend.ts';
import type { EventObject } from '../../../core/control/events.ts';
import { Observations } from '../../../core/control/observations.ts';
import { SecretBox } from '../../../core/control/secret-box.ts';
import type { SessionView } from '../../../core/control/sessions.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/until.ts';
import { KEY, withPlane } from '../control/fixture.ts';
import type { Plane } from '../control/fixture.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 10, 27);
const HOST = 'iqn.2026-01.example:host';

/** What a test decides. */
interface Outside {
  end: number;
  sessions: SessionView[];
}

interface Life {
  readonly clock: ManualClock;
  readonly alerts: Alerts;
  /** Two looks, with the time between them in which something has to stay so. */
  readonly settle: () => Promise<void>;
}

/** A life of the daemon that begins at `wall`. */
async function life(
  plane: Plane,
  outside: Outside,
  wall: number,
  isOurs: (object: EventObject) => boolean = () => true,
): Promise<Life> {
  const clock = new ManualClock(wall);
  const world = { ...(await nodeWorld()), clock };
  const source = {
    portals: [],
    sessions: () => outside.sessions,
    latencies: () => new Map(),
    closeTarget: () => undefined,
  };
  const watched = { ...plane, server: () => source, certificateEnd: () => outside.end };
  const readings = new Readings(watched, clock, silentLog);
  const { catalog, events } = plane;
  const box = new SecretBox(KEY, world.random);
  const alerts = new Alerts({
    ...{ catalog, events, readings, box, world },
    log: silentLog,
    version: '1',
    isOurs: (object) => object === undefined || isOurs(object),
  });
  const settle = async (): Promise<void> => {
    alerts.look();
    clock.advance(ALERT_HOLD);
    alerts.look();
    await events.settled();
  };
  return { clock, alerts, settle };
}

const codes = ({ catalog }: Plane, code: string): number =>
  catalog.events
    .values()
    .filter((event) => event.code === code)
    .reduce((sum, { count = 1 }) => sum + count, 0);

describe('alerts over a restart', () => {
  it('are not told again, and told to be over when they are', async () => {
    await withPlane(async (plane) => {
      const outside: Outside = { end: START + 10 * DAY, sessions: [] };
      const first = await life(plane, outside, START);
      await first.settle();
      assert.equal(codes(plane, 'certificate-expiring'), 1);
      await first.alerts.stop();
      const second = await life(plane, outside, START + DAY);
      const [known] = second.alerts.active();
      assert.deepEqual(
        [known?.rule, known?.since, known?.severity],
        ['certificate-expiring', START + ALERT_HOLD, 'warning'],
      );
      await second.settle();
      await second.settle();
      assert.equal(codes(plane, 'certificate-expiring'), 1, 'not told again');
      // Better, but not well: what was told stays true.
      outside.end = START + 32 * DAY;
      await second.settle();
      assert.equal(codes(plane, 'certificate-expiring-over'), 0);
      await second.alerts.stop();
      const third = await life(plane, outside, START + DAY);
      outside.end = START + 90 * DAY;
      third.alerts.look();
      assert.equal(third.alerts.active().length, 1, 'it has to be well for as long as after any other change');
      await third.settle();
      assert.deepEqual([third.alerts.active().length, codes(plane, 'certificate-expiring-over')], [0, 1]);
      await third.alerts.stop();
      assert.equal(plane.catalog.alertStates.size, 0);
    });
  });

  it('miss a host that does not come back, also one that is meant by the name of a host or a group', async () => {
    await withPlane(async (plane) => {
      const iqns = ['a', 'b', 'c'].map((each) => `${HOST}-${each}`);
      await plane.hosts.put({ name: 'one', iqns: [iqns[1] ?? ''] });
      await plane.hosts.put({ name: 'two', iqns: [iqns[2] ?? ''] });
      await plane.hosts.putGroup('cluster', ['two']);
      await plane.pools.create({ name: 'tank', size: 64 << 20 });
      const maps = [iqns[0] ?? '', 'host:one', 'group:cluster'].map((who) => ({ who, readOnly: false }));
      await plane.provisioner.create({ name: 'v', size: 8 << 20, maps });
      const sessions = iqns.map((initiator) => ({ initiator, target: 'iqn.x' }) as unknown as SessionView);
      const outside: Outside = { end: START + 90 * DAY, sessions };
      const first = await life(plane, outside, START);
      for (let i = 0; i < ALERT_SAVE; i++) first.alerts.look();
      // A crash: nothing is noted any more. What the last looks noted is there.
      await plane.events.settled();
      while (plane.catalog.observations.get('alert-paths') === undefined)
        await new Promise((done) => setImmediate(done));
      outside.sessions = sessions.slice(0, 1);
      const second = await life(plane, outside, START + 60_000);
      await second.settle();
      const gone = second.alerts.active().map(({ rule, object }) => `${rule} ${object.name}`);
      assert.deepEqual(gone.sort(), [`host-gone ${iqns[1] ?? ''}`, `host-gone ${iqns[2] ?? ''}`]);
      await Promise.all([first.alerts.stop(), second.alerts.stop()]);
    });
  });
});

describe('alerts in a cluster', () => {
  it('are sent by one node, also to a receiver that another one was told of', async () => {
    await withPlane(async (plane) => {
      const heard: string[] = [];
      const socket = createSocket('udp4', (message) => heard.push(message.toString()));
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      const outside: Outside = { end: START + 90 * DAY, sessions: [] };
      const lives = [
        await life(plane, outside, START, ({ kind }) => kind !== 'volume'),
        await life(plane, outside, START),
      ];
      try {
        for (const { alerts } of lives) alerts.start();
        const syslog = { host: '127.0.0.1', port: socket.address().port, protocol: 'udp' as const };
        await lives[0]?.alerts.put({ name: 'log', atLeast: 'info', syslog });
        assert.equal(lives[1]?.alerts.targets()[0]?.name, 'log', 'the other one has followed');
        const failed = (kind: string): void => {
          plane.events.post({
            severity: 'error',
            code: 'job-failed',
            object: { kind, name: 'v' },
            text: `of a ${kind}`,
          });
        };
        failed('volume');
        // Of its own things each node tells: here both see the same ones.
        failed('pool');
        await until(() => heard.length >= 3);
        assert.equal(heard.filter((each) => each.includes('of a volume')).length, 1);
        assert.equal(heard.filter((each) => each.includes('of a pool')).length, 2);
      } finally {
        for (const { alerts } of lives) await alerts.stop();
        socket.close();
      }
    });
  });
});

describe('the trend of a pool over a restart', () => {
  it('goes on, with the time in between', async () => {
    await withPlane(async ({ catalog }) => {
      let usedBytes = 0;
      const use = () => [{ pool: 'p', capacityBytes: 10_000, usedBytes }];
      const begin = (wall: number): { clock: ManualClock; trend: CapacityTrend } => {
        const clock = new ManualClock(wall);
        return { clock, trend: new CapacityTrend(clock, use, new Observations(catalog, clock, silentLog, 'trend')) };
      };
      const first = begin(START);
      first.trend.start();
      for (let minute = 0; minute < 600; minute++) {
        usedBytes += 2;
        first.clock.advance(TREND_INTERVAL);
      }
      await first.trend.stop();
      const kept = catalog.observations.get('trend')?.series['p'] ?? [];
      assert.ok(kept.length <= 96 && kept.length > 90, String(kept.length));
      const [before] = first.trend.views();
      // Ten hours later it has filled on at the same speed.
      usedBytes += 1200;
      const second = begin(START + 1200 * TREND_INTERVAL);
      second.trend.start();
      const [after] = second.trend.views();
      assert.equal(after?.observedSeconds, 1200 * 60);
      assert.equal(after.bytesPerDay, before?.bytesPerDay);
      await second.trend.stop();
      // A clock that was set back does not make it younger than now.
      const third = begin(START - DAY);
      assert.ok((third.trend.views()[0]?.observedSeconds ?? 0) * 1000 >= TREND_LEAST);
      // What is older than a day is not looked at any more.
      const fourth = begin(START + 3 * DAY);
      assert.equal(fourth.trend.views()[0]?.bytesPerDay, null);
    });
  });
});
