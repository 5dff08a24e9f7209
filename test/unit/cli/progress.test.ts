import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shareLine } from '../../../core/cli/progress.ts';

describe('the bar of a job', () => {
  it('says how far it is and how long it takes, and never wraps', () => {
    assert.equal(
      shareLine('scrub of pool tank', 0.5, 12.2, 80),
      `scrub of pool tank  [${'#'.repeat(15)}${' '.repeat(15)}]   50 %  about 13 s`,
    );
    assert.equal(shareLine('x', 2, null, 80), `x  [${'#'.repeat(30)}]  100 %`);
    assert.match(shareLine('x', 0, 200, 80), / {2}0 % {2}about 4 min$/);
    assert.match(shareLine('x', 0, 86_400, 80), /about 24 h$/);
    const long = 'deletion of volume '.concat('v'.repeat(200), ': giving space back');
    for (const columns of [20, 40, 60, 80, 132]) {
      const line = shareLine(long, 0.3, 100, columns);
      assert.ok(line.length < columns, `${String(columns)}: ${line}`);
    }
    // What is done gives way, the bar stays.
    assert.match(shareLine(long, 0.3, 100, 80), /^deletion.*… {2}\[#{9} {21}\] {3}30 % {2}about 100 s$/);
  });
});
