import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { World } from '../../../core/base/world.ts';
import { FileVolume } from '../../../core/volume/file-volume.ts';
import type { FileVolumeOptions } from '../../../core/volume/file-volume.ts';
import { WriteNow } from '../../../core/volume/volume.ts';
import type { Extent, Volume } from '../../../core/volume/volume.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

const BLOCK = 512;
const SIZE = 512 * 1024 + 3 * BLOCK;
const BLOCKS = SIZE / BLOCK;

/** A plain buffer and one flag per block. */
class Model {
  readonly bytes = Buffer.alloc(SIZE);
  readonly mapped = new Array<boolean>(BLOCKS).fill(false);

  set(block: number, data: Buffer, mapped: boolean): void {
    data.copy(this.bytes, block * BLOCK);
    this.mapped.fill(mapped, block, block + data.length / BLOCK);
  }

  extents(): Extent[] {
    const out: { position: number; length: number; mapped: boolean }[] = [];
    this.mapped.forEach((mapped, i) => {
      const last = out.at(-1);
      if (last?.mapped === mapped) last.length += BLOCK;
      else out.push({ position: i * BLOCK, length: BLOCK, mapped });
    });
    return out;
  }
}

async function readAny(volume: Volume, position: number, length: number): Promise<Buffer> {
  const target = Buffer.alloc(length + 2, 0xee);
  if (!volume.readNow(position, length, target, 1)) {
    assert.equal(target.indexOf(Buffer.from([0])), -1, 'a refused read has touched the target');
    await volume.read(position, length, target, 1);
  }
  assert.deepEqual([target[0], target[length + 1]], [0xee, 0xee]);
  return target.subarray(1, length + 1);
}

async function writeAny(volume: Volume, position: number, data: Buffer, how: number): Promise<void> {
  if (how > 0) {
    const outcome = volume.writeNow(position, data, 0, data.length);
    if (outcome === WriteNow.done) return;
    if (outcome === WriteNow.placed) {
      await new Promise<void>((resolve, reject) => {
        volume.whenStable({
          stable: (error) => {
            if (error === undefined) resolve();
            else reject(error);
          },
        });
      });
      return;
    }
  }
  await volume.write(position, data, 0, data.length, how === 0);
}

const range = { block: fc.nat(BLOCKS - 1), count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.nat(BLOCKS)) };
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), ...range, how: fc.nat(2) }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('read' as const), ...range, how: fc.constant(0) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('zero' as const), ...range, how: fc.constant(0) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('unmap' as const), ...range, how: fc.constant(0) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const), ...range, how: fc.constant(0) }) },
  ),
  { maxLength: 25 },
);

describe('file volume on this disk', () => {
  const folder = temporaryFolder('volume');
  let world: World;
  let number = 0;
  before(async () => {
    world = await nodeWorld('copying');
  });
  after(() => {
    folder.remove();
  });
  const options = (more: Partial<FileVolumeOptions> = {}): FileVolumeOptions => ({
    path: join(folder.path, `${String(number++)}.raw`),
    blockSize: BLOCK,
    durability: 'durable',
    readOnly: false,
    thin: true,
    ...more,
  });

  for (const durability of ['durable', 'volatile'] as const) {
    test(`agrees with a plain buffer over any sequence (${durability})`, async () => {
      await fc.assert(
        fc.asyncProperty(steps, fc.boolean(), async (sequence, tinyHotMap) => {
          const wanted = options({ durability, ...(tinyHotMap ? { hotBytes: 8192 } : {}) });
          let volume = await FileVolume.create(world.disk, wanted, SIZE);
          const model = new Model();
          let seed = 1;
          for (const { kind, block, how, ...each } of sequence) {
            const count = Math.min(Math.max(1, each.count), BLOCKS - block);
            const [position, length] = [block * BLOCK, count * BLOCK];
            if (kind === 'write') {
              const data = Buffer.alloc(length, ++seed & 0x7f || 1);
              await writeAny(volume, position, data, how);
              model.set(block, data, true);
            } else if (kind === 'read') {
              const expected = model.bytes.subarray(position, position + length);
              assert.ok((await readAny(volume, position, length)).equals(expected), `read ${block}+${count}`);
            } else if (kind === 'zero') {
              await volume.zero(position, length);
              model.set(block, Buffer.alloc(length), true);
            } else if (kind === 'unmap') {
              await volume.unmap(position, length);
              model.set(block, Buffer.alloc(length), false);
            } else {
              await volume.close();
              volume = await FileVolume.open(world.disk, wanted);
            }
          }
          assert.deepEqual(await volume.extents(0, SIZE, 1e6), model.extents());
          assert.ok((await readAny(volume, 0, SIZE)).equals(model.bytes));
          await volume.close();
          assert.ok(readFileSync(wanted.path).equals(model.bytes), 'the file itself');
        }),
        { numRuns: 40, endOnFailure: true },
      );
    });
  }

  test('unmap gives space back to the file system', async () => {
    const wanted = options();
    const volume = await FileVolume.create(world.disk, wanted, 8 * 1_048_576);
    const data = Buffer.alloc(4 * 1_048_576, 7);
    await volume.write(0, data, 0, data.length, true);
    const full = volume.allocatedBytes();
    assert.ok(full >= data.length);
    await volume.unmap(65_536, 4 * 1_048_576 - 65_536);
    assert.ok(volume.allocatedBytes() < full / 2, `${volume.allocatedBytes()} of ${full} bytes left`);
    assert.ok((await readAny(volume, 0, 65_536)).equals(data.subarray(0, 65_536)));
    await volume.close();
  });

  test('a volume that is not thin has its space from the start and keeps it', async () => {
    const wanted = options({ thin: false });
    const volume = await FileVolume.create(world.disk, wanted, 1_048_576);
    const full = volume.allocatedBytes();
    assert.ok(full >= 1_048_576);
    await volume.zero(0, 1_048_576);
    await volume.unmap(0, 1_048_576);
    assert.ok(volume.allocatedBytes() >= full);
    await volume.resize(2 * 1_048_576);
    assert.ok(volume.allocatedBytes() >= 2 * 1_048_576);
    assert.deepEqual(await volume.extents(0, 1e9, 10), [{ position: 0, length: 2 * 1_048_576, mapped: true }]);
    await volume.close();
  });

  test('growing and shrinking: data inside stays, what was cut off does not come back', async () => {
    const wanted = options();
    let volume = await FileVolume.create(world.disk, wanted, SIZE);
    await volume.write(0, Buffer.alloc(SIZE, 5), 0, SIZE, true);
    await volume.resize(SIZE - 10 * BLOCK);
    await volume.resize(SIZE + 200 * BLOCK);
    const expected = Buffer.alloc(SIZE + 200 * BLOCK);
    expected.fill(5, 0, SIZE - 10 * BLOCK);
    for (let round = 0; round < 2; round++) {
      assert.ok((await readAny(volume, 0, expected.length)).equals(expected));
      assert.deepEqual(await volume.extents(0, 1e9, 10), [
        { position: 0, length: SIZE - 10 * BLOCK, mapped: true },
        { position: SIZE - 10 * BLOCK, length: 210 * BLOCK, mapped: false },
      ]);
      await volume.close();
      volume = await FileVolume.open(world.disk, wanted);
    }
    await volume.close();
  });

  test('the map is trusted only after a clean end and only for this very content', async () => {
    const wanted = options();
    const map = `${wanted.path}.map`;
    const open = async (): Promise<{ volume: FileVolume; extents: Extent[] }> => {
      const volume = await FileVolume.open(world.disk, wanted);
      return { volume, extents: await volume.extents(0, SIZE, 10) };
    };
    const all = [{ position: 0, length: SIZE, mapped: true }];
    const block = [
      { position: 0, length: 4096, mapped: true },
      { position: 4096, length: SIZE - 4096, mapped: false },
    ];
    let volume = await FileVolume.create(world.disk, wanted, SIZE);
    await volume.write(0, Buffer.alloc(4096, 1), 0, 4096, true);
    await volume.close();
    let extents: Extent[];
    ({ volume, extents } = await open());
    assert.deepEqual(extents, block);
    assert.equal(existsSync(map), false, 'used up before anything can be written');
    await volume.close();

    const kept = readFileSync(map);
    const { atime, mtime } = statSync(wanted.path);
    // Somebody puts other data into the file, and sets the time back.
    const foreign = Buffer.alloc(SIZE, 9);
    writeFileSync(wanted.path, foreign);
    utimesSync(wanted.path, atime, mtime);
    ({ volume, extents } = await open());
    assert.deepEqual(extents, all);
    assert.ok((await readAny(volume, 0, SIZE)).equals(foreign), 'and it is this data that is read');
    await volume.close();

    for (const damage of [0, 20, 30, kept.length - 1]) {
      const bad = readFileSync(map);
      bad[damage] = bad[damage]! ^ 1;
      writeFileSync(map, bad);
      ({ volume, extents } = await open());
      assert.deepEqual(extents, all, `damaged at ${damage}`);
      await volume.close();
    }
    appendFileSync(wanted.path, Buffer.alloc(BLOCK, 3));
    truncateSync(wanted.path, SIZE);
    ({ volume, extents } = await open());
    assert.deepEqual(extents, all);
    await volume.close();
  });

  test('without a map a file that uses no space is empty, any other is full', async () => {
    const wanted = options();
    writeFileSync(wanted.path, '');
    truncateSync(wanted.path, SIZE);
    const crashed = await FileVolume.open(world.disk, wanted);
    assert.deepEqual(await crashed.extents(0, SIZE, 10), [{ position: 0, length: SIZE, mapped: false }]);
    await crashed.write(0, Buffer.alloc(BLOCK, 1), 0, BLOCK, true);
    // Not closed before the next one opens the file: as after a crash.
    const volume = await FileVolume.open(world.disk, wanted);
    assert.deepEqual(await volume.extents(0, SIZE, 10), [{ position: 0, length: SIZE, mapped: true }]);
    await volume.close();
    await crashed.close();
  });

  test('a read-only volume reads, flushes, and leaves file and map alone', async () => {
    const wanted = options();
    let volume = await FileVolume.create(world.disk, wanted, SIZE);
    await volume.write(0, Buffer.alloc(BLOCK, 1), 0, BLOCK, true);
    await volume.close();
    const map = readFileSync(`${wanted.path}.map`);
    volume = await FileVolume.open(world.disk, { ...wanted, readOnly: true });
    await volume.flush();
    assert.equal((await readAny(volume, 0, BLOCK))[0], 1);
    assert.throws(() => volume.writeNow(0, Buffer.alloc(4096), 0, 4096), { fault: 'read-only' });
    for (const attempt of [
      volume.write(0, Buffer.alloc(BLOCK), 0, BLOCK, false),
      volume.zero(0, BLOCK),
      volume.unmap(0, BLOCK),
      volume.resize(2 * SIZE),
    ]) {
      await assert.rejects(attempt, { fault: 'read-only' });
    }
    await volume.close();
    assert.deepEqual(readFileSync(`${wanted.path}.map`), map);
    assert.equal(statSync(wanted.path).size, SIZE);
  });

  test('creating where something is already leaves it alone', async () => {
    const wanted = options();
    writeFileSync(wanted.path, 'precious');
    await assert.rejects(FileVolume.create(world.disk, wanted, SIZE), { name: 'ServiceError', code: 'exists' });
    assert.equal(readFileSync(wanted.path, 'latin1'), 'precious');
  });
});
