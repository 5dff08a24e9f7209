// The parts a pool is made of against plain models of them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open } from 'lmdb';
import fc from 'fast-check';
import { silentLog } from '../../core/base/log.ts';
import { createPool, openPool } from '../../core/pool/open.ts';
import type { PoolPlace } from '../../core/pool/open.ts';
import { Allocator } from '../../core/pool/allocator.ts';
import { FolderFiles } from '../../core/pool/pool-files.ts';
import { LmdbMeta } from '../../core/pool/pool-meta.ts';
import { Places } from '../../core/pool/places.ts';
import { Batch, decodeBatch, isWhole, peekHeader } from '../../core/pool/record.ts';
import type { JournalRecord } from '../../core/pool/record.ts';
import { Leaf, Leaves, VolumeMap } from '../../core/pool/volume-map.ts';
import { countBlocks } from '../../core/volume/grain.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { temporaryFolder } from '../support/cleanup.ts';

const RUNS = { numRuns: 60 };
const GRAINS = 512;
/** Grains of volumes that are used: in two leaves, and beyond a gap. */
const USED = [0, 1, 2, 1022, 1023, 1024, 1025, 3 * 1024];

type Model = Map<number, { readonly place: number; readonly valid: number }>;

/** References to each grain, counted from the models, where a leaf counts once however many maps have it. */
function compare(maps: readonly VolumeMap[], models: readonly Model[], allocator: Allocator): void {
  const counts = new Map<number, number>();
  const leaves = new Set<Leaf>();
  maps.forEach((map, i) => {
    const model = models[i] as Model;
    let blocks = 0;
    for (const grain of USED) {
      const { place, valid } = model.get(grain) ?? { place: 0, valid: 0 };
      assert.deepEqual([map.place(grain), map.valid(grain)], [place, valid]);
      blocks += countBlocks(valid);
    }
    assert.equal(map.blocks, blocks);
    assert.equal(map.grains(), [...model.values()].filter(({ place }) => place !== 0).length);
    for (const leaf of map.leaves) if (leaf !== undefined) leaves.add(leaf);
  });
  for (const leaf of leaves) {
    for (const place of leaf.places) if (place !== 0) counts.set(place - 1, (counts.get(place - 1) ?? 0) + 1);
    assert.equal(leaf.refs, maps.filter((map) => map.leaves.includes(leaf)).length);
  }
  for (let grain = 0; grain < GRAINS; grain++) assert.equal(allocator.refs(grain), counts.get(grain) ?? 0);
  assert.equal(allocator.used, counts.size);
}

describe('maps', () => {
  test('are what plain maps are, whoever shares them', () => {
    const step = fc.tuple(fc.nat(5), fc.nat(3), fc.nat(USED.length - 1), fc.integer({ min: 1, max: 0xffff }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const allocator = new Allocator(GRAINS);
        const leaves = new Leaves(allocator, 1);
        const maps = [new VolumeMap(leaves, allocator)];
        const models: Model[] = [new Map() as Model];
        for (const [what, which, where, valid] of steps) {
          const i = which % maps.length;
          const [map, model, grain] = [maps[i] as VolumeMap, models[i] as Model, USED[where] as number];
          if (what <= 1) {
            const place = allocator.allocate(false) + 1;
            map.set(grain, place, valid);
            model.set(grain, { place, valid });
          } else if (what === 2) {
            map.set(grain, 0, 0);
            model.delete(grain);
          } else if (what === 3 && maps.length < 4) {
            maps.push(map.share());
            models.push(new Map(model));
          } else if (what === 4) {
            const [from, to] = [Math.floor(grain / 1024), Math.floor(grain / 1024) + 1 + (valid % 3)];
            map.dropLeaves(from, to);
            for (const each of model.keys()) if (each >= from * 1024 && each < to * 1024) model.delete(each);
          } else if (what === 5) {
            // Like a rollback to another one.
            const other = (i + 1) % maps.length;
            const shared = (maps[other] as VolumeMap).share();
            map.dropLeaves(0, map.leaves.length);
            map.take(shared);
            models[i] = new Map(models[other]);
          }
          if (valid % 5 === 0) allocator.endQuarantine(allocator.takeQuarantine());
          compare(maps, models, allocator);
        }
        // As they are kept, and read again.
        for (const map of maps) {
          for (const leaf of map.leaves) {
            if (leaf === undefined) continue;
            const again = Leaf.decode(leaf.id, leaf.encode());
            assert.deepEqual([again.places, again.valid], [leaf.places, leaf.valid]);
          }
        }
      }),
      RUNS,
    );
  });
});

describe('free space', () => {
  test('a grain is given to one at a time, and not again before the commit', () => {
    const step = fc.tuple(fc.nat(6), fc.nat(63));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const allocator = new Allocator(64);
        const refs = new Map<number, number>();
        const waiting = new Set<number>();
        /** Taken for a commit that is under way. */
        let taken: number[] | undefined;
        let total = 64;
        const got = (grain: number): void => {
          assert.ok(!refs.has(grain) && !waiting.has(grain), `grain ${String(grain)} is not free`);
          refs.set(grain, 1);
        };
        for (const [what, number] of steps) {
          const grain = [...refs.keys()][number % Math.max(1, refs.size)];
          if (what === 0 && allocator.available > 0) got(allocator.allocate(false, number));
          else if (what === 1 && allocator.available > 0) {
            const run = allocator.allocateRun(1 + (number % 9));
            assert.ok(run.count >= 1 && run.count <= 1 + (number % 9));
            for (let i = 0; i < run.count; i++) got(run.first + i);
          } else if (what === 2 && grain !== undefined) {
            allocator.retain(grain);
            refs.set(grain, (refs.get(grain) ?? 0) + 1);
          } else if (what === 3 && grain !== undefined) {
            allocator.release(grain);
            const left = (refs.get(grain) ?? 0) - 1;
            if (left > 0) {
              refs.set(grain, left);
              assert.ok(!allocator.alone(grain), 'whoever is left does not write in place yet');
            } else {
              refs.delete(grain);
              waiting.add(grain);
            }
          } else if (what === 4 && taken === undefined) {
            taken = allocator.takeQuarantine();
            assert.ok(taken.every((each) => waiting.has(each)));
          } else if (what === 5 && taken !== undefined) {
            if (number % 3 === 0) allocator.returnQuarantine(taken);
            else {
              allocator.endQuarantine(taken);
              for (const each of taken) waiting.delete(each);
            }
            taken = undefined;
          } else if (what === 6 && total < 256) {
            allocator.grow((total += 64));
          }
          for (const [each, count] of refs) assert.equal(allocator.refs(each), count);
          assert.equal(allocator.used, refs.size);
          assert.equal(allocator.quarantined, waiting.size);
          assert.equal(allocator.available, total - refs.size - waiting.size);
        }
        if (taken !== undefined) allocator.endQuarantine(taken);
        allocator.endQuarantine(allocator.takeQuarantine());
        for (const [each, count] of refs) assert.equal(allocator.alone(each), count === 1);
      }),
      { numRuns: 300 },
    );
  });

  test('a grain that cannot be written is not given out again', () => {
    const allocator = new Allocator(64);
    const bad = allocator.allocate(false);
    allocator.retire(bad);
    allocator.release(bad);
    allocator.endQuarantine(allocator.takeQuarantine());
    assert.deepEqual([allocator.available, allocator.used], [63, 0]);
    for (let i = 0; i < 63; i++) assert.notEqual(allocator.allocate(false), bad);
    assert.throws(() => allocator.allocate(true), /full/);
  });
});

describe('a batch of the journal', () => {
  const POOL = Buffer.alloc(16, 7);
  const record = fc.oneof(
    fc.record({ type: fc.constant('data' as const), block: fc.nat(2 ** 40), blocks: fc.integer({ min: 1, max: 4 }) }),
    fc.record({
      type: fc.constant('map' as const),
      grain: fc.nat(2 ** 36),
      places: fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.nat(0xffff)), {
        minLength: 1,
        maxLength: 5,
      }),
      sums: fc.boolean(),
    }),
    fc.record({ type: fc.constant('clear' as const), block: fc.nat(2 ** 40), blocks: fc.nat(2 ** 40) }),
  );
  const records = fc.array(fc.tuple(fc.nat(2 ** 32 - 1), record), { minLength: 1, maxLength: 12 });

  function build(wanted: typeof records extends fc.Arbitrary<infer T> ? T : never): Buffer {
    const batch = new Batch();
    for (const [volume, each] of wanted) {
      if (each.type === 'data') {
        const data = Buffer.alloc(each.blocks * 4096, volume % 251);
        assert.ok(batch.addData(volume, each.block, data, 0, each.blocks));
      } else if (each.type === 'clear') assert.ok(batch.addClear(volume, each.block, each.blocks));
      else {
        const sums = each.places.map(() => Uint32Array.from({ length: 16 }, (_, i) => i * 77));
        const places = new Places(each.places.length, each.sums ? sums : undefined);
        each.places.forEach(([place, valid], i) => {
          places.put(i, place, valid);
        });
        assert.ok(batch.addMap(volume, each.grain, places));
      }
    }
    batch.seal(42, 3, POOL, 40);
    return Buffer.from(batch.bytes.subarray(batch.from, batch.to));
  }

  const read = (bytes: Buffer): JournalRecord[] | undefined => {
    const header = peekHeader(bytes, 3, POOL);
    if (header === undefined || header.headerBytes + header.payloadBytes > bytes.length) return undefined;
    const found = decodeBatch(bytes, header);
    return found !== undefined && isWhole(found) ? found : undefined;
  };

  test('is read as it was written', () => {
    fc.assert(
      fc.property(records, (wanted) => {
        const found = read(build(wanted)) as JournalRecord[];
        assert.equal(found.length, wanted.length);
        wanted.forEach(([volume, each], i) => {
          const got = found[i] as JournalRecord;
          assert.equal(got.volume, volume);
          assert.equal(got.type, each.type);
          if (each.type === 'map' && got.type === 'map') {
            const places = got.places.map(({ place, valid }) => [place, valid]);
            assert.deepEqual([got.grain, places], [each.grain, each.places]);
          } else if (each.type === 'clear' && got.type === 'clear') {
            assert.deepEqual([got.block, got.blocks], [each.block, each.blocks]);
          } else if (each.type === 'data' && got.type === 'data') {
            assert.deepEqual([got.block, got.sums.length], [each.block, each.blocks]);
          }
        });
      }),
      RUNS,
    );
  });

  test('is refused when any byte of it is another, or missing', () => {
    fc.assert(
      fc.property(records, fc.nat(), fc.integer({ min: 1, max: 255 }), (wanted, where, change) => {
        const bytes = build(wanted);
        const at = where % bytes.length;
        const cut = bytes.subarray(0, at);
        if (cut.length >= 48) assert.equal(read(cut), undefined, 'cut off');
        bytes[at] = (bytes[at] as number) ^ change;
        assert.equal(read(bytes), undefined, `byte ${String(at)}`);
      }),
      { numRuns: 300 },
    );
  });

  test('of another life or another pool is none', () => {
    const bytes = build([[1, { type: 'clear', block: 1, blocks: 1 }]]);
    assert.notEqual(peekHeader(bytes, 3, POOL), undefined);
    assert.equal(peekHeader(bytes, 2, POOL), undefined);
    assert.equal(peekHeader(bytes, 3, Buffer.alloc(16, 8)), undefined);
  });
});

test('metadata that has changed by itself is told: which volume, and where in it', async () => {
  const { path, remove } = temporaryFolder('meta');
  try {
    const world = await nodeWorld();
    const meta = (): LmdbMeta => new LmdbMeta(`${path}/pool/meta`);
    const place: PoolPlace = { world, files: new FolderFiles(world, `${path}/pool`), meta, log: silentLog };
    await createPool(place, { size: 4_194_304, journalBytes: 16_777_216, slabSize: 4_194_304 });
    const { pool } = await openPool(place);
    const id = await pool.create({ size: 1_048_576, thick: false, created: 0 });
    const volume = pool.open(id, { blockSize: 512, durability: 'durable', readOnly: false });
    await volume.write(0, Buffer.alloc(4096, 1), 0, 4096);
    await volume.close();
    await pool.close();
    const flip = async (key: [number, number]): Promise<void> => {
      const db = open<Buffer, [number, number]>({ path: `${path}/pool/meta`, encoding: 'binary' });
      const value = Buffer.from(db.get(key) as Buffer);
      value[3] = (value[3] as number) ^ 1;
      await db.put(key, value);
      await db.close();
    };
    // The state is there twice.
    for (const copy of [0, 1]) await flip([0, copy]);
    await assert.rejects(openPool(place), /the state does not match/);
    for (const copy of [0, 1]) await flip([0, copy]);
    await flip([0, 0]);
    await (await openPool(place)).pool.close();
    // What belongs to one volume is the trouble of that volume.
    for (const [key, words] of [
      [[1, 1], /the record of volume 1 of the pool is damaged/],
      [[3, 1], /the map of volume 1 of the pool is damaged \(bytes 0 to 67108864\)/],
      [[2, 1], /the map of volume 1 of the pool is damaged \(all of it\)/],
    ] as const) {
      await flip([...key]);
      const damaged = await openPool(place);
      assert.throws(() => damaged.pool.open(1, { blockSize: 512, durability: 'durable', readOnly: false }), words);
      await damaged.pool.close();
      await flip([...key]);
    }
    const whole = (await openPool(place)).pool;
    const again = whole.open(1, { blockSize: 512, durability: 'durable', readOnly: true });
    const back = Buffer.alloc(4096);
    await again.read(0, 4096, back, 0);
    assert.ok(back.equals(Buffer.alloc(4096, 1)));
    await again.close();
    await whole.close();
  } finally {
    remove();
  }
});
