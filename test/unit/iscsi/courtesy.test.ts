import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COURTESY_AHEAD_MS, COURTESY_FROM_COMMANDS, COURTESY_MS, COURTESY_SHARE } from '../../../core/base/limits.ts';
import { AnswerMemory } from '../../../core/iscsi/answer-memory.ts';
import { Courtesy } from '../../../core/iscsi/courtesy.ts';
import { ReadGate } from '../../../core/iscsi/read-gate.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const SMALL = 4096;
const LARGE = 1_048_576;
const idle = { waiting: 0, count: () => undefined };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function sessions() {
  const clock = new ManualClock();
  const memory = new AnswerMemory(1_073_741_824, setImmediate);
  const courtesy = new Courtesy(clock);
  const gate = (): ReadGate => new ReadGate(idle, memory, courtesy);
  let begun = 0;
  const cold = gate();
  /** Begins so many reads that end at once. */
  const read = (count: number, bytes: number): void => {
    for (let i = 0; i < count; i++) {
      void Promise.resolve(cold.enter(bytes, true)).then(() => {
        begun++;
        cold.leave(bytes, true);
      });
    }
  };
  return { clock, cold, hot: gate(), read, begun: () => begun };
}

test('alone, a session reads from the disk as much as it likes, also when it has hits of its own', async () => {
  const { cold, read, begun } = sessions();
  cold.served(1000, 0);
  read(100, LARGE);
  await turn();
  assert.equal(begun(), 100);
});

test('beside a session that is answered out of memory reads begin at the pace of a share of the event loop', async () => {
  const { clock, hot, read, begun } = sessions();
  hot.served(COURTESY_FROM_COMMANDS, 0);
  read(10_000, SMALL);
  await turn();
  const first = begun();
  assert.ok(first >= 1 && first <= 1 + COURTESY_AHEAD_MS / 0.05, `${String(first)} at once`);
  const ms = 1000;
  for (let i = 0; i < ms; i++) {
    clock.advance(1);
    hot.served(COURTESY_FROM_COMMANDS, clock.now());
    await turn();
    await turn();
  }
  // A read of 4 KiB costs more than 10 µs.
  assert.ok(begun() > ms && begun() <= (ms * COURTESY_SHARE) / 0.01, `${String(begun())} in a second`);
});

test('what is not of the medium does not wait', () => {
  const { cold, hot } = sessions();
  hot.served(COURTESY_FROM_COMMANDS, 0);
  assert.equal(cold.enter(LARGE, true), undefined);
  assert.notEqual(cold.enter(SMALL, true), undefined);
  assert.equal(hot.enter(SMALL, false), undefined);
});

test('when the others have been quiet for a moment, all go', async () => {
  const { clock, hot, read, begun } = sessions();
  hot.served(COURTESY_FROM_COMMANDS, 0);
  read(100, LARGE);
  await turn();
  assert.ok(begun() < 3);
  clock.advance(3 * COURTESY_MS);
  await turn();
  await turn();
  assert.equal(begun(), 100);
});

test('a session that ends no longer waits', async () => {
  const { cold, hot } = sessions();
  hot.served(COURTESY_FROM_COMMANDS, 0);
  void cold.enter(LARGE, true);
  const waiting = cold.enter(LARGE, true);
  assert.notEqual(waiting, undefined);
  cold.close();
  await waiting;
});
