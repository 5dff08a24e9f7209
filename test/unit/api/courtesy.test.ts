import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Courtesy, handshakeInTurn } from '../../../core/api/courtesy.ts';
import {
  API_COST_MS,
  API_HANDSHAKE_MS,
  API_LOOP_SHARE,
  API_MAX_WAIT,
  COPY_YIELDS_TO,
} from '../../../core/base/limits.ts';
import { Pace } from '../../../core/base/pace.ts';

describe('Courtesy', () => {
  it('lets requests through at once while nobody is served, and a share of them beside hosts', () => {
    const hosts = new Pace();
    const turns = new Courtesy(hosts);
    for (let i = 0; i < 100; i++) assert.equal(turns.wait(1000), 0);
    hosts.add(COPY_YIELDS_TO, 1000);
    const between = API_COST_MS / API_LOOP_SHARE;
    const waits = [turns.wait(1000), turns.wait(1000), turns.wait(1000)].map((wait) => wait ?? NaN);
    assert.deepEqual(waits.map(Math.round), [0, between, 2 * between].map(Math.round));
    const more = Array.from({ length: 1000 }, () => turns.wait(1000));
    const taken = more.filter((wait) => wait !== undefined);
    assert.ok(taken.every((wait) => wait <= API_MAX_WAIT));
    // No more than the share of the time until then, and the others are refused.
    assert.ok(Math.abs(taken.length + 3 - API_MAX_WAIT / between) <= 2, String(taken.length));
    assert.equal(more.at(-1), undefined);
    assert.equal(turns.wait(60_000), 0);
  });

  it('counts handshakes as what they cost', () => {
    const hosts = new Pace();
    hosts.add(COPY_YIELDS_TO, 1000);
    const turns = new Courtesy(hosts);
    assert.deepEqual([turns.wait(1000, API_HANDSHAKE_MS), turns.wait(1000)], [0, API_HANDSHAKE_MS / API_LOOP_SHARE]);
  });

  it('lets a handshake wait and refuses those of a crowd', async () => {
    const hosts = new Pace();
    const turns = new Courtesy(hosts);
    let [begun, refused] = [0, 0];
    const ends: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) {
      // Served all the time, however long this machine takes for it.
      hosts.add(1000 * COPY_YIELDS_TO, performance.now());
      const end = new Promise<void>((resolve) => {
        const shake = (): void => {
          begun++;
          resolve();
        };
        const refuse = (): void => {
          refused++;
          resolve();
        };
        handshakeInTurn(shake, refuse, turns);
      });
      if (i < 2) ends.push(end);
      if (i === 0) assert.equal(begun, 1, 'the first one at once');
      if (i === 1) assert.equal(begun, 1, 'the next one later');
    }
    assert.ok(refused > 100, String(refused));
    await Promise.all(ends);
    assert.ok(begun >= 2);
  });
});
