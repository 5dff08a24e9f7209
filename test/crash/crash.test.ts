import { describe, test } from 'node:test';
import { crashRounds } from './scenario.ts';

describe('a pool whose power fails', () => {
  for (let seed = 1; seed <= 12; seed++) {
    test(`has everything it acknowledged (seed ${String(seed)})`, async () => {
      await crashRounds(seed, 4, 40, 150);
    });
  }
});
