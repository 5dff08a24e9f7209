// Maps: what a copy of one shares with it, how it is kept, and that the size of a volume does not matter.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MAX_VOLUME } from '../../../core/base/limits.ts';
import { Allocator } from '../../../core/pool/allocator.ts';
import { extentsOf } from '../../../core/pool/extents.ts';
import { LEAF_GRAINS } from '../../../core/pool/format.ts';
import { Leaf, Leaves, VolumeMap } from '../../../core/pool/volume-map.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, countBlocks } from '../../../core/volume/grain.ts';
import type { Extent } from '../../../core/volume/volume.ts';

function fixture(): { allocator: Allocator; leaves: Leaves; map: VolumeMap } {
  const allocator = new Allocator(16 * LEAF_GRAINS);
  const leaves = new Leaves(allocator, 1);
  return { allocator, leaves, map: new VolumeMap(leaves, allocator) };
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
