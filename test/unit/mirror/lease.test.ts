import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BEACON_INTERVAL, LEASE_GRACE, LEASE_TIME, PEER_SILENCE } from '../../../core/base/limits.ts';
import { Leases } from '../../../core/mirror/lease.ts';
import type { BeaconThread } from '../../../core/mirror/lease.ts';
import { LinkMessage } from '../../../core/mirror/link/hello.ts';
import type { PeerReply } from '../../../core/mirror/link/peer-link.ts';
import type { NodeLink } from '../../../core/mirror/link/peers.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** A link whose beacons are answered when the test says so. */
class Wire {
  readonly node = 'peer';
  up = true;
  clock: unknown;
  readonly handlers = {
    beacon: new Map<number, (header: Buffer, data: Buffer) => Promise<unknown>>(),
    data: new Map(),
  };
  readonly asked: ((boot: string) => void)[] = [];
  resets = 0;
  readonly beacons = {
    up: true,
    request: (): Promise<PeerReply> =>
      new Promise((resolve) => {
        this.asked.push((boot) => {
          resolve({ header: Buffer.from(JSON.stringify({ boot })), data: Buffer.alloc(0) });
        });
      }),
    reset: (): void => {
      this.resets++;
    },
  };
  reset(): void {
    this.resets++;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Beacons of another thread; the test says what comes of them. */
class Thread implements BeaconThread {
  onAnswer: BeaconThread['onAnswer'] = () => undefined;
  lives = 0;
  readonly resets: string[] = [];
  add(): void {
    // There is one peer.
  }
  remove(): void {
    // For ever.
  }
  isUp(): boolean {
    return true;
  }
  reset(node: string): void {
    this.resets.push(node);
  }
  showLife(): void {
    this.lives++;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

function setup(thread?: Thread) {
  const clock = new ManualClock();
  clock.advance(1000);
  const wire = new Wire();
  const link = wire as unknown as NodeLink;
  const stalls: number[] = [];
  const leases = new Leases({
    clock,
    boot: 'me',
    links: () => [link],
    onStall: (milliseconds) => stalls.push(milliseconds),
    onBeat: () => undefined,
    thread,
  });
  leases.serve(link);
  leases.start();
  /** Answers the oldest beacon. */
  const answer = async (boot = 'boot-1'): Promise<void> => {
    wire.asked.shift()?.(boot);
    await turn();
  };
  const hear = (): Promise<unknown> => {
    const handler = wire.handlers.beacon.get(LinkMessage.beacon);
    assert.ok(handler);
    return handler(Buffer.from('{"clock":5}'), Buffer.alloc(0));
  };
  return { clock, wire, leases, answer, hear, stalls };
}

describe('leases', () => {
  test('a lease counts from when the beacon was sent, not from its answer', async () => {
    const { clock, leases, answer } = setup();
    assert.equal(leases.generation('peer'), 0);
    assert.equal(leases.isHeld('peer', 0), false);
    clock.advance(LEASE_TIME - 300);
    await answer();
    assert.ok(leases.isHeld('peer', 1));
    clock.advance(299);
    assert.ok(leases.isHeld('peer', 1));
    clock.advance(1);
    assert.equal(leases.isHeld('peer', 1), false);
  });

  test('an answer that comes after its lease has run out gives none', async () => {
    const { clock, leases, answer } = setup();
    clock.advance(LEASE_TIME);
    await answer();
    assert.equal(leases.isHeld('peer', leases.generation('peer')), false);
  });

  test('after a gap, and after a restart of the peer, it is another lease', async () => {
    const { clock, wire, leases, answer } = setup();
    await answer();
    clock.advance(BEACON_INTERVAL);
    await answer();
    assert.equal(leases.generation('peer'), 1);
    clock.advance(LEASE_TIME + BEACON_INTERVAL);
    wire.asked.splice(0, wire.asked.length - 1);
    await answer();
    assert.deepEqual([leases.generation('peer'), leases.isHeld('peer', 1), leases.isHeld('peer', 2)], [2, false, true]);
    clock.advance(BEACON_INTERVAL);
    await answer('boot-2');
    assert.equal(leases.generation('peer'), 3);
  });

  test('who has answered a beacon keeps off for longer than the lease lasts; so does who was just started', async () => {
    const { clock, leases, hear } = setup();
    clock.advance(LEASE_GRACE - 1);
    assert.equal(leases.isSilent('peer'), false);
    clock.advance(1);
    assert.equal(leases.isSilent('peer'), true);
    await hear();
    assert.equal(leases.untilSilent('peer'), LEASE_GRACE);
    clock.advance(LEASE_TIME);
    assert.equal(leases.isSilent('peer'), false);
    clock.advance(LEASE_GRACE - LEASE_TIME);
    assert.equal(leases.isSilent('peer'), true);
  });

  test('a connection on which no beacon is answered is broken, both kinds of it', () => {
    const { clock, wire } = setup();
    clock.advance(PEER_SILENCE);
    assert.equal(wire.resets, 0);
    clock.advance(2 * BEACON_INTERVAL);
    assert.equal(wire.resets, 2);
  });

  test('a node that did not run for longer than a lease is told', () => {
    const { clock, stalls } = setup();
    clock.advance(1000);
    assert.deepEqual(stalls, []);
    const stopped = clock.now.bind(clock);
    // The clock jumps while nothing that is due happens.
    clock.now = () => stopped() + 5000;
    clock.advance(BEACON_INTERVAL);
    assert.deepEqual(stalls, [5000 + BEACON_INTERVAL]);
  });

  test('after a standstill a peer has time to be heard before it counts as silent', () => {
    const { clock, wire } = setup();
    clock.advance(BEACON_INTERVAL);
    const stopped = clock.now.bind(clock);
    clock.now = () => stopped() + 3 * PEER_SILENCE;
    clock.advance(BEACON_INTERVAL);
    assert.equal(wire.resets, 0);
    clock.advance(PEER_SILENCE + BEACON_INTERVAL);
    assert.equal(wire.resets, 2);
  });

  test('with a thread for beacons this loop sends none, and takes the times of the thread', () => {
    const thread = new Thread();
    const { clock, wire, leases } = setup(thread);
    assert.equal(wire.asked.length, 0);
    const start = clock.now();
    const lives = thread.lives;
    clock.advance(2 * BEACON_INTERVAL);
    assert.equal(thread.lives, lives + 2);
    thread.onAnswer('peer', start, start + 1, 'boot-1');
    assert.ok(leases.isHeldAt('peer', 1, start + LEASE_TIME - 1));
    assert.equal(leases.isHeldAt('peer', 1, start + LEASE_TIME), false);
    // Told late, but heard in time: the lease has not been interrupted.
    clock.advance(LEASE_TIME);
    thread.onAnswer('peer', start + 1000, start + 1001, 'boot-1');
    thread.onAnswer('peer', start + 2000, start + 2001, 'boot-1');
    assert.ok(leases.isHeld('peer', 1));
    // It came when the one before had run out.
    thread.onAnswer('peer', start + 2500, start + 2000 + LEASE_TIME, 'boot-1');
    assert.deepEqual([leases.isHeld('peer', 1), leases.generation('peer')], [false, 2]);
    thread.resets.length = 0;
    clock.advance(PEER_SILENCE + 2 * BEACON_INTERVAL);
    assert.deepEqual(thread.resets, ['peer']);
    assert.equal(wire.asked.length, 0);
  });
});
