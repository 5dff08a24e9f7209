// Opening a pool whose journal has a lot: what lies together is read in one piece, and grains do not wait for each other.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readData } from '../../../core/pool/replay.ts';
import { BLOCK, GRAIN } from '../../../core/volume/grain.ts';
import { Machine } from '../../crash/machine.ts';
import { SimDisk, SimStorage, Power } from '../../crash/sim-disk.ts';

it('the data of a grain is read in as few pieces as there are', async () => {
  const disk = new SimDisk(new SimStorage(), new Power(), () => 0.5);
  const file = await disk.open('/journal', { create: true });
  for (let block = 0; block < 40; block++) await file.write(Buffer.alloc(BLOCK, block), 0, BLOCK, block * BLOCK);
  const reads: number[] = [];
  disk.fault = (operation, _path, position) => {
    if (operation === 'read') reads.push(position / BLOCK);
    return undefined;
  };
  // Blocks 0 to 2 together, 3 elsewhere, 5 and 6 the wrong way round.
  const data = new Map(
    [
      [0, 8],
      [1, 9],
      [2, 10],
      [3, 30],
      [6, 20],
      [5, 21],
    ].map(([block = 0, at = 0]) => [block, at * BLOCK]),
  );
  const buffer = Buffer.alloc(GRAIN, 0xee);
  assert.equal(await readData(file, { place: undefined, cleared: 0, data, lost: new Map() }, buffer), 0b110_1111);
  assert.deepEqual(
    Array.from({ length: 8 }, (_, block) => buffer[block * BLOCK]),
    [8, 9, 10, 30, 0xee, 21, 20, 0xee],
  );
  assert.deepEqual(reads, [8, 30, 21, 20]);
});

it('many grains find their places at a time', async () => {
  const grains = 200;
  const machine = new Machine(() => 0.5);
  await machine.create(8);
  const running = await machine.start(undefined, 2 * grains);
  assert.ok(running);
  const id = await running.pool.create({ size: grains * GRAIN, thick: false, created: 0 });
  const volume = running.open(id);
  for (let grain = 0; grain < grains; grain++) {
    volume.writeNow(grain * GRAIN, Buffer.alloc(BLOCK, 1 + (grain % 250)), 0, BLOCK);
    if (grain % 50 === 0) await volume.flush();
  }
  await volume.flush();
  machine.crash();
  let turns = 0;
  let counting = true;
  const count = (): void => {
    turns++;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const again = await machine.start();
  counting = false;
  assert.ok(again);
  const back = Buffer.alloc(BLOCK);
  for (let grain = 0; grain < grains; grain++) {
    await again.pool
      .open(id, { blockSize: 512, durability: 'durable', readOnly: true })
      .read(grain * GRAIN, BLOCK, back, 0);
    assert.ok(back.equals(Buffer.alloc(BLOCK, 1 + (grain % 250))));
    await again.pool.entry(id).open?.close();
  }
  machine.crash();
  // Each grain takes several turns: a read of the journal, and a write.
  assert.ok(turns < grains, `${String(turns)} turns for ${String(grains)} grains`);
});
