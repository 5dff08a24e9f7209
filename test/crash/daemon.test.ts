import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises';
import { daemonRounds, fullRounds } from './daemon-rounds.ts';

/** What the process has while nothing is under way: its output. */
const IDLE = ['Immediate', 'PipeWrap', 'TTYWrap'];

test('the daemon that is killed under load has lost nothing it promised', async () => {
  const seed = Date.now() % 2 ** 31;
  console.log(`daemon: seed ${String(seed)}`);
  const { good, rounds } = await daemonRounds({ seed, rounds: 5, until: Date.now() + 30_000 });
  assert.ok(rounds > 0 && good >= rounds * 100, `only ${String(good)} commands were answered`);
});

test('the daemon that is killed on a full file system has lost nothing it promised', async (context) => {
  const seed = Date.now() % 2 ** 31;
  console.log(`daemon on a full file system: seed ${String(seed)}`);
  const result = await fullRounds({ seed, rounds: 1 });
  if (result === undefined) context.skip('needs root: a file system of its own');
  else assert.ok(result.good >= 100, `only ${String(result.good)} commands were answered`);
});

test('a round that fails ends everything it began', async () => {
  const underLoad = (): void => {
    throw new Error('on purpose');
  };
  await assert.rejects(daemonRounds({ seed: 1, rounds: 2, underLoad }), /round 1, ended by '\w+': on purpose/);
  // An administrator or a host that goes on always waits for something; what is being closed is gone soon.
  const open = (): string[] => process.getActiveResourcesInfo().filter((each) => !IDLE.includes(each));
  for (let i = 0; i < 50 && open().length > 0; i++) {
    await sleep(100);
    // Until then it is open itself.
    await immediate();
  }
  assert.deepEqual(open(), []);
});
