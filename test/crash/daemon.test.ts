import assert from 'node:assert/strict';
import { test } from 'node:test';
import { daemonRounds, fullRounds } from './daemon-rounds.ts';

test('the daemon that is killed under load has lost nothing it promised', async () => {
  const seed = Date.now() % 2 ** 31;
  console.log(`daemon: seed ${String(seed)}`);
  const { good } = await daemonRounds({ seed, rounds: 5, until: Date.now() + 30_000 });
  assert.ok(good > 500, `only ${String(good)} commands were answered`);
});

test('the daemon that is killed on a full file system has lost nothing it promised', async (context) => {
  const seed = Date.now() % 2 ** 31;
  console.log(`daemon on a full file system: seed ${String(seed)}`);
  const result = await fullRounds({ seed, rounds: 1 });
  if (result === undefined) context.skip('needs root: a file system of its own');
  else assert.ok(result.good > 50, `only ${String(result.good)} commands were answered`);
});
