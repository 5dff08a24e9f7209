// Copies make room for hosts that are being served, and for nobody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COPY_LOOP_SHARE,
  COPY_SHARE_STEP,
  COPY_SMALL_SHARE_STEP,
  COPY_SMALL_STEP,
  COPY_STEP,
  COPY_YIELDS_TO,
  COURTESY_MS,
  SMALL_ZERO_STEP,
  WRITE_SAME_STEP,
  WRITE_SAME_ZERO_STEP,
} from '../../../core/base/limits.ts';
import { Pace } from '../../../core/base/pace.ts';
import { CopyPace } from '../../../core/volume/copy-pace.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function copies() {
  const clock = new ManualClock();
  clock.advance(COURTESY_MS);
  const hosts = new Pace();
  const pace = new CopyPace(hosts);
  /** Steps that begin within so many milliseconds, during which hosts get so many answers in each. */
  const steps = async (ms: number, answers: number): Promise<number> => {
    let begun = 0;
    let over = false;
    const copy = async (): Promise<void> => {
      for (;;) {
        await pace.turn(clock);
        if (over) return;
        pace.begin(clock, 'data', pace.step(clock, 'data'));
        begun++;
      }
    };
    const copying = copy();
    for (let i = 0; i < ms; i++) {
      hosts.add(answers, clock.now());
      for (let turns = 0; turns < 5; turns++) await soon();
      clock.advance(1);
    }
    over = true;
    clock.advance(1000);
    await copying;
    return begun;
  };
  return { clock, hosts, pace, steps };
}

test('alone, copies take large steps and wait for nobody', async () => {
  const { clock, pace, steps } = copies();
  assert.equal(pace.step(clock, 'data'), COPY_STEP);
  assert.equal(pace.step(clock, 'share'), COPY_SHARE_STEP);
  assert.equal(pace.step(clock, 'zero'), WRITE_SAME_ZERO_STEP);
  assert.equal(pace.step(clock, 'pattern'), WRITE_SAME_STEP);
  assert.ok((await steps(20, 0)) >= 80);
  assert.equal(pace.waits, 0);
});

test('while hosts are being served the steps are small, and there are no more than a share of the loop can take', async () => {
  const { clock, hosts, pace, steps } = copies();
  hosts.add(COPY_YIELDS_TO, clock.now());
  assert.equal(pace.step(clock, 'data'), COPY_SMALL_STEP);
  assert.equal(pace.step(clock, 'share'), COPY_SMALL_SHARE_STEP);
  assert.equal(pace.step(clock, 'zero'), SMALL_ZERO_STEP);
  assert.equal(pace.step(clock, 'pattern'), COPY_SMALL_STEP);
  const ms = 100;
  const begun = await steps(ms, 1);
  assert.ok(pace.waits > 0);
  const cost = COPY_SMALL_STEP * 1.5e-6;
  const most = (ms * COPY_LOOP_SHARE) / cost;
  assert.ok(begun >= most / 4 && begun <= most + 2, `${String(begun)} steps, at most ${String(most)}`);
});

test('they go on as before when the hosts have become quiet', async () => {
  const { clock, hosts, pace } = copies();
  hosts.add(100, clock.now());
  pace.begin(clock, 'data', COPY_STEP);
  clock.advance(2 * COURTESY_MS);
  assert.equal(pace.step(clock, 'data'), COPY_STEP);
  await pace.turn(clock);
});
