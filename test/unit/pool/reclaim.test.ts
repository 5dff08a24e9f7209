// Space of freed grains that goes back to the disk below.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { RECLAIM_UNIT } from '../../../core/base/limits.ts';
import { Allocator } from '../../../core/pool/allocator.ts';
import { checkPool } from '../../../core/pool/check.ts';
import { GRAIN } from '../../../core/volume/grain.ts';
import { Machine } from '../../crash/machine.ts';
import type { Running } from '../../crash/machine.ts';

const MIB = 1_048_576;

async function turnedOn(t: TestContext, slabs: number): Promise<Running> {
  const machine = new Machine(() => 0.5);
  await machine.create(slabs);
  const running = await machine.start();
  assert.ok(running !== undefined);
  t.after(() => {
    running.power.stop();
  });
  return running;
}

/** A volume full of one byte. */
async function filled(running: Running, size: number, byte: number): Promise<number> {
  const id = await running.pool.create({ size, thick: false, created: 0 });
  const volume = running.open(id);
  for (let at = 0; at < size; at += MIB) await volume.write(at, Buffer.alloc(MIB, byte), 0, MIB, false);
  await volume.close();
  return id;
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('freed grains', () => {
  it('give their space back; checksums and the grains of others stay', async (t) => {
    const running = await turnedOn(t, 8);
    const { pool } = running;
    const before = await filled(running, 2 * MIB, 1);
    const gone = await filled(running, 4 * MIB, 2);
    const behind = await filled(running, 2 * MIB, 3);
    const places = [...pool.entry(gone).map.mapped(0, 64)].map((grain) => pool.entry(gone).map.place(grain) - 1);
    assert.equal(places.length, 64);
    const sums = await pool.slabs.sums(places[40] as number);
    await pool.delete(gone);
    await turns(400);

    assert.ok(pool.reclaim.bytes >= 3 * MIB && pool.reclaim.bytes <= 4 * MIB, String(pool.reclaim.bytes));
    const raw = Buffer.alloc(GRAIN, 9);
    await pool.slabs.readRaw(places[40] as number, 0, GRAIN, raw, 0);
    assert.ok(raw.equals(Buffer.alloc(GRAIN)));
    assert.deepEqual(await pool.slabs.sums(places[40] as number), sums);
    for (const [id, byte] of [
      [before, 1],
      [behind, 3],
    ] as const) {
      const volume = running.open(id);
      const data = Buffer.alloc(2 * MIB);
      await volume.read(0, 2 * MIB, data, 0);
      assert.ok(data.equals(Buffer.alloc(2 * MIB, byte)));
      await volume.close();
    }
    assert.equal(pool.allocator.borrowed, 0);
    assert.deepEqual(checkPool(pool).findings, []);
  });

  it('are not punched a second time by a disk that cannot', async (t) => {
    const running = await turnedOn(t, 8);
    let asked = 0;
    running.disk.fault = (operation) => {
      if (operation !== 'punch') return undefined;
      asked++;
      return new Error('not supported');
    };
    for (const byte of [1, 2, 3]) {
      await running.pool.delete(await filled(running, 4 * MIB, byte));
      await turns(200);
    }
    assert.equal(asked, 1);
    assert.equal(running.pool.reclaim.bytes, 0);
    assert.equal(running.pool.allocator.borrowed, 0);
    assert.equal(running.pool.allocator.spare, 512);
  });

  it('stay where few are free', async (t) => {
    const running = await turnedOn(t, 8);
    const { pool } = running;
    const gone = await filled(running, 2 * MIB, 1);
    await pool.create({ size: (512 - 32 - 90) * GRAIN, thick: true, created: 0 });
    await pool.delete(gone);
    await turns(200);
    assert.equal(pool.reclaim.bytes, 0);
    assert.equal(pool.allocator.spare, 122);
  });

  it('are given back before a pool is closed', async (t) => {
    const running = await turnedOn(t, 8);
    await running.pool.delete(await filled(running, 4 * MIB, 1));
    for (let i = 0; running.pool.allocator.borrowed === 0; i++) {
      assert.ok(i < 1000, 'a run is borrowed');
      await turns(1);
    }
    await running.pool.close();
    assert.equal(running.pool.allocator.borrowed, 0);
  });
});

describe('borrowing', () => {
  it('takes free grains only, leaves enough, and nobody gets them meanwhile', () => {
    const allocator = new Allocator(64);
    assert.equal(allocator.borrow(0, RECLAIM_UNIT, 3), true);
    assert.equal(allocator.borrow(0, 1, 0), false, 'lent already');
    assert.equal(allocator.borrow(16, RECLAIM_UNIT, 3), false, 'too few besides');
    assert.deepEqual([allocator.used, allocator.spare, allocator.borrowed], [0, 48, 16]);
    const got = Array.from({ length: 48 }, () => allocator.allocate(false, 0));
    assert.ok(got.every((grain) => grain >= RECLAIM_UNIT));
    assert.throws(() => allocator.allocate(false), /full/);
    allocator.giveBack(0, RECLAIM_UNIT);
    assert.equal(allocator.borrow(15, 2, 0), false, 'one is in use');
    assert.equal(allocator.allocate(false, 0), 0);
    assert.deepEqual([allocator.used, allocator.borrowed], [49, 0]);
  });

  it('does not take a grain that is in quarantine: a crash would bring its user back', () => {
    const allocator = new Allocator(64);
    allocator.release(allocator.allocate(false, 5));
    assert.equal(allocator.borrow(0, 16, 0), false);
    const leaving = allocator.takeQuarantine();
    assert.equal(allocator.borrow(0, 16, 0), false);
    allocator.endQuarantine(leaving);
    assert.equal(allocator.borrow(0, 16, 0), true);
  });

  it('does not take what is promised or set aside', () => {
    const allocator = new Allocator(64);
    allocator.reserve(33);
    assert.equal(allocator.borrow(0, 16, 1), false);
    allocator.unreserve(1);
    assert.equal(allocator.borrow(0, 16, 1), true);
  });
});

describe('grains that were free before the pool was opened', () => {
  /** Two volumes of 4 MiB; one is deleted, and nothing of it is given back before the pool is opened again. */
  async function reopened(
    t: TestContext,
    deleted: boolean,
  ): Promise<{ running: Running; kept: number; punched: Set<string> }> {
    const machine = new Machine(() => 0.5);
    await machine.create(8);
    const before = await machine.start();
    assert.ok(before !== undefined);
    before.disk.fault = (operation) => (operation === 'punch' ? new Error('not now') : undefined);
    const gone = await filled(before, 4 * MIB, 2);
    const kept = await filled(before, 4 * MIB, 3);
    if (deleted) await before.pool.delete(gone);
    await before.pool.close();
    const running = await machine.start();
    assert.ok(running !== undefined);
    t.after(() => {
      running.power.stop();
    });
    const punched = new Set<string>();
    running.disk.fault = (operation, path) => {
      if (operation === 'punch') punched.add(path);
      return undefined;
    };
    await turns(400);
    return { running, kept, punched };
  }

  it('give their space back, in the files that hold any', async (t) => {
    const { running, kept, punched } = await reopened(t, true);
    const { pool } = running;
    const { used, total, borrowed } = pool.allocator;
    assert.deepEqual({ used, borrowed }, { used: 64, borrowed: 0 });
    // Eight slabs of 4 MiB: one of them is full of what is gone, the other of what is not.
    assert.ok(punched.size >= 1 && punched.size <= 2, [...punched].join(' '));
    assert.ok(
      pool.reclaim.bytes >= 3 * MIB && pool.reclaim.bytes <= 5 * MIB,
      `${String(pool.reclaim.bytes)} of ${String(total)}`,
    );
    const data = Buffer.alloc(4 * MIB);
    await running.open(kept).read(0, data.length, data, 0);
    assert.ok(data.equals(Buffer.alloc(4 * MIB, 3)));
  });

  it('are let be where files take no more than what is in use', async (t) => {
    const { running, punched } = await reopened(t, false);
    assert.deepEqual([...punched], []);
    assert.equal(running.pool.reclaim.bytes, 0);
  });
});
