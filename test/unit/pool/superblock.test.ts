// Which of the two copies of the superblock counts.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseSuperblock, encodeSuperblock } from '../../../core/pool/format.ts';

const copy = (serial: number): Buffer =>
  encodeSuperblock({
    poolId: Buffer.alloc(16, 1),
    version: 1,
    generation: serial,
    serial,
    clean: false,
    journalBytes: 16_777_216,
    slabGrains: 64,
  });

describe('the superblock that counts', () => {
  it('is the newer one, wherever it is', () => {
    for (const serials of [
      [7, 8],
      [8, 7],
    ] as const) {
      assert.equal(chooseSuperblock(serials.map(copy)).serial, 8);
    }
  });

  it('is the older one when the newer is damaged', () => {
    for (const at of [0, 1]) {
      const copies = at === 0 ? [copy(8), copy(7)] : [copy(7), copy(8)];
      (copies[at] as Buffer)[50] = 0xff;
      assert.equal(chooseSuperblock(copies).serial, 7);
    }
  });
});
