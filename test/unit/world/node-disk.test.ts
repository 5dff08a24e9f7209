import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { MAX_WAITING_PUNCHES } from '../../../core/base/limits.ts';
import { HolePuncher } from '../../../core/world/hole-puncher.ts';
import { nodeDisk } from '../../../core/world/node-disk.ts';
import { atExit, temporaryFolder } from '../../support/cleanup.ts';

const MIB = 1_048_576;
const folder = temporaryFolder('disk');
const name = (file: string): string => join(folder.path, file);
after(() => {
  folder.remove();
});

describe('files of this machine', () => {
  test('what is written is read, in both ways, at any place of the buffer', async () => {
    const file = await nodeDisk.open(name('a'), { create: true });
    await file.truncate(10 * MIB);
    const data = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 13) >> 2));
    file.writeSync(data, 10, 50_000, 1000);
    await file.write(data, 50_010, 40_000, 51_000);
    const back = Buffer.alloc(100_000);
    file.readSync(back, 20, 40_000, 1000);
    await file.read(back, 40_020, 50_000, 41_000);
    assert.ok(back.subarray(20, 90_020).equals(data.subarray(10, 90_010)));
    await file.read(back, 0, 0, 0);
    await file.write(back, 0, 0, 0);
    await file.dataSync();
    assert.equal(file.size(), 10 * MIB);
    await file.close();
  });

  test('large reads go into several places, whichever way they are made, and see what was written just before', async () => {
    const file = await nodeDisk.open(name('large'), { create: true });
    const data = Buffer.from(Array.from({ length: 262_144 }, (_, i) => (i * 7) >> 3));
    await file.write(data, 0, data.length, 4096);
    for (let round = 0; round < 200; round++) {
      data.writeUInt32BE(round, 70_000);
      await file.write(data, 70_000, 4, 4096 + 70_000);
      const into = [Buffer.alloc(65_536), Buffer.alloc(4096), Buffer.alloc(192_512)];
      await file.readLarge(into, 4096);
      assert.ok(Buffer.concat(into).equals(data), `round ${String(round)}`);
    }
    // More at once than there is memory of the special kind, and what is not aligned.
    const many = Array.from({ length: 100 }, (_, i) => Buffer.alloc(4096 + (i % 2)));
    await Promise.all(many.map((each, i) => file.readLarge([each], 4096 + (i % 60) * 4096)));
    for (const [i, each] of many.entries()) {
      assert.ok(each.equals(data.subarray((i % 60) * 4096, (i % 60) * 4096 + each.length)), `read ${String(i)}`);
    }
    await assert.rejects(file.readLarge([Buffer.alloc(8192)], 262_144), { code: 'EIO' });
    const last = file.readLarge([Buffer.alloc(4096)], 4096);
    await Promise.all([last, file.close()]);
  });

  test('reading beyond the end is an error, never fewer bytes', async () => {
    const file = await nodeDisk.open(name('short'), { create: true });
    await file.truncate(1000);
    assert.throws(
      () => {
        file.readSync(Buffer.alloc(512), 0, 512, 600);
      },
      { code: 'EIO' },
    );
    await assert.rejects(file.read(Buffer.alloc(512), 0, 512, 600), { code: 'EIO' });
    await file.close();
  });

  test('folders are made with those above them; what is in the way is named, and nothing is tried for ever', async () => {
    await nodeDisk.makeFolder(name('made/y/z'));
    await nodeDisk.makeFolder(name('made/y/z'));
    assert.ok(statSync(name('made/y/z')).isDirectory());
    writeFileSync(name('plain'), '');
    const unusable = { code: 'folder-unusable' };
    await assert.rejects(nodeDisk.makeFolder(name('plain')), {
      ...unusable,
      message: `${name('plain')} is not a folder`,
    });
    await assert.rejects(nodeDisk.makeFolder(name('plain/below')), unusable);
    await assert.rejects(nodeDisk.readFile(name('plain/below')), unusable);
    if (process.platform === 'linux')
      await assert.rejects(nodeDisk.makeFolder('/proc/nope/x'), { name: 'ServiceError' });
  });

  test('the change stamp follows every change and only changes', async () => {
    const file = await nodeDisk.open(name('stamp'), { create: true });
    await file.truncate(4096);
    await file.dataSync();
    const first = file.changeStamp();
    await new Promise((resolve) => setTimeout(resolve, 20));
    file.readSync(Buffer.alloc(512), 0, 512, 0);
    await file.dataSync();
    assert.equal(file.changeStamp(), first);
    writeFileSync(name('stamp'), 'x', { flag: 'r+' });
    assert.notEqual(file.changeStamp(), first);
    await file.close();
  });

  test('what cannot be opened is explained', async () => {
    await assert.rejects(nodeDisk.open(name('missing')), { name: 'ServiceError', code: 'not-found' });
    await assert.rejects(nodeDisk.open(folder.path, { readOnly: true }), { code: 'bad-request' });
    writeFileSync(name('there'), '');
    await assert.rejects(nodeDisk.open(name('there'), { create: true, exclusive: true }), { code: 'exists' });
    await assert.rejects(nodeDisk.open('/proc/sys/kernel/osrelease'), { code: 'folder-unusable' });
    await assert.rejects(nodeDisk.open('/dev/null'), { code: 'bad-request' });
  });

  test('a small file is replaced whole, with its mode, and nothing else stays in the folder', async () => {
    await nodeDisk.makeFolder(name('small/inner'));
    const path = name('small/inner/token');
    assert.equal(await nodeDisk.readFile(path), undefined);
    await nodeDisk.replaceFile(path, Buffer.from('one'));
    await nodeDisk.replaceFile(path, Buffer.from('two'), 0o640);
    assert.equal((await nodeDisk.readFile(path))?.toString(), 'two');
    assert.equal(statSync(path).mode & 0o777, 0o640);
    assert.deepEqual(readdirSync(name('small/inner')), ['token']);
    assert.equal(await nodeDisk.exists(path), true);
    await nodeDisk.remove(path);
    await nodeDisk.remove(path);
    assert.equal(await nodeDisk.exists(path), false);
    await assert.rejects(nodeDisk.replaceFile(name('no/such/folder'), Buffer.from('x')), { code: 'not-found' });
  });

  test('memory is told from disk', async (t) => {
    let memory: string;
    try {
      if (statfsSync('/dev/shm').type !== 0x0102_1994) throw new Error('not a tmpfs');
      memory = mkdtempSync('/dev/shm/gemel-test-');
    } catch (error) {
      t.skip(`/dev/shm: ${String(error)}`);
      return;
    }
    const forget = atExit(() => {
      rmSync(memory, { recursive: true, force: true });
    });
    const file = await nodeDisk.open(join(memory, 'x'), { create: true });
    assert.equal(file.inMemory, true);
    await file.close();
    forget();
    rmSync(memory, { recursive: true });
    const other = await nodeDisk.open(name('x'), { create: true });
    assert.equal(other.inMemory, [0x0102_1994, 0x8584_58f6].includes(statfsSync(folder.path).type));
    await other.close();
  });
});

describe('freeing space', () => {
  test('the range reads as zeros and its space comes back, many at once too', async (t) => {
    const file = await nodeDisk.open(name('holes'), { create: true });
    const data = Buffer.alloc(4 * MIB, 7);
    await file.write(data, 0, data.length, 0);
    await file.dataSync();
    const full = file.allocatedBytes();
    // 32 holes of 64 KiB with 64 KiB between them, and 32 adjacent ones that are one.
    const apart = Array.from({ length: 16 }, (_, i) => file.punch(i * 131_072, 65_536));
    const adjacent = Array.from({ length: 16 }, (_, i) => file.punch(2 * MIB + i * 65_536, 65_536));
    const freed = await Promise.all([...apart, ...adjacent]);
    if (freed.every((each) => !each)) {
      t.skip('this file system, or this machine, cannot free space inside a file (apt-get install util-linux)');
      await file.close();
      return;
    }
    assert.ok(freed.every((each) => each));
    for (let i = 0; i < 16; i++) {
      data.fill(0, i * 131_072, i * 131_072 + 65_536);
      data.fill(0, 2 * MIB + i * 65_536, 2 * MIB + (i + 1) * 65_536);
    }
    assert.ok(readFileSync(name('holes')).equals(data));
    assert.ok(file.allocatedBytes() <= full - 1.5 * MIB);
    assert.equal(file.size(), 4 * MIB);
    await file.close();
  });

  test('where it is impossible nothing changes, and nobody tries again', async () => {
    const fd = openSync(folder.path, 'r');
    const puncher = new HolePuncher(fd);
    assert.equal(await puncher.punch(0, 4096), false);
    const all = Array.from({ length: 500 }, (_, i) => puncher.punch(i * 8192, 4096));
    let settled = 0;
    for (const each of all) void each.then(() => settled++);
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(settled, 500, 'answered without asking any program');
    assert.deepEqual(new Set(await Promise.all(all)), new Set([false]));
    await puncher.close();
    closeSync(fd);
  });

  test('the queue is bounded, and closing answers everybody', async () => {
    const file = openSync(name('queue'), 'w+');
    writeFileSync(file, Buffer.alloc(65_536, 1));
    const puncher = new HolePuncher(file);
    let settled = 0;
    const surplus = 50;
    const all = Array.from({ length: 1 + MAX_WAITING_PUNCHES + surplus }, (_, i) =>
      puncher.punch(i * 8192, 4096).then((freed) => (settled++, freed)),
    );
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(settled, surplus, 'who finds the queue full is sent away at once');
    await puncher.close();
    const freed = await Promise.all(all);
    assert.ok(freed.filter((each) => each).length < 100);
    assert.equal(await puncher.punch(0, 4096), false);
    closeSync(file);
  });
});

describe('block devices', () => {
  test('size, data and clearing of a loop device', async (t) => {
    writeFileSync(name('loop.img'), Buffer.alloc(3 * MIB, 5));
    chmodSync(name('loop.img'), 0o600);
    const made = spawnSync('losetup', ['--find', '--show', name('loop.img')], { encoding: 'utf8' });
    if (made.status !== 0) {
      t.skip(`losetup: ${made.error?.message ?? made.stderr.trim()}`);
      return;
    }
    const device = made.stdout.trim();
    const detach = (): void => {
      spawnSync('losetup', ['--detach', device]);
    };
    const forget = atExit(detach);
    try {
      const file = await nodeDisk.open(device);
      assert.deepEqual([file.isDevice, file.inMemory, file.size()], [true, false, 3 * MIB]);
      assert.equal(file.allocatedBytes(), 3 * MIB);
      const data = Buffer.alloc(MIB, 9);
      await file.write(data, 0, MIB, MIB);
      await file.dataSync();
      const before = Buffer.alloc(3 * MIB, 5).fill(9, MIB, 2 * MIB);
      const now = Buffer.alloc(3 * MIB);
      await file.read(now, 0, 3 * MIB, 0);
      assert.ok(now.equals(before));
      if (await file.punch(MIB + 65_536, 131_072)) before.fill(0, MIB + 65_536, MIB + 65_536 + 131_072);
      await file.read(now, 0, 3 * MIB, 0);
      assert.ok(now.equals(before), 'cleared and readable at once');
      await file.close();
    } finally {
      forget();
      detach();
    }
  });
});
