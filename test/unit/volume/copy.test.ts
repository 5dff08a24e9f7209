// The copy engine against a plain array: whatever the volumes share, overlap or hold as holes, the bytes are those of a copy
// by way of a buffer.
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { COPY_STEP } from '../../../core/base/limits.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { RangeLocks } from '../../../core/volume/range-locks.ts';
import { CopyError, copyRange } from '../../../core/volume/copy.ts';
import type { CopyCount, CopyRequest } from '../../../core/volume/copy.ts';
import { Durability, VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { Machine, stopAll } from '../../crash/machine.ts';
import { hastyClock } from '../../support/scsi-fixture.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GRAIN = 64 * KIB;
const clock = hastyClock;

function request(parts: Partial<CopyRequest> & Pick<CopyRequest, 'source' | 'target' | 'length'>): CopyRequest {
  return { from: 0, to: 0, sourceLocks: undefined, targetLocks: undefined, clock, isAborted: () => false, ...parts };
}

async function contents(volume: Volume): Promise<Buffer> {
  const all = Buffer.alloc(volume.info.size);
  await volume.read(0, all.length, all, 0);
  return all;
}

/** Bytes that differ from block to block and from volume to volume. */
function pattern(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) out.writeUInt32LE((seed * 0x9e37_79b9 + at * 2_654_435) >>> 0, at);
  return out;
}

interface Case {
  readonly volumes: readonly Volume[];
  readonly model: Buffer[];
}

/** Applies one copy to the volumes and to the model. */
async function apply({ volumes, model }: Case, from: number, to: number, op: Op): Promise<CopyCount> {
  const source = volumes[from] as Volume;
  const target = volumes[to] as Volume;
  const unit = Math.max(source.info.blockSize, target.info.blockSize);
  const length = Math.max(unit, Math.floor((op.length * 512) / unit) * unit);
  const at = (value: number, volume: Volume): number =>
    Math.floor((value % (volume.info.size - length + unit)) / unit) * unit;
  const [a, b] = [at(op.from * 512, source), at(op.to * 512, target)];
  const taken = Buffer.from((model[from] as Buffer).subarray(a, a + length));
  taken.copy(model[to] as Buffer, b);
  return copyRange(request({ source, from: a, target, to: b, length, sourceLocks: new RangeLocks() }));
}

interface Op {
  readonly kind: 'copy' | 'write' | 'unmap';
  readonly source: number;
  readonly target: number;
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

const operation = (sectors: number, volumes: number, coarse: number): fc.Arbitrary<Op> => {
  // Often at the boundaries of grains, and often at the same distance from them.
  const place = fc.oneof(
    fc.nat(sectors),
    fc.nat(Math.floor(sectors / coarse)).map((n) => n * coarse),
    fc.nat(Math.floor(sectors / coarse)).map((n) => n * coarse + 8),
  );
  return fc.record({
    kind: fc.constantFrom('copy', 'copy', 'write', 'unmap'),
    source: fc.nat(volumes - 1),
    target: fc.nat(volumes - 1),
    from: place,
    to: place,
    length: fc.oneof(
      fc.integer({ min: 1, max: sectors }),
      fc.integer({ min: 1, max: sectors / coarse }).map((n) => n * coarse),
    ),
  });
};

async function play(volumes: readonly Volume[], ops: readonly Op[]): Promise<void> {
  const world = { volumes, model: await Promise.all(volumes.map(contents)) };
  for (const [step, op] of ops.entries()) {
    const target = volumes[op.target] as Volume;
    const unit = target.info.blockSize;
    const size = target.info.size;
    if (op.kind === 'copy') {
      const count = await apply(world, op.source, op.target, op);
      assert.ok(count.shared + count.copied > 0);
    } else {
      const position = Math.floor(((op.to * 512) % size) / unit) * unit;
      const length = Math.min(Math.ceil((op.length * 512) / unit) * unit, size - position);
      const data = op.kind === 'write' ? pattern(length, step + 1) : Buffer.alloc(length);
      data.copy(world.model[op.target] as Buffer, position);
      if (op.kind === 'write') await target.write(position, data, 0, length, false);
      else await target.unmap(position, length);
    }
    for (const [i, volume] of volumes.entries()) {
      assert.ok((await contents(volume)).equals(world.model[i] as Buffer), `volume ${i} after step ${step}`);
    }
  }
}

describe('copying a range', () => {
  afterEach(stopAll);

  it('is what copying by way of a buffer is: volumes in memory, of both block sizes', async () => {
    const size = 3 * MIB;
    await fc.assert(
      fc.asyncProperty(fc.array(operation(size / 512, 3, 128), { minLength: 1, maxLength: 6 }), (ops) =>
        play(
          [new MemoryVolume(size, 512), new MemoryVolume(size, 4096), new MemoryVolume(size, 512, { thin: false })],
          ops,
        ),
      ),
      { numRuns: 60 },
    );
  });

  it('is the same in a pool, where grains are shared', async () => {
    const size = MIB;
    await fc.assert(
      fc.asyncProperty(fc.array(operation(size / 512, 4, 128), { minLength: 1, maxLength: 8 }), async (ops) => {
        const machine = new Machine(() => 0.5);
        await machine.create(3);
        const running = await machine.start(Number.POSITIVE_INFINITY, 64);
        assert.ok(running);
        const { pool } = running;
        const ids = [false, false, true].map((thick) => ({ size, thick, created: 0 }));
        const made: number[] = [];
        for (const each of ids) made.push(await pool.create(each));
        const volatile = await pool.create({ size, thick: false, created: 0 });
        const volumes = [...made.map((id) => running.open(id)), running.open(volatile, Durability.volatile)];
        await play(volumes, ops);
        for (const volume of volumes) await volume.close();
        await pool.close();
      }),
      { numRuns: 40 },
    );
  });

  it('shares whole grains and copies the ragged edges', async () => {
    const machine = new Machine(() => 0.5);
    await machine.create(3);
    const running = await machine.start(Number.POSITIVE_INFINITY, 64);
    assert.ok(running);
    const { pool } = running;
    const [a, b] = [
      running.open(await pool.create({ size: MIB, thick: false, created: 0 })),
      running.open(await pool.create({ size: MIB, thick: false, created: 0 })),
    ];
    await a.write(0, pattern(MIB, 7), 0, MIB, false);
    const used = pool.allocator.used;
    const shape = { source: a, target: b, from: 4096, to: GRAIN + 4096 };
    assert.deepEqual(await copyRange(request({ ...shape, length: 4 * GRAIN })), {
      shared: 3 * GRAIN,
      copied: GRAIN,
    });
    const edges = pool.allocator.used - used;
    assert.ok(edges <= 2, `${edges} grains more`);
    // Another distance from the grains: nothing can be shared.
    const count = await copyRange(request({ ...shape, from: 8192, length: 4 * GRAIN }));
    assert.deepEqual(count, { shared: 0, copied: 4 * GRAIN });
    await a.close();
    await b.close();
    await pool.close();
  });

  it('shares in one turn what nothing has to be waited for, and each has its own afterwards', async () => {
    const machine = new Machine(() => 0.5);
    await machine.create(3);
    const running = await machine.start(Number.POSITIVE_INFINITY, 64);
    assert.ok(running);
    const { pool } = running;
    const shape = { size: MIB, thick: false, created: 0 };
    const ids = [await pool.create(shape), await pool.create(shape)] as const;
    const [a, b] = [running.open(ids[0]), running.open(ids[1])];
    const [old, fresh] = [pattern(MIB, 7), pattern(GRAIN, 8)];
    await a.write(0, old, 0, MIB, false);
    // What was placed for this one is stable for the next.
    await copyRange(request({ source: a, target: b, length: GRAIN }));
    const used = pool.allocator.used;
    // Somebody else is about to share one of them, and still has it in hand afterwards.
    const other = pool.entry(ids[0]).map.place(15) - 1;
    pool.allocator.hold(other);
    const copied = copyRange(request({ source: a, target: b, from: GRAIN, to: GRAIN, length: MIB - GRAIN }));
    assert.deepEqual(await copied, { shared: MIB - GRAIN, copied: 0 });
    assert.deepEqual([pool.allocator.refs(other), pool.allocator.inHand(other)], [3, 1]);
    pool.allocator.letGo(other);
    const [first, last] = ids.map((id) => pool.entry(id).map.place(15));
    assert.deepEqual(
      [first, pool.allocator.refs((first ?? 0) - 1), pool.allocator.inHand((first ?? 0) - 1)],
      [last, 2, 0],
    );
    await a.write(2 * GRAIN, fresh, 0, GRAIN, false);
    await b.write(3 * GRAIN, fresh, 0, GRAIN, false);
    for (const [volume, grain] of [
      [a, 2],
      [b, 3],
    ] as const) {
      await volume.flush();
      const wanted = Buffer.from(old);
      fresh.copy(wanted, grain * GRAIN);
      assert.ok((await contents(volume)).equals(wanted), `grain ${String(grain)}`);
      await volume.close();
    }
    assert.equal(pool.allocator.used, used + 2);
    await pool.close();
  });

  it('leaves holes where they are, and makes holes of what was there', async () => {
    const source = new MemoryVolume(8 * MIB, 512);
    const target = new MemoryVolume(8 * MIB, 512);
    await target.write(0, pattern(8 * MIB, 1), 0, 8 * MIB);
    await source.write(5 * MIB, pattern(512, 2), 0, 512);
    const count = await copyRange(request({ source, target, length: 8 * MIB }));
    assert.equal(count.copied + count.shared, 8 * MIB);
    assert.ok(count.copied <= COPY_STEP, `${count.copied} bytes were moved`);
    assert.ok((await contents(target)).equals(await contents(source)));
    assert.ok(target.allocatedBytes() <= 64 * KIB + 512, `${target.allocatedBytes()} bytes are in use`);
  });

  it('ends before the next step when it is aborted, and says how far it came', async () => {
    const source = new MemoryVolume(32 * MIB, 512, { thin: false });
    const target = new MemoryVolume(32 * MIB, 512);
    let done = 0;
    const count = await copyRange(
      request({
        source,
        target,
        length: 32 * MIB,
        isAborted: () => done >= 3 * MIB,
        progress: (step) => (done += step.copied),
      }),
    );
    assert.equal(count.copied, done);
    assert.ok(done >= 3 * MIB && done <= 8 * MIB, `${done} bytes`);
  });

  it('tells which side failed', async () => {
    const source = new MemoryVolume(2 * MIB, 512, { thin: false });
    const target = new MemoryVolume(2 * MIB, 512);
    const fails = (volume: Volume, part: 'read' | 'write'): Volume =>
      new Proxy(volume, {
        get: (of, key) =>
          key === part
            ? () => Promise.reject(new VolumeError(VolumeFault.readError, 'broken', 512))
            : (Reflect.get(of, key) as unknown),
      });
    const sideOf = (parts: Pick<CopyRequest, 'source' | 'target'>): Promise<unknown> =>
      copyRange(request({ ...parts, length: 2 * MIB })).then(
        () => 'nobody',
        (error: unknown) => (error instanceof CopyError ? `${error.side} ${error.fault} ${error.position}` : error),
      );
    assert.equal(await sideOf({ source: fails(source, 'read'), target }), 'source read-error 512');
    assert.equal(await sideOf({ source, target: fails(target, 'write') }), 'target read-error 512');
    await source.resize(MIB);
    assert.equal(await sideOf({ source, target }), 'source not-ready undefined');
  });
});

describe('copies and others', () => {
  it('hold both ranges of a step, and only those of a step', async () => {
    const [source, target] = [new MemoryVolume(8 * MIB, 512, { thin: false }), new MemoryVolume(8 * MIB, 512)];
    const [sourceLocks, targetLocks] = [new RangeLocks(), new RangeLocks()];
    let seen = 0;
    const write = target.write.bind(target);
    target.write = async (position, data, at, length) => {
      assert.ok(sourceLocks.blocks(position, 512, false) && targetLocks.blocks(position, 512, false));
      assert.ok(!sourceLocks.blocks((position + 5 * MIB) % (8 * MIB), 512, false));
      seen++;
      await write(position, data, at, length);
    };
    await copyRange(request({ source, target, length: 8 * MIB, sourceLocks, targetLocks }));
    assert.equal(seen, 8);
    assert.ok(sourceLocks.idle && targetLocks.idle);
  });

  it('do not wait for each other in a circle: both ways at once, within one unit and between two', async () => {
    const [a, b] = [new MemoryVolume(6 * MIB, 512, { thin: false }), new MemoryVolume(6 * MIB, 512, { thin: false })];
    const [la, lb] = [new RangeLocks(), new RangeLocks()];
    const copies = [0, 1, 2, 3].flatMap((n) => [
      copyRange(
        request({ source: a, target: b, length: 6 * MIB - n * 512, from: n * 512, sourceLocks: la, targetLocks: lb }),
      ),
      copyRange(
        request({ source: b, target: a, length: 6 * MIB - n * 512, to: n * 512, sourceLocks: lb, targetLocks: la }),
      ),
      copyRange(
        request({
          source: a,
          target: a,
          length: 2 * MIB,
          from: n * MIB,
          to: 4 * MIB,
          sourceLocks: la,
          targetLocks: la,
        }),
      ),
      copyRange(
        request({
          source: a,
          target: a,
          length: 2 * MIB,
          from: 4 * MIB,
          to: n * 768 * KIB,
          sourceLocks: la,
          targetLocks: la,
        }),
      ),
    ]);
    await Promise.all(copies);
    assert.ok(la.idle && lb.idle);
  });

  it('hold nothing of one unit while they wait for the other', async () => {
    const [source, target] = [new MemoryVolume(MIB, 512, { thin: false }), new MemoryVolume(MIB, 512)];
    const [sourceLocks, targetLocks] = [new RangeLocks(), new RangeLocks()];
    const inTheWay = await targetLocks.acquire(0, 512, false);
    const copy = copyRange(request({ source, target, length: MIB, sourceLocks, targetLocks }));
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(sourceLocks.length, 0);
    inTheWay.release();
    assert.deepEqual(await copy, { shared: 0, copied: MIB });
  });

  it('wait in one order when there is always somebody in the way', async () => {
    const [source, target] = [new MemoryVolume(MIB, 512, { thin: false }), new MemoryVolume(MIB, 512)];
    const [sourceLocks, targetLocks] = [new RangeLocks(), new RangeLocks()];
    let over = false;
    let turns = 0;
    // One after the other, each before the last one ends: trying alone would never find both free.
    const crowd = async (locks: RangeLocks): Promise<void> => {
      let held = await locks.acquire(0, MIB, false);
      while (!over && turns++ < 10_000) {
        await new Promise((resolve) => setImmediate(resolve));
        const next = locks.acquire(0, MIB, false);
        held.release();
        held = await next;
      }
      held.release();
    };
    const others = [crowd(sourceLocks), crowd(targetLocks)];
    assert.deepEqual(await copyRange(request({ source, target, length: MIB, sourceLocks, targetLocks })), {
      shared: 0,
      copied: MIB,
    });
    over = true;
    assert.ok(turns < 1000, `it took ${turns} turns`);
    await Promise.all(others);
  });
});
