import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killRounds } from './kill.ts';

test('a process that is killed has lost nothing it acknowledged', async () => {
  const seed = Date.now() % 2 ** 31;
  console.log(`kill: seed ${String(seed)}`);
  const acknowledged = await killRounds(seed, 4).catch((error: unknown) => {
    throw new Error(`kill: seed ${String(seed)}`, { cause: error });
  });
  assert.ok(acknowledged > 50, `only ${String(acknowledged)} writes were acknowledged`);
});
