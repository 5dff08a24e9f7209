import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import { parseRule } from '../../../core/cli/schedule-commands.ts';
import type { ScheduleRule } from '../../../core/control/records.ts';
import { labelsOf, lastDue, nextDue, stamp } from '../../../core/control/schedule-times.ts';
import { Schedules } from '../../../core/control/schedules.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { codeOf, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1 << 20;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const at = (text: string): number => Date.parse(`${text}Z`);
const iso = (time: number): string => new Date(time).toISOString().slice(0, 16);

describe('the times of a schedule', () => {
  it('are those of the clock, in UTC', () => {
    const friday = at('2026-11-27T05:08');
    const cases: [ScheduleRule, string, string][] = [
      [{ every: 'minutes', minutes: 15, keep: 1 }, '2026-11-27T05:00', '2026-11-27T05:15'],
      [{ every: 'hour', minute: 30, keep: 1 }, '2026-11-27T04:30', '2026-11-27T05:30'],
      [{ every: 'day', time: '02:00', keep: 1 }, '2026-11-27T02:00', '2026-11-28T02:00'],
      [{ every: 'day', time: '23:59', keep: 1 }, '2026-11-26T23:59', '2026-11-27T23:59'],
      [{ every: 'week', day: 0, time: '03:00', keep: 1 }, '2026-11-22T03:00', '2026-11-29T03:00'],
      [{ every: 'week', day: 5, time: '05:08', keep: 1 }, '2026-11-27T05:08', '2026-12-04T05:08'],
    ];
    for (const [rule, last, next] of cases) {
      assert.deepEqual([iso(lastDue(rule, friday)), iso(nextDue(rule, friday))], [last, next], JSON.stringify(rule));
      assert.equal(
        new Date(nextDue(rule, friday)).getUTCDay(),
        rule.every === 'week' ? rule.day : new Date(next).getDay(),
      );
    }
    assert.equal(stamp(friday), '20261127-0508');
    const daily = { every: 'day', time: '02:00', keep: 1 } as const;
    assert.deepEqual(labelsOf([daily, daily, { every: 'hour', minute: 0, keep: 1 }]), ['day', 'day-2', 'hour']);
  });

  it('are written like 15m=8, hourly:30=24, daily@02:00=7 and sun@03:00=4', async () => {
    assert.deepEqual(parseRule('15m=8'), { every: 'minutes', minutes: 15, keep: 8 });
    assert.deepEqual(parseRule('hourly=24'), { every: 'hour', minute: 0, keep: 24 });
    assert.deepEqual(parseRule('hourly:30=24'), { every: 'hour', minute: 30, keep: 24 });
    assert.deepEqual(parseRule('daily@02:00=7'), { every: 'day', time: '02:00', keep: 7 });
    assert.deepEqual(parseRule('sun@03:00=4'), { every: 'week', day: 0, time: '03:00', keep: 4 });
    for (const bad of ['', 'daily=7', 'xyz@03:00=4', '15m', 'daily@2:00=7'])
      assert.equal(await codeOf(() => parseRule(bad)), 'bad-request');
  });
});

/** A plane with two disks in a pool, and schedules on a clock of the test. */
async function withSchedules(
  body: (plane: Plane, schedules: Schedules, clock: ManualClock, anew: () => Schedules) => Promise<void>,
): Promise<void> {
  await withPlane(async (plane) => {
    await plane.pools.create({ name: 'tank', size: 64 * MIB });
    for (const name of ['a', 'b']) await plane.provisioner.create({ name, size: 8 * MIB });
    const clock = new ManualClock();
    clock.advance(at('2026-11-27T05:08'));
    const { catalog, provisioner, snapshots, events } = plane;
    const anew = (): Schedules =>
      new Schedules({ catalog, backend: { leads: () => true }, provisioner, snapshots, events, clock, log: silentLog });
    await body(plane, anew(), clock, anew);
  });
}

const named = (plane: Plane, volume: string): string[] =>
  plane.snapshots
    .list(volume)
    .map(({ name }) => name)
    .sort();

describe('schedules', () => {
  it('take snapshots of a group at one instant when they are due, and keep so many of each rule', async () => {
    await withSchedules(async (plane, schedules, clock) => {
      const rules = [
        { every: 'hour', minute: 0, keep: 2 },
        { every: 'day', time: '06:00', keep: 1 },
      ] as const;
      const made = await schedules.put({ name: 'lab', volumes: ['a', 'b'], rules });
      assert.equal(schedules.view(made).next, '2026-11-27T06:00:00.000Z');
      await plane.snapshots.create(['a'], 'mine');
      await schedules.runDue();
      assert.deepEqual(named(plane, 'b'), [], 'nothing was due since it was made');
      for (let hour = 6; hour <= 9; hour++) {
        clock.advance(at(`2026-11-27T0${String(hour)}:00`) - clock.wall());
        await schedules.runDue();
        await schedules.runDue();
      }
      assert.deepEqual(named(plane, 'b'), [
        'lab-day-20261127-0600',
        'lab-hour-20261127-0800',
        'lab-hour-20261127-0900',
      ]);
      assert.ok(named(plane, 'a').includes('mine'), 'what people took stays');
      const [first, second] = ['a', 'b'].map((name) => plane.snapshots.get(name, 'lab-hour-20261127-0900').group);
      assert.ok(first !== undefined && first === second);
      const view = schedules.view(schedules.get('lab'));
      assert.deepEqual(
        [view.next, view.last, view.problem, view.snapshots],
        ['2026-11-27T10:00:00.000Z', '2026-11-27T09:00:00.000Z', null, 6],
      );
    });
  });

  it('run once what was due while the daemon was not there, and not again after a crash in the middle', async () => {
    await withSchedules(async (plane, schedules, clock, anew) => {
      const rules = [{ every: 'minutes', minutes: 10, keep: 100 }] as const;
      const record = await schedules.put({ name: 'often', volumes: ['a'], rules });
      clock.advance(2 * DAY);
      await anew().runDue();
      assert.deepEqual(named(plane, 'a'), ['often-minutes-20261129-0500']);
      // The snapshot was taken, and the daemon died before it was noted.
      await plane.catalog.apply(plane.catalog.schedules.edit('often', record));
      await anew().runDue();
      assert.deepEqual(named(plane, 'a'), ['often-minutes-20261129-0500']);
      assert.deepEqual(plane.events.list(), []);
      assert.equal(plane.catalog.schedules.get('often')?.done[0], at('2026-11-29T05:00'));
    });
  });

  it('say as an event why a run failed, go on, and stop when they are off', async () => {
    await withSchedules(async (plane, schedules, clock) => {
      const rules = [{ every: 'hour', minute: 0, keep: 3 }] as const;
      await schedules.put({ name: 'lab', volumes: ['a'], rules });
      await plane.snapshots.create(['a'], 'lab-hour-20261127-0600');
      clock.advance(HOUR);
      await schedules.runDue();
      await plane.events.settled();
      const [event] = plane.events.list({ code: 'schedule-failed' });
      assert.match(
        event?.text ?? '',
        /^snapshot schedule 'lab': volume 'a' has a snapshot 'lab-hour-20261127-0600' already/,
      );
      assert.match(schedules.view(schedules.get('lab')).problem ?? '', /already/);
      clock.advance(HOUR);
      await schedules.runDue();
      assert.equal(schedules.view(schedules.get('lab')).problem, null);
      assert.ok(named(plane, 'a').includes('lab-hour-20261127-0700'));
      await schedules.put({ name: 'lab', volumes: ['a'], rules, enabled: false });
      clock.advance(DAY);
      await schedules.runDue();
      assert.equal(named(plane, 'a').length, 2);
      assert.equal(schedules.view(schedules.get('lab')).next, null);
      await schedules.remove('lab');
      assert.equal(named(plane, 'a').length, 2, 'its snapshots stay');
    });
  });

  it('refuse what cannot be run', async () => {
    await withSchedules(async (plane, schedules) => {
      const rules = [{ every: 'hour', minute: 0, keep: 3 }] as const;
      const put = (more: object): Promise<string> =>
        codeOf(() => schedules.put({ name: 's', volumes: ['a'], rules, ...more }));
      assert.equal(await put({ volumes: [] }), 'bad-request');
      assert.equal(await put({ volumes: ['none'] }), 'not-found');
      assert.equal(await put({ rules: [] }), 'bad-request');
      assert.equal(await put({ rules: [{ every: 'hour', minute: 60, keep: 1 }] }), 'bad-request');
      assert.equal(await put({ rules: [{ every: 'day', time: '24:00', keep: 1 }] }), 'bad-request');
      assert.equal(await put({ rules: [{ every: 'hour', minute: 0, keep: 0 }] }), 'bad-request');
      assert.equal(await put({ name: 'x'.repeat(37) }), 'bad-request');
      await plane.provisioner.create({ name: 'file', size: 8 * MIB, kind: 'file' });
      assert.equal(await put({ volumes: ['file'] }), 'bad-request');
      assert.equal(await codeOf(() => schedules.remove('s')), 'not-found');
    });
  });

  it('look at the clock by themselves once started', async () => {
    await withSchedules(async (plane, schedules, clock) => {
      await schedules.put({ name: 's', volumes: ['a'], rules: [{ every: 'minutes', minutes: 1, keep: 2 }] });
      schedules.start();
      while (named(plane, 'a').length < 2) {
        clock.advance(1000);
        await new Promise(setImmediate);
      }
      await schedules.stop();
    });
  });
});
