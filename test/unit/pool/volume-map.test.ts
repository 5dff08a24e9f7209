// Maps: what a copy of one shares with it, how it is kept, and that the size of a volume does not matter.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MAX_VOLUME } from '../../../core/base/limits.ts';
import { Allocator } from '../../../core/pool/allocator.ts';
import { extentsOf } from '../../../core/pool/extents.ts';
import { LEAF_GRAINS } from '../../../core/pool/format.ts';
import { Places } from '../../../core/pool/places.ts';
import { Leaf, Leaves, VolumeMap } from '../../../core/pool/volume-map.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, countBlocks } from '../../../core/volume/grain.ts';
import type { Extent } from '../../../core/volume/volume.ts';

function fixture(): { allocator: Allocator; leaves: Leaves; map: VolumeMap } {
  const allocator = new Allocator(16 * LEAF_GRAINS);
  const leaves = new Leaves(allocator, 1);
  return { allocator, leaves, map: new VolumeMap(leaves, allocator) };
}

interface Step {
  readonly kind: 'write' | 'copy' | 'clear' | 'share' | 'drop' | 'hold' | 'watch';
  readonly first?: number;
  readonly count?: number;
  readonly from?: number;
  readonly valid?: number;
}

/** How a map is changed. */
interface Ways {
  /** `taken`: the references to the places are in hand. */
  readonly put: (map: VolumeMap, first: number, places: Places, allocator: Allocator, taken: boolean) => void;
  readonly clear: (map: VolumeMap, first: number, end: number) => void;
}

const ALL_AT_ONCE: Ways = {
  put: (map, first, places, allocator, taken) => {
    if (!taken) allocator.passAll(places.places);
    map.setAll(first, places);
  },
  clear: (map, first, end) => {
    map.clear(first, end);
  },
};

const ONE_BY_ONE: Ways = {
  put: (map, first, { places, valid }, allocator, taken) => {
    for (const place of places) if (place !== 0 && !taken) allocator.pass(place - 1);
    places.forEach((place, i) => {
      const before = map.place(first + i);
      map.set(first + i, place, valid[i] as number);
      if (before === place && place !== 0) allocator.letGo(place - 1);
    });
  },
  clear: (map, first, end) => {
    for (let grain = first; grain < end; grain++) map.set(grain, 0, 0);
  },
};

/** What the steps make of a map, and of copies of it. */
function carryOut(steps: readonly Step[], grains: number, ways: Ways): { allocator: Allocator; maps: VolumeMap[] } {
  const allocator = new Allocator(16 * LEAF_GRAINS);
  const leaves = new Leaves(allocator, 1);
  const maps = [new VolumeMap(leaves, allocator)];
  for (const { kind, first = 0, count = 0, from = 0, valid = 0 } of steps) {
    const map = maps.at(-1) as VolumeMap;
    const length = Math.min(count, grains - first, grains - from);
    const place = map.place(first);
    if (kind === 'share') maps.push(map.share());
    else if (kind === 'drop') maps[0]?.dropLeaves(1, 2);
    else if (kind === 'watch') allocator.watch();
    else if (kind === 'hold' && place !== 0) allocator.hold(place - 1);
    else if (kind === 'clear') ways.clear(map, first, first + length);
    else if (kind === 'copy') ways.put(map, first, map.read(from, length), allocator, false);
    else if (kind === 'write') {
      const places = new Places(length);
      for (let i = 0; i < length; i++) places.put(i, allocator.allocate(false) + 1, valid);
      ways.put(map, first, places, allocator, true);
    }
  }
  return { allocator, maps };
}

describe('a map', () => {
  test('a copy has the blocks of its source, and keeps them when the source changes', () => {
    const { allocator, map } = fixture();
    map.set(3, allocator.allocate(false) + 1, 0b101);
    map.set(LEAF_GRAINS, allocator.allocate(false) + 1, ALL_BLOCKS);
    const copy = map.share();
    assert.equal(copy.blocks, 18);
    map.set(3, allocator.allocate(false) + 1, 0b1);
    assert.deepEqual([map.blocks, copy.blocks], [17, 18]);
    assert.deepEqual([map.place(3), copy.place(3)], [3, 1]);
    copy.dropLeaves(0, copy.leaves.length);
    assert.equal(copy.blocks, 0);
    assert.deepEqual([allocator.refs(0), allocator.refs(1), allocator.refs(2)], [0, 1, 1]);
  });

  test('the largest volume can be copied and rolled back', () => {
    const { allocator, map } = fixture();
    map.set(MAX_VOLUME / GRAIN - 1, allocator.allocate(false) + 1, 1);
    const copy = map.share();
    map.dropLeaves(0, map.leaves.length);
    map.take(copy);
    assert.equal(map.place(MAX_VOLUME / GRAIN - 1), 1);
  });

  test('a leaf is what it was after it has been kept', () => {
    const leaf = new Leaf(7);
    assert.equal(leaf.put(0, 0x01020304, ALL_BLOCKS), 16);
    assert.equal(leaf.put(0, 0x01020304, 0b110), -14);
    leaf.put(LEAF_GRAINS - 1, 0xfffffffe, 0x8001);
    const kept = leaf.encode();
    assert.equal(kept.readUInt32BE(0), 0x01020304);
    assert.equal(kept.readUInt16BE(LEAF_GRAINS * 4), 0b110);
    const again = Leaf.decode(7, kept);
    assert.deepEqual([again.places, again.valid, again.blocks], [leaf.places, leaf.valid, 4]);
    assert.throws(() => Leaf.decode(7, kept.subarray(1)), RangeError);
  });

  test('extents are runs of blocks alike, whatever the grains hold', () => {
    const grains = 3 * LEAF_GRAINS;
    const kind = fc.constantFrom(ALL_BLOCKS, ALL_BLOCKS, 0, 0b110, 0x8001);
    const run = fc.tuple(fc.integer({ min: 0, max: grains - 1 }), fc.integer({ min: 1, max: LEAF_GRAINS }), kind);
    const shape = fc.record({
      runs: fc.array(run, { maxLength: 5 }),
      from: fc.nat(grains * BLOCKS - 1),
      count: fc.integer({ min: 1, max: grains * BLOCKS }),
      limit: fc.integer({ min: 1, max: 5 }),
      thick: fc.boolean(),
    });
    fc.assert(
      fc.property(shape, ({ runs, from, count, limit, thick }) => {
        const { allocator, map } = fixture();
        const blocks = new Uint8Array(grains * BLOCKS).fill(thick ? 1 : 0);
        for (const [first, length, valid] of runs) {
          for (let grain = first; grain < Math.min(grains, first + length); grain++) {
            map.set(grain, valid === 0 ? 0 : allocator.allocate(false) + 1, valid);
            for (let i = 0; i < BLOCKS; i++) blocks[grain * BLOCKS + i] = thick || (valid >> i) & 1 ? 1 : 0;
          }
        }
        const end = Math.min(from + count, blocks.length);
        const wanted: Extent[] = [];
        for (let at = from, next = at; at < end && wanted.length < limit; at = next) {
          while (next < end && blocks[next] === blocks[at]) next++;
          wanted.push({ position: at * BLOCK, length: (next - at) * BLOCK, mapped: blocks[at] === 1 });
        }
        assert.deepEqual(extentsOf(map, thick, from * BLOCK, end * BLOCK, limit), wanted);
      }),
      { numRuns: 60 },
    );
  });

  test('many grains at once are the same as one after the other', () => {
    const grains = 2 * LEAF_GRAINS + 100;
    const range = { first: fc.nat(grains - 1), count: fc.integer({ min: 1, max: LEAF_GRAINS + 200 }) };
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), ...range, valid: fc.constantFrom(ALL_BLOCKS, 0b110, 0) }),
      fc.record({ kind: fc.constantFrom('copy' as const, 'clear' as const), ...range, from: fc.nat(grains - 1) }),
      fc.record({
        kind: fc.constantFrom('share' as const, 'drop' as const, 'hold' as const, 'watch' as const),
        ...range,
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 12 }), (steps) => {
        const [many, one] = [carryOut(steps, grains, ALL_AT_ONCE), carryOut(steps, grains, ONE_BY_ONE)];
        const facts = ({ allocator, maps }: typeof many): unknown => {
          const inPlace = (map: VolumeMap, grain: number): boolean =>
            map.place(grain) !== 0 && map.ownsLeaf(grain) && allocator.alone(map.place(grain) - 1);
          const each = Array.from({ length: grains }, (_, grain) => grain);
          const all = Array.from({ length: allocator.total }, (_, grain) => grain);
          return {
            places: maps.map((map) => each.map((grain) => map.place(grain))),
            valid: maps.map((map) => each.map((grain) => map.valid(grain))),
            inPlace: maps.map((map) => each.map((grain) => inPlace(map, grain))),
            blocks: maps.map((map) => map.blocks),
            counted: maps.map((map) => map.placed(10, grains - 7)),
            refs: all.map((grain) => allocator.refs(grain)),
            inHand: all.map((grain) => allocator.inHand(grain)),
            quarantined: allocator.quarantined,
          };
        };
        assert.deepEqual(facts(many), facts(one));
      }),
      { numRuns: 40 },
    );
  });

  test('blocks of a mask', () => {
    for (let mask = 0; mask <= ALL_BLOCKS; mask++) {
      const bits = mask.toString(2).replaceAll('0', '').length;
      if (countBlocks(mask) !== bits) assert.fail(`${String(mask)} has ${String(bits)} blocks`);
    }
  });
});

describe('counts of references', () => {
  test('beyond what the table holds, and back', () => {
    const { allocator } = fixture();
    const grain = allocator.allocate(false);
    for (let count = 2; count <= 600; count++) {
      allocator.retain(grain);
      assert.equal(allocator.refs(grain), count);
    }
    for (let count = 599; count >= 0; count--) {
      allocator.release(grain);
      assert.equal(allocator.refs(grain), count);
    }
    assert.equal(allocator.quarantined, 1);
    assert.throws(() => {
      allocator.release(grain);
    }, RangeError);
  });
});
