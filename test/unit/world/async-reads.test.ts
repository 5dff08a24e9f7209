// Reads without a thread for each, where this machine has them: what they bring, what they say when there is nothing to bring,
// and that they neither end the process nor keep it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, mock, test } from 'node:test';
import { ASYNC_READS, ASYNC_READ_BATCH_BYTES, ASYNC_READ_PIECES } from '../../../core/base/limits.ts';
import {
  LARGE_PAGE,
  MEMORY_ALIGNMENT,
  addressOf,
  alignedMemory,
  intoLargePages,
  largeMemory,
  useLargePages,
  useMemoryAddresses,
} from '../../../core/base/memory-address.ts';
import { L1Cache } from '../../../core/cache/l1-cache.ts';
import { asyncReads, learnAsyncReads } from '../../../core/world/async-reads.ts';
import type { AsyncReads } from '../../../core/world/async-reads.ts';
import { nodeDisk } from '../../../core/world/node-disk.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { projectRoot } from '../../support/project.ts';

const BLOCK = 4096;
const BLOCKS = 64;
const EBADF = 9;

await learnAsyncReads();
const reads = asyncReads() as AsyncReads;
const skip =
  asyncReads() === undefined ? 'needs Linux on x86-64 or arm64, io_submit, and the package koffi (npm ci)' : false;

const folder = temporaryFolder('async');
const data = Buffer.from(Array.from({ length: BLOCKS * BLOCK }, (_, i) => (i * 11) >> 4));
const name = join(folder.path, 'data');
writeFileSync(name, data);
const fd = openSync(name, 'r');
after(() => {
  closeSync(fd);
  folder.remove();
});

const place = (memory: Buffer): number => addressOf(memory) as number;
const block = (n: number): Buffer => data.subarray(n * BLOCK, (n + 1) * BLOCK);

function readBlock(n: number, memory: Buffer): Promise<number> {
  return new Promise((resolve) => {
    assert.ok(reads.read(fd, memory, place(memory), BLOCK, n * BLOCK, resolve));
  });
}

describe('reads without threads', { skip }, () => {
  test('as many as there is room for at once, each into its own memory, one more is refused, and again', async () => {
    for (let round = 0; round < 3; round++) {
      const memory = Array.from({ length: ASYNC_READS }, () => alignedMemory(BLOCK));
      const running = memory.map((each, i) => readBlock((i * 7) % BLOCKS, each));
      assert.equal(
        reads.read(fd, data, place(data), BLOCK, 0, () => assert.fail('it was refused')),
        false,
      );
      assert.deepEqual(new Set(await Promise.all(running)), new Set([BLOCK]));
      for (const [i, each] of memory.entries()) assert.ok(each.equals(block((i * 7) % BLOCKS)), `read ${String(i)}`);
    }
  });

  test('of large ones that have ended few are told in one turn, so that what they bring can go meanwhile', async () => {
    const into = Array.from({ length: 16 }, () => alignedMemory(BLOCKS * BLOCK));
    let turns = 0;
    const counter = setInterval(() => undefined, 1000);
    const count = (): void => {
      turns++;
      if (counter.hasRef()) setImmediate(count);
    };
    count();
    const told = await Promise.all(
      into.map(
        (each) =>
          new Promise<number>((resolve) => {
            assert.ok(
              reads.read(fd, each, place(each), each.length, 0, () => {
                resolve(turns);
              }),
            );
          }),
      ),
    );
    counter.unref();
    clearInterval(counter);
    const most = Math.max(...told.map((turn) => told.filter((each) => each === turn).length));
    assert.ok(most * BLOCKS * BLOCK <= ASYNC_READ_BATCH_BYTES, `${String(most)} at once`);
    assert.ok(into.every((each) => each.equals(data)));
  });

  test('into several places', async () => {
    const into = Array.from({ length: ASYNC_READ_PIECES }, (_, i) => Buffer.alloc(BLOCK + i * 512));
    const whole = into.reduce((sum, { length }) => sum + length, 0);
    const result = await new Promise((resolve) => {
      assert.ok(reads.readAll(fd, into, BLOCK, resolve));
    });
    assert.equal(result, whole);
    assert.ok(Buffer.concat(into).equals(data.subarray(BLOCK, BLOCK + whole)));
    assert.equal(
      reads.readAll(fd, [...into, Buffer.alloc(1)], 0, () => assert.fail('it was refused')),
      false,
    );
  });

  test('what cannot be read says so, and the reads before and behind it are made', async () => {
    const memory = [0, 1, 2].map(() => alignedMemory(BLOCK));
    const results = await Promise.all(
      memory.map((each, i) =>
        i === 1
          ? new Promise((resolve) => {
              assert.ok(reads.read(1_000_000, each, place(each), BLOCK, 0, resolve));
            })
          : readBlock(i, each),
      ),
    );
    assert.deepEqual(results, [BLOCK, -EBADF, BLOCK]);
    assert.ok((memory[2] as Buffer).equals(block(2)));
    // Beyond the end.
    assert.equal(await readBlock(BLOCKS, alignedMemory(BLOCK)), 0);
  });

  test('what the page cache has is there at once', () => {
    const memory = alignedMemory(BLOCK);
    assert.equal(reads.readNow(fd, place(memory), BLOCK, 3 * BLOCK), true);
    assert.ok(memory.equals(block(3)));
    assert.equal(reads.readNow(fd, place(memory), BLOCK, BLOCKS * BLOCK), false);
  });

  test('a process waits for its reads, and for nothing else', () => {
    const program = `
      const { learnAsyncReads, asyncReads } = await import(process.argv[1]);
      const { addressOf, alignedMemory } = await import(process.argv[2]);
      const { openSync } = await import('node:fs');
      await learnAsyncReads();
      const memory = alignedMemory(4096);
      asyncReads().read(openSync(process.execPath, 'r'), memory, addressOf(memory), 4096, 0, (n) => console.log(n, memory.toString('latin1', 1, 4)));`;
    const module = (file: string): string => `file://${join(projectRoot, 'dist', 'core', file)}`;
    const args = [module('world/async-reads.js'), module('base/memory-address.js')];
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', program, ...args], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(done.stdout, '4096 ELF\n', done.stderr);
    assert.equal(done.status, 0);
  });

  test('small and large reads of a disk are made this way, and see what was written a moment ago', async (t) => {
    const file = await nodeDisk.open(join(folder.path, 'disk'), { create: true });
    await file.write(data, 0, data.length, 0);
    await file.dataSync();
    if (file.inMemory) {
      await file.close();
      t.skip('the temporary folder is in memory');
      return;
    }
    const one = mock.method(reads, 'read');
    const several = mock.method(reads, 'readAll');
    // What the kernel has it need not read: without this it is said to have everything.
    const now = mock.method(reads, 'readNow', () => false);
    const memory = alignedMemory(4 * BLOCK);
    const large = [alignedMemory(16 * BLOCK), alignedMemory(32 * BLOCK)];
    const expected = Buffer.from(data);
    for (let round = 0; round < 150; round++) {
      const n = (round * 7) % (BLOCKS - 4);
      expected.writeUInt32BE(round, n * BLOCK + 100);
      await file.write(expected, n * BLOCK, BLOCK, n * BLOCK);
      await file.readSmall(memory, BLOCK, 2 * BLOCK, n * BLOCK);
      assert.ok(memory.subarray(BLOCK, 3 * BLOCK).equals(expected.subarray(n * BLOCK, (n + 2) * BLOCK)));
      await file.readLarge(large, 0);
      assert.ok(Buffer.concat(large).equals(expected.subarray(0, 48 * BLOCK)), `round ${String(round)}`);
    }
    // What has to be written first makes it wait, so it would not be read.
    await file.dataSync();
    const soon = (at: number, position: number): Promise<boolean | 'not begun'> =>
      new Promise((resolve) => {
        if (file.readSoon?.(memory, at, BLOCK, position, resolve) !== true) resolve('not begun');
      });
    const found = new Map<unknown, number>();
    for (let round = 0; round < 150; round++) {
      const n = (round * 7) % (BLOCKS - 4);
      const outcome = await soon(BLOCK, n * BLOCK);
      found.set(outcome, (found.get(outcome) ?? 0) + 1);
      if (outcome !== true) continue;
      assert.ok(memory.subarray(BLOCK, 2 * BLOCK).equals(expected.subarray(n * BLOCK, (n + 1) * BLOCK)));
    }
    // As above; none of them fails.
    assert.ok((found.get(true) ?? 0) > 1 && !found.has(false), JSON.stringify([...found]));
    assert.equal(await soon(1, 5 * BLOCK), 'not begun', 'not aligned');
    assert.notEqual(await soon(0, BLOCKS * BLOCK), true, 'beyond the end');
    // How many of the small ones depends on how fast the disk is.
    assert.ok(one.mock.callCount() > 1, `${String(one.mock.callCount())} small reads`);
    assert.ok(several.mock.callCount() > 100, `${String(several.mock.callCount())} large reads`);
    assert.ok(now.mock.callCount() > 2);
    // Not aligned, nor beyond the end, nor when the file is about to be closed.
    const odd = Buffer.alloc(BLOCK + 1);
    await file.readSmall(odd, 1, BLOCK, 5 * BLOCK);
    assert.ok(odd.subarray(1).equals(expected.subarray(5 * BLOCK, 6 * BLOCK)));
    await assert.rejects(file.readSmall(memory, 0, BLOCK, BLOCKS * BLOCK), { code: 'EIO' });
    await assert.rejects(file.readLarge(large, 32 * BLOCK), { code: 'EIO' });
    const last = file.readSmall(memory, 0, BLOCK, 9 * BLOCK);
    await Promise.all([last, file.close()]);
    assert.ok(memory.subarray(0, BLOCK).equals(expected.subarray(9 * BLOCK, 10 * BLOCK)));
    mock.restoreAll();
  });

  test('the frames of the cache lie where the disk wants them', () => {
    const cache = new L1Cache(100 * 65_536, 65_536);
    const owner = { cacheId: cache.nextId(), frameLost: () => undefined };
    for (let grain = 0; grain < 100; grain++) {
      const frame = cache.take(owner, grain);
      assert.equal((place(cache.slab(frame)) + cache.offset(frame)) % MEMORY_ALIGNMENT, 0);
      assert.ok(cache.offset(frame) + 65_536 <= cache.slab(frame).length);
    }
  });

  test('much memory begins with a large page, and is in them when it has been written', async (t) => {
    const release = /^(\d+)\.(\d+)/.exec(readFileSync('/proc/sys/kernel/osrelease', 'latin1'));
    const isNew = Number(release?.[1]) > 6 || (Number(release?.[1]) === 6 && Number(release?.[2]) >= 1);
    if (!isNew || !existsSync('/sys/kernel/mm/transparent_hugepage')) {
      t.skip('this kernel cannot make large pages of small ones');
      return;
    }
    const memory = largeMemory(3 * LARGE_PAGE + MEMORY_ALIGNMENT);
    assert.equal(memory.length, 3 * LARGE_PAGE + MEMORY_ALIGNMENT);
    const at = place(memory);
    assert.equal(at % LARGE_PAGE, 0);
    for (let i = 0; i < memory.length; i += 4096) memory.writeUInt32LE(i, i);
    // proc_pid_smaps(5): one paragraph for each mapping.
    const huge = (): number => {
      const mappings = readFileSync('/proc/self/smaps', 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
      const mine = mappings.find((each) => {
        const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(each) ?? [];
        return parseInt(from, 16) <= at && at < parseInt(to, 16);
      });
      return Number(/^AnonHugePages: +(\d+) kB/m.exec(mine ?? '')?.[1]) * 1024;
    };
    const before = huge();
    intoLargePages(memory);
    // One after the other; more than one shows that they go on.
    while (huge() <= before + LARGE_PAGE) await new Promise((resolve) => setTimeout(resolve, 10));
    for (let i = 0; i < memory.length; i += 4096) assert.equal(memory.readUInt32LE(i), i);
  });

  test('only whole large pages are asked for, and little memory is not', () => {
    const asked: number[] = [];
    useMemoryAddresses((memory) => (memory.length < LARGE_PAGE ? 4096 : 3 * LARGE_PAGE - 4096));
    useLargePages((address, bytes) => asked.push(address, bytes));
    intoLargePages(largeMemory(LARGE_PAGE - 1));
    assert.deepEqual(asked, []);
    const much = largeMemory(LARGE_PAGE + 65_536);
    assert.equal(much.length, LARGE_PAGE + 65_536);
    assert.deepEqual(asked, []);
    intoLargePages(much);
    assert.deepEqual(asked, [3 * LARGE_PAGE, LARGE_PAGE]);
    useLargePages(undefined);
    intoLargePages(much);
    assert.equal(largeMemory(LARGE_PAGE).length, LARGE_PAGE);
    assert.equal(asked.length, 2);
  });

  test('without anybody who can tell where memory lies there is memory all the same', () => {
    const fresh = new ArrayBuffer(16);
    useMemoryAddresses(undefined);
    assert.equal(addressOf(Buffer.from(fresh)), undefined);
    assert.equal(alignedMemory(BLOCK).length, BLOCK);
    useMemoryAddresses(() => 12_345);
    const memory = Buffer.from(fresh, 4);
    assert.equal(addressOf(memory), 12_345);
    // Told once: later by where it lies in that.
    useMemoryAddresses(undefined);
    assert.equal(addressOf(Buffer.from(fresh, 6)), 12_347);
  });
});
