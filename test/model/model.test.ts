import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { needsAll } from '../support/needs.ts';
import { MUTANTS, SMALL } from './mutants.ts';
import { check } from './spin.ts';

const skip = needsAll(['spin', 'spin'], ['gcc', 'gcc'], ['/usr/include/stdio.h', 'libc6-dev']);
/** Milliseconds; on a busy machine. */
const LIMIT = 100_000;

describe('the protocol of the mirror, every state within small bounds', { skip, concurrency: 2 }, () => {
  for (const each of SMALL) {
    test(`${each.model}: ${each.name}`, async () => {
      const { errors, states, complete } = await check(each, LIMIT);
      assert.ok(complete, 'the search did not end');
      assert.ok(states > 1000, `only ${String(states)} states: the bounds let nothing happen`);
      assert.equal(errors, 0);
    });
  }
});

describe('each guard that is left out is missed', { skip, concurrency: 2 }, () => {
  for (const each of MUTANTS.filter(({ masked, slow }) => masked === undefined && slow !== true)) {
    test(`${each.model}: ${each.name}`, async () => {
      const { errors } = await check(each, LIMIT, { optimise: false });
      assert.ok(errors > 0, 'nothing was found');
    });
  }
});
