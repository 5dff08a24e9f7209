import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  RESYNC_BUSY_MS,
  RESYNC_FLOOR,
  RESYNC_STEP_MS,
  RESYNC_UNKNOWN,
  USUAL_WRITES,
} from '../../../core/base/limits.ts';
import { ResyncPace, WriteTimes } from '../../../core/mirror/resync-pace.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const MIB = 1_048_576;

function setup(ceiling = Infinity) {
  const clock = new ManualClock();
  clock.advance(1000);
  const times = new WriteTimes();
  let busyAt = Number.NEGATIVE_INFINITY;
  const pace = new ResyncPace({ clock, times, busyAt: () => busyAt, ceiling: () => ceiling });
  /** Hosts write for a second, each write takes so long; copies begin when they may. Returns the bytes of them. */
  const second = (milliseconds: number): number => {
    let copied = 0;
    let next = clock.now();
    for (let i = 0; i < 1000; i++) {
      busyAt = clock.now();
      times.add(milliseconds, 4096);
      if (clock.now() >= next) {
        copied += MIB / 4;
        next = clock.now() + pace.take(MIB / 4);
      }
      clock.advance(1);
    }
    return copied;
  };
  return { clock, times, pace, second, touch: () => (busyAt = clock.now()) };
}

describe('the pace of a resync', () => {
  test('nobody is disturbed: it never waits', () => {
    const { pace } = setup();
    assert.equal(pace.isBusy, false);
    for (let i = 0; i < 10; i++) assert.equal(pace.take(MIB), 0);
  });

  test('as long as writes take what they took, it becomes faster', () => {
    const { times, pace, second } = setup();
    second(2);
    times.joining++;
    const first = second(2);
    assert.ok(first >= RESYNC_FLOOR / 2, String(first));
    second(2);
    assert.ok(second(2) > 1.4 * first);
    assert.ok(pace.rate > 8 * RESYNC_FLOOR);
  });

  test('when they take longer it gives way, and takes the room again when there is some', () => {
    const { times, pace, second } = setup();
    second(2);
    times.joining++;
    for (let i = 0; i < 3; i++) second(2);
    const fast = pace.rate;
    second(5);
    assert.ok(pace.rate < fast / 4, `${pace.rate} of ${fast}`);
    for (let i = 0; i < 5; i++) second(5);
    assert.equal(pace.rate, RESYNC_FLOOR, 'but it comes to an end');
    second(2);
    second(2);
    assert.ok(pace.rate > 2 * RESYNC_FLOOR);
  });

  test('it gives way to a few slow writes among many, too', () => {
    const { clock, times, pace, touch } = setup();
    /** Of a hundred writes so many are slow. Milliseconds. */
    const hundred = (slow: number, milliseconds: number): void => {
      for (let i = 0; i < 100; i++) times.add(i < slow ? milliseconds : 1 + (i % 10) / 10, 4096);
    };
    for (let i = 0; i < 50; i++) hundred(1, 4);
    assert.ok(times.usualSlow > 1.5 && times.usualSlow < 5, String(times.usualSlow));
    times.joining++;
    const tenth = (slow: number, milliseconds: number): void => {
      hundred(slow, milliseconds);
      touch();
      clock.advance(RESYNC_STEP_MS);
      touch();
      pace.take(0);
    };
    for (let i = 0; i < 20; i++) tenth(1, 4);
    const fast = pace.rate;
    assert.ok(fast > 10 * RESYNC_FLOOR, 'as many as ever');
    for (let i = 0; i < 10; i++) tenth(4, 12);
    assert.ok(times.lately < 1.5 * times.usual, 'on average they are as fast');
    assert.ok(pace.rate < fast / 4, `${pace.rate} of ${fast}`);
  });

  test('as long as nobody knows what writes take, it does not become fast', () => {
    const { times, pace, second } = setup();
    times.joining++;
    for (let i = 0; i < 5; i++) second(2);
    assert.ok(pace.rate < 2 * RESYNC_UNKNOWN, String(pace.rate));
  });

  test('what writes take during a resync is not what they usually take', () => {
    const { times } = setup();
    for (let i = 0; i < 4 * USUAL_WRITES; i++) times.add(3, 4096);
    times.joining++;
    for (let i = 0; i < 4 * USUAL_WRITES; i++) times.add(30, 4096);
    assert.equal(times.usual, 3);
    times.joining--;
    times.add(30_000, MIB);
    assert.equal(times.count, 8 * USUAL_WRITES, 'a large write takes longer anyway');
    assert.ok(times.lately > 29);
  });

  test('a limit that somebody has set holds, and a new one at once', () => {
    const { pace, second } = setup(MIB);
    const copied = second(1);
    assert.ok(copied <= 1.5 * MIB, String(copied));
    assert.equal(pace.rate, MIB);
  });

  test('when hosts fall silent nothing of what was reckoned for them is waited for', () => {
    const { clock, pace, touch } = setup();
    touch();
    pace.take(100 * MIB);
    assert.ok(pace.take(MIB) > RESYNC_STEP_MS);
    clock.advance(RESYNC_BUSY_MS);
    assert.equal(pace.take(MIB), 0);
  });
});
