import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CapacityTrend } from '../../../core/control/capacity-trend.ts';
import type { PoolUse } from '../../../core/control/capacity-trend.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const GIB = 1024 ** 3;
const MINUTE = 60_000;

describe('capacity trend', () => {
  it('says when a pool will be full, after it has watched for ten minutes', async () => {
    const clock = new ManualClock();
    let used = 10 * GIB;
    const use = (): PoolUse[] => [{ pool: 'p', capacityBytes: 100 * GIB, usedBytes: used }];
    const trend = new CapacityTrend(clock, use);
    trend.start();
    for (let i = 0; i < 9; i++) {
      used += GIB;
      clock.advance(MINUTE);
    }
    const [early] = trend.views();
    assert.equal(early?.bytesPerDay, null);
    assert.equal(early.secondsToFull, null);
    for (let i = 0; i < 6; i++) {
      used += GIB;
      clock.advance(MINUTE);
    }
    const [later] = trend.views();
    assert.equal(later?.observedSeconds, 15 * 60);
    assert.equal(later.bytesPerDay, 1440 * GIB);
    // 75 GiB are left at one a minute.
    assert.equal(later.secondsToFull, 75 * 60);
    await trend.stop();
    clock.advance(60 * MINUTE);
    assert.equal(trend.views()[0]?.observedSeconds, 15 * 60, 'it does not look any more');
  });

  it('gives no date to a pool that does not grow, and forgets one that is gone', async () => {
    const clock = new ManualClock();
    let pools: PoolUse[] = [{ pool: 'p', capacityBytes: 100, usedBytes: 50 }];
    const trend = new CapacityTrend(clock, () => pools);
    trend.start();
    clock.advance(20 * MINUTE);
    assert.equal(trend.views()[0]?.bytesPerDay, 0);
    assert.equal(trend.views()[0]?.secondsToFull, null);
    const [kept] = pools;
    pools = [];
    clock.advance(MINUTE);
    assert.deepEqual(trend.views(), []);
    pools = kept === undefined ? [] : [kept];
    clock.advance(MINUTE);
    assert.equal(trend.views()[0]?.observedSeconds, 0, 'a pool that comes back is a new one');
    await trend.stop();
  });
});
