import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { VOLATILE_SYNC_AFTER, VOLATILE_WAIT_ABOVE } from '../../../core/base/limits.ts';
import { FileVolume } from '../../../core/volume/file-volume.ts';
import type { FileVolumeOptions } from '../../../core/volume/file-volume.ts';
import { WriteNow } from '../../../core/volume/volume.ts';
import { FakeDisk, FakeFile, systemError } from './fake-disk.ts';

const MIB = 1_048_576;
const DATA = Buffer.alloc(MIB, 7);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function open(
  more: Partial<FileVolumeOptions> = {},
  prepare: (file: FakeFile) => void = () => undefined,
): Promise<{ volume: FileVolume; file: FakeFile; disk: FakeDisk; again: () => Promise<FileVolume> }> {
  const file = new FakeFile(4 * MIB);
  prepare(file);
  const disk = new FakeDisk(file);
  const options: FileVolumeOptions = {
    path: file.path,
    blockSize: 512,
    durability: 'durable',
    readOnly: false,
    thin: true,
    ...more,
  };
  const again = (): Promise<FileVolume> => FileVolume.open(disk, options);
  const volume = await again();
  file.calls.length = 0;
  return { volume, file, disk, again };
}

/** Fails the named operations with a code. */
function failing(file: FakeFile, code: string, ...operations: string[]): void {
  file.before = (operation) => {
    if (operations.includes(operation)) throw systemError(code);
  };
}

describe('file volume: what is done in this turn', () => {
  test('a hole is zeros without any access; cold data is refused, then read once, then hot', async () => {
    const { volume, file } = await open({}, (each) => {
      each.bytes.fill(3);
      each.allocated = 4 * MIB;
    });
    const target = Buffer.alloc(8192, 0xee);
    assert.equal(volume.readNow(0, 8192, target, 0), false);
    assert.equal(file.calls.length, 0);
    await volume.read(0, 8192, target, 0);
    assert.equal(volume.readNow(512, 4096, target, 0), true);
    assert.deepEqual(file.calls, ['read', 'readSync']);
    assert.equal(volume.readNow(4096, 8192, target, 0), false, 'the second half is still cold');
    file.slow = true;
    assert.equal(volume.readNow(0, 4096, target, 0), true, 'read, though it took long');
    assert.equal(volume.readNow(0, 4096, target, 0), false, 'the operating system has given it up');
    file.slow = false;
    await volume.unmap(65_536, 65_536);
    file.calls.length = 0;
    assert.equal(volume.readNow(65_536, 8192, target, 0), true);
    await volume.read(65_536, 8192, target, 0);
    assert.ok(target.equals(Buffer.alloc(8192)));
    assert.deepEqual(file.calls, []);
  });

  test('whole pages are always taken, parts of pages only where the page is hot', async () => {
    const { volume, file } = await open();
    assert.equal(volume.writeNow(512, DATA, 0, 512), WriteNow.refused);
    assert.equal(volume.writeNow(512, DATA, 0, 4096), WriteNow.refused);
    assert.deepEqual(file.calls, []);
    assert.equal(volume.writeNow(4096, DATA, 0, 4096), WriteNow.placed);
    assert.equal(volume.writeNow(4096 + 512, DATA, 0, 512), WriteNow.placed);
    await volume.write(0, DATA, 0, 512, false);
    assert.equal(volume.writeNow(512, DATA, 0, 512), WriteNow.placed);
  });

  test('a file in memory is always read and written at once', async () => {
    const { volume } = await open({ durability: 'volatile' }, (file) => {
      file.inMemory = true;
      file.allocated = 1;
    });
    assert.equal(volume.readNow(512, 512, Buffer.alloc(512), 0), true);
    assert.equal(volume.writeNow(512, DATA, 0, 512), WriteNow.done);
  });

  test('an acknowledgement waits for a sync that began after the write', async () => {
    const { volume, file } = await open();
    const stable: (Error | undefined)[] = [];
    const waiter = { stable: (error: Error | undefined) => stable.push(error) };
    let release: () => void = () => undefined;
    file.syncGate = new Promise((resolve) => (release = resolve));
    volume.writeNow(0, DATA, 0, 4096);
    volume.whenStable(waiter);
    await turn();
    volume.writeNow(4096, DATA, 0, 4096);
    volume.whenStable(waiter);
    const slow = volume.write(8192, DATA, 0, 512, false);
    await turn();
    assert.deepEqual([stable.length, file.count('dataSync')], [0, 0]);
    file.syncGate = undefined;
    release();
    await slow;
    assert.deepEqual([stable, file.count('dataSync')], [[undefined, undefined], 2]);
  });

  test('volatile: no sync per write, one for FUA and flush, and a bound on what is not stable', async () => {
    const { volume, file } = await open({ durability: 'volatile' });
    await volume.write(0, DATA, 0, 4096, false);
    assert.equal(file.count('dataSync'), 0);
    await volume.write(0, DATA, 0, 4096, true);
    await volume.flush();
    assert.equal(file.count('dataSync'), 2);
    let release: () => void = () => undefined;
    file.syncGate = new Promise((resolve) => (release = resolve));
    for (let bytes = 0; bytes <= VOLATILE_SYNC_AFTER; bytes += MIB) volume.writeNow(0, DATA, 0, MIB);
    let taken = VOLATILE_SYNC_AFTER + MIB;
    while (taken <= VOLATILE_WAIT_ABOVE + 2 * MIB && volume.writeNow(0, DATA, 0, MIB) === WriteNow.done) taken += MIB;
    assert.equal(taken, VOLATILE_WAIT_ABOVE + MIB, 'refused from here on');
    let written = false;
    const waiting = volume.write(0, DATA, 0, MIB, false).then(() => (written = true));
    await turn();
    await turn();
    assert.equal(written, false);
    file.syncGate = undefined;
    release();
    await waiting;
    assert.ok(file.count('dataSync') >= 3);
    assert.equal(volume.writeNow(0, DATA, 0, MIB), WriteNow.done);
  });
});

describe('file volume: when the disk fails', () => {
  test('a failed sync ends all writing until the volume is opened again; reading goes on', async () => {
    const { volume, file, disk, again } = await open();
    failing(file, 'EIO', 'dataSync');
    volume.writeNow(0, DATA, 0, 4096);
    const stable = new Promise<Error | undefined>((resolve) => {
      volume.whenStable({ stable: resolve });
    });
    const flushed = assert.rejects(volume.flush(), { fault: 'write-error' });
    assert.equal(((await stable) as { fault?: string } | undefined)?.fault, 'write-error');
    await flushed;
    file.before = () => undefined;
    file.calls.length = 0;
    assert.throws(() => volume.writeNow(0, DATA, 0, 4096), { fault: 'write-error' });
    for (const attempt of [
      volume.write(0, DATA, 0, 4096, false),
      volume.write(0, DATA, 0, 4096, true),
      volume.flush(),
      volume.zero(0, 512),
      volume.unmap(0, 512),
    ]) {
      await assert.rejects(attempt, { fault: 'write-error' });
    }
    assert.deepEqual(file.calls, [], 'nothing is tried again');
    const target = Buffer.alloc(4096);
    await volume.read(0, 4096, target, 0);
    assert.ok(target.equals(DATA.subarray(0, 4096)));
    await volume.close();
    assert.equal(disk.small.size, 0, 'no map is kept');
    file.allocated = 4096;
    const next = await again();
    await next.write(0, DATA, 0, 4096, true);
    await next.close();
  });

  test('the volatile background sync poisons too', async () => {
    const { volume, file } = await open({ durability: 'volatile' });
    failing(file, 'EIO', 'dataSync');
    for (let bytes = 0; bytes <= VOLATILE_SYNC_AFTER; bytes += MIB) volume.writeNow(0, DATA, 0, MIB);
    await turn();
    assert.throws(() => volume.writeNow(0, DATA, 0, 4096), { fault: 'write-error' });
  });

  test('a full disk and a bad block are told apart, with the position', async () => {
    const { volume, file } = await open();
    failing(file, 'ENOSPC', 'write', 'writeSync');
    assert.throws(() => volume.writeNow(8192, DATA, 0, 4096), { fault: 'no-space', position: 8192 });
    await assert.rejects(volume.write(512, DATA, 0, 512, false), { fault: 'no-space', position: 512 });
    failing(file, 'EDQUOT', 'write');
    await assert.rejects(volume.write(512, DATA, 0, 512, false), { fault: 'no-space' });
    failing(file, 'EIO', 'write', 'writeSync', 'read', 'readSync');
    assert.throws(() => volume.writeNow(8192, DATA, 0, 4096), { fault: 'write-error', position: 8192 });
    await assert.rejects(volume.write(512, DATA, 0, 512, false), { fault: 'write-error', position: 512 });
    await assert.rejects(volume.read(512, 512, Buffer.alloc(512), 0), { fault: 'read-error', position: 512 });
    file.before = () => undefined;
    await volume.write(0, DATA, 0, 4096, false);
    failing(file, 'EIO', 'readSync');
    assert.equal(volume.readNow(0, 4096, Buffer.alloc(4096), 0), false, 'read() tells of the error');
    assert.equal(file.count('dataSync'), 1, 'only the write that worked was made stable');
  });

  test('what a write that failed half way left behind does not pass for a hole', async () => {
    const { volume, file } = await open();
    file.before = (operation, position) => {
      if (operation !== 'write' && operation !== 'writeSync') return;
      file.bytes.fill(9, position, position + 512);
      throw systemError('ENOSPC');
    };
    await assert.rejects(volume.write(0, DATA, 0, 4096, false));
    assert.throws(() => volume.writeNow(65_536, DATA, 0, 4096));
    assert.equal((await volume.extents(0, 512, 1))[0]?.mapped, true);
    file.before = () => undefined;
    await volume.unmap(0, 4096);
    await volume.unmap(65_536, 4096);
    assert.deepEqual([file.bytes[0], file.bytes[65_536]], [0, 0], 'unmapping really clears it');
  });

  test('where space cannot be freed, zeros are written; a range that is a hole costs nothing', async () => {
    const { volume, file } = await open({}, (each) => {
      each.canPunch = false;
    });
    await volume.write(0, DATA, 0, MIB, false);
    await volume.unmap(0, MIB);
    assert.ok(file.bytes.subarray(0, MIB).equals(Buffer.alloc(MIB)));
    assert.equal((await volume.extents(0, MIB, 2))[0]?.mapped, false);
    file.calls.length = 0;
    await volume.unmap(0, 4 * MIB);
    await volume.zero(0, 4 * MIB);
    assert.deepEqual(file.calls, ['dataSync', 'dataSync']);
    assert.deepEqual(await volume.extents(0, 4 * MIB, 2), [{ position: 0, length: 4 * MIB, mapped: true }]);
  });

  test('a clear that fails leaves the blocks mapped', async () => {
    const { volume, file } = await open({}, (each) => {
      each.canPunch = false;
    });
    await volume.write(0, DATA, 0, 4096, false);
    failing(file, 'EIO', 'write');
    await assert.rejects(volume.unmap(0, 4096), { fault: 'write-error', position: 0 });
    assert.equal((await volume.extents(0, 4096, 1))[0]?.mapped, true);
  });

  test('a device: nothing is a hole, space is not offered back, the size is fixed', async () => {
    const { volume, disk } = await open({}, (file) => {
      file.isDevice = true;
    });
    assert.equal(volume.info.thin, false);
    assert.deepEqual(await volume.extents(0, 4 * MIB, 2), [{ position: 0, length: 4 * MIB, mapped: true }]);
    await assert.rejects(volume.resize(8 * MIB), { fault: 'write-error' });
    await volume.close();
    assert.equal(disk.small.size, 0);
  });

  test('a volume that is not thin does not grow half way', async () => {
    const { volume, file } = await open({ thin: false }, (each) => {
      each.allocated = 1;
    });
    failing(file, 'ENOSPC', 'write');
    await assert.rejects(volume.resize(8 * MIB), { fault: 'no-space' });
    assert.deepEqual([volume.info.size, file.size()], [4 * MIB, 4 * MIB]);
    file.before = () => undefined;
    await volume.write(3 * MIB, DATA, 0, MIB, false);
  });

  test('closing waits for what runs and lets nothing new in', async () => {
    const { volume, file, disk } = await open();
    let release: () => void = () => undefined;
    file.syncGate = new Promise((resolve) => (release = resolve));
    const writing = volume.write(0, DATA, 0, 4096, false);
    await turn();
    const closing = volume.close();
    await turn();
    assert.equal(file.closed, false);
    assert.equal(volume.readNow(0, 512, Buffer.alloc(512), 0), false);
    assert.throws(() => volume.writeNow(0, DATA, 0, 4096), { fault: 'not-ready' });
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), { fault: 'not-ready' });
    await assert.rejects(volume.flush(), { fault: 'not-ready' });
    release();
    await writing;
    await closing;
    assert.equal(file.closed, true);
    assert.equal(disk.small.size, 1, 'the map is kept');
  });
});
