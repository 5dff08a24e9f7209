import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { everyBoundary } from './boundaries.ts';
import { stopAll } from './machine.ts';
import { crashRounds, optionsOf } from './rounds.ts';

/** Milliseconds for seeds nobody has tried before. */
const TIME = 6_000;

afterEach(stopAll);

describe('a pool whose power fails', () => {
  // In the last two, what a write had left that failed half way could once be read, and was gone after a crash.
  for (const seed of [...Array.from({ length: 10 }, (_, i) => i + 1), 1000050, 458473692]) {
    test(`has everything it acknowledged (seed ${String(seed)})`, async () => {
      await crashRounds(seed, optionsOf(seed));
    });
  }

  for (const seed of [1]) {
    test(`has everything it acknowledged, wherever it is cut off (seed ${String(seed)})`, async () => {
      assert.ok((await everyBoundary(seed)) > 40, 'the script does a lot');
    });
  }

  const first = Date.now() % 2 ** 31;
  test(`has everything it acknowledged (seeds from ${String(first)} on)`, async () => {
    console.log(`crash: seeds from ${String(first)} on`);
    for (let seed = first, end = Date.now() + TIME; Date.now() < end; seed++) {
      await crashRounds(seed, optionsOf(seed)).catch((error: unknown) => {
        throw new Error(`npm run crash -- --seed ${String(seed)}`, { cause: error });
      });
    }
  });
});
