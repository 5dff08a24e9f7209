import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rounds } from '../../../core/control/rounds.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('rounds', () => {
  test('come one after the other, and the last is waited for', async () => {
    const clock = new ManualClock();
    const ends: (() => void)[] = [];
    const rounds = new Rounds(clock, 100, () => new Promise((resolve) => ends.push(resolve)));
    rounds.start();
    clock.advance(100);
    assert.equal(ends.length, 1);
    clock.advance(1000);
    assert.equal(ends.length, 1, 'not while one runs');
    ends[0]?.();
    await turn();
    clock.advance(100);
    assert.equal(ends.length, 2);
    let stopped = false;
    const stopping = rounds.stop().then(() => (stopped = true));
    assert.equal(rounds.stopped, true);
    await turn();
    assert.equal(stopped, false, 'it runs still');
    ends[1]?.();
    await stopping;
    clock.advance(1000);
    assert.equal(ends.length, 2, 'no more');
  });
});
