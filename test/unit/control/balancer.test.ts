import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  BALANCE_INTERVAL,
  BALANCE_LEAST,
  BALANCE_LOOKS,
  BALANCE_REST,
  BALANCE_SETTLE,
} from '../../../core/base/limits.ts';
import { Balancer, LoadMeter, ownerForNew } from '../../../core/control/balance/balancer.ts';
import type { Move, OwnedVolume } from '../../../core/control/balance/balancer.ts';

const HEAVY = BALANCE_LEAST * 10;

interface Disk {
  readonly name: string;
  load: number;
  preferred: string;
  owner: string;
  pinned?: boolean;
  since: number;
  heldUntil?: number;
}

/** Nodes with balancers of their own, and disks that move when one of them says so, on a clock that is turned by hand. */
class Cluster {
  now = BALANCE_REST * 2;
  readonly moves: (Move & { from: string })[] = [];
  readonly #balancers = new Map<string, Balancer>();
  /** Since when a node has everything. */
  readonly present = new Map<string, number>();
  readonly disks: Disk[];

  constructor(nodes: readonly string[], disks: readonly Omit<Disk, 'since'>[]) {
    this.disks = disks.map((each) => ({ ...each, since: 0 }));
    for (const each of nodes) {
      this.#balancers.set(each, new Balancer());
      this.present.set(each, 0);
    }
  }

  /** What the nodes carry. */
  load(node: string): number {
    return this.disks.reduce((sum, { owner, load }) => sum + (owner === node ? load : 0), 0);
  }

  look(times = 1): void {
    for (let i = 0; i < times; i++) {
      this.now += BALANCE_INTERVAL;
      for (const [node, balancer] of this.#balancers) if (this.present.has(node)) this.#look(node, balancer);
    }
  }

  #look(node: string, balancer: Balancer): void {
    const volumes = this.disks.filter(({ owner }) => owner === node).map((disk) => this.#owned(disk));
    const others = [...this.present.keys()].filter((each) => each !== node);
    const move = balancer.decide({
      ...{ now: this.now, self: node, volumes },
      others: new Map(others.map((each) => [each, this.load(each)])),
    });
    if (move === undefined) return;
    this.moves.push({ ...move, from: node });
    const disk = this.disks.find(({ name }) => name === move.volume);
    assert.ok(disk);
    disk.owner = move.to;
    disk.since = this.now;
    if (move.why === 'load') disk.preferred = move.to;
  }

  #owned({ name, load, preferred, owner, pinned = false, since, heldUntil = 0 }: Disk): OwnedVolume {
    const heirs = new Map([...this.present].filter(([node]) => node !== owner));
    return { name, load, preferred, pinned, since, heldUntil, heirs };
  }
}

const disk = (name: string, load: number, owner = 'a', more: Partial<Disk> = {}): Omit<Disk, 'since'> => ({
  ...{ name, load, owner, preferred: owner },
  ...more,
});

describe('ownership is balanced', () => {
  test('a node that carries much more gives away what makes both equal, one volume at a time, and then nothing', () => {
    const cluster = new Cluster(['a', 'b'], [disk('x', HEAVY), disk('y', HEAVY), disk('z', HEAVY / 8)]);
    cluster.look(BALANCE_LOOKS - 1);
    assert.deepEqual(cluster.moves, [], 'not before the difference has lasted');
    cluster.look();
    assert.deepEqual(cluster.moves, [{ volume: 'x', to: 'b', why: 'load', from: 'a' }]);
    cluster.look(500);
    assert.equal(cluster.moves.length, 1, 'nothing swings back and forth');
  });

  test('a difference that comes and goes moves nothing', () => {
    const cluster = new Cluster(['a', 'b'], [disk('x', HEAVY), disk('y', HEAVY)]);
    for (let i = 0; i < 50; i++) {
      for (const each of cluster.disks) each.load = i % BALANCE_LOOKS === 0 ? 1 : HEAVY;
      cluster.look();
    }
    assert.deepEqual(cluster.moves, []);
  });

  test('one volume that is all the load stays: the other node would only be the heavy one then', () => {
    const cluster = new Cluster(['a', 'b'], [disk('x', HEAVY), disk('idle', 0)]);
    cluster.look(100);
    assert.deepEqual(cluster.moves, []);
  });

  test('little load is no reason, whatever the ratio', () => {
    const cluster = new Cluster(['a', 'b'], [disk('x', BALANCE_LEAST / 3), disk('y', BALANCE_LEAST / 3)]);
    cluster.look(100);
    assert.deepEqual(cluster.moves, []);
  });

  test('pinned volumes stay, and what a person has moved stays for a while', () => {
    const held = { heldUntil: BALANCE_REST * 4 };
    const cluster = new Cluster(['a', 'b'], [disk('x', HEAVY, 'a', { pinned: true }), disk('y', HEAVY, 'a', held)]);
    while (cluster.now < BALANCE_REST * 4 - BALANCE_INTERVAL) cluster.look();
    assert.deepEqual(cluster.moves, []);
    cluster.look(BALANCE_LOOKS + 1);
    assert.deepEqual(
      cluster.moves.map(({ volume }) => volume),
      ['y'],
    );
  });

  test('a volume that has moved stays for a while, whatever happens to the load', () => {
    const cluster = new Cluster(['a', 'b'], [disk('x', HEAVY), disk('y', HEAVY)]);
    cluster.look(BALANCE_LOOKS);
    assert.equal(cluster.moves.length, 1);
    const moved = cluster.disks.find(({ owner }) => owner === 'b');
    assert.ok(moved);
    cluster.disks.push({ ...disk('w', HEAVY * 4, 'b'), since: 0, pinned: true });
    const since = cluster.now;
    const moves = (): number => cluster.moves.length;
    while (moves() === 1 && cluster.now < since + BALANCE_REST * 2) cluster.look();
    assert.ok(cluster.now - since >= BALANCE_REST, `after ${cluster.now - since} ms`);
  });

  test('what another node should serve goes back when that has had everything for a while, one after the other', () => {
    const cluster = new Cluster(
      ['a', 'b'],
      [disk('x', 0, 'a'), disk('y', 0, 'a'), disk('z', 0, 'a', { pinned: true })],
    );
    for (const each of cluster.disks) each.preferred = 'b';
    cluster.present.delete('b');
    cluster.look(50);
    assert.deepEqual(cluster.moves, []);
    cluster.present.set('b', cluster.now);
    const back = cluster.now;
    while (cluster.moves.length === 0) cluster.look();
    assert.ok(cluster.now - back >= BALANCE_SETTLE);
    cluster.look();
    assert.deepEqual(
      cluster.moves.map(({ volume }) => volume),
      ['x', 'y'],
    );
    cluster.look(50);
    assert.equal(cluster.moves.length, 3);
    assert.ok(cluster.disks.every(({ owner }) => owner === 'b'));
  });

  test('three nodes: the least loaded one gets it, and it comes to rest', () => {
    const disks = Array.from({ length: 12 }, (_, i) => disk(`d${i}`, HEAVY));
    const cluster = new Cluster(['a', 'b', 'c'], [...disks, disk('e', HEAVY, 'b')]);
    cluster.look(500);
    const loads = ['a', 'b', 'c'].map((node) => cluster.load(node) / HEAVY);
    assert.equal(cluster.moves[0]?.to, 'c');
    assert.ok(Math.max(...loads) <= 2 * Math.min(...loads) + 1, loads.join());
    const { length } = cluster.moves;
    cluster.look(500);
    assert.equal(cluster.moves.length, length);
  });
});

test('new volumes alternate, by number first and by load then', () => {
  const counts = new Map<string, number>();
  const chosen = Array.from({ length: 4 }, () => {
    const node = ownerForNew(['a', 'b'], counts, new Map([['a', 5]]));
    counts.set(node, (counts.get(node) ?? 0) + 1);
    return node;
  });
  assert.deepEqual(chosen, ['b', 'a', 'b', 'a']);
  assert.equal(ownerForNew(['a', 'b'], new Map(), new Map()), 'a', 'the first, where nothing speaks against it');
});

test('a load follows its counter slowly, and a counter that begins anew is no load', () => {
  const meter = new LoadMeter();
  assert.equal(meter.measure('v', 1_000_000, 0), 0, 'what was before is not known');
  const first = meter.measure('v', 1_001_000, 1_000);
  assert.ok(first > 0 && first < 1_000, String(first));
  let last = first;
  for (let i = 2; i < 40; i++) last = meter.measure('v', 1_000_000 + i * 1_000, i * 1_000);
  assert.ok(Math.abs(last - 1_000) < 1, String(last));
  assert.equal(meter.measure('v', 5, 41_000), last);
  meter.keep(new Set());
  assert.equal(meter.measure('v', 10, 42_000), 0);
});
