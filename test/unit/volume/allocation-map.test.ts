import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AllocationMap, GRAIN } from '../../../core/volume/allocation-map.ts';
import type { Extent } from '../../../core/volume/volume.ts';

/** One flag per block. */
class Model {
  blocks: boolean[];
  readonly blockSize: number;

  constructor(size: number, blockSize: number, full: boolean) {
    this.blockSize = blockSize;
    this.blocks = new Array<boolean>(size / blockSize).fill(full);
  }

  mark(first: number, count: number, mapped: boolean): void {
    this.blocks.fill(mapped, first, first + count);
  }

  resize(count: number): void {
    this.blocks = Array.from({ length: count }, (_, i) => this.blocks[i] ?? false);
  }

  extents(first: number, count: number, limit: number): Extent[] {
    const out: { position: number; length: number; mapped: boolean }[] = [];
    for (let i = first; i < Math.min(first + count, this.blocks.length); i++) {
      const mapped = this.blocks[i]!;
      const last = out.at(-1);
      if (last?.mapped === mapped) last.length += this.blockSize;
      else if (out.length === limit) break;
      else out.push({ position: i * this.blockSize, length: this.blockSize, mapped });
    }
    return out;
  }
}

function check(map: AllocationMap, model: Model, size: number): void {
  const { blockSize } = map;
  const blocks = size / blockSize;
  assert.deepEqual(map.extents(0, size, 1e6), model.extents(0, blocks, 1e6));
  assert.equal(map.mappedBytes, model.blocks.filter((mapped) => mapped).length * blockSize);
}

const MAX_BLOCKS = (5 * GRAIN) / 4096;
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('mark'), fc.nat(MAX_BLOCKS), fc.integer({ min: 1, max: 40 })) },
    { weight: 6, arbitrary: fc.tuple(fc.constant('clear'), fc.nat(MAX_BLOCKS), fc.integer({ min: 1, max: 40 })) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('resize'), fc.integer({ min: 1, max: MAX_BLOCKS }), fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('reload'), fc.constant(0), fc.constant(0)) },
  ),
  { maxLength: 40 },
);

describe('allocation map', () => {
  test('agrees with one flag per block over any sequence of marks, resizes and reloads', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.integer({ min: 1, max: MAX_BLOCKS }), steps, (full, startBlocks, sequence) => {
        const blockSize = 4096;
        let size = startBlocks * blockSize;
        let map = new AllocationMap(size, blockSize, full);
        const model = new Model(size, blockSize, full);
        for (const [kind, a, b] of sequence) {
          const blocks = size / blockSize;
          const first = a % blocks;
          const count = Math.min(b, blocks - first);
          if (kind === 'mark' || kind === 'clear') {
            map.mark(first * blockSize, count * blockSize, kind === 'mark');
            model.mark(first, count, kind === 'mark');
            const part = model.blocks.slice(first, first + 7);
            const length = part.length * blockSize;
            assert.equal(
              map.allMapped(first * blockSize, length),
              part.every((mapped) => mapped),
            );
            assert.equal(map.noneMapped(first * blockSize, length), !part.includes(true));
            assert.deepEqual(map.extents(first * blockSize, length, 2), model.extents(first, part.length, 2));
          } else if (kind === 'resize') {
            size = a * blockSize;
            map.resize(size);
            model.resize(a);
          } else {
            const copy = new AllocationMap(size, blockSize);
            assert.equal(copy.decode(map.encode()), true);
            map = copy;
          }
          check(map, model, size);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('512-byte blocks: a grain is mixed, whole and mixed again', () => {
    const map = new AllocationMap(4 * GRAIN, 512);
    const model = new Model(4 * GRAIN, 512, false);
    for (const [first, count, mapped] of [
      [3, 5, true],
      [128, 128, true],
      [200, 1, false],
      [0, 512, true],
      [511, 1, false],
      [1, 510, false],
    ] as const) {
      map.mark(first * 512, count * 512, mapped);
      model.mark(first, count, mapped);
      check(map, model, 4 * GRAIN);
    }
  });

  test('chunks of 256 MiB: whole ones, parts, growth from the middle of one, and reload', () => {
    const MIB = 1_048_576;
    const map = new AllocationMap(1000 * MIB, 512, true);
    map.mark(256 * MIB, 512 * MIB, false);
    map.mark(300 * MIB, 512, true);
    const expected = [
      { position: 0, length: 256 * MIB, mapped: true },
      { position: 256 * MIB, length: 44 * MIB, mapped: false },
      { position: 300 * MIB, length: 512, mapped: true },
      { position: 300 * MIB + 512, length: 468 * MIB - 512, mapped: false },
      { position: 768 * MIB, length: 232 * MIB, mapped: true },
    ];
    assert.deepEqual(map.extents(0, 1000 * MIB, 100), expected);
    map.resize(1200 * MIB + 512);
    assert.deepEqual(map.extents(900 * MIB, 1000 * MIB, 100), [
      { position: 900 * MIB, length: 100 * MIB, mapped: true },
      { position: 1000 * MIB, length: 200 * MIB + 512, mapped: false },
    ]);
    assert.equal(map.mappedBytes, 488 * MIB + 512);
    const copy = new AllocationMap(1200 * MIB + 512, 512);
    assert.equal(copy.decode(map.encode()), true);
    assert.deepEqual(copy.extents(0, 2000 * MIB, 100), map.extents(0, 2000 * MIB, 100));
    copy.mark(256 * MIB, 256 * MIB, true);
    assert.equal(copy.allMapped(0, 512 * MIB), true);
    assert.equal(copy.allMapped(0, 512 * MIB + 512), false);
  });

  test('the largest volume costs next to nothing while it is empty, and questions about it are quick', () => {
    const size = 70_368_744_177_664;
    const map = new AllocationMap(size, 512);
    map.mark(size - 512, 512, true);
    assert.equal(map.noneMapped(0, size - 512), true);
    assert.equal(map.extents(0, size, 10).length, 2);
    assert.ok(map.encode().length < 300_000);
  });

  test('bytes that do not fit are refused and change nothing', () => {
    const map = new AllocationMap(2 * GRAIN, 512);
    map.mark(512, 512, true);
    const good = map.encode();
    const before = map.extents(0, 2 * GRAIN, 100);
    for (let cut = 0; cut < good.length; cut++) assert.equal(map.decode(good.subarray(0, cut)), false, `cut at ${cut}`);
    assert.equal(map.decode(Buffer.concat([good, Buffer.alloc(20)])), false);
    const strange = Buffer.from(good);
    strange[0] = 7;
    assert.equal(map.decode(strange), false);
    assert.deepEqual(map.extents(0, 2 * GRAIN, 100), before);
  });
});
