// The operation mix of the crash harness, from a seed: several hosts write, clear and read their parts of several volumes
// while snapshots and clones come and go; then the power fails, and everything acknowledged has to be there.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { isHidden } from '../../core/pool/rod-table.ts';
import { WriteNow } from '../../core/volume/volume.ts';
import { Counter } from './counter.ts';
import { Elastic, isRefused } from './elastic.ts';
import type { Machine, Running } from './machine.ts';
import { GRAIN, Record, SECTOR, idle, isFull, readVersions, stamp, unlessFull, versions } from './record.ts';
import type { Random } from './sim-disk.ts';
import { Solo } from './solo.ts';
import { share } from './share.ts';
import { Tokens } from './tokens.ts';
import { Trouble } from './trouble.ts';

/** Parts of the volume that are used: its beginning, and where one leaf of the map ends and the next begins. */
const WINDOWS = [
  { from: 0, to: 6 * GRAIN },
  { from: 1021 * GRAIN, to: 1027 * GRAIN },
] as const;
export const VOLUME_SIZE = 1030 * GRAIN;
const HOSTS = 3;
const MAX_CLONES = 2;
/** The part where one host writes whole grains, and smaller things in between. */
const LARGE = { from: 100 * GRAIN, to: 108 * GRAIN } as const;

export class Scenario {
  readonly machine: Machine;
  readonly #random: Random;
  readonly #volumes = new Map<number, Record>();
  readonly #snapshots = new Map<number, Record>();
  /** Ranges of the others are copied to it; nobody else writes to it. */
  #target: { readonly id: number; readonly record: Record } | undefined;
  readonly #solos: readonly Solo[];
  #counter = new Counter([]);
  readonly #tokens: Tokens;
  #version = 1;
  /** Writable copies; one host each. */
  readonly #clones = new Set<number>();
  #work: Promise<void>[] = [];
  /** Operations asked for. */
  steps = 0;
  /** Of the wide mix only. */
  readonly #elastic: Elastic | undefined;
  #trouble: Trouble | undefined;

  readonly #copies: boolean;

  /** `wide`: more happens at once, and the disk fails now and then. `copies`: a host makes tokens all the time. */
  constructor(random: Random, machine: Machine, wide = false, copies = false) {
    this.#random = random;
    this.#copies = copies;
    this.machine = machine;
    this.#tokens = new Tokens(random);
    this.#solos = (['thin', 'thick', 'volatile'] as const).map((kind) => new Solo(kind, random, wide));
    this.#elastic = wide ? new Elastic(random) : undefined;
  }

  #pick(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** Makes the volumes. `spare`: grains left for them; undefined: all of the pool. */
  async create(pool: Running['pool'], spare?: number): Promise<void> {
    for (let i = 0; i < 2; i++) {
      this.#volumes.set(await pool.create({ size: VOLUME_SIZE, thick: false, created: 0 }), this.#newRecord());
    }
    await this.#elastic?.create(pool);
    this.#counter = new Counter([...this.#volumes.keys()]);
    this.#target = { id: await pool.create({ size: VOLUME_SIZE, thick: false, created: 0 }), record: new Record() };
    for (const solo of this.#solos) await solo.create(pool);
    const left = pool.allocator.available;
    if (spare !== undefined) {
      this.#filler = await pool.create({ size: (left - spare) * GRAIN, thick: true, created: 0 });
    }
  }

  #newRecord(): Record {
    const record = new Record();
    const elastic = this.#elastic;
    if (elastic !== undefined)
      record.watchers.add((sector, version) => {
        elastic.note(sector, 1, version);
      });
    return record;
  }

  #filler: number | undefined;

  /** Somebody works until he is done, or until what the disk does ends it. */
  #begin(work: Promise<void>): void {
    const trouble = this.#trouble;
    const expected = (error: unknown): void => {
      if (trouble?.explains(error) !== true) throw error;
    };
    this.#work.push(trouble === undefined ? work : work.catch(expected));
  }

  /** Runs until the power fails or `steps` operations of each host are done. */
  async run(running: Running, steps: number): Promise<void> {
    const volumes: CachedVolume[] = [];
    const target = this.#target === undefined ? undefined : running.open(this.#target.id);
    if (target !== undefined) volumes.push(target);
    await Promise.race([this.#tokens.open(running.pool), running.power.failed]);
    this.#trouble = this.#elastic === undefined ? undefined : new Trouble(running, this.#random);
    this.#work = [];
    for (const solo of this.#solos) this.#begin(solo.run(running, steps));
    const counted: CachedVolume[] = [];
    for (const [id, record] of this.#volumes) {
      const volume = running.open(id);
      volumes.push(volume);
      const hosts = this.#clones.has(id) ? 1 : HOSTS;
      for (let host = 0; host < hosts; host++) this.#begin(this.#host(volume, record, host, steps));
      if (this.#clones.has(id)) continue;
      counted.push(volume);
      this.#begin(this.#largeHost(volume, record, Math.ceil(steps / 3)));
    }
    this.#begin(this.#counter.count(counted, steps));
    this.#begin(this.#administrator(running, Math.ceil(steps / 3), target, volumes));
    if (this.#copies) this.#begin(this.#copier(running, steps));
    if (this.#elastic !== undefined) {
      this.#begin(this.#elastic.run(running, () => counted, Math.ceil(steps / 2)));
      this.#begin(this.#second(running, Math.ceil(steps / 3)));
    }
    const finish = async (): Promise<void> => {
      // The administrator adds to it.
      for (let done = 0; done < this.#work.length;) {
        done = this.#work.length;
        await Promise.all(this.#work);
      }
      // A full pool may be unable to place what is in the journal; then it is there after the next start.
      let placed = true;
      for (const volume of volumes) placed = (await unlessFull(() => volume.close())) && placed;
      await this.#tokens.close();
      if (placed && this.#random() < 0.5) await unlessFull(() => running.pool.close());
    };
    const over = finish().catch((error: unknown) => {
      if (this.#trouble?.explains(error) !== true) throw error;
    });
    await Promise.race([over, running.power.failed]);
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
      const data = stamp(version, count);
      const done = await unlessFull(() => volume.write(first * SECTOR, data, 0, data.length, false));
      if (done) record.end(first, count, version);
    }
  }

  async #step(volume: CachedVolume, record: Record, first: number, count: number): Promise<void> {
    const position = first * SECTOR;
    const length = count * SECTOR;
    if (this.#elastic !== undefined && this.#random() < 0.2) await this.#peek(volume, record);
    const choice = this.#random();
    if (choice < 0.2) {
      const found = await readVersions(volume, first, count, 'read');
      found.forEach((version, i) => {
        // A write that found the pool full may have happened or not.
        assert.ok(record.allowed(first + i).has(version), `sector ${String(first + i)} reads as ${String(version)}`);
        record.decided(first + i, version);
      });
    } else if (choice < 0.8) {
      const version = this.#version++;
      record.begin(first, count, version);
      if (await unlessFull(() => this.#write(volume, position, stamp(version, count)))) {
        record.end(first, count, version);
      }
    } else if (choice < 0.95) {
      record.begin(first, count, 0);
      const unmap = this.#random() < 0.5;
      const done = await unlessFull(() => (unmap ? volume.unmap(position, length) : volume.zero(position, length)));
      if (done) record.end(first, count, 0);
    } else {
      await volume.flush();
    }
  }

  /** Reads what others are writing to. */
  async #peek(volume: CachedVolume, record: Record): Promise<void> {
    const window = WINDOWS[this.#pick(2)] ?? WINDOWS[0];
    const count = 8 + this.#pick(64);
    const first = window.from / SECTOR + this.#pick((window.to - window.from) / SECTOR - count);
    const bytes = Buffer.alloc(count * SECTOR);
    if (!volume.readNow(first * SECTOR, bytes.length, bytes, 0))
      await volume.read(first * SECTOR, bytes.length, bytes, 0);
    versions(bytes, 'a peek').forEach((version, i) => {
      record.read(first + i, version);
    });
  }

  /** The fast path of a durable write where it takes it, or the other. */
  async #write(volume: CachedVolume, position: number, data: Buffer): Promise<void> {
    if (this.#random() >= 0.5 || volume.writeNow(position, data, 0, data.length) !== WriteNow.placed) {
      await volume.write(position, data, 0, data.length, false);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      volume.whenStable({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }

  async #administrator(
    running: Running,
    steps: number,
    target: CachedVolume | undefined,
    volumes: CachedVolume[],
  ): Promise<void> {
    const { pool } = running;
    for (let step = 0; step < steps; step++) {
      const choice = this.#random();
      const ids = [...this.#volumes.keys()];
      const id = ids[this.#pick(ids.length)] as number;
      try {
        if (choice < 0.15) await pool.checkpoint();
        else if (choice < 0.3) await this.#snapshot(running, choice < 0.2 ? ids : [id]);
        else if (choice < 0.4) await this.#deleteSnapshot(running);
        else if (choice < 0.6 && target !== undefined) await this.#share(running, id, target);
        else if (choice < 0.7) await this.#clone(running, id, volumes);
        else if (choice < 0.78) await this.#counter.snapshot(running);
        else if (choice < 0.82) await this.#counter.prune(running, 1);
        // What the other volumes did until then is on the way of the journal to its place, not yet in the metadata's.
        else if (choice < 0.9)
          await pool.create({ size: 4096, thick: false, created: 0 }).then((each) => pool.delete(each));
        else if (choice < 0.91) await this.machine.grow(running);
        else if (choice < 0.97 && !this.#copies) await this.#token(running, id);
        else await idle(20);
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
  }

  /** Somebody else with the same rights, at the same time. */
  async #second(running: Running, steps: number): Promise<void> {
    const { pool } = running;
    for (let step = 0; step < steps; step++) {
      const choice = this.#random();
      const ids = [...this.#volumes.keys()];
      try {
        if (choice < 0.2) await pool.checkpoint();
        else if (choice < 0.5) await this.#cloneSnapshot(running);
        else if (choice < 0.8) await this.#snapshot(running, [ids[this.#pick(ids.length)] as number]);
        else await idle(this.#pick(60));
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
  }

  /** The other administrator may be deleting the snapshot. */
  async #cloneSnapshot(running: Running): Promise<void> {
    const { pool } = running;
    const [id, record] = [...this.#snapshots][this.#pick(this.#snapshots.size)] ?? [];
    if (id === undefined || record === undefined) return;
    let copy = 0;
    try {
      copy = (await pool.copy([id], true, 0))[0] as number;
    } catch (error) {
      if (isRefused(error)) return;
      throw error;
    }
    const volume = running.open(copy);
    await this.#each(volume, (sector, version) => {
      assert.equal(version, record.value(sector), `clone of snapshot ${String(id)}, sector ${String(sector)}`);
    });
    await volume.close();
    const deleting = pool.delete(copy);
    if (this.#random() < 0.5) await deleting;
    else deleting.catch(() => undefined);
  }

  /** A writable copy, which somebody writes to at once. */
  async #clone(running: Running, id: number, volumes: CachedVolume[]): Promise<void> {
    if (this.#clones.size >= MAX_CLONES) return;
    const before = this.#volumes.get(id)?.copy() ?? new Record();
    const during = this.#volume(id).watch();
    const [copy] = await running.pool.copy([id], true, 0);
    const seen = during();
    const volume = running.open(copy as number);
    volumes.push(volume);
    const record = new Record();
    await this.#each(volume, (sector, version) => {
      const allowed = new Set([before.value(sector), ...(seen.get(sector) ?? [])]);
      assert.ok(allowed.has(version), `sector ${String(sector)} of a clone has ${String(version)}`);
      record.decided(sector, version);
    });
    this.#volumes.set(copy as number, record);
    this.#clones.add(copy as number);
    this.#begin(this.#host(volume, record, this.#pick(HOSTS), 12));
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
    const seen = this.#volume(id).watch((sector, version) => {
      if (sector >= first && sector < first + sectors) record.begin(sector + offset, 1, version);
    });
    const done = await unlessFull(() => share(pool, id, from, targetId, to, grains * GRAIN));
    seen();
    if (!done) return;
    const bytes = Buffer.alloc(grains * GRAIN);
    await target.read(to, bytes.length, bytes, 0);
    versions(bytes, 'a copy').forEach((version, i) => {
      const sector = first + offset + i;
      assert.ok(record.underWay.get(sector)?.has(version), `sector ${String(sector)} of a copy has ${String(version)}`);
      record.end(sector, 1, version);
    });
  }

  async #token({ pool }: Running, id: number): Promise<void> {
    const choice = this.#random();
    const window = WINDOWS[this.#pick(2)] ?? WINDOWS[0];
    if (choice < 0.5) await this.#makeToken(pool, id, window);
    else if (choice < 0.8 && this.#target !== undefined) {
      const { record, id: target } = this.#target;
      const to = window.from + this.#pick(4) * GRAIN;
      await this.#tokens.use(
        pool,
        target,
        to,
        (sector, version) => {
          record.begin(sector, 1, version);
        },
        (sector, version) => {
          record.end(sector, 1, version);
        },
      );
    } else await this.#tokens.step();
  }

  async #makeToken(pool: Running['pool'], id: number, window: { from: number; to: number }): Promise<void> {
    const before = this.#volumes.get(id)?.copy() ?? new Record();
    await this.#tokens.make(pool, id, window, () => {
      const seen = this.#volume(id).watch();
      return (sector) => new Set([before.value(sector), ...(seen().get(sector) ?? [])]);
    });
  }

  /** Points in time of what others are writing to, one after the other. */
  async #copier({ pool }: Running, steps: number): Promise<void> {
    const ids = [...this.#volumes.keys()];
    for (let step = 0; step < steps; step++) {
      try {
        if (this.#random() < 0.7)
          await this.#makeToken(pool, ids[this.#pick(ids.length)] as number, WINDOWS[this.#pick(2)] ?? WINDOWS[0]);
        else await this.#tokens.step();
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
  }

  /** What a snapshot may hold is known when it is taken; what it does hold is read at once, and must never change. */
  async #snapshot(running: Running, ids: readonly number[]): Promise<void> {
    const before = ids.map((id) => this.#volumes.get(id)?.copy() ?? new Record());
    const during = ids.map((id) => this.#volume(id).watch());
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

  #volume(id: number): Record {
    return this.#volumes.get(id) as Record;
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
    const { pool } = running;
    assert.deepEqual(checkPool(pool).findings, [], 'pool check');
    const all = [...this.#volumes];
    if (this.#target !== undefined) all.push([this.#target.id, this.#target.record]);
    for (const [id, record] of all) {
      const volume = running.open(id);
      await this.#each(volume, (sector, version) => {
        const allowed = record.allowed(sector);
        assert.ok(
          allowed.has(version),
          `volume ${String(id)}, sector ${String(sector)}: ${String(version)}, allowed ${[...allowed].join(' ')}`,
        );
        // What was under way has been decided by the crash.
        record.decided(sector, version);
      });
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
    for (const solo of this.#solos) await solo.verify(running);
    await this.#elastic?.verify(running);
    await this.#counter.verify(running);
    await this.#tokens.verify(pool);
    assert.deepEqual(checkPool(pool).findings, [], 'pool check after reading');
    await this.#cleanUp(running);
  }

  /** Deletes what nobody knows of: its making was not acknowledged, or its deletion. And some clones. */
  async #cleanUp({ pool }: Running): Promise<void> {
    for (const id of this.#clones) {
      if (this.#random() < 0.5) continue;
      this.#clones.delete(id);
      this.#volumes.delete(id);
    }
    const known = new Set([
      ...this.#volumes.keys(),
      ...this.#snapshots.keys(),
      ...this.#counter.snapshots,
      ...this.#solos.flatMap((solo) => [solo.id, ...solo.snapshots]),
    ]);
    if (this.#target !== undefined) known.add(this.#target.id);
    if (this.#elastic !== undefined) known.add(this.#elastic.id);
    if (this.#filler !== undefined) known.add(this.#filler);
    for (const [id, { record }] of [...pool.entries]) {
      if (!known.has(id) && !record.deleting && !isHidden(record.tag)) await pool.delete(id);
    }
  }
}
