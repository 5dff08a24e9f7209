// The disk below has no room for the metadata: what was to be done is refused, everything is as it was, and writing goes on.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkPool } from '../../../core/pool/check.ts';
import { growPool } from '../../../core/pool/open.ts';
import { GRAIN } from '../../../core/volume/grain.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { Machine } from '../../crash/machine.ts';
import type { Running } from '../../crash/machine.ts';

const SIZE = 1_048_576;
const BLOCK = 4096;

const block = (value: number): Buffer => Buffer.alloc(BLOCK, value);

async function contentOf(volume: Volume, position: number): Promise<number> {
  const back = Buffer.alloc(BLOCK);
  await volume.read(position, BLOCK, back, 0);
  assert.ok(back.every((byte) => byte === back[0]));
  return back[0] ?? 0;
}

function off({ power }: Running): void {
  power.failAt = 0;
  power.tick();
}

const noRoom = Object.assign(new Error('no space left'), { code: 'ENOSPC' });

/** `work` is refused because the metadata finds no room. */
async function refused(
  { pool, disk }: Running,
  work: () => Promise<unknown>,
  expected: object = { fault: 'no-space' },
): Promise<void> {
  const { reserved, used } = pool.allocator;
  const entries = [...pool.entries.keys()];
  disk.fault = (operation) => (operation === 'commit' ? noRoom : undefined);
  await assert.rejects(work(), expected);
  disk.fault = () => undefined;
  assert.equal(pool.trouble, undefined);
  assert.deepEqual([...pool.entries.keys()], entries);
  assert.deepEqual({ reserved: pool.allocator.reserved, used: pool.allocator.used }, { reserved, used });
  const { findings } = checkPool(pool);
  assert.deepEqual(findings, []);
}

async function withVolume(
  thick: boolean,
  body: (running: Running, id: number, volume: Volume) => Promise<void>,
): Promise<{ machine: Machine; id: number }> {
  const machine = new Machine(() => 0.5);
  await machine.create(2);
  const running = await machine.start();
  assert.ok(running);
  try {
    const id = await running.pool.create({ size: SIZE, thick, created: 0 });
    const volume = running.open(id);
    for (const position of [0, SIZE - BLOCK]) await volume.write(position, block(1), 0, BLOCK, false);
    await running.pool.checkpoint();
    await body(running, id, volume);
    return { machine, id };
  } finally {
    off(running);
    machine.crash();
  }
}

async function afterCrash({ machine, id }: { machine: Machine; id: number }, position: number): Promise<number> {
  const running = await machine.start();
  assert.ok(running);
  try {
    return await contentOf(running.open(id), position);
  } finally {
    off(running);
    machine.crash();
  }
}

for (const thick of [false, true]) {
  describe(`a disk that is too full for the metadata of a ${thick ? 'thick' : 'thin'} volume`, () => {
    it('gets no snapshot; the volume is written in its place', async () => {
      const facts = await withVolume(thick, async (running, id, volume) => {
        const { pool } = running;
        const { map } = pool.entry(id);
        const before = map.place(0);
        await refused(running, () => pool.copy([id], false, 0));
        assert.ok(map.ownsLeaf(0) && pool.allocator.alone(before - 1));
        await volume.write(0, block(2), 0, BLOCK, false);
        await pool.checkpoint();
        assert.equal(map.place(0), before);
        const [snapshot = 0] = await pool.copy([id], false, 0);
        assert.equal(await contentOf(running.open(snapshot), 0), 2);
      });
      assert.equal(await afterCrash(facts, 0), 2);
    });

    it('rolls nothing back; later it does', async () => {
      for (const last of [2, 1]) {
        const facts = await withVolume(thick, async (running, id, volume) => {
          const { pool } = running;
          const [snapshot = 0] = await pool.copy([id], false, 0);
          for (const position of [0, 5 * GRAIN]) await volume.write(position, block(2), 0, BLOCK, false);
          await pool.checkpoint();
          await refused(running, () => pool.rollback(id, snapshot));
          assert.equal(await contentOf(volume, 0), 2);
          assert.equal(await contentOf(volume, 5 * GRAIN), 2);
          if (last === 1) await pool.rollback(id, snapshot);
          assert.equal(await contentOf(volume, 0), last);
          const { findings } = checkPool(pool);
          assert.deepEqual(findings, []);
        });
        assert.equal(await afterCrash(facts, 0), last);
      }
    });

    it('deletes nothing', async () => {
      const facts = await withVolume(thick, async (running, id, volume) => {
        await volume.close();
        await refused(running, () => running.pool.delete(id));
        assert.equal(await contentOf(running.open(id), 0), 1);
      });
      assert.equal(await afterCrash(facts, 0), 1);
    });

    it('neither grows nor shrinks it; what is cut off later stays away', async () => {
      const facts = await withVolume(thick, async (running, _id, volume) => {
        await refused(running, () => volume.resize(2 * SIZE));
        await refused(running, () => volume.resize(SIZE / 2 + BLOCK));
        assert.equal(volume.info.size, SIZE);
        assert.equal(await contentOf(volume, SIZE - BLOCK), 1);
        await volume.write(SIZE / 2, block(3), 0, BLOCK, false);
        await volume.write(SIZE / 2 + BLOCK, block(4), 0, BLOCK, false);
        await running.pool.checkpoint();
        await volume.resize(SIZE / 2 + BLOCK);
      });
      const running = await facts.machine.start();
      assert.ok(running);
      const volume = running.open(facts.id);
      assert.equal(volume.info.size, SIZE / 2 + BLOCK);
      const { findings } = checkPool(running.pool);
      assert.deepEqual(findings, []);
      await volume.resize(SIZE);
      assert.equal(await contentOf(volume, SIZE / 2), 3);
      assert.equal(await contentOf(volume, SIZE / 2 + BLOCK), 0);
      assert.equal(await contentOf(volume, SIZE - BLOCK), 0);
      off(running);
      facts.machine.crash();
    });
  });
}

it('a deletion ends although the disk is too full to note that, and the next checkpoint notes it', async () => {
  const facts = await withVolume(false, async (running, id, volume) => {
    const { pool, disk } = running;
    await volume.close();
    const entry = await pool.beginDelete(id);
    disk.fault = (operation) => (operation === 'commit' ? noRoom : undefined);
    await pool.finishDelete(entry);
    assert.equal(pool.trouble, undefined);
    disk.fault = () => undefined;
    await pool.checkpoint();
    assert.equal(pool.allocator.used, 0);
  });
  const running = await facts.machine.start();
  assert.ok(running);
  assert.equal(running.pool.entries.size, 0);
  off(running);
});

it('a pool on a disk that is too full to note it does not grow', async () => {
  await withVolume(false, async (running) => {
    const { pool, disks } = running;
    const before = pool.allocator.total;
    await refused(running, () => growPool(disks, pool, SIZE), { code: 'no-space' });
    assert.equal(pool.allocator.total, before);
    assert.equal(pool.slabs.grains, before);
    await growPool(disks, pool, SIZE);
    assert.ok(pool.allocator.total > before);
  });
});

it('a rollback waits for the copy into the volume that is under way', async () => {
  await withVolume(false, async (running, id, volume) => {
    const { pool } = running;
    const source = running.open(await pool.create({ size: SIZE, thick: false, created: 0 }));
    const [snapshot = 0] = await pool.copy([id], false, 0);
    await source.write(0, block(9), 0, BLOCK, false);
    let go: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const sync = pool.slabs.sync.bind(pool.slabs);
    let syncing = false;
    pool.slabs.sync = async () => {
      syncing = true;
      await gate;
      await sync();
    };
    const copying = volume.shareFrom?.(source, 0, 0, GRAIN);
    while (!syncing) await new Promise(setImmediate);
    const rolling = pool.rollback(id, snapshot);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    go();
    await Promise.all([copying, rolling]);
    assert.equal(await contentOf(volume, 0), 1);
  });
});
