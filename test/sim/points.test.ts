// Snapshots of a mirrored volume, step by step, on the machines of the simulator.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newRecord, recordKey } from '../../core/mirror/config-record.ts';
import { fetchPoint } from '../../core/mirror/points.ts';
import { takePoints } from '../../core/mirror/snapshot.ts';
import { Durability } from '../../core/volume/volume.ts';
import { BLOCK } from './copy-volume.ts';
import { fill, valueOf } from './host.ts';
import { Machine, OTHER, VOLUME } from './machine.ts';
import type { Site } from './machine.ts';
import { Network } from './net.ts';
import { Chance } from './random.ts';
import { CentralStore } from './store.ts';
import { VirtualTime } from './virtual-time.ts';

const REGION = 65_536;
const SIZE = 64 * REGION;
/** Blocks of a region. */
const APART = REGION / BLOCK;
const PATIENCE = 60_000;

class Pair {
  readonly time = new VirtualTime();
  readonly a: Machine;
  readonly b: Machine;
  readonly store: CentralStore;
  readonly network: Network;

  private constructor(seed: number) {
    const chance = new Chance(seed);
    const store = (this.store = new CentralStore(this.time, chance));
    const network = (this.network = new Network(this.time, chance));
    const names = ['a', 'b'];
    const shared = { time: this.time, chance, network, store, names, size: SIZE, volumes: [VOLUME, OTHER] };
    const site: Site = { ...shared, durability: Durability.durable, flaw: undefined };
    store.commit([{ key: recordKey(VOLUME), value: { ...newRecord(names, 'a') } }], []);
    // Only one node has a copy of this one.
    store.commit([{ key: recordKey(OTHER), value: { ...newRecord(['a'], 'a') } }], []);
    this.a = new Machine('a', site);
    this.b = new Machine('b', site);
  }

  /** Two nodes in step; `a` owns the volume. */
  static async make(seed: number): Promise<Pair> {
    const pair = new Pair(seed);
    pair.a.start();
    pair.b.start();
    await pair.until(() => pair.inSync === 2);
    return pair;
  }

  get inSync(): number {
    const { node } = this.a;
    const ownership = node?.ownership(VOLUME);
    return ownership?.role === 'owner' ? ownership.inSync.length : 0;
  }

  async until(isSo: () => boolean): Promise<void> {
    await this.time.run(this.time.now + PATIENCE, isSo);
    assert.ok(isSo(), 'not in time');
  }

  /** What `work` gives, as the machine does it. */
  async at<T>(machine: Machine, work: () => Promise<T>): Promise<T> {
    let outcome: { value: T } | { error: Error } | undefined;
    machine.boot?.arrive(() => {
      work().then(
        (value) => (outcome = { value }),
        (error: unknown) => (outcome = { error: error instanceof Error ? error : new Error(String(error)) }),
      );
    });
    await this.until(() => outcome !== undefined);
    if (outcome !== undefined && 'error' in outcome) throw outcome.error;
    return (outcome as unknown as { value: T }).value;
  }

  async write(block: number, value: number): Promise<void> {
    const data = Buffer.alloc(BLOCK);
    fill(data, 0, value);
    await this.at(this.a, () => this.volume.write(block * BLOCK, data, 0, BLOCK, true));
  }

  take(id: string, machine = this.a): Promise<string[][]> {
    const { volume } = machine;
    if (volume === undefined) throw new Error('it is off');
    return this.at(machine, () => takePoints([{ volume, id }], 1));
  }

  get volume(): NonNullable<Machine['volume']> {
    const { volume } = this.a;
    if (volume === undefined) throw new Error('a is off');
    return volume;
  }
}

const held = (blocks: ReadonlyMap<number, Buffer> | undefined, block: number): number | undefined => {
  const found = blocks?.get(block);
  return found === undefined ? undefined : valueOf(found, 0);
};

describe('snapshots of a mirrored volume', () => {
  test('both nodes have them, and the volume is rolled back at both', async () => {
    const pair = await Pair.make(1);
    await pair.write(0, 7);
    await pair.write(3 * APART, 8);
    assert.deepEqual(await pair.take('s'), [[]]);
    await pair.write(0, 9);
    await pair.write(5 * APART, 10);
    for (const each of [pair.a, pair.b]) {
      assert.equal(held(each.points.get('s'), 0), 7);
      assert.equal(held(each.blocks, 0), 9);
    }
    await pair.at(pair.a, () => pair.volume.rollback('s'));
    for (const { blocks } of [pair.a, pair.b]) {
      assert.deepEqual([held(blocks, 0), held(blocks, 3 * APART), held(blocks, 5 * APART)], [7, 8, undefined]);
    }
    assert.equal(pair.inSync, 2);
    await assert.rejects(
      pair.at(pair.a, () => pair.volume.rollback('none')),
      /does not have the snapshot/,
    );
  });

  test('a node that was away gets what is different of them, and nothing else', async () => {
    const pair = await Pair.make(2);
    for (let region = 0; region < 16; region++) await pair.write(region * APART, region + 1);
    pair.b.crash();
    await pair.write(2 * APART, 100);
    assert.deepEqual(await pair.take('s'), [['b']]);
    await pair.write(5 * APART, 101);
    pair.b.start();
    await pair.until(() => pair.inSync === 2);
    const points = pair.b.volume?.steward.options.points;
    const [link] = pair.b.node?.peers.all() ?? [];
    const clock = pair.b.boot?.clock();
    assert.ok(points !== undefined && link !== undefined && clock !== undefined);
    assert.equal(points.has('s'), false);
    const wanted = { volume: VOLUME, id: 's', size: SIZE, created: 1 };
    // It has what b has now but for what was written since.
    const moved = await pair.at(pair.b, () => fetchPoint(link, points, wanted, clock));
    assert.equal(moved, REGION);
    for (let region = 0; region < 16; region++) {
      assert.equal(held(pair.b.points.get('s'), region * APART), region === 2 ? 100 : region + 1);
    }
    await assert.rejects(
      pair.at(pair.b, () => fetchPoint(link, points, { ...wanted, id: 'none' }, clock)),
      /does not have the snapshot/,
    );
  });

  test('a replica that lacks the snapshot is left out of a roll-back, and comes back with all of it', async () => {
    const pair = await Pair.make(3);
    await pair.write(0, 1);
    pair.b.crash();
    assert.deepEqual(await pair.take('s'), [['b']]);
    await pair.write(0, 2);
    pair.b.start();
    await pair.until(() => pair.inSync === 2);
    await pair.at(pair.a, () => pair.volume.rollback('s'));
    assert.equal(pair.inSync, 1, 'acknowledged without it');
    await pair.until(() => pair.inSync === 2);
    assert.deepEqual([held(pair.a.blocks, 0), held(pair.b.blocks, 0)], [1, 1]);
  });

  test('an owner that others take for dead takes none', async () => {
    const pair = await Pair.make(4);
    await pair.write(0, 1);
    const { boot } = pair.a;
    boot?.pause();
    await pair.until(() => pair.b.node?.ownership(VOLUME)?.role === 'owner');
    boot?.resume();
    await assert.rejects(pair.take('s'));
    assert.deepEqual(await pair.take('t', pair.b), [['a']]);
  });

  test('what is copied to another volume is what its source is, not what a node has that has lost it', async () => {
    const pair = await Pair.make(5);
    const target = pair.a.volumes.get(OTHER);
    assert.ok(target !== undefined);
    const copy = (to: number): Promise<boolean> =>
      pair.at(pair.a, () => target.shareFrom(pair.volume, 0, to * BLOCK, BLOCK));
    await pair.write(0, 7);
    await pair.until(() => target.ownership.role === 'owner' && pair.volume.steward.term?.mayServe === true);
    assert.equal(await copy(1), true);
    assert.equal(held(pair.a.on(OTHER).blocks, 1), 7);
    pair.store.cut('a');
    pair.network.cut('a', 'b');
    pair.network.cut('b', 'a');
    await pair.until(() => pair.b.node?.ownership(VOLUME)?.role === 'owner');
    // It does not know yet that the volume is another node's, and is alone with the target.
    assert.deepEqual([pair.volume.ownership.role, target.ownership.role], ['owner', 'owner']);
    assert.equal(await copy(2), false);
  });
});
