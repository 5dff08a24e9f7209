import assert from 'node:assert/strict';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { BEACON_INTERVAL } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import type { Log } from '../../../core/base/log.ts';
import { NodeBeacons } from '../../../core/daemon/cluster/beacon-thread.ts';
import type { BeaconCount } from '../../support/beacon-peer.ts';
import { until } from '../../support/until.ts';

describe('the thread that sends beacons', { timeout: 60_000 }, () => {
  const count: BeaconCount = new Int32Array(new SharedArrayBuffer(4));
  /** Nothing is ever stored there: waiting for it stops this thread, its event loop and all. */
  const never = new Int32Array(new SharedArrayBuffer(4));
  const standStill = (ms: number): void => {
    Atomics.wait(never, 0, 0, ms);
  };
  const lifetime = 8 * BEACON_INTERVAL;
  let peer: Worker;
  let beacons: NodeBeacons;
  const broken: unknown[] = [];
  const log: Log = { ...silentLog, warn: (fields) => broken.push(fields['reason']) };
  const answers: { sentAt: number; at: number; boot: unknown }[] = [];

  before(async () => {
    peer = new Worker(new URL('../../support/beacon-peer.js', import.meta.url), { workerData: count });
    const [port] = (await once(peer, 'message')) as [number];
    beacons = new NodeBeacons({ cluster: 'c', node: 'me', boot: 'mine', tls: undefined, log, lifetime });
    beacons.onAnswer = (_, sentAt, at, boot) => answers.push({ sentAt, at, boot });
    beacons.add({ node: 'peer', host: '127.0.0.1', port });
  });
  after(async () => {
    await beacons.close();
    await peer.terminate();
  });

  test('they are answered, and told in the clock of the loop that serves', async () => {
    const start = performance.now();
    await until(() => {
      beacons.showLife();
      return beacons.isUp('peer') && answers.some(({ sentAt }) => sentAt > start);
    });
    const last = answers.at(-1);
    assert.ok(last !== undefined && last.sentAt <= last.at && last.at <= performance.now());
    assert.equal(last.boot, 'boot-1');
  });

  test('a loop that stands still goes on being spoken for, but not for ever', () => {
    beacons.showLife();
    const before = Atomics.load(count, 0);
    standStill(lifetime / 2);
    const during = Atomics.load(count, 0);
    assert.ok(during > before, 'beacons while the loop stands still');
    // Far beyond its life: what was sent last has arrived, and nothing more is sent.
    standStill(lifetime);
    const over = Atomics.load(count, 0);
    standStill(4 * BEACON_INTERVAL);
    assert.equal(Atomics.load(count, 0), over, 'beacons for a loop that shows no life');
  });

  test('when the loop lives again they go on', async () => {
    const before = Atomics.load(count, 0);
    await until(() => {
      beacons.showLife();
      return Atomics.load(count, 0) > before;
    });
  });

  test('a connection that is reset is made anew', async () => {
    await until(() => beacons.isUp('peer'));
    beacons.reset('peer', 'no answer');
    await until(() => broken.includes('no answer'));
    await until(() => beacons.isUp('peer'));
  });
});
