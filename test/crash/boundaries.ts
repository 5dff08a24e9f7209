// A short script of everything a pool does, one thing after the other, cut off at every single operation of the disk.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { Machine } from './machine.ts';
import type { Running } from './machine.ts';
import { GRAIN, Record, SECTOR, readVersions, seeded, stamp } from './record.ts';
import { share } from './share.ts';

const SIZE = 8 * GRAIN;
const SECTORS = SIZE / SECTOR;

/** What the script has done so far. */
class Script {
  /** By volume of the pool. */
  readonly volumes = new Map<number, Record>();
  /** What a volume holds if the rollback under way has happened. */
  rolling: { readonly id: number; readonly after: Record } | undefined;
  /** A deletion that has begun. */
  readonly deleting = new Set<number>();
  #version = 1;

  async run(running: Running): Promise<void> {
    const { pool } = running;
    const [a, b] = [...this.volumes.keys()] as [number, number];
    const volume = running.open(a);
    const other = running.open(b);
    // Small writes, several to one block, and two that are under way at once.
    await this.write(volume, a, 3, 5);
    await Promise.all([this.write(volume, a, 130, 9), this.write(other, b, 7, 2)]);
    await this.write(volume, a, 5, 4);
    // Whole grains past the journal, then a part of them, which has the journal in front of it again.
    await this.write(volume, a, 256, 256);
    await this.write(volume, a, 300, 8);
    await this.share(running, a, 2, b, 4, 2);
    await this.write(volume, a, 310, 16);
    await this.write(other, b, 520, 8);
    await this.clear(volume, a, 384, 128);
    const snapshot = await this.copy(running, a, false);
    const clone = await this.copy(running, a, true);
    const third = running.open(clone);
    // Both go on, in the same grain.
    await Promise.all([this.write(volume, a, 1, 8), this.write(third, clone, 16, 8)]);
    await pool.checkpoint();
    await Promise.all([this.write(volume, a, 24, 8), this.write(third, clone, 32, 8)]);
    // Into its place while the journal is still being written; large, while the checkpoint makes the slabs stable.
    await pool.checkpoint();
    for (let i = 0; i < 3; i++) {
      await Promise.all([this.write(volume, a, 24, 8), this.write(other, b, 512, 256), pool.checkpoint()]);
    }
    await this.write(volume, a, 256, 256);
    await this.rollback(running, a, snapshot);
    await this.write(volume, a, 100, 3);
    await third.close();
    this.volumes.delete(clone);
    this.deleting.add(clone);
    const deleting = pool.delete(clone);
    await this.write(other, b, 600, 8);
    await deleting;
    await other.close();
    await volume.close();
    await pool.close();
  }

  async write(volume: CachedVolume, id: number, first: number, count: number): Promise<void> {
    const record = this.volumes.get(id) as Record;
    const version = this.#version++;
    record.begin(first, count, version);
    await volume.write(first * SECTOR, stamp(version, count), 0, count * SECTOR, false);
    record.end(first, count, version);
  }

  async clear(volume: CachedVolume, id: number, first: number, count: number): Promise<void> {
    const record = this.volumes.get(id) as Record;
    record.begin(first, count, 0);
    await volume.unmap(first * SECTOR, count * SECTOR);
    record.end(first, count, 0);
  }

  /** Grains [from, from+count) of one volume are grains [to, to+count) of the other. */
  async share({ pool }: Running, a: number, from: number, b: number, to: number, count: number): Promise<void> {
    const [source, target] = [this.volumes.get(a) as Record, this.volumes.get(b) as Record];
    const sectors = (count * GRAIN) / SECTOR;
    const [first, offset] = [(from * GRAIN) / SECTOR, ((to - from) * GRAIN) / SECTOR];
    for (let i = first; i < first + sectors; i++) target.begin(i + offset, 1, source.value(i));
    await share(pool, a, from * GRAIN, b, to * GRAIN, count * GRAIN);
    for (let i = first; i < first + sectors; i++) target.end(i + offset, 1, source.value(i));
  }

  async copy({ pool }: Running, id: number, writable: boolean): Promise<number> {
    const [copy] = (await pool.copy([id], writable, 0)) as [number];
    this.volumes.set(copy, (this.volumes.get(id) as Record).copy());
    return copy;
  }

  async rollback({ pool }: Running, id: number, snapshot: number): Promise<void> {
    const after = this.volumes.get(snapshot) as Record;
    this.rolling = { id, after };
    await pool.rollback(id, snapshot);
    this.volumes.set(id, after.copy());
    this.rolling = undefined;
  }

  async verify(running: Running): Promise<void> {
    assert.deepEqual(checkPool(running.pool).findings, [], 'pool check');
    for (const [id, record] of this.volumes) {
      const volume = running.open(id);
      const found = await readVersions(volume, 0, SECTORS, `volume ${String(id)}`);
      await volume.close();
      const { rolling } = this;
      if (rolling?.id === id && found.every((version, i) => version === rolling.after.value(i))) continue;
      found.forEach((version, i) => {
        const allowed = record.allowed(i);
        assert.ok(
          allowed.has(version),
          `volume ${String(id)}, sector ${String(i)}: ${String(version)}, allowed ${[...allowed].join(' ')}`,
        );
      });
    }
    const known = [...running.pool.entries.keys()].filter((id) => this.volumes.has(id));
    assert.equal(known.length, this.volumes.size, 'all volumes are there');
    assert.deepEqual(checkPool(running.pool).findings, [], 'pool check after reading');
  }
}

/** One run of the script that ends at operation `failAt`; how many operations there were. */
async function once(base: Machine, seed: number, ids: readonly number[], failAt: number): Promise<number> {
  const random = seeded(seed);
  const machine = base.copy(random);
  const script = new Script();
  for (const id of ids) script.volumes.set(id, new Record());
  const running = await machine.start(failAt, 12);
  if (running !== undefined) await Promise.race([script.run(running), running.power.failed]);
  const operations = running?.power.operations ?? 0;
  machine.crash();
  // The second time it is the recovery that is cut off.
  await machine.start(1 + (failAt % 9));
  machine.crash();
  const calm = await machine.start();
  assert.ok(calm !== undefined);
  await script.verify(calm).catch((error: unknown) => {
    throw new Error(`seed ${String(seed)}, cut off at operation ${String(failAt)}`, { cause: error });
  });
  await calm.pool.close();
  return operations;
}

/** Runs the script once to count its operations, then once for each of them, cut off there. How many there were. */
export async function everyBoundary(seed: number): Promise<number> {
  const base = new Machine(seeded(seed));
  await base.create(1);
  const running = await base.start();
  assert.ok(running !== undefined);
  const ids: number[] = [];
  for (let i = 0; i < 2; i++) ids.push(await running.pool.create({ size: SIZE, thick: false, created: 0 }));
  // Little is left: what is given back is used again at once.
  const left = running.pool.allocator.available;
  await running.pool.create({ size: (left - 24) * GRAIN, thick: true, created: 0 });
  await running.pool.close();
  const operations = await once(base, seed, ids, Number.POSITIVE_INFINITY);
  for (let failAt = 1; failAt <= operations; failAt++) await once(base, seed, ids, failAt);
  return operations;
}
