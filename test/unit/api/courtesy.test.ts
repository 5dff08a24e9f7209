import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Courtesy } from '../../../core/api/courtesy.ts';
import { API_COST_MS, API_LOOP_SHARE, API_MAX_WAIT, COPY_YIELDS_TO } from '../../../core/base/limits.ts';
import { Pace } from '../../../core/base/pace.ts';

describe('Courtesy', () => {
  it('lets requests through at once while nobody is served, and a share of them beside hosts', () => {
    const hosts = new Pace();
    const turns = new Courtesy(hosts);
    for (let i = 0; i < 100; i++) assert.equal(turns.wait(1000), 0);
    hosts.add(COPY_YIELDS_TO, 1000);
    const between = API_COST_MS / API_LOOP_SHARE;
    const waits = [turns.wait(1000), turns.wait(1000), turns.wait(1000)];
    assert.deepEqual(waits.map(Math.round), [0, between, 2 * between].map(Math.round));
    for (let i = 0; i < 1000; i++) assert.ok(turns.wait(1000) <= API_MAX_WAIT);
    assert.equal(turns.wait(60_000), 0);
  });
});
