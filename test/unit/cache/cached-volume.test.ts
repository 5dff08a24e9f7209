import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { viewGuard } from '../../../core/base/view-guard.ts';
import { CachedVolume } from '../../../core/cache/cached-volume.ts';
import { L1Cache } from '../../../core/cache/l1-cache.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../../../core/volume/volume.ts';
import { Scheduler, SlowVolume, seeded } from './slow-volume.ts';
import type { Random } from './slow-volume.ts';

const KIB = 1024;
const FRAME = 64 * KIB;
/** Not whole frames, not whole blocks of the cache. */
const SIZE = 20 * FRAME + 512;

interface Setup {
  readonly volume: CachedVolume;
  readonly backing: SlowVolume;
  readonly cache: L1Cache;
  readonly scheduler: Scheduler;
}

/** The smallest cache there is: 16 frames, 8 of them dirty at most, before a volume of 21. */
function setup(seed: number, durability: Durability = Durability.volatile): Setup {
  const scheduler = new Scheduler(seeded(seed));
  const backing = new SlowVolume(scheduler, SIZE, durability);
  const cache = new L1Cache(1, 16 * FRAME);
  return { volume: new CachedVolume(backing, cache, scheduler.clock), backing, cache, scheduler };
}

const filled = (length: number, value: number): Buffer => Buffer.alloc(length, value);

async function readAll(volume: CachedVolume): Promise<Buffer> {
  const target = Buffer.alloc(volume.info.size);
  await volume.read(0, target.length, target, 0);
  return target;
}

/**
 * Somebody with a part of the volume for himself: what he reads there is what he wrote. Parts share blocks and frames, so
 * everybody is in everybody's way.
 */
async function actor(
  { volume, scheduler }: Setup,
  model: Buffer,
  from: number,
  to: number,
  random: Random,
): Promise<void> {
  const sector = (limit: number): number => Math.floor(random() * limit);
  const sectors = (to - from) / 512;
  for (let step = 0; step < 120; step++) {
    const first = sector(sectors);
    const count = random() < 0.7 ? 1 + sector(Math.min(8, sectors - first)) : sectors - first;
    const position = from + first * 512;
    const length = count * 512;
    const target = Buffer.alloc(length, 0xee);
    const expected = model.subarray(position, position + length);
    const choice = random();
    if (choice < 0.25) {
      if (volume.readNow(position, length, target, 0)) assert.ok(target.equals(expected), 'readNow');
    } else if (choice < 0.32) {
      await volume.bring(position, length);
      if (volume.readNow(position, length, target, 0)) assert.ok(target.equals(expected), 'bring');
    } else if (choice < 0.4) {
      await volume.read(position, length, target, 0);
      assert.ok(target.equals(expected), 'read');
    } else if (choice < 0.5) {
      const hold = viewGuard.hold();
      const pieces: Buffer[] = [];
      const before = Buffer.from(expected);
      const viewed = volume.viewNow(position, length, pieces);
      await scheduler.wait();
      const data = filled(length, 1 + sector(255));
      if (volume.writeNow(position, data, 0, length) !== WriteNow.refused) data.copy(model, position);
      await scheduler.wait();
      if (viewed) assert.ok(Buffer.concat(pieces).equals(before), 'a view changed while it was held');
      viewGuard.release(hold);
    } else if (choice < 0.8) {
      const data = filled(length, 1 + sector(255));
      const now = random() < 0.6 && volume.writeNow(position, data, 0, length) !== WriteNow.refused;
      if (!now) await volume.write(position, data, 0, length, random() < 0.1);
      data.copy(model, position);
    } else if (choice < 0.9) {
      await (random() < 0.5 ? volume.unmap(position, length) : volume.zero(position, length));
      model.fill(0, position, position + length);
    } else {
      await volume.flush();
    }
  }
}

/** Reads anything: every sector is all old or all new. */
async function reader({ volume }: Setup, random: Random): Promise<void> {
  for (let step = 0; step < 200; step++) {
    const position = Math.floor((random() * SIZE) / 512) * 512;
    const target = Buffer.alloc(Math.min(SIZE - position, 512 * (1 + Math.floor(random() * 300))));
    const brought = random() < 0.5 && (await volume.bring(position, target.length));
    if (!brought || !volume.readNow(position, target.length, target, 0)) {
      await volume.read(position, target.length, target, 0);
    }
    for (let at = 0; at < target.length; at += 512) {
      assert.ok(target.subarray(at, at + 512).equals(filled(512, target[at] ?? 0)), 'a torn sector');
    }
  }
}

for (const durability of [Durability.volatile, Durability.durable]) {
  describe(`cached volume, ${durability}`, () => {
    for (let seed = 1; seed <= 32; seed++) {
      test(`reads give what was written last, in any order of events (seed ${String(seed)})`, async () => {
        const all = setup(seed, durability);
        const random = seeded(seed + 1000);
        const model = Buffer.alloc(SIZE);
        const borders = [0, 37 * 512, 131 * 512, 300 * 512, 301 * 512, 1000 * 512, 2000 * 512, SIZE];
        const actors = borders
          .slice(1)
          .map((to, i) => actor(all, model, borders[i] as number, to, seeded(seed * 31 + i)));
        await Promise.all([...actors, reader(all, random), reader(all, random)]);
        assert.ok((await readAll(all.volume)).equals(model), 'all of it');
        await all.volume.flush();
        assert.ok(all.backing.bytes.equals(model), 'after a flush the storage below has everything');
        await all.volume.write(0, filled(4096, random() < 2 ? 7 : 0), 0, 4096, false);
        await all.volume.close();
        assert.equal(all.backing.bytes[4095], 7, 'closing writes back');
        assert.equal(all.cache.dirtyFrames, 0);
      });
    }
  });
}

describe('cached volume', () => {
  test('a FUA write is below when it is acknowledged, others need not be', async () => {
    const { volume, backing } = setup(1);
    await volume.write(0, filled(4096, 1), 0, 4096, false);
    assert.equal(backing.bytes[0], 0);
    await volume.write(8192, filled(4096, 2), 0, 4096, true);
    assert.equal(backing.bytes[8192], 2);
  });

  test('what cannot be written back stays, is told of, and is written when it can be', async () => {
    const { volume, backing, scheduler } = setup(2);
    backing.failing = VolumeFault.noSpace;
    await volume.write(0, filled(4096, 1), 0, 4096, false);
    await assert.rejects(volume.flush(), { fault: 'no-space' });
    for (let turn = 0; turn < 20; turn++) await scheduler.wait();
    assert.throws(() => volume.writeNow(4096, filled(4096, 2), 0, 4096), { fault: 'no-space' });
    const target = Buffer.alloc(4096);
    assert.equal(volume.readNow(0, 4096, target, 0), true);
    assert.equal(target[0], 1);
    backing.failing = undefined;
    await volume.flush();
    assert.equal(backing.bytes[0], 1);
    for (let turn = 0; turn < 20; turn++) await scheduler.wait();
    await volume.write(4096, filled(4096, 2), 0, 4096, true);
  });

  test('a volume that cannot write back does not stop another one', async () => {
    const { volume, backing, cache, scheduler } = setup(3);
    backing.failing = VolumeFault.writeError;
    const other = new CachedVolume(new SlowVolume(scheduler, SIZE, Durability.volatile), cache, scheduler.clock);
    await assert.rejects(volume.write(0, filled(16 * FRAME, 1), 0, 16 * FRAME, false), { fault: 'write-error' });
    for (let frame = 0; frame < 20; frame++) await other.write(frame * FRAME, filled(FRAME, 3), 0, FRAME, false);
    await other.close();
    backing.failing = undefined;
    await volume.close();
  });

  test('a write that waits for room goes on before all is written back', async () => {
    const scheduler = new Scheduler(seeded(3));
    const frames = 256;
    const backing = new SlowVolume(scheduler, frames * FRAME, Durability.volatile);
    backing.refuses = 0;
    const cache = new L1Cache(frames * FRAME, (frames / 2) * FRAME);
    const volume = new CachedVolume(backing, cache, scheduler.clock);
    const block = filled(4 * KIB, 7);
    for (let frame = 0; frame < frames / 2; frame++) {
      assert.equal(volume.writeNow(frame * FRAME, block, 0, block.length), WriteNow.done);
    }
    assert.equal(volume.writeNow(200 * FRAME, block, 0, block.length), WriteNow.refused, 'there is room');
    await volume.write(200 * FRAME, block, 0, block.length, false);
    const { destagedBytes } = volume.counters();
    // An open volume with something dirty would keep the process alive.
    await volume.close();
    assert.ok(destagedBytes > 0 && destagedBytes < (frames / 2) * block.length, `${String(destagedBytes)} bytes`);
    assert.ok(backing.bytes.subarray(200 * FRAME, 200 * FRAME + block.length).equals(block));
  });

  test('a written-through volume does not serve what was there before', () => {
    const { volume, backing } = setup(4, Durability.durable);
    backing.refuses = 0;
    const target = Buffer.alloc(4096);
    volume.readNow(0, 4096, target, 0);
    assert.equal(volume.writeNow(512, filled(512, 9), 0, 512), WriteNow.done);
    assert.equal(backing.bytes[512], 9);
    volume.readNow(0, 4096, target, 0);
    assert.equal(target[512], 9);
  });

  test('growing shows zeros, shrinking forgets', async () => {
    const { volume, backing } = setup(5);
    await volume.write(SIZE - 512, filled(512, 5), 0, 512, false);
    await volume.resize(SIZE + 4096);
    const target = Buffer.alloc(4608);
    await volume.read(SIZE - 512, 4608, target, 0);
    assert.ok(target.equals(Buffer.concat([filled(512, 5), Buffer.alloc(4096)])));
    await volume.resize(FRAME + 512);
    await volume.resize(2 * FRAME);
    await volume.read(FRAME, 4608, target, 0);
    assert.ok(target.equals(Buffer.alloc(4608)));
    assert.equal(backing.bytes.length, 2 * FRAME);
  });

  test('after closing nothing is taken', async () => {
    const { volume } = setup(6);
    await volume.close();
    assert.equal(volume.readNow(0, 512, Buffer.alloc(512), 0), false);
    assert.throws(() => volume.writeNow(0, Buffer.alloc(512), 0, 512), { fault: 'not-ready' });
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), { fault: 'not-ready' });
    await assert.rejects(volume.flush(), { fault: 'not-ready' });
  });

  test('hits and misses are counted', async () => {
    const { volume, backing } = setup(7);
    backing.refuses = 0;
    const target = Buffer.alloc(4096);
    volume.readNow(0, 4096, target, 0);
    volume.readNow(0, 4096, target, 0);
    await volume.write(FRAME, filled(4096, 1), 0, 4096, false);
    assert.deepEqual(volume.counters(), { hits: 1, misses: 1, dirtyBytes: FRAME, destagedBytes: 0 });
    await volume.flush();
    assert.deepEqual(volume.counters(), { hits: 1, misses: 1, dirtyBytes: 0, destagedBytes: 4096 });
  });

  test('what is brought is read once, into the cache, and looking at it for the first time is no second use', async () => {
    const { volume, backing } = setup(5);
    backing.refuses = 1;
    backing.bytes.fill(3);
    assert.equal(await volume.bring(4096, 3 * FRAME), true);
    const target = Buffer.alloc(3 * FRAME);
    const { hits } = volume.counters();
    assert.equal(volume.readNow(4096, target.length, target, 0), true);
    assert.ok(target.equals(filled(3 * FRAME, 3)));
    assert.equal(volume.counters().hits, hits);
    assert.equal(volume.readNow(4096, target.length, target, 0), true);
    assert.equal(volume.counters().hits, hits + 4);
  });

  test('a write of what is just being brought waits, and is what is read afterwards', async () => {
    const { volume, backing } = setup(6);
    backing.refuses = 1;
    const bringing = volume.bring(0, FRAME);
    assert.equal(volume.writeNow(4096, filled(4096, 9), 0, 4096), WriteNow.refused);
    await Promise.all([bringing, volume.write(4096, filled(4096, 9), 0, 4096, false)]);
    const target = Buffer.alloc(4096);
    await volume.read(4096, 4096, target, 0);
    assert.ok(target.equals(filled(4096, 9)));
    await volume.close();
  });

  test('two who bring the same: one of them reads', async () => {
    const { volume, backing } = setup(7);
    backing.refuses = 1;
    assert.deepEqual(await Promise.all([volume.bring(0, FRAME), volume.bring(0, 4096)]), [true, false]);
  });

  test('what cannot be brought is an error, and can be written and brought afterwards', async () => {
    for (const length of [4096, FRAME, 2 * FRAME]) {
      const { volume, backing } = setup(8);
      backing.refuses = 1;
      const read = mock.method(backing, 'read', () =>
        Promise.reject(new VolumeError(VolumeFault.readError, 'told to fail', 0)),
      );
      await assert.rejects(volume.bring(0, length), { fault: VolumeFault.readError });
      read.mock.restore();
      assert.notEqual(volume.writeNow(0, filled(4096, 4), 0, 4096), WriteNow.refused);
      assert.equal(await volume.bring(0, length), true);
      const target = Buffer.alloc(length);
      assert.equal(volume.readNow(0, length, target, 0), true);
      assert.ok(target.equals(Buffer.concat([filled(4096, 4), Buffer.alloc(length - 4096)])));
      await volume.close();
    }
  });

  test('what changes below while it is brought is not taken for what is there', async () => {
    const { volume, backing } = setup(9);
    backing.refuses = 1;
    backing.bytes.fill(3);
    const bringing = volume.bring(8192, 4096);
    const clearing = volume.unmap(0, FRAME);
    assert.equal(await bringing, false);
    await clearing;
    const target = Buffer.alloc(4096, 0xff);
    await volume.read(8192, 4096, target, 0);
    assert.ok(target.equals(Buffer.alloc(4096)));
    await volume.close();
  });

  test('what is there is not read again around what is not', async () => {
    const { volume, backing } = setup(10);
    backing.refuses = 1;
    backing.bytes.fill(3);
    await volume.write(8192, filled(4096, 5), 0, 4096, false);
    assert.equal(await volume.bring(0, FRAME), true);
    const target = Buffer.alloc(FRAME);
    assert.equal(volume.readNow(0, FRAME, target, 0), true);
    assert.ok(target.equals(filled(FRAME, 3).fill(5, 8192, 12_288)));
    await volume.close();
  });
});
