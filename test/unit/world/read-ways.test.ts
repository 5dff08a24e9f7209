import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { READ_STREAMS } from '../../../core/base/limits.ts';
import { ByCache, BySpeed, Streams } from '../../../core/world/read-ways.ts';

/** How many of `count` reads go past the page cache; `had`: the kernel has what is asked for. */
function past(ways: ByCache, count: number, had: boolean): number {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    if (ways.asks) ways.had(had);
    if (ways.past) sum++;
  }
  return sum;
}

const pastOf = (ways: BySpeed): number => Array.from({ length: 640 }, () => ways.past).filter((each) => each).length;

describe('past the page cache or through it', () => {
  test('what the kernel has is taken from there, and no longer when it has it no longer', () => {
    const ways = new ByCache(false);
    assert.equal(past(ways, 1000, false), 1000);
    past(ways, 2000, true);
    assert.equal(past(ways, 1000, true), 0);
    past(ways, 2000, false);
    assert.equal(past(ways, 1000, false), 1000);
  });

  test('small reads of a slow disk go through it, but for a few that show whether it is slow still', () => {
    const ways = new ByCache(true);
    ways.took(8, 1);
    const few = past(ways, 6400, false);
    assert.equal(few, 100);
    // Eight of 32 at once took four milliseconds: an eighth of one each.
    for (let i = 0; i < 40; i++) ways.took(4, 32);
    assert.equal(past(ways, 1000, false), 1000);
    const large = new ByCache(false);
    large.took(8, 1);
    assert.equal(past(large, 1000, false), 1000);
  });

  test('where nobody can tell what the kernel has, the faster way but for one read in 64', () => {
    const ways = new BySpeed();
    assert.equal(ways.past, true);
    ways.direct(1, 100);
    ways.through(5, 100);
    assert.equal(pastOf(ways), 630);
    for (let i = 0; i < 40; i++) ways.through(0.5, 100);
    assert.equal(pastOf(ways), 10);
  });

  test('several who read one piece after the other are known, among others who do not', () => {
    const streams = new Streams();
    for (let i = 0; i < 100; i++) {
      const known = [0, 1, 2].map((each) => streams.goesOn(each * 1e9 + i * 4096, 4096));
      assert.deepEqual(known, Array(3).fill(i > 0));
      assert.equal(streams.goesOn(5e9 + i * 12_288, 4096), false);
    }
    for (let i = 0; i < READ_STREAMS; i++) streams.goesOn(7e9 + i * 12_288, 4096);
    assert.equal(streams.goesOn(100 * 4096, 4096), false);
  });
});
