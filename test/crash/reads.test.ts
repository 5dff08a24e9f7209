// What somebody has read is not taken back by a crash, also when the write it comes from was never acknowledged.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { VolumeError, VolumeFault, WriteNow } from '../../core/volume/volume.ts';
import { Machine, stopAll } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, readVersions, seeded, stamp } from './record.ts';

afterEach(stopAll);

const SECTORS = (2 * GRAIN) / SECTOR;
const bytes = (count: number): number => count * SECTOR;

const CHANGES: readonly {
  readonly name: string;
  readonly after: number;
  readonly run: (volume: CachedVolume) => Promise<void>;
}[] = [
  { name: 'a small write', after: 2, run: (volume) => volume.write(0, stamp(2, 8), 0, bytes(8), false) },
  { name: 'a large write', after: 2, run: (volume) => volume.write(0, stamp(2, SECTORS), 0, bytes(SECTORS), false) },
  { name: 'UNMAP', after: 0, run: (volume) => volume.unmap(0, bytes(8)) },
];

/** Turns of the event loop that the journal is late by: enough for whoever reads to see what is not in it yet. */
const LATE = 60;
/** Of what a crash leaves of the journal. */
const SEEDS = [5, 6];

async function setting(seed = 5): Promise<{ machine: Machine; running: Running; id: number; volume: CachedVolume }> {
  const machine = new Machine(seeded(seed));
  await machine.create(1);
  const running = await machine.start();
  assert.ok(running !== undefined);
  const id = await running.pool.create({ size: 8 * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  await volume.write(0, stamp(1, SECTORS), 0, bytes(SECTORS), false);
  await running.pool.checkpoint();
  await readVersions(volume, 0, SECTORS, 'the volume');
  return { machine, running, id, volume };
}

/** As a host does: out of memory, or else by the long way. */
async function read(volume: CachedVolume): Promise<number | undefined> {
  const sector = Buffer.alloc(SECTOR);
  if (volume.readNow(0, SECTOR, sector, 0)) return sector.readUInt32LE(0);
  return (await readVersions(volume, 0, 1, 'the volume'))[0];
}

describe('what has been read', () => {
  for (const { name, after, run } of CHANGES) {
    test(`is there after a crash: ${name}`, async () => {
      let seen = 0;
      for (const seed of SEEDS) seen += await cutOff(seed);
      assert.ok(seen > 0, 'nobody has seen the change');
    });

    /** Cuts the change off at each of its operations; how often somebody had seen it. */
    async function cutOff(seed: number): Promise<number> {
      let seen = 0;
      let over = false;
      for (let failAfter = 1; !over; failAfter++) {
        const { machine, running, id, volume } = await setting(seed);
        running.disk.late = (path) => (path.endsWith('journal') ? LATE : 0);
        running.power.failAt = running.power.operations + failAfter;
        const done = run(volume).then(() => true);
        let last: number | undefined;
        const reading = async (): Promise<void> => {
          while (!running.power.off) {
            last = await read(volume);
            await idle(1);
          }
        };
        void reading();
        over = await Promise.race([done, running.power.failed.then(() => false)]);
        if (over) last = await read(volume);
        machine.crash();
        const next = await machine.start();
        assert.ok(next !== undefined);
        const found = await read(next.open(id));
        if (last === after) {
          seen++;
          assert.equal(found, after, `seed ${String(seed)}, cut off after ${String(failAfter)} operations`);
        }
        stopAll();
      }
      return seen;
    }
  }

  test('waits for the log, and nobody else does', async () => {
    const { running, volume } = await setting();
    running.power.failAt = running.power.operations + 1;
    assert.equal(volume.writeNow(0, stamp(2, 8), 0, bytes(8)), WriteNow.placed);
    const answered: number[] = [];
    void readVersions(volume, 0, 1, 'the volume').then(([version = 0]) => answered.push(version));
    void readVersions(volume, 8, 1, 'the volume').then(([version = 0]) => answered.push(version));
    await idle(100);
    assert.deepEqual(answered, [1]);
    const sector = Buffer.alloc(SECTOR);
    assert.ok(!volume.readNow(0, SECTOR, sector, 0) && !volume.viewNow(0, SECTOR, []), 'in no way');
    assert.ok(volume.readNow(bytes(8), SECTOR, sector, 0));
  });

  test('is no data whose log failed: the blocks beside it are served', async () => {
    const { running, volume } = await setting();
    running.disk.fault = (operation, path) =>
      operation === 'write' && path.endsWith('journal') ? Object.assign(new Error('EIO'), { code: 'EIO' }) : undefined;
    await assert.rejects(volume.write(0, stamp(2, 8), 0, bytes(8), false), VolumeError);
    const failed = (error: unknown): boolean =>
      error instanceof VolumeError && error.fault === VolumeFault.readError && error.position === 0;
    await assert.rejects(read(volume), failed);
    await assert.rejects(volume.bring(0, SECTOR), failed);
    assert.deepEqual(await readVersions(volume, 8, 8, 'the volume'), Array<number>(8).fill(1));
  });
});
