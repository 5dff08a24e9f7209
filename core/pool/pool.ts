// A pool: volumes, snapshots and clones that share grains of the same disks. The journal has what was acknowledged; a
// checkpoint puts it into its places, makes the places and the maps stable, and lets the journal go on in its room.
import { CHECKPOINT_INTERVAL, DELETE_STEP, MAX_POOL_VOLUMES } from '../base/limits.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { Turn } from '../base/turn.ts';
import type { Timer } from '../base/world.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import { Durability, VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Allocator } from './allocator.ts';
import { Commits } from './commits.ts';
import type { Change } from './commits.ts';
import { diskError } from './disk-error.ts';
import type { Journal } from './journal.ts';
import { Placing } from './placing.ts';
import type { PoolCore } from './pool-core.ts';
import { letGo, refuseReopened, refuseRollback, refuseUnusable } from './pool-entry.ts';
import type { PoolEntry } from './pool-entry.ts';
import type { MemberRecord, PoolVolumeRecord, SlabRecord } from './pool-meta.ts';
import type { NewVolume, OpenVolumeOptions, PoolParts } from './pool-parts.ts';
import { PoolVolume } from './pool-volume.ts';
import { Reclaim } from './reclaim.ts';
import type { Slab, Slabs } from './slabs.ts';
import { SoftThreshold } from './threshold.ts';
import { VolumeMap } from './volume-map.ts';

export type { PoolEntry };

export class Pool implements PoolCore {
  readonly slabs: Slabs;
  readonly allocator: Allocator;
  readonly journal: Journal;
  readonly threshold: SoftThreshold;
  readonly reclaim: Reclaim;
  readonly nameOf: PoolParts['nameOf'];
  readonly #parts: PoolParts;
  readonly #entries: Map<number, PoolEntry>;
  /** Checkpoints and everything that changes what volumes there are. */
  readonly #turn = new Turn();
  readonly #placing: Placing;
  readonly #commits: Commits;
  #timer: Timer | undefined;
  #waiting: Promise<void> | undefined;
  /** Why the last checkpoint failed; it is tried again. */
  #stuck: VolumeError | undefined;
  #closed = false;
  #seen = -1;
  checkpoints = 0;
  /** Times a block was found that does not match its checksum or cannot be read, since the pool was opened. */
  damagedBlocks = 0;

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.slabs = parts.slabs;
    this.nameOf = parts.nameOf;
    this.allocator = parts.allocator;
    this.journal = parts.journal;
    this.threshold = new SoftThreshold(parts.allocator, parts.clock);
    this.reclaim = new Reclaim(parts);
    this.#entries = parts.entries;
    this.#commits = new Commits(parts);
    this.#placing = new Placing(parts.journal, parts.journalBytes, parts.log);
  }

  // ---- volumes

  get entries(): ReadonlyMap<number, PoolEntry> {
    return this.#entries;
  }

  /** Why nothing can be written to the pool until it is opened again; undefined: it can. */
  get trouble(): VolumeError | undefined {
    return this.#commits.poison ?? this.journal.poison;
  }

  /** Throws ServiceError not-found. */
  entry(id: number): PoolEntry {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.record.deleting) {
      throw new ServiceError('not-found', `the pool has no volume ${String(id)}`);
    }
    return entry;
  }

  /** A new volume that reads as zeros. Rejects with ServiceError no-space or limit-reached. */
  create(wanted: NewVolume): Promise<number> {
    return this.#turn.run(async () => {
      const aside = wanted.thick ? Math.ceil(wanted.size / GRAIN) : 0;
      this.#setAside(aside);
      const map = (): VolumeMap => new VolumeMap(this.#parts.leaves, this.allocator);
      const id = this.#add({ ...wanted, snapshotOf: undefined }, map);
      const undo = (): void => {
        this.allocator.unreserve(aside);
        this.#entries.delete(id);
      };
      return this.#commit({ result: id, undo });
    });
  }

  #setAside(grains: number): void {
    try {
      this.allocator.reserve(Math.ceil(grains));
    } catch (error) {
      throw new ServiceError('no-space', 'the pool has no room for a volume of this size', { cause: error });
    }
  }

  #add(facts: Omit<PoolVolumeRecord, 'id' | 'fence' | 'deleting'>, make: () => VolumeMap): number {
    if (this.#entries.size >= MAX_POOL_VOLUMES) {
      throw new ServiceError('limit-reached', `a pool has at most ${String(MAX_POOL_VOLUMES)} volumes and snapshots`);
    }
    const id = this.#commits.nextVolume++;
    // What is in the journal now is about others.
    const record = { ...facts, id, fence: this.journal.seq, deleting: false };
    const map = make();
    map.changed = true;
    this.#entries.set(id, { record, map, changed: true, open: undefined });
    return id;
  }

  /** The volume, to be read and written; once at a time. Throws ServiceError. */
  open(id: number, options: OpenVolumeOptions): PoolVolume {
    const entry = this.entry(id);
    if (entry.open !== undefined) throw new ServiceError('in-use', `volume ${String(id)} of the pool is open already`);
    refuseUnusable(entry);
    const { size, thick, snapshotOf } = entry.record;
    const readOnly = options.readOnly || snapshotOf !== undefined;
    const volume = new PoolVolume(this, entry.map, { ...options, id, size, thick, readOnly });
    entry.open = volume;
    return volume;
  }

  closed(volume: PoolVolume): Promise<void> {
    const entry = this.#entries.get(volume.id);
    const placed = volume.upper?.quiet(0, volume.info.size) ?? true;
    // What it was promised is needed still: checkpoints try again.
    if (entry !== undefined && !placed && volume.info.durability !== Durability.volatile) entry.unplaced = volume;
    else letGo(volume);
    if (entry?.open === volume) entry.open = undefined;
    return Promise.resolve();
  }

  /**
   * Copies of the volumes as they all are at one instant; `writable`: clones, else snapshots. Their ids, in the same order.
   * Takes the time of one small commit, however large they are. `tags`: those of the copies.
   */
  copy(ids: readonly number[], writable: boolean, created: number, tags: readonly string[] = []): Promise<number[]> {
    return this.#whilePaused(ids, (entries) => {
      const copies: number[] = [];
      const undo = (): void => {
        for (const id of copies) {
          this.#entries.get(id)?.map.unshare();
          this.#entries.delete(id);
        }
      };
      try {
        entries.forEach(({ record, map }, i) => {
          const snapshotOf = writable ? undefined : record.id;
          const facts = { size: record.size, thick: false, snapshotOf, created, tag: tags[i] };
          copies.push(this.#add(facts, () => map.share()));
        });
      } catch (error) {
        undo();
        throw error;
      }
      return Promise.resolve({ result: copies, undo });
    });
  }

  /** The volume is what the snapshot is. Nobody may be using the volume. */
  async rollback(id: number, snapshot: number): Promise<void> {
    await this.#whilePaused([id], async () => {
      const entry = this.entry(id);
      const from = this.entry(snapshot);
      refuseRollback(entry, from);
      const { map, record, open } = entry;
      const before = map.detach();
      map.take(from.map.share());
      // Room is set aside for what a thick volume does not have.
      const aside = record.thick ? before.grains() - map.grains() : 0;
      this.allocator.reserveAgain(aside);
      const replaced = (): void => open?.upper?.replaced(0, record.size);
      await open?.upper?.settled(0, 0, replaced);
      return {
        result: undefined,
        leaving: before.ownLeaves(),
        undo: () => {
          map.detach().unshare();
          map.take(before);
          this.allocator.unreserve(aside);
          replaced();
        },
        done: () => {
          before.dropLeaves(0, before.leaves.length);
        },
      };
    });
  }

  /** Deletes a volume or snapshot that is not open. Its space comes back bit by bit; resolves when all of it has. */
  async delete(id: number, progress?: (done: number) => void): Promise<void> {
    await this.finishDelete(await this.beginDelete(id), progress);
  }

  /** The volume is gone for everybody, also after a crash, when it resolves; finishDelete gives its space back. */
  async beginDelete(id: number): Promise<PoolEntry> {
    if (this.trouble !== undefined) throw this.trouble;
    return this.#turn.run(async () => {
      // What the journal has of it must not be replayed into a volume that is on its way out.
      const { seq } = await this.journal.mark();
      // As it is now: somebody else may have deleted or opened it while we waited.
      const entry = this.entry(id);
      if (entry.open !== undefined) throw new ServiceError('in-use', `volume ${String(id)} of the pool is open`);
      const { record, damage, map, changed } = entry;
      entry.record = { ...record, fence: seq, deleting: true };
      entry.changed = true;
      const undo = (): void => {
        entry.record = record;
        // One that stands for a damaged record must not be written.
        entry.changed = changed;
      };
      await this.#commit({ result: undefined, undo });
      if (entry.unplaced !== undefined) letGo(entry.unplaced);
      entry.unplaced = undefined;
      if (record.thick && damage === undefined) this.allocator.unreserve(Math.ceil(record.size / GRAIN) - map.grains());
      return entry;
    });
  }

  /** Goes on with a deletion that has begun; when the pool is closed meanwhile, its next opening does. */
  async finishDelete(entry: PoolEntry, progress?: (done: number) => void): Promise<void> {
    const { map, record } = entry;
    const total = Math.max(map.leaves.length, 1);
    for (let left = map.leaves.length; left > 0; left = map.leaves.length) {
      map.dropLeaves(Math.max(0, left - DELETE_STEP), left);
      progress?.((total - map.leaves.length) / total);
      await new Promise<void>((resolve) => {
        this.#parts.clock.soon(resolve);
      });
      if (this.#closed) return;
    }
    await this.#turn.run(() => {
      this.#entries.delete(record.id);
      this.#commits.volumeGone(record.id);
      return Promise.resolve();
    });
    // The room can be used after a checkpoint; one that fails is tried again.
    await this.checkpoint().catch(() => undefined);
    if (this.trouble !== undefined) throw this.trouble;
  }

  /** Bytes, a multiple of 4096. What is cut off is gone. */
  async resize(volume: PoolVolume, size: number): Promise<void> {
    if (size % BLOCK !== 0) throw new ServiceError('bad-request', 'a volume of a pool has a multiple of 4096 bytes');
    await volume.written();
    await this.#turn.run(async () => {
      const { seq } = await this.journal.mark();
      const entry = this.entry(volume.id);
      const { record } = entry;
      const more = record.thick ? Math.ceil(size / GRAIN) - Math.ceil(record.size / GRAIN) : 0;
      if (more > 0) this.#setAside(more);
      entry.record = { ...record, size, fence: seq };
      entry.changed = true;
      const undo = (): void => {
        entry.record = record;
        if (more > 0) this.allocator.unreserve(more);
      };
      await this.#commit({ result: undefined, undo });
      // Behind it: a size that is refused must not cost what is there. After a crash the next opening cuts the map off.
      if (size < record.size) volume.clearMap(size, record.size - size);
      if (more < 0) this.allocator.unreserve(-more);
      volume.resized(size);
    });
  }

  /** Runs `work` while the volumes stand still and everything written to them is in its place; then commits. */
  async #whilePaused<T>(
    ids: readonly number[],
    work: (entries: readonly PoolEntry[]) => Promise<Change<T>>,
  ): Promise<T> {
    const entries = ids.map((id) => this.entry(id));
    this.mayWrite();
    entries.forEach(refuseUnusable);
    const opened = entries.map(({ open }) => open);
    const uppers = opened.map((volume) => volume?.upper).filter((upper) => upper !== undefined);
    const resume = uppers.map((upper) => upper.pause());
    try {
      // Before the turn: placing may need a checkpoint, and that needs the turn.
      for (const upper of uppers) await upper.settled(0, Number.MAX_SAFE_INTEGER, () => undefined);
      for (const entry of entries) await entry.open?.written();
      return await this.#turn.run(async () => {
        const mark = await this.journal.mark();
        entries.forEach((entry, i) => {
          refuseReopened(this.entry(entry.record.id), opened[i]);
          entry.open?.tidy(true);
        });
        const change = await work(entries);
        // It stays when the change does not: what was written before is in its place.
        for (const entry of entries) {
          entry.record = { ...entry.record, fence: mark.seq };
          entry.changed = true;
        }
        return this.#commit(change);
      });
    } finally {
      for (const go of resume) go();
    }
  }

  /** Runs `work` while volumes neither come nor go, and no checkpoint is made. Writing goes on. */
  still<T>(work: () => Promise<T>): Promise<T> {
    return this.#turn.run(work);
  }

  // ---- checkpoints

  /** What has been acknowledged so far is in its place and stable there when it resolves; the journal has room again. */
  checkpoint(): Promise<void> {
    // One that has not begun serves everybody who asks.
    this.#waiting ??= this.#turn.run(() => {
      this.#waiting = undefined;
      return this.#checkpointNow();
    });
    return this.#waiting;
  }

  async #checkpointNow(): Promise<void> {
    // Before the mark: nothing behind it names what has become free until now. Of what becomes free later, records behind the
    // mark may say that it is somebody's, and replaying them would bring that back.
    const freed = this.allocator.takeQuarantine();
    try {
      const mark = await this.journal.mark();
      await this.#placing.place([...this.#entries.values()], this.nameOf);
      await this.#commits.commit(mark);
      this.threshold.check();
      this.allocator.endQuarantine(freed);
      this.reclaim.freed(freed);
      // What the metadata on disk does not know any more, no damaged map can name.
      if (![...this.#entries.values()].some(({ mapLost }) => mapLost === true)) this.allocator.resume();
      this.#commits.trimmed = mark;
      this.journal.trim(mark);
      this.#stuck = undefined;
      this.checkpoints++;
    } catch (error) {
      this.allocator.returnQuarantine(freed);
      if (this.#stuck === undefined)
        this.#parts.log.error({ error: messageOf(error) }, 'a checkpoint of the pool failed; it is tried again');
      this.#stuck = error instanceof VolumeError ? error : diskError(error);
      this.journal.wake();
      throw error;
    }
  }

  async #commit<T>(change: Change<T>): Promise<T> {
    const result = await this.#commits.apply(change);
    this.threshold.check();
    return result;
  }

  /** Adds room: slabs that are there already, and the disk they are on when the pool does not know it yet. */
  async grow(
    made: readonly { readonly slab: Slab; readonly record: SlabRecord }[],
    member?: MemberRecord,
  ): Promise<void> {
    await this.#turn.run(async () => {
      const { room } = this.#commits;
      const slabs = [...room.slabs, ...made.map(({ record }) => record)];
      this.#commits.room = { slabs, members: member === undefined ? room.members : [...room.members, member] };
      const undo = (): void => {
        this.#commits.room = room;
      };
      // Nobody gets a grain of a slab that the metadata may not know after a crash.
      await this.#commit({ result: undefined, undo });
      for (const { slab } of made) this.slabs.add(slab);
      this.allocator.grow(this.slabs.grains);
      this.threshold.check();
    });
  }

  get journalBytes(): number {
    return this.#parts.journalBytes;
  }

  get slabRecords(): readonly SlabRecord[] {
    return this.#commits.room.slabs;
  }

  /** Its disks besides the one with the superblock. */
  get members(): readonly MemberRecord[] {
    return this.#commits.room.members;
  }

  /** What the journal knew better is in its place: from now on the journal of this generation counts. */
  async commitReplay(): Promise<void> {
    await this.#turn.run(async () => {
      const freed = this.allocator.takeQuarantine();
      await this.#commits.commit();
      this.allocator.endQuarantine(freed);
      this.reclaim.freed(freed);
      this.reclaim.review();
    });
    // Not before: a checkpoint would give up what of the journal has not been replayed yet.
    this.#plan();
    for (const entry of this.#entries.values()) {
      if (entry.record.deleting) void this.finishDelete(entry).catch(() => undefined);
    }
  }

  #plan(): void {
    this.#timer = this.#parts.clock.after(CHECKPOINT_INTERVAL, () => {
      void this.#tick();
    });
  }

  async #tick(): Promise<void> {
    const waiting = this.allocator.quarantined > 0 || this.#commits.behind || this.#unplaced.length > 0;
    const idle = this.#seen === this.journal.appends && !waiting;
    this.#seen = this.journal.appends;
    if (!idle && this.#commits.poison === undefined) await this.checkpoint().catch(() => undefined);
    if (!this.#closed) this.#plan();
  }

  /** The journal is half full. */
  want(): void {
    if (this.#commits.poison === undefined && !this.#closed) void this.checkpoint().catch(() => undefined);
  }

  /** Volumes that were closed before all of their data was in its place. */
  get #unplaced(): PoolVolume[] {
    return [...this.#entries.values()].map(({ unplaced }) => unplaced).filter((volume) => volume !== undefined);
  }

  // ---- PoolCore

  sync(): Promise<void> {
    return this.#commits.sync();
  }

  dataStable(): Promise<void> {
    return this.#commits.dataStable();
  }

  get syncsBegun(): number {
    return this.#commits.syncsBegun;
  }

  get syncs(): number {
    return this.#commits.syncs;
  }

  mayWrite(): void {
    if (this.trouble !== undefined) throw this.trouble;
    if (this.#stuck !== undefined && !this.journal.ready) throw this.#stuck;
  }

  mayWait(): void {
    // When checkpoints fail, none will become free.
    if (this.allocator.quarantined + this.allocator.borrowed > 0 && this.#stuck === undefined) return;
    throw new VolumeError(VolumeFault.noSpace, 'the pool is full');
  }

  async grainsFreed(): Promise<void> {
    await Promise.all([this.reclaim.settled(), this.checkpoint().catch(() => undefined)]);
  }

  damaged(volume: number, position: number, what: string): void {
    this.damagedBlocks++;
    const blockSize = this.#entries.get(volume)?.open?.info.blockSize ?? 512;
    this.#parts.log.error(
      { volume: this.nameOf(volume), lba: Math.floor(position / blockSize), blockSize },
      `${what}: the block is not served; restore it from a snapshot or a backup`,
    );
  }

  /** All volumes must be closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    await this.reclaim.close();
    try {
      if (this.trouble === undefined) {
        const waiting = this.#unplaced.length > 0;
        const done = await this.checkpoint().then(
          () => true,
          (error: unknown) => {
            if (!waiting) throw error;
            return false;
          },
        );
        // Else the journal is replayed when it is opened again.
        if (done && this.#unplaced.length === 0) await this.#parts.finish();
      }
    } finally {
      this.#unplaced.forEach(letGo);
      await this.#parts.meta.close();
      await this.slabs.close();
      await this.#parts.close();
    }
  }
}
