import assert from 'node:assert/strict';
import { constants, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { alignedMemory } from '../../../core/base/memory-address.ts';
import { asyncReads, learnAsyncReads } from '../../../core/world/async-reads.ts';
import { nodeDisk } from '../../../core/world/node-disk.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

const MIB = 1_048_576;

// It tells where memory lies.
await learnAsyncReads();
const skip = asyncReads() === undefined ? 'needs Linux on x86-64 or arm64, and the package koffi (npm ci)' : false;

describe('large writes', () => {
  test('are what was written, past the page cache or through it, between and over smaller ones', { skip }, async () => {
    const folder = temporaryFolder('direct-writes');
    const file = await nodeDisk.open(join(folder.path, 'disk'), { create: true });
    try {
      await file.truncate(4 * MIB);
      const expected = Buffer.alloc(4 * MIB);
      const write = async (value: number, length: number, position: number, skip = 0): Promise<void> => {
        const memory = alignedMemory(length + 4096);
        memory.fill(value);
        expected.fill(value, position, position + length);
        if (position % 3 === 0) await file.write(memory, skip, length, position);
        else await file.writeLarge?.(memory, skip, length, position);
      };
      // The first one opens the file for those behind it.
      for (let round = 1; round < 5; round++) {
        await write(round, MIB, 4096 * round);
        await write(round + 10, 4096, 2 * 4096 * round);
        // Not a multiple of anything, and memory that begins elsewhere.
        await write(round + 20, MIB / 2 + 100, 2 * MIB + round);
        await write(round + 30, MIB / 2, 3 * MIB + 4096 * round, 7);
        await write(round + 40, MIB / 4, 3 * MIB - 4096 * round);
      }
      await file.dataSync();
      const found = Buffer.alloc(4 * MIB);
      await file.read(found, 0, found.length, 0);
      assert.ok(found.equals(expected));
    } finally {
      await file.close();
      folder.remove();
    }
  });

  test('are stable when they are over where the file says so', { skip }, async () => {
    const folder = temporaryFolder('direct-writes-sync');
    const name = join(folder.path, 'disk');
    const file = await nodeDisk.open(name, { create: true, syncWrites: true });
    try {
      // The first one opens the file once more.
      for (let i = 0; i < 50; i++) await file.writeLarge?.(alignedMemory(MIB), 0, MIB, 0);
      const flags = readdirSync('/proc/self/fd').flatMap((fd) => {
        try {
          if (readlinkSync(`/proc/self/fd/${fd}`) !== name) return [];
          return [/flags:\s+0?(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? ''];
        } catch {
          return []; // the one that listed them
        }
      });
      assert.ok(flags.length > 0);
      for (const each of flags) assert.ok((Number.parseInt(each, 8) & constants.O_DSYNC) !== 0, each);
    } finally {
      await file.close();
      folder.remove();
    }
  });
});
