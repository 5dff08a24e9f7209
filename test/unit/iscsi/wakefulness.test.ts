import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AWAKE_FROM_COMMANDS, AWAKE_MS, AWAKE_TURNS } from '../../../core/base/limits.ts';
import type { Clock } from '../../../core/base/world.ts';
import { Wakefulness } from '../../../core/iscsi/wakefulness.ts';

interface HandClock extends Clock {
  time: number;
  /** Runs what waits; how many turns until nothing does. `step`: milliseconds that pass in each. */
  run(step: number): number;
}

function handClock(): HandClock {
  let next: (() => void) | undefined;
  const clock: HandClock = {
    time: 0,
    now: () => clock.time,
    wall: () => 0,
    after: () => ({ cancel: () => undefined }),
    soon: (fn) => {
      assert.equal(next, undefined, 'two turns at once');
      next = fn;
    },
    run(step) {
      let turns = 0;
      for (; next !== undefined; turns++) {
        const fn = next;
        next = undefined;
        clock.time += step;
        fn();
      }
      return turns;
    },
  };
  return clock;
}

test('a batch keeps the loop awake for a moment, single commands do not', () => {
  const clock = handClock();
  const wakefulness = new Wakefulness(clock);
  wakefulness.busy(AWAKE_FROM_COMMANDS - 1);
  assert.equal(clock.run(0.001), 0);
  wakefulness.busy(AWAKE_FROM_COMMANDS);
  wakefulness.busy(AWAKE_FROM_COMMANDS);
  assert.equal(clock.run(AWAKE_MS / 3), 3);
  wakefulness.busy(AWAKE_FROM_COMMANDS);
  assert.equal(clock.run(0), AWAKE_TURNS, 'it ends even where time stands still');
  wakefulness.busy(AWAKE_FROM_COMMANDS);
  assert.ok(clock.run(AWAKE_MS) > 0, 'and begins again');
});
