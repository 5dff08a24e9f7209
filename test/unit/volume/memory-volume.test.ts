import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { viewGuard } from '../../../core/base/view-guard.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';

const MIB = 1_048_576;
const CHUNK = MIB;

function view(volume: MemoryVolume, position: number, length: number): Buffer | undefined {
  const pieces: Buffer[] = [];
  return volume.viewNow(position, length, pieces) ? Buffer.concat(pieces) : undefined;
}

function pattern(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff));
}

function read(volume: MemoryVolume, position: number, length: number): Buffer {
  const target = Buffer.alloc(length, 0xee);
  assert.equal(volume.readNow(position, length, target, 0), true);
  return target;
}

describe('memory volume', () => {
  test('reads what was written across two pieces of memory, zeros elsewhere', () => {
    const volume = new MemoryVolume(2 * CHUNK);
    const data = pattern(8192, 1);
    volume.writeNow(CHUNK - 4096, data, 0, 8192);
    assert.deepEqual(read(volume, CHUNK - 4096, 8192), data);
    assert.ok(read(volume, CHUNK + 4096, 4096).equals(Buffer.alloc(4096)));
    assert.deepEqual(view(volume, CHUNK - 4096, 8192), data);
    volume.writeNow(CHUNK, pattern(512, 9), 0, 512);
    assert.deepEqual(view(volume, CHUNK, 512), pattern(512, 9), 'a view shows what is there now');
  });

  test('what somebody still sends does not change under him', async () => {
    const volume = new MemoryVolume(2 * CHUNK);
    const before = pattern(4096, 1);
    volume.writeNow(0, before, 0, 4096);
    const hold = viewGuard.hold();
    const pieces: Buffer[] = [];
    assert.equal(volume.viewNow(0, 4096, pieces), true);
    volume.writeNow(0, pattern(4096, 2), 0, 4096);
    assert.deepEqual(pieces[0], before);
    assert.deepEqual(read(volume, 0, 4096), pattern(4096, 2));
    await volume.unmap(0, 512);
    assert.deepEqual(pieces[0], before);
    viewGuard.release(hold);
  });

  test('unmap reads as zeros, is reported, and gives memory back', async () => {
    const volume = new MemoryVolume(2 * CHUNK);
    volume.writeNow(0, pattern(8192, 1), 0, 8192);
    await volume.unmap(0, 4096);
    assert.ok(read(volume, 0, 4096).equals(Buffer.alloc(4096)));
    assert.deepEqual(await volume.extents(0, 12_288, 10), [
      { position: 0, length: 4096, mapped: false },
      { position: 4096, length: 4096, mapped: true },
      { position: 8192, length: 4096, mapped: false },
    ]);
    assert.equal(volume.allocatedBytes(), 4096);
    assert.notEqual(view(volume, 0, 512), undefined);
    await volume.unmap(4096, 4096);
    assert.equal(view(volume, 0, 512), undefined, 'the piece of memory is gone');
    await volume.zero(0, CHUNK);
    assert.equal(volume.allocatedBytes(), CHUNK, 'zeroed blocks stay mapped');
  });

  test('growing and shrinking keep what is inside, and what is new is zeros and takes data', async () => {
    const volume = new MemoryVolume(10 * MIB);
    const data = pattern(MIB, 5);
    volume.writeNow(9 * MIB, data, 0, MIB);
    await volume.resize(200 * MIB);
    assert.deepEqual(read(volume, 9 * MIB, MIB), data);
    assert.ok(read(volume, 10 * MIB, MIB).equals(Buffer.alloc(MIB)));
    volume.writeNow(20 * MIB, data, 0, MIB);
    assert.deepEqual(read(volume, 20 * MIB, MIB), data);
    await volume.resize(9 * MIB + MIB / 2);
    await volume.resize(10 * MIB);
    const expected = Buffer.concat([data.subarray(0, MIB / 2), Buffer.alloc(MIB / 2)]);
    assert.deepEqual(read(volume, 9 * MIB, MIB), expected, 'what was cut off does not come back');
    assert.equal(volume.info.size, 10 * MIB);
  });

  test('a read-only one refuses every change', async () => {
    const volume = new MemoryVolume(MIB, 512, { readOnly: true });
    assert.throws(() => volume.writeNow(0, pattern(512, 1), 0, 512), { fault: 'read-only' });
    await assert.rejects(volume.write(0, pattern(512, 1), 0, 512), { fault: 'read-only' });
    await assert.rejects(volume.zero(0, 512), { fault: 'read-only' });
    await assert.rejects(volume.unmap(0, 512), { fault: 'read-only' });
  });
});
