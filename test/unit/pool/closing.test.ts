// A volume is closed while the disk takes no data: what was acknowledged is in the journal only, and stays there.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Machine } from '../../crash/machine.ts';
import type { Running } from '../../crash/machine.ts';

const MIB = 1024 * 1024;

function off({ power }: Running): void {
  power.failAt = 0;
  power.tick();
}

/** Nothing can be put into its place. */
function full({ disk }: Running): void {
  disk.fault = (operation, path) => (operation === 'write' && path.includes('slab') ? new Error('ENOSPC') : undefined);
}

async function withUnplaced(body: (running: Running, id: number, other: number) => Promise<void>): Promise<Machine> {
  const machine = new Machine(() => 0.5);
  await machine.create(2);
  const running = await machine.start();
  assert.ok(running);
  try {
    const id = await running.pool.create({ size: 4 * MIB, thick: false, created: 0 });
    const other = await running.pool.create({ size: 4 * MIB, thick: false, created: 0 });
    const volume = running.open(id);
    await volume.write(8192, Buffer.alloc(4096, 7), 0, 4096, false);
    full(running);
    await assert.rejects(volume.close());
    running.disk.fault = () => undefined;
    await body(running, id, other);
  } finally {
    off(running);
  }
  return machine;
}

describe('a volume of a pool that is closed before its data is in its place', () => {
  it('has it after the next start, although the pool was closed in between', async () => {
    const machine = await withUnplaced(async (running, id, other) => {
      const { pool } = running;
      assert.throws(() => running.open(id), { code: 'io-error' });
      await assert.rejects(pool.copy([id], false, 0), { code: 'io-error' });
      const volume = running.open(other);
      await volume.write(0, Buffer.alloc(4096, 9), 0, 4096, false);
      await volume.close();
      full(running);
      await pool.close();
    });
    const again = await machine.start();
    assert.ok(again);
    try {
      assert.equal(again.recovery.unclean, true);
      const back = Buffer.alloc(4096);
      for (const [id, position, value] of [
        [1, 8192, 7],
        [2, 0, 9],
      ] as const) {
        await again.open(id).read(position, 4096, back, 0);
        assert.ok(back.equals(Buffer.alloc(4096, value)), `volume ${String(id)}`);
      }
    } finally {
      off(again);
    }
  });

  it('is placed by the next checkpoint that can, and is usable then', async () => {
    await withUnplaced(async (running, id) => {
      const { pool } = running;
      full(running);
      await pool.checkpoint();
      assert.throws(() => running.open(id), { code: 'io-error' });
      running.disk.fault = () => undefined;
      await pool.checkpoint();
      const back = Buffer.alloc(4096);
      await running.open(id).read(8192, 4096, back, 0);
      assert.ok(back.equals(Buffer.alloc(4096, 7)));
      assert.equal(pool.allocator.promised, 0);
      assert.equal(pool.allocator.reserved, 0);
    });
  });

  it('holds nothing up, and keeps nothing once it is deleted', async () => {
    await withUnplaced(async (running, id) => {
      const { pool } = running;
      full(running);
      await pool.checkpoint();
      await pool.delete(id);
      assert.equal(pool.allocator.promised, 0);
      running.disk.fault = () => undefined;
      await pool.checkpoint();
    });
  });
});
