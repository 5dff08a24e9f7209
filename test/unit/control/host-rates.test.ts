import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HOST_RATE_HALF_LIFE } from '../../../core/base/limits.ts';
import { HostRates } from '../../../core/control/host-rates.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const MIB = 1_048_576;

describe('rates of hosts', () => {
  it('are the best seen over all paths, fade, and are unknown until a host has read and written', () => {
    const clock = new ManualClock();
    let sessions = [
      { tsih: 1, initiator: 'a', readBytes: 0, writtenBytes: 0 },
      { tsih: 2, initiator: 'a', readBytes: 0, writtenBytes: 0 },
      { tsih: 3, initiator: 'b', readBytes: 0, writtenBytes: 0 },
    ];
    const rates = new HostRates(clock, () => sessions);
    const second = (...moved: [number, number][]): void => {
      sessions = sessions.map((each, i) => ({
        ...each,
        readBytes: each.readBytes + (moved[i]?.[0] ?? 0) * MIB,
        writtenBytes: each.writtenBytes + (moved[i]?.[1] ?? 0) * MIB,
      }));
      clock.advance(1000);
      rates.look();
    };
    second([100, 0], [50, 0], [10, 5]);
    assert.equal(rates.rate('a'), undefined, 'has not written');
    assert.equal(rates.rate('b'), 5 * MIB);
    second([0, 40], [0, 40], [0, 0.5]);
    const mib = (host: string): number => Math.round((rates.rate(host) ?? 0) / MIB);
    assert.equal(mib('a'), 80);
    assert.equal(mib('b'), 5, 'a slow second does not make it slow');
    for (let i = 0; i < HOST_RATE_HALF_LIFE; i++) second();
    assert.equal(mib('a'), 40);
    // A session that is new counts from nothing; one that is gone takes nothing with it.
    sessions = [{ tsih: 4, initiator: 'a', readBytes: 0, writtenBytes: 0 }];
    second([300, 300]);
    assert.equal(mib('a'), 300);
    sessions = [];
    for (let i = 0; i < 50; i++) {
      clock.advance(HOST_RATE_HALF_LIFE * 1000);
      rates.look();
    }
    assert.equal(rates.rate('a'), undefined);
  });
});
