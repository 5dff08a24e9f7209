import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Flaw } from './flaws.ts';
import type { FaultName } from './nemesis.ts';
import { simulate } from './simulation.ts';

/** Milliseconds of virtual time of a run, and runs until a flaw has to be found. */
const DURATION = 30_000;
const RUNS = 30;

/** The faults that bring each to light; all of them would do, in many more runs. */
const FOUND: readonly (readonly [Flaw, readonly FaultName[]])[] = [
  [Flaw.ackBeforeShrink, ['exile', 'cutWay']],
  [Flaw.nonMember, ['cutWay']],
];

describe('what is left out is found', () => {
  for (const [flaw, only] of FOUND) {
    test(flaw, async () => {
      for (let seed = 1; seed <= RUNS; seed++) {
        const { wrong } = await simulate({ seed, duration: DURATION, nodes: 2, flaw, only });
        if (wrong !== undefined) return;
      }
      assert.fail(`${String(RUNS)} runs have not noticed it`);
    });
  }
});
