// The operation mix of the crash harness, from a seed: several hosts write, clear and read their parts of several volumes
// while snapshots and clones come and go; then the power fails, and everything acknowledged has to be there.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { WriteNow } from '../../core/volume/volume.ts';
import { Machine } from './machine.ts';
import type { Running } from './machine.ts';
import type { Random } from './sim-disk.ts';

const SECTOR = 512;
const GRAIN = 65_536;
/** Parts of the volume that are used: its beginning, and where one leaf of the map ends and the next begins. */
const WINDOWS = [
  { from: 0, to: 6 * GRAIN },
  { from: 1021 * GRAIN, to: 1027 * GRAIN },
] as const;
export const VOLUME_SIZE = 1030 * GRAIN;
const HOSTS = 3;
/** The part where one host writes whole grains, and smaller things in between. */
const LARGE = { from: 100 * GRAIN, to: 108 * GRAIN } as const;

export function seeded(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a sector may hold: versions; 0 is zeros. */
export class Record {
  /** By sector number: acknowledged content. */
  readonly acknowledged = new Map<number, number>();
  /** By sector number: what has been sent and not acknowledged. */
  readonly underWay = new Map<number, Set<number>>();

  value(sector: number): number {
    return this.acknowledged.get(sector) ?? 0;
  }

  begin(first: number, count: number, version: number): void {
    for (let sector = first; sector < first + count; sector++) {
      let set = this.underWay.get(sector);
      if (set === undefined) this.underWay.set(sector, (set = new Set<number>()));
      set.add(version);
    }
  }

  end(first: number, count: number, version: number): void {
    for (let sector = first; sector < first + count; sector++) {
      this.acknowledged.set(sector, version);
      this.underWay.delete(sector);
    }
  }

  /** Versions the sector may have after a crash. */
  allowed(sector: number): Set<number> {
    return new Set([this.value(sector), ...(this.underWay.get(sector) ?? [])]);
  }

  copy(): Record {
    const copy = new Record();
    for (const [sector, version] of this.acknowledged) copy.acknowledged.set(sector, version);
    return copy;
  }
}

const stamp = (version: number, sectors: number): Buffer => {
  const bytes = Buffer.alloc(sectors * SECTOR);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(version, at);
  return bytes;
};

/** Version of each sector read; throws when a sector is torn. */
function versions(bytes: Buffer, what: string): number[] {
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const version = bytes.readUInt32LE(at);
    assert.ok(
      bytes.subarray(at, at + SECTOR).equals(stamp(version, 1)),
      `${what}: sector ${String(at / SECTOR)} is torn`,
    );
    found.push(version);
  }
  return found;
}

export class Scenario {
  readonly machine: Machine;
  readonly #random: Random;
  readonly #volumes = new Map<number, Record>();
  readonly #snapshots = new Map<number, Record>();
  /** Ranges of the others are copied to it; nobody else writes to it. */
  #target: { readonly id: number; readonly record: Record } | undefined;
  #version = 1;
  /** Copies between pool volumes that were asked for. */
  steps = 0;

  constructor(random: Random, machine: Machine) {
    this.#random = random;
    this.machine = machine;
  }

  #pick(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async create(pool: Running['pool']): Promise<void> {
    const id = await pool.create({ size: VOLUME_SIZE, thick: false, created: 0 });
    this.#volumes.set(id, new Record());
  }

  async createTarget(pool: Running['pool']): Promise<void> {
    this.#target = { id: await pool.create({ size: VOLUME_SIZE, thick: false, created: 0 }), record: new Record() };
  }

  /** Runs until the power fails or `steps` operations of each host are done. */
  async run(running: Running, steps: number): Promise<void> {
    const work: Promise<void>[] = [];
    const volumes: CachedVolume[] = [];
    const target = this.#target === undefined ? undefined : running.open(this.#target.id);
    if (target !== undefined) volumes.push(target);
    for (const [id, record] of this.#volumes) {
      const volume = running.open(id);
      volumes.push(volume);
      for (let host = 0; host < HOSTS; host++) work.push(this.#host(volume, record, host, steps));
      work.push(this.#largeHost(volume, record, Math.ceil(steps / 3)));
    }
    work.push(this.#administrator(running, Math.ceil(steps / 6), target));
    const done = Promise.all(work).then(async () => {
      for (const volume of volumes) await volume.close();
      if (this.#random() < 0.5) await running.pool.close();
    });
    await Promise.race([done, running.power.failed]);
  }

  /** Somebody with every HOSTS-th run of 13 sectors for himself. */
  async #host(volume: CachedVolume, record: Record, host: number, steps: number): Promise<void> {
    const LOT = 13;
    for (let step = 0; step < steps; step++) {
      this.steps++;
      const window = WINDOWS[this.#pick(2)] ?? WINDOWS[0];
      const lots = Math.floor((window.to - window.from) / SECTOR / LOT / HOSTS);
      const lot = this.#pick(lots) * HOSTS + host;
      const first = window.from / SECTOR + lot * LOT + this.#pick(6);
      const count = 1 + this.#pick(7);
      await this.#step(volume, record, first, count);
    }
  }

  async #largeHost(volume: CachedVolume, record: Record, steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      this.steps++;
      const grain = this.#pick(6);
      if (this.#random() < 0.4) {
        await this.#step(volume, record, LARGE.from / SECTOR + grain * 128 + this.#pick(120), 1 + this.#pick(8));
        continue;
      }
      const first = (LARGE.from + grain * GRAIN) / SECTOR;
      const count = 256 + this.#pick(2) * 17;
      const version = this.#random() < 0.1 ? 0 : this.#version++;
      record.begin(first, count, version);
      await volume.write(first * SECTOR, stamp(version, count), 0, count * SECTOR, false);
      record.end(first, count, version);
    }
  }

  async #step(volume: CachedVolume, record: Record, first: number, count: number): Promise<void> {
    const position = first * SECTOR;
    const length = count * SECTOR;
    const choice = this.#random();
    if (choice < 0.2) {
      const target = Buffer.alloc(length);
      await volume.read(position, length, target, 0);
      const expected = Array.from({ length: count }, (_, i) => record.value(first + i));
      assert.deepEqual(versions(target, 'read'), expected, 'a read gives what was written');
    } else if (choice < 0.8) {
      const version = this.#version++;
      const data = stamp(version, count);
      record.begin(first, count, version);
      if (this.#random() < 0.5 && volume.writeNow(position, data, 0, length) === WriteNow.placed) {
        await new Promise<void>((resolve, reject) => {
          volume.whenStable({
            stable: (error) => {
              if (error === undefined) resolve();
              else reject(error);
            },
          });
        });
      } else {
        await volume.write(position, data, 0, length, false);
      }
      record.end(first, count, version);
    } else if (choice < 0.95) {
      record.begin(first, count, 0);
      await (this.#random() < 0.5 ? volume.unmap(position, length) : volume.zero(position, length));
      record.end(first, count, 0);
    } else {
      await volume.flush();
    }
  }

  async #administrator(running: Running, steps: number, target: CachedVolume | undefined): Promise<void> {
    const { pool } = running;
    for (let step = 0; step < steps; step++) {
      const choice = this.#random();
      const ids = [...this.#volumes.keys()];
      const id = ids[this.#pick(ids.length)] as number;
      if (choice < 0.25) await pool.checkpoint();
      else if (choice < 0.6) await this.#snapshot(running, choice < 0.35 ? ids : [id]);
      else if (choice < 0.7) await this.#deleteSnapshot(running);
      else if (choice < 0.9 && target !== undefined) await this.#share(running, id, target);
      else for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Copies some grains of a volume that is being written to, within the pool. */
  async #share({ pool }: Running, id: number, target: CachedVolume): Promise<void> {
    if (this.#target === undefined) return;
    const { record, id: targetId } = this.#target;
    const window = WINDOWS[this.#pick(2)] ?? WINDOWS[0];
    const grains = 1 + this.#pick(4);
    const from = window.from + this.#pick(2) * GRAIN;
    const to = window.from + this.#pick(2) * GRAIN;
    const source = this.#volumes.get(id) as Record;
    const sectors = (grains * GRAIN) / SECTOR;
    const offset = (to - from) / SECTOR;
    const first = from / SECTOR;
    for (let i = 0; i < sectors; i++) {
      for (const version of source.allowed(first + i)) record.begin(first + i + offset, 1, version);
    }
    const seen = this.#watch(id, (sector, version) => {
      if (sector >= first && sector < first + sectors) record.begin(sector + offset, 1, version);
    });
    await pool.share(id, from, targetId, to, grains * GRAIN);
    seen();
    const bytes = Buffer.alloc(grains * GRAIN);
    await target.read(to, bytes.length, bytes, 0);
    versions(bytes, 'a copy').forEach((version, i) => {
      const sector = first + offset + i;
      assert.ok(record.underWay.get(sector)?.has(version), `sector ${String(sector)} of a copy has ${String(version)}`);
      record.end(sector, 1, version);
    });
  }

  /** What a snapshot may hold is known when it is taken; what it does hold is read at once, and must never change. */
  async #snapshot(running: Running, ids: readonly number[]): Promise<void> {
    const before = ids.map((id) => this.#volumes.get(id)?.copy() ?? new Record());
    const during = ids.map((id) => this.#watch(id));
    const copies = await running.pool.copy(ids, false, 0);
    for (const [i, id] of copies.entries()) {
      const seen = during[i]?.() ?? new Map<number, Set<number>>();
      const volume = running.open(id);
      const record = new Record();
      await this.#each(volume, (sector, version) => {
        const allowed = new Set([before[i]?.value(sector) ?? 0, ...(seen.get(sector) ?? [])]);
        assert.ok(allowed.has(version), `sector ${String(sector)} of a snapshot has ${String(version)}`);
        record.acknowledged.set(sector, version);
      });
      await volume.close();
      this.#snapshots.set(id, record);
    }
  }

  /** Collects every version that is under way or acknowledged from now until the returned function is called. */
  #watch(
    id: number,
    also: (sector: number, version: number) => void = () => undefined,
  ): () => Map<number, Set<number>> {
    const record = this.#volumes.get(id) as Record;
    const seen = new Map<number, Set<number>>();
    const add = (sector: number, version: number): void => {
      let set = seen.get(sector);
      if (set === undefined) seen.set(sector, (set = new Set<number>()));
      set.add(version);
      also(sector, version);
    };
    for (const [sector, set] of record.underWay) for (const version of set) add(sector, version);
    const original = record.begin.bind(record);
    const begin = (first: number, count: number, version: number): void => {
      for (let sector = first; sector < first + count; sector++) add(sector, version);
      original(first, count, version);
    };
    record.begin = begin;
    return () => {
      if (record.begin === begin) record.begin = original;
      return seen;
    };
  }

  async #deleteSnapshot({ pool }: Running): Promise<void> {
    const ids = [...this.#snapshots.keys()];
    const id = ids[this.#pick(ids.length)];
    if (id === undefined) return;
    this.#snapshots.delete(id);
    await pool.delete(id);
  }

  async #each(volume: CachedVolume, look: (sector: number, version: number) => void): Promise<void> {
    for (const window of [...WINDOWS, LARGE]) {
      const bytes = Buffer.alloc(window.to - window.from);
      await volume.read(window.from, bytes.length, bytes, 0);
      versions(bytes, 'a volume').forEach((version, i) => {
        look(window.from / SECTOR + i, version);
      });
    }
  }

  /** After a start: everything acknowledged is there, nothing else is, and the pool's books are right. */
  async verify(running: Running): Promise<void> {
    const result = checkPool(running.pool);
    assert.deepEqual(result.findings, [], 'pool check');
    const all = [...this.#volumes];
    if (this.#target !== undefined) all.push([this.#target.id, this.#target.record]);
    for (const [id, record] of all) {
      const volume = running.open(id);
      const now = new Map<number, number>();
      await this.#each(volume, (sector, version) => {
        const allowed = record.allowed(sector);
        assert.ok(
          allowed.has(version),
          `volume ${String(id)}, sector ${String(sector)}: ${String(version)}, allowed ${[...allowed].join(' ')}`,
        );
        now.set(sector, version);
      });
      // What was under way has been decided by the crash.
      for (const [sector, version] of now) record.acknowledged.set(sector, version);
      record.underWay.clear();
      await volume.close();
    }
    for (const [id, record] of this.#snapshots) {
      const volume = running.open(id);
      await this.#each(volume, (sector, version) => {
        assert.equal(version, record.value(sector), `snapshot ${String(id)}, sector ${String(sector)}`);
      });
      await volume.close();
    }
    assert.deepEqual(checkPool(running.pool).findings, [], 'pool check after reading');
  }
}

/** One life after the other: `lives` times switched on, worked with, and cut off at a random operation. */
export async function crashRounds(seed: number, lives: number, steps: number, failWithin: number): Promise<number> {
  const random = seeded(seed);
  const machine = new Machine(random);
  await machine.create(6);
  const scenario = new Scenario(random, machine);
  const first = await machine.start();
  assert.ok(first !== undefined);
  await scenario.create(first.pool);
  await scenario.create(first.pool);
  await scenario.createTarget(first.pool);
  await first.pool.close();
  for (let life = 0; life < lives; life++) {
    const failAt = 1 + Math.floor(random() * failWithin);
    const running = await machine.start(failAt);
    if (running !== undefined) await scenario.run(running, steps);
    machine.crash();
    const calm = await machine.start();
    assert.ok(calm !== undefined);
    await scenario.verify(calm);
    await calm.pool.close();
  }
  return scenario.steps;
}
