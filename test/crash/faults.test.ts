// A disk that fails, and one that lies: everything that is wrong is noticed and told with the volume and the LBA, what can go
// on goes on, and nothing that failed is taken for done.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { sumsBytes } from '../../core/pool/format.ts';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, readVersions, seeded, stamp } from './record.ts';

afterEach(stopAll);

const SIZE = 8 * GRAIN;
const SLAB = 'slab-00000';
const SUMS = sumsBytes(64);

const eio = (code = 'EIO'): Error => Object.assign(new Error(code), { code });
const fault =
  (wanted: VolumeFault) =>
  (error: unknown): boolean =>
    error instanceof VolumeError && error.fault === wanted;

interface Setting {
  readonly machine: Machine;
  readonly running: Running;
  readonly ids: readonly number[];
  readonly volumes: readonly CachedVolume[];
  readonly said: string[];
}

async function setting(slabs = 1): Promise<Setting> {
  const machine = new Machine(seeded(1));
  const said: string[] = [];
  const say = (facts: unknown, text?: string): void => {
    said.push(`${JSON.stringify(facts)} ${text ?? ''}`);
  };
  machine.log = { ...machine.log, error: say, warn: say };
  await machine.create(slabs);
  const running = (await machine.start()) as Running;
  const ids: number[] = [];
  for (let i = 0; i < 2; i++) ids.push(await running.pool.create({ size: SIZE, thick: false, created: 0 }));
  return { machine, running, ids, volumes: ids.map((id) => running.open(id)), said };
}

const write = (volume: CachedVolume | undefined, first: number, count: number, version: number): Promise<void> =>
  (volume as CachedVolume).write(first * SECTOR, stamp(version, count), 0, count * SECTOR, false);

/** Cut off and on again; nothing that was written in the running life was lost by that. */
async function restart(machine: Machine, running: Running): Promise<Running> {
  running.power.stop();
  machine.crash();
  return (await machine.start()) as Running;
}

async function holds(running: Running, id: number, first: number, version: number): Promise<void> {
  const volume = running.open(id);
  assert.deepEqual(await readVersions(volume, first, 1, 'a volume'), [version]);
  await volume.close();
}

describe('a disk that fails', () => {
  test('a grain that cannot be written any more is given up for another', async () => {
    const { machine, running, ids, volumes } = await setting();
    const [first, second] = volumes;
    await write(first, 0, 16, 1);
    await write(second, 0, 16, 2);
    await running.pool.checkpoint();
    const at = machine.find(SLAB, 1);
    const bad = at - ((at - SUMS) % GRAIN);
    const isBad = (position: number): boolean => position >= bad && position < bad + GRAIN;
    running.disk.fault = (operation, path, position) =>
      operation === 'write' && path.endsWith(SLAB) && isBad(position) ? eio() : undefined;
    await write(first, 8, 8, 3);
    await write(second, 8, 8, 4);
    await running.pool.checkpoint();
    assert.notEqual(machine.find(SLAB, 3), -1, 'the new data lies somewhere');
    assert.deepEqual(checkPool(running.pool).findings, []);
    // Nobody gets the bad grain: the pool can be filled.
    await running.pool.checkpoint();
    for (let grain = 1; grain < 8; grain++) await write(second, grain * 128, 128, 10 + grain);
    await running.pool.checkpoint();
    assert.deepEqual(checkPool(running.pool).findings, []);
    const again = await restart(machine, running);
    await holds(again, ids[0] as number, 0, 1);
    await holds(again, ids[0] as number, 8, 3);
    await holds(again, ids[1] as number, 8, 4);
  });

  test('a slab that cannot be written at all leaves the others', async () => {
    const { running, volumes } = await setting(2);
    running.disk.fault = (operation, path) => (operation === 'write' && path.endsWith(SLAB) ? eio() : undefined);
    await write(volumes[0], 0, 8, 1);
    await write(volumes[1], 0, 256, 2);
    // The checksums of the bad slab are not changed: nothing of it is written.
    await running.pool.checkpoint();
    assert.deepEqual(await readVersions(volumes[0] as CachedVolume, 0, 1, 'a volume'), [1]);
  });

  test('a full disk is no loss, and no end', async () => {
    const { running, volumes } = await setting();
    running.disk.fault = (operation, path) =>
      operation === 'write' && path.includes('slab') ? eio('ENOSPC') : undefined;
    await write(volumes[0], 0, 8, 1);
    await running.pool.checkpoint();
    await assert.rejects(write(volumes[1], 0, 256, 2), fault(VolumeFault.noSpace), 'a large write is not logged');
    running.disk.fault = () => undefined;
    await running.pool.checkpoint();
    await write(volumes[1], 0, 8, 3);
    assert.deepEqual(checkPool(running.pool).findings, []);
  });

  for (const crash of [false, true]) {
    test(`a volume that finds the disk full holds nobody else up (${crash ? 'crash' : 'room again'})`, async () => {
      const { machine, running, ids, volumes, said } = await setting();
      await write(volumes[1], 0, 1024, 1);
      await running.pool.checkpoint();
      const known = new Set<number>();
      for (let grain = 0; grain < 8; grain++)
        known.add((running.pool.entry(ids[1] as number).map.place(grain) || 1) - 1);
      const { disk } = running;
      disk.fault = (operation, path, position) =>
        operation === 'write' &&
        path.endsWith(SLAB) &&
        position >= SUMS &&
        !known.has(Math.floor((position - SUMS) / GRAIN))
          ? eio('ENOSPC')
          : undefined;
      await write(volumes[0], 0, 8, 7);
      // Three times round the journal.
      const before = running.pool.journal.appendedBytes;
      let version = 2;
      while (running.pool.journal.appendedBytes < before + 3 * 16_777_216) {
        for (let grain = 0; grain < 8; grain++) await write(volumes[1], grain * 128 + 1, 127, version);
        version++;
      }
      await running.pool.checkpoint();
      assert.ok(running.pool.journal.usedBytes < 1_048_576, String(running.pool.journal.usedBytes));
      await assert.rejects(write(volumes[0], 8, 8, 8), fault(VolumeFault.noSpace));
      assert.equal(said.filter((line) => line.includes('the journal keeps it')).length, 1);
      disk.fault = () => undefined;
      let now = running;
      if (crash) now = await restart(machine, running);
      else {
        await running.pool.checkpoint();
        assert.notEqual(machine.find(SLAB, 7), -1);
        for (const volume of volumes) await volume.close();
      }
      await holds(now, ids[0] as number, 0, 7);
      await holds(now, ids[1] as number, 1, version - 1);
      assert.deepEqual(checkPool(now.pool).findings, []);
    });
  }

  test('metadata that finds the disk full is written later', async () => {
    const { machine, running, ids, volumes } = await setting();
    await write(volumes[0], 0, 24, 1);
    for (const operation of ['commit', 'write']) {
      running.disk.fault = (each, path, position) =>
        each === operation && (path.includes('meta') || (path.endsWith(SLAB) && position < SUMS))
          ? eio('ENOSPC')
          : undefined;
      await write(volumes[0], 8, 8, operation === 'commit' ? 2 : 3);
      await assert.rejects(running.pool.checkpoint(), fault(VolumeFault.noSpace));
      await write(volumes[1], 0, 8, 4);
      assert.deepEqual(checkPool(running.pool).findings, []);
    }
    running.disk.fault = () => undefined;
    await running.pool.checkpoint();
    const again = await restart(machine, running);
    await holds(again, ids[0] as number, 0, 1);
    await holds(again, ids[0] as number, 8, 3);
    await holds(again, ids[1] as number, 0, 4);
    assert.deepEqual(checkPool(again.pool).findings, []);
  });

  test('a volume whose record finds the disk full is not made, and everybody goes on', async () => {
    const { machine, running, ids, volumes } = await setting();
    const { pool, disk } = running;
    await write(volumes[0], 0, 8, 1);
    const before = { reserved: pool.allocator.reserved, volumes: [...pool.entries.keys()] };
    disk.fault = (each) => (each === 'commit' ? eio('ENOSPC') : undefined);
    for (const thick of [false, true]) {
      await assert.rejects(
        pool.create({ size: 2 * GRAIN, thick, created: 0, tag: 'never' }),
        fault(VolumeFault.noSpace),
      );
    }
    assert.deepEqual({ reserved: pool.allocator.reserved, volumes: [...pool.entries.keys()] }, before);
    await write(volumes[1], 0, 8, 2);
    disk.fault = () => undefined;
    const made = await pool.create({ size: 2 * GRAIN, thick: true, created: 0, tag: 'made' });
    assert.deepEqual(checkPool(pool).findings, []);
    const again = await restart(machine, running);
    await holds(again, ids[0] as number, 0, 1);
    await holds(again, ids[1] as number, 0, 2);
    assert.deepEqual([...again.pool.entries.keys()].sort(), [...before.volumes, made].sort());
    assert.deepEqual(checkPool(again.pool).findings, []);
  });

  for (const [what, operation, path] of [
    ['sync of a slab', 'sync', 'slab'],
    ['commit of the metadata', 'commit', 'meta'],
  ] as const) {
    test(`a failed ${what} is never tried again`, async () => {
      const { machine, running, ids, volumes } = await setting();
      await write(volumes[0], 0, 8, 1);
      let failures = 0;
      running.disk.fault = (each, name) =>
        each === operation && name.includes(path) && failures++ === 0 ? eio() : undefined;
      await assert.rejects(running.pool.checkpoint(), fault(VolumeFault.writeError));
      assert.ok(failures > 0);
      // The disk says yes again; what it has lost is lost.
      await assert.rejects(running.pool.checkpoint(), fault(VolumeFault.writeError));
      await assert.rejects(write(volumes[1], 0, 8, 2), fault(VolumeFault.writeError));
      assert.deepEqual(await readVersions(volumes[0] as CachedVolume, 0, 1, 'reading goes on'), [1]);
      const again = await restart(machine, running);
      await holds(again, ids[0] as number, 0, 1);
    });
  }

  test('a failed sync of a large write is not acknowledged', async () => {
    const { running, volumes } = await setting();
    running.disk.fault = (operation, path) => (operation === 'sync' && path.includes('slab') ? eio() : undefined);
    await assert.rejects(write(volumes[0], 0, 256, 1), fault(VolumeFault.writeError));
    running.disk.fault = () => undefined;
    await assert.rejects(write(volumes[0], 0, 256, 2), fault(VolumeFault.writeError));
  });

  test('a journal that cannot be written ends all writing, and loses nothing', async () => {
    const { machine, running, ids, volumes } = await setting();
    await write(volumes[0], 0, 8, 1);
    let failures = 0;
    running.disk.fault = (operation, path) =>
      operation === 'write' && path.endsWith('journal') && failures++ === 0 ? eio() : undefined;
    await assert.rejects(write(volumes[0], 8, 8, 2), fault(VolumeFault.writeError));
    await assert.rejects(write(volumes[1], 0, 8, 3), fault(VolumeFault.writeError));
    const again = await restart(machine, running);
    await holds(again, ids[0] as number, 0, 1);
  });

  test('a read that fails names the place, and other blocks are read', async () => {
    const { machine, running, ids, volumes, said } = await setting();
    await write(volumes[0], 136, 16, 1);
    await running.pool.checkpoint();
    await volumes[0]?.close();
    const at = machine.find(SLAB, 1);
    running.disk.fault = (operation, path, position) =>
      operation === 'read' && path.endsWith(SLAB) && position >= at - (at % 4096) && position < at + 4096
        ? eio()
        : undefined;
    const volume = running.open(ids[0] as number);
    await assert.rejects(
      readVersions(volume, 136, 1, 'bad'),
      (error) =>
        error instanceof VolumeError && error.fault === VolumeFault.readError && error.position === 136 * SECTOR,
    );
    assert.ok(
      said.some((line) => line.includes(`"volume":"${String(ids[0])}"`) && line.includes('"lba":136')),
      said.join(),
    );
    assert.deepEqual(await readVersions(volume, 144, 1, 'good'), [1]);
  });
});

describe('a disk that lies', () => {
  for (const what of ['data', 'checksum'] as const) {
    test(`a flipped bit in ${what} is told, and stands in nobody's way`, async () => {
      const { machine, running, ids, volumes, said } = await setting();
      const id = ids[0] as number;
      await write(volumes[0], 128, 24, 1);
      const [snapshot] = (await running.pool.copy([id], false, 0)) as [number];
      for (const volume of volumes) await volume.close();
      await running.pool.close();
      // Block 1 of the grain, or its checksum.
      const at = machine.find(SLAB, 1) + 4096;
      assert.ok(machine.damage(SLAB, what === 'data' ? at : Math.floor((at - SUMS) / GRAIN) * 64 + 4));
      const again = (await machine.start()) as Running;
      const volume = again.open(id);
      await assert.rejects(
        readVersions(volume, 136, 1, 'bad'),
        (error) =>
          error instanceof VolumeError && error.fault === VolumeFault.readError && error.position === 136 * SECTOR,
      );
      assert.ok(
        said.some((line) => line.includes(`"volume":"${String(id)}"`) && line.includes('"lba":136')),
        said.join(),
      );
      assert.deepEqual(await readVersions(volume, 144, 8, 'beside it'), Array<number>(8).fill(1));
      // The grain is shared with the snapshot: to be written to it moves, with what is left of it.
      await write(volume, 160, 8, 2);
      await again.pool.checkpoint();
      await volume.close();
      const moved = again.open(id);
      await assert.rejects(readVersions(moved, 136, 1, 'still bad'), fault(VolumeFault.readError));
      assert.deepEqual(await readVersions(moved, 128, 1, 'moved'), [1]);
      assert.deepEqual(await readVersions(moved, 160, 1, 'moved'), [2]);
      await assert.rejects(readVersions(again.open(snapshot), 136, 1, 'the snapshot'), fault(VolumeFault.readError));
      // A block that is written again is whole again.
      await write(moved, 136, 8, 3);
      await moved.close();
      await holds(again, id, 136, 3);
      await holds(again, ids[1] as number, 0, 0);
    });
  }

  test('one superblock that is damaged is mended, two are told', async () => {
    const { machine, running, volumes } = await setting();
    for (const volume of volumes) await volume.close();
    await running.pool.close();
    for (const at of [20, 4096 + 20]) {
      machine.damage('superblock', at);
      const again = (await machine.start()) as Running;
      await again.pool.close();
    }
    machine.damage('superblock', 20);
    machine.damage('superblock', 4096 + 20);
    await assert.rejects(machine.start(), /both superblocks of the pool are damaged/);
  });

  test('a damaged journal is told apart from one that a crash has cut off', async () => {
    const { machine, running, ids, volumes, said } = await setting();
    for (let i = 1; i <= 6; i++) await write(volumes[0], i * 8, 8, i);
    running.power.stop();
    machine.crash();
    const [cut, last, header] = [2, 3, 4].map((seed) => {
      const copy = machine.copy(seeded(seed));
      copy.log = machine.log;
      return copy;
    }) as [Machine, Machine, Machine];
    // Nobody can say of the last batch whether it was ever whole, but one bit that differs is told.
    cut.damage('journal', cut.find('journal', 6));
    const restarted = (await cut.start()) as Running;
    await holds(restarted, ids[0] as number, 40, 5);
    await holds(restarted, ids[0] as number, 48, 0);
    const looks = new RegExp(
      `"volume":"${String(ids[0])}","lba":48.*one bit differs in volume ${String(ids[0])} LBA 48 to 55`,
    );
    assert.ok(
      said.some((line) => looks.test(line)),
      said.join(),
    );
    // Of those before it the later ones say that they were: their data is lost, and nothing else.
    last.damage('journal', last.find('journal', 5));
    last.damage('journal', last.find('journal', 2));
    said.length = 0;
    const again = (await last.start()) as Running;
    for (const i of [1, 3, 4, 6]) await holds(again, ids[0] as number, i * 8, i);
    for (const i of [2, 5]) {
      const volume = again.open(ids[0] as number);
      await assert.rejects(readVersions(volume, i * 8, 1, 'damaged'), fault(VolumeFault.readError));
      await volume.close();
      assert.ok(said.some((line) => line.includes(`"volume":"${String(ids[0])}","lba":${String(i * 8)},`)));
    }
    assert.equal(again.pool.damagedBlocks >= 2, true);
    assert.deepEqual(checkPool(again.pool).findings, []);
    const volume = again.open(ids[0] as number);
    await write(volume, 16, 8, 9);
    await volume.close();
    await again.pool.close();
    await holds((await last.start()) as Running, ids[0] as number, 16, 9);
    // What a header said nobody knows for sure; what it was about can be named.
    header.damage('journal', header.find('journal', 2) - 4096);
    await assert.rejects(header.start(), ({ message }: Error) => {
      assert.match(
        message,
        /the journal of the pool is damaged at byte \d+ \(batch \d+, about volume \d+ LBA 16 to 23\)/,
      );
      assert.match(
        message,
        /writes that were acknowledged after it would be lost \(of what is behind it: .*LBA 24 to 55\)/,
      );
      return true;
    });
    header.acceptLoss = true;
    const accepted = (await header.start()) as Running;
    await holds(accepted, ids[0] as number, 8, 1);
    await holds(accepted, ids[0] as number, 16, 0);
    assert.deepEqual(checkPool(accepted.pool).findings, []);
  });

  test('of the last batch an empty one says that it was stable, when no other comes', async () => {
    const { machine, running, ids, volumes } = await setting();
    for (let i = 1; i <= 3; i++) await write(volumes[0], i * 8, 8, i);
    const { appends, usedBytes, durable } = running.pool.journal;
    for (let turn = 0; turn < 1000 && running.pool.journal.durable === durable; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(running.pool.journal.usedBytes, usedBytes + 4096);
    assert.equal(running.pool.journal.appends, appends);
    running.power.stop();
    machine.crash();
    machine.damage('journal', machine.find('journal', 3));
    const again = (await machine.start()) as Running;
    await holds(again, ids[0] as number, 16, 2);
    const volume = again.open(ids[0] as number);
    await assert.rejects(readVersions(volume, 24, 1, 'damaged'), fault(VolumeFault.readError));
  });

  test('data that the journal has damaged when it is in its place already is not lost', async () => {
    const { machine, running, ids, volumes } = await setting();
    for (let i = 1; i <= 3; i++) await write(volumes[0], i * 8, 8, i);
    await running.pool.checkpoint();
    for (let i = 1; i <= 3; i++) await write(volumes[0], i * 8, 8, 10 + i);
    // Into its place, but no checkpoint.
    await volumes[0]?.settled(0, SIZE, () => undefined);
    await running.pool.sync();
    running.power.stop();
    machine.crash();
    assert.ok(machine.damage('journal', machine.find('journal', 12)));
    const again = (await machine.start()) as Running;
    for (let i = 1; i <= 3; i++) await holds(again, ids[0] as number, i * 8, 10 + i);
    assert.equal(again.pool.damagedBlocks, 0);
  });

  test('a damaged leaf of a map is the trouble of those who have it, and of nobody else', async () => {
    const { machine, running, ids, volumes, said } = await setting();
    const [id, other] = ids as [number, number];
    await write(volumes[0], 0, 24, 1);
    await write(volumes[1], 0, 24, 2);
    const [snapshot] = (await running.pool.copy([id], false, 0)) as [number];
    const leaf = running.pool.entry(id).map.leafIds()[0] as number;
    for (const volume of volumes) await volume.close();
    const { used, total } = running.pool.allocator;
    await running.pool.close();
    machine.loseLeaf(leaf);
    for (let start = 0; start < 2; start++) {
      said.length = 0;
      const again = (await machine.start()) as Running;
      const { pool } = again;
      for (const refused of [id, snapshot]) {
        assert.throws(() => pool.open(refused, { blockSize: 512, durability: 'durable', readOnly: false }), {
          code: 'io-error',
          message: /bytes 0 to 67108864/,
        });
        assert.ok(said.some((line) => line.includes(`"volume":${String(refused)},`) && line.includes('bytes 0')));
        await assert.rejects(pool.copy([refused], true, 0), { code: 'io-error' });
      }
      await assert.rejects(pool.rollback(id, snapshot), { code: 'io-error' });
      assert.deepEqual(
        checkPool(pool).findings,
        [id, snapshot].map((each) => `the map of volume ${String(each)} is damaged (bytes 0 to 67108864)`),
      );
      const volume = again.open(other);
      assert.deepEqual(await readVersions(volume, 0, 24, 'the other'), Array<number>(24).fill(2 + start));
      await write(volume, 0, 24, 3 + start);
      // Any grain may be one of the damaged leaf.
      await assert.rejects(write(volume, 128, 8, 9), fault(VolumeFault.noSpace));
      await volume.close();
      await pool.close();
    }
    const last = (await machine.start()) as Running;
    await last.pool.delete(snapshot);
    assert.equal(last.pool.allocator.available, 0);
    await last.pool.delete(id);
    assert.equal(last.pool.allocator.available, total - used + 1);
    assert.deepEqual(checkPool(last.pool).findings, []);
    await holds(last, other, 0, 4);
    const volume = last.open(other);
    await write(volume, 128, 8, 9);
    await volume.close();
    await last.pool.close();
    await holds((await machine.start()) as Running, other, 128, 9);
  });
});
