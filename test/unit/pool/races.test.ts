// What is asked for while something else is under way: who waits for a turn looks again when it comes.
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { checkPool } from '../../../core/pool/check.ts';
import { VolumeError } from '../../../core/volume/volume.ts';
import { Machine, stopAll } from '../../crash/machine.ts';
import type { Running } from '../../crash/machine.ts';
import { GRAIN, SECTOR, readVersions, seeded, stamp } from '../../crash/record.ts';

afterEach(stopAll);

const SIZE = 8 * GRAIN;
const is =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof ServiceError && error.code === code;

/** A pool, and a volume of it whose first grain holds version 1, with a snapshot; the volume holds 2 there since. */
async function setting(thick = false): Promise<{ machine: Machine; running: Running; id: number; snapshot: number }> {
  const machine = new Machine(seeded(3));
  await machine.create(2);
  const running = await machine.start();
  assert.ok(running !== undefined);
  const id = await running.pool.create({ size: SIZE, thick, created: 0 });
  const volume = running.open(id);
  await volume.write(0, stamp(1, 8), 0, 8 * SECTOR, false);
  const [snapshot] = await running.pool.copy([id], false, 0);
  await volume.write(0, stamp(2, 8), 0, 8 * SECTOR, false);
  await volume.close();
  return { machine, running, id, snapshot: snapshot as number };
}

async function versionOf(running: Running, id: number): Promise<number | undefined> {
  const volume = running.open(id);
  const [version] = await readVersions(volume, 0, 1, 'a volume');
  await volume.close();
  return version;
}

describe('a pool in which several things happen at once', () => {
  it('makes no copy of what is being deleted', async () => {
    const { running, snapshot } = await setting();
    const deleting = running.pool.delete(snapshot);
    await assert.rejects(running.pool.copy([snapshot], true, 0), is('not-found'));
    await deleting;
    assert.deepEqual(checkPool(running.pool).findings, []);
  });

  it('makes no volume what is being deleted', async () => {
    const { running, id, snapshot } = await setting();
    const deleting = running.pool.delete(snapshot);
    await assert.rejects(running.pool.rollback(id, snapshot), is('not-found'));
    await deleting;
    assert.equal(await versionOf(running, id), 2);
    assert.deepEqual(checkPool(running.pool).findings, []);
  });

  it('deletes once what is deleted twice', async () => {
    const { running, id } = await setting(true);
    const { available } = running.pool.allocator;
    const first = running.pool.delete(id);
    await assert.rejects(running.pool.delete(id), is('not-found'));
    await first;
    await running.pool.checkpoint();
    assert.equal(running.pool.allocator.available, available + SIZE / GRAIN);
    assert.deepEqual(checkPool(running.pool).findings, []);
  });

  it('does not delete what has been opened meanwhile', async () => {
    const { machine, running, id } = await setting();
    const deleting = running.pool.delete(id);
    const volume = running.open(id);
    await assert.rejects(deleting, is('in-use'));
    await volume.write(0, stamp(3, 8), 0, 8 * SECTOR, false);
    machine.crash();
    const next = await machine.start();
    assert.ok(next !== undefined);
    assert.equal(await versionOf(next, id), 3);
  });

  it('makes no copy of what has been opened, and written, meanwhile: a crash would lose that', async () => {
    const { machine, running, id } = await setting();
    const copying = running.pool.copy([id], true, 0);
    const volume = running.open(id);
    const written = volume.write(0, stamp(3, 8), 0, 8 * SECTOR, false);
    await assert.rejects(copying, is('in-use'));
    await written;
    machine.crash();
    const next = await machine.start();
    assert.ok(next !== undefined);
    assert.equal(await versionOf(next, id), 3);
  });

  for (const thick of [false, true]) {
    it(`writes nothing behind the end of a volume that has become smaller meanwhile (${thick ? 'thick' : 'thin'})`, async () => {
      const { running, id } = await setting(thick);
      const other = running.open(await running.pool.create({ size: SIZE, thick: false, created: 0 }));
      await other.write(0, stamp(5, SIZE / SECTOR), 0, SIZE, false);
      const volume = running.open(id);
      const resizing = volume.resize(4 * GRAIN);
      const late = [
        // In pieces, by way of the log; in whole grains past it; by reference.
        volume.write(GRAIN + 4096, stamp(3, 6 * 128), 0, 6 * GRAIN, false),
        volume.write(2 * GRAIN, stamp(4, 6 * 128), 0, 6 * GRAIN, false),
        ...(thick ? [] : [volume.shareFrom(other, 0, 0, SIZE)]),
      ];
      for (const each of await Promise.allSettled(late)) {
        assert.ok(each.status === 'rejected' && each.reason instanceof VolumeError, each.status);
      }
      await resizing;
      assert.deepEqual(checkPool(running.pool).findings, []);
      await running.pool.checkpoint();
      await volume.resize(SIZE);
      const behind = await readVersions(volume, 4 * 128, 4 * 128, 'what is new');
      assert.ok(behind.every((version) => version === 0));
      assert.deepEqual(checkPool(running.pool).findings, []);
    });
  }

  it('counts what a thick volume has set aside when it gets two sizes at once', async () => {
    const { running, id } = await setting(true);
    const volume = running.open(id);
    const before = running.pool.checkpoint();
    await Promise.all([before, volume.resize(4 * GRAIN), volume.resize(6 * GRAIN)]);
    assert.equal(volume.info.size, 6 * GRAIN);
    assert.deepEqual(checkPool(running.pool).findings, []);
    assert.deepEqual(await readVersions(volume, 0, 1, 'a volume'), [2]);
  });
});
