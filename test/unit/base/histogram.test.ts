import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Histogram } from '../../../core/base/histogram.ts';

describe('histogram', () => {
  test('an empty one has no percentiles and empty buckets', () => {
    const histogram = new Histogram();
    assert.equal(histogram.percentile(0.99), 0);
    assert.ok([...histogram.cumulative()].every(({ count }) => count === 0));
  });

  test('a percentile is at most 19 % above the true value, never below it', () => {
    const value = fc.double({ min: 1, max: 6e7, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (values, share) => {
          const histogram = new Histogram();
          for (const each of values) histogram.add(1, each);
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.max(0, Math.ceil(values.length * share - 1e-9) - 1)]!;
          const found = histogram.percentile(share);
          assert.ok(found >= exact * 0.999_999 && found <= exact * 1.1893, `${found} for ${exact}`);
        },
      ),
    );
  });

  test('buckets grow, are cumulative, and count exactly what is not above their bound', () => {
    const histogram = new Histogram();
    const values = [0, 0.4, 1, 3, 3, 900, 1025, 50_000, 1e12];
    for (const each of values) histogram.add(2, each);
    const buckets = [...histogram.cumulative()];
    let before = 0;
    for (const { upTo, count } of buckets) {
      assert.ok(Math.abs(upTo / before - 2) < 1e-9 || before === 0);
      assert.equal(count, 2 * values.filter((each) => each <= upTo).length, `up to ${upTo}`);
      before = upTo;
    }
    assert.equal(histogram.count, 18);
    assert.equal(histogram.sum, 2 * values.reduce((sum, each) => sum + each, 0));
    assert.equal(buckets.at(-1)!.count, 16, 'what is above the last bound counts only in the total');
  });
});
