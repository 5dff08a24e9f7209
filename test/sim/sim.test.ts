import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { simulate } from './simulation.ts';
import type { Plan } from './simulation.ts';
import type { Weather } from './nemesis.ts';

/** Milliseconds of virtual time in which things go wrong. */
const DURATION = 20_000;

const plan = (seed: number): Plan => ({ seed, duration: DURATION, nodes: seed % 4 === 0 ? 3 : 2 });
const again = ({ seed, nodes }: Plan): string =>
  `npm run sim -- --seed ${String(seed)} --nodes ${String(nodes)} --seconds ${String(DURATION / 1000)} --trace`;

describe('a cluster on a virtual clock, with faults', () => {
  for (let seed = 1; seed <= 25; seed++) {
    test(`seed ${String(seed)}`, async () => {
      const { wrong, operations } = await simulate(plan(seed));
      assert.equal(wrong, undefined, again(plan(seed)));
      assert.ok(operations > 100, `only ${String(operations)} operations`);
    });
  }

  for (const seed of [102, 103, 104, 106]) {
    test(`with snapshots, roll-backs, clones and copies: seed ${String(seed)}`, async () => {
      const { wrong, ...done } = await simulate({ ...plan(seed), snapshots: true, copies: true });
      assert.equal(wrong, undefined, `${again(plan(seed))} --snapshots --copies`);
      assert.ok(done.snapshots > 3, `only ${String(done.snapshots)} snapshots and roll-backs`);
      assert.ok(done.copies > 20, `only ${String(done.copies)} copies`);
    });
  }

  // Seeds in which a node whose log of regions cannot be written anew after a failure stays out for ever.
  for (const seed of [6, 10, 15, 19]) {
    test(`a node whose disk has failed for a while comes back without a restart: seed ${String(seed)}`, async () => {
      const weather: Weather = { faults: ['slowDisk'], lasts: [2000, 6000], apart: [3000, 6000] };
      const { wrong } = await simulate({ seed, duration: DURATION, nodes: 2, weather });
      assert.equal(wrong, undefined);
    });
  }

  // Seeds in which a lock that is granted when its command has been given up stays for ever.
  for (const seed of [1, 7]) {
    test(`the store and the other node are out for longer than commands wait: seed ${String(seed)}`, async () => {
      const weather: Weather = {
        faults: ['storeOut', 'cutWay', 'isolate'],
        lasts: [14_000, 22_000],
        apart: [300, 3000],
      };
      const { wrong } = await simulate({ seed, duration: 60_000, nodes: 2, weather });
      assert.equal(wrong, undefined);
    });
  }

  test('the same seed is the same run, another one is not', async () => {
    const [first, second, other] = [await simulate(plan(3)), await simulate(plan(3)), await simulate(plan(5))];
    assert.equal(first.trace, second.trace);
    assert.equal(first.events, second.events);
    assert.notEqual(first.trace, other.trace);
  });
});
