import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Undecided } from './linearizable.ts';
import { PLANTED } from './planted.ts';
import { simulate } from './simulation.ts';
import type { Plan } from './simulation.ts';

/** Milliseconds of virtual time of a run, and runs until a flaw has to be found. */
const DURATION = 20_000;
const RUNS = 12;

describe('a flaw that is planted is found', () => {
  for (const { flaw, weather, load, snapshots, copies, from, seen } of PLANTED) {
    test(flaw, async () => {
      for (let seed = from; seed < from + RUNS; seed++) {
        const plan: Plan = { seed, duration: DURATION, nodes: 2, weather, load, snapshots, copies };
        // Of a run nobody can decide nothing is known: another one is looked at.
        const { wrong } = await simulate({ ...plan, flaw }).catch((error: unknown) => {
          if (error instanceof Undecided) return { wrong: undefined };
          throw error;
        });
        if (wrong === undefined) continue;
        assert.match(wrong, seen);
        // It is the flaw that was found: without it the same run is as it should be.
        assert.equal((await simulate(plan)).wrong, undefined);
        return;
      }
      assert.fail(`${String(RUNS)} runs have not noticed it`);
    });
  }
});
