// A pool: volumes, snapshots and clones that share grains of the same disks. The journal has what was acknowledged; a
// checkpoint puts it into its places, makes the places and the maps stable, and lets the journal go on in its room.
import { CHECKPOINT_INTERVAL, DELETE_STEP, MAX_POOL_VOLUMES } from '../base/limits.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { Turn } from '../base/turn.ts';
import type { Timer } from '../base/world.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import { GroupCommit } from '../volume/group-commit.ts';
import { Durability, VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Allocator } from './allocator.ts';
import { diskError, isDiskFull, isNoSpace, unstable } from './disk-error.ts';
import type { Journal, JournalMark } from './journal.ts';
import { Placing } from './placing.ts';
import type { PoolCore } from './pool-core.ts';
import { refuseUnplaced, refuseUnusable, returnChanged, takeChanged } from './pool-entry.ts';
import type { PoolEntry } from './pool-entry.ts';
import type { MemberRecord, PoolVolumeRecord, SlabRecord } from './pool-meta.ts';
import type { NewVolume, OpenVolumeOptions, PoolParts, PoolRoom } from './pool-parts.ts';
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
  /** Name of a volume, for people. */
  nameOf: (id: number) => string = String;
  readonly #parts: PoolParts;
  readonly #entries: Map<number, PoolEntry>;
  /** Checkpoints and everything that changes what volumes there are. */
  readonly #turn = new Turn();
  readonly #syncs = new Turn();
  readonly #placing: Placing;
  readonly #dataSyncs: GroupCommit;
  /** Volumes that are gone since the last commit. */
  #gone: number[] = [];
  #trimmed: JournalMark;
  /** Slabs, and the disks they are on. */
  #room: PoolRoom;
  #nextVolume: number;
  #timer: Timer | undefined;
  #waiting: Promise<void> | undefined;
  #poison: VolumeError | undefined;
  /** Why the last checkpoint failed; it is tried again. */
  #stuck: VolumeError | undefined;
  #closed = false;
  #seen = -1;
  checkpoints = 0;
  syncsBegun = 0;
  syncs = 0;
  /** Times a block was found that does not match its checksum or cannot be read, since the pool was opened. */
  damagedBlocks = 0;

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.slabs = parts.slabs;
    this.allocator = parts.allocator;
    this.journal = parts.journal;
    this.threshold = new SoftThreshold(parts.allocator, parts.clock);
    this.reclaim = new Reclaim(parts);
    this.#entries = parts.entries;
    this.#dataSyncs = new GroupCommit(() => this.slabs.dataSync());
    this.#room = { slabs: parts.state.slabs, members: parts.state.members ?? [] };
    this.#placing = new Placing(parts.journal, parts.journalBytes, parts.log);
    this.#trimmed = parts.state.mark;
    this.#nextVolume = parts.state.nextVolume;
    this.#plan();
  }

  // ---- volumes

  get entries(): ReadonlyMap<number, PoolEntry> {
    return this.#entries;
  }

  /** Why nothing can be written to the pool until it is opened again; undefined: it can. */
  get trouble(): VolumeError | undefined {
    return this.#poison ?? this.journal.poison;
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
      const id = this.#add({ ...wanted, snapshotOf: undefined }, new VolumeMap(this.#parts.leaves, this.allocator));
      try {
        // Nobody knows of it yet: when the disk below is full, everything can be as it was.
        await this.#commit(this.#trimmed, true);
      } catch (error) {
        this.allocator.unreserve(aside);
        this.#entries.delete(id);
        this.#gone.push(id);
        throw error;
      }
      return id;
    });
  }

  #setAside(grains: number): void {
    try {
      this.allocator.reserve(Math.ceil(grains));
    } catch (error) {
      throw new ServiceError('no-space', 'the pool has no room for a volume of this size', { cause: error });
    }
  }

  #add(facts: Omit<PoolVolumeRecord, 'id' | 'fence' | 'deleting'>, map: VolumeMap): number {
    if (this.#entries.size >= MAX_POOL_VOLUMES) {
      throw new ServiceError('limit-reached', `a pool has at most ${String(MAX_POOL_VOLUMES)} volumes and snapshots`);
    }
    const id = this.#nextVolume++;
    // What is in the journal now is about others.
    const record = { ...facts, id, fence: this.journal.seq, deleting: false };
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
    if (entry !== undefined && !placed && volume.info.durability !== Durability.volatile) entry.unplaced = volume;
    // What it was promised is needed when the pool is opened again.
    else volume.tidy(true, () => true);
    if (entry?.open === volume) entry.open = undefined;
    return Promise.resolve();
  }

  /**
   * Copies of the volumes as they all are at one instant; `writable`: clones, else snapshots. Their ids, in the same order.
   * Takes the time of one small commit, however large they are. `tags`: those of the copies.
   */
  async copy(
    ids: readonly number[],
    writable: boolean,
    created: number,
    tags: readonly string[] = [],
  ): Promise<number[]> {
    const entries = ids.map((id) => this.entry(id));
    return this.#whilePaused(entries, () => {
      const copies = entries.map(({ record, map }, i) => {
        const snapshotOf = writable ? undefined : record.id;
        return this.#add({ size: record.size, thick: false, snapshotOf, created, tag: tags[i] }, map.share());
      });
      return Promise.resolve(copies);
    });
  }

  /** The volume is what the snapshot is. Nobody may be using the volume. */
  async rollback(id: number, snapshot: number): Promise<void> {
    const entry = this.entry(id);
    const from = this.entry(snapshot);
    refuseUnusable(from);
    if (from.record.size !== entry.record.size) {
      throw new ServiceError('bad-request', 'the volume was resized since the snapshot: make a clone of the snapshot');
    }
    await this.#whilePaused([entry], async () => {
      const shared = from.map.share();
      const before = entry.map.grains();
      entry.map.dropLeaves(0, entry.map.leaves.length);
      entry.map.take(shared);
      // Room is set aside for what a thick volume does not have.
      if (entry.record.thick) this.allocator.reserveAgain(before - entry.map.grains());
      await entry.open?.upper?.settled(0, 0, () => entry.open?.upper?.replaced(0, entry.record.size));
    });
  }

  /** Deletes a volume or snapshot that is not open. Its space comes back bit by bit; resolves when all of it has. */
  async delete(id: number, progress?: (done: number) => void): Promise<void> {
    await this.finishDelete(await this.beginDelete(id), progress);
  }

  /** The volume is gone for everybody, also after a crash, when it resolves; finishDelete gives its space back. */
  async beginDelete(id: number): Promise<PoolEntry> {
    if (this.trouble !== undefined) throw this.trouble;
    const entry = this.entry(id);
    if (entry.open !== undefined) throw new ServiceError('in-use', `volume ${String(id)} of the pool is open`);
    await this.#turn.run(async () => {
      // What the journal has of it must not be replayed into a volume that is on its way out.
      const { seq } = await this.journal.mark();
      if (entry.record.thick && entry.damage === undefined)
        this.allocator.unreserve(Math.ceil(entry.record.size / GRAIN) - entry.map.grains());
      entry.record = { ...entry.record, fence: seq, deleting: true };
      entry.unplaced?.tidy(true, () => true);
      entry.unplaced = undefined;
      entry.changed = true;
      await this.#commit(this.#trimmed);
    });
    return entry;
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
    await this.#turn.run(async () => {
      this.#entries.delete(record.id);
      this.#gone.push(record.id);
      await this.#commit(this.#trimmed);
    });
    // The room can be used after a checkpoint; one that fails is tried again.
    await this.checkpoint().catch(() => undefined);
    // What the metadata on disk does not know any more, no damaged map can name.
    if (![...this.#entries.values()].some(({ damage }) => damage !== undefined)) this.allocator.resume();
  }

  /** Bytes, a multiple of 4096. What is cut off is gone. */
  async resize(volume: PoolVolume, size: number): Promise<void> {
    const entry = this.entry(volume.id);
    const before = entry.record.size;
    if (size % BLOCK !== 0) throw new ServiceError('bad-request', 'a volume of a pool has a multiple of 4096 bytes');
    await volume.written();
    await this.#turn.run(async () => {
      const mark = await this.journal.mark();
      if (entry.record.thick) {
        const grains = Math.ceil(size / GRAIN) - Math.ceil(before / GRAIN);
        if (grains > 0) this.#setAside(grains);
      }
      if (size < before) {
        volume.clearMap(size, before - size);
        if (entry.record.thick) this.allocator.unreserve(Math.ceil(before / GRAIN) - Math.ceil(size / GRAIN));
      }
      entry.record = { ...entry.record, size, fence: mark.seq };
      entry.changed = true;
      await this.#commit(this.#trimmed);
      volume.resized(size);
    });
  }

  /** Runs `work` while the volumes stand still and everything written to them is in its place; then commits. */
  async #whilePaused<T>(entries: readonly PoolEntry[], work: () => Promise<T>): Promise<T> {
    this.mayWrite();
    entries.forEach(refuseUnusable);
    const uppers = entries.map((entry) => entry.open?.upper).filter((upper) => upper !== undefined);
    const resume = uppers.map((upper) => upper.pause());
    try {
      // Before the turn: placing may need a checkpoint, and that needs the turn.
      for (const upper of uppers) await upper.settled(0, Number.MAX_SAFE_INTEGER, () => undefined);
      for (const entry of entries) await entry.open?.written();
      return await this.#turn.run(async () => {
        const mark = await this.journal.mark();
        for (const entry of entries) entry.open?.tidy(true);
        const result = await work();
        for (const entry of entries) {
          entry.record = { ...entry.record, fence: mark.seq };
          entry.changed = true;
        }
        await this.#commit(this.#trimmed);
        return result;
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
      for (const entry of this.#entries.values()) refuseUnplaced(entry);
      const mark = await this.journal.mark();
      await this.#placing.place([...this.#entries.values()], this.nameOf);
      await this.#commit(mark, true);
      this.allocator.endQuarantine(freed);
      this.reclaim.freed(freed);
      this.#trimmed = mark;
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

  /**
   * Makes data, checksums and metadata stable as they are now. A failure ends all writing, but for one: a full disk changes
   * nothing, and can be tried `again`.
   */
  async #commit(mark: JournalMark, again = false): Promise<void> {
    if (this.#poison !== undefined) throw this.#poison;
    const volumes = takeChanged(this.#entries.values());
    const gone = this.#gone.splice(0).map((id) => ({ id, record: undefined, leaves: undefined }));
    const { leaves, state } = this.#parts;
    const before = leaves.changed;
    const changes = leaves.takeChanges();
    try {
      await this.sync();
      await this.#parts.meta.commit({
        state: { ...state, ...this.#room, mark, nextLeaf: leaves.nextId, nextVolume: this.#nextVolume },
        volumes: [...volumes, ...gone],
        leaves: changes,
      });
    } catch (error) {
      if (!again || !isDiskFull(error)) this.#fail(error);
      returnChanged(volumes, this.#entries);
      for (const { id } of gone) this.#gone.push(id);
      leaves.returnChanges(changes, before);
      throw diskError(error);
    }
    this.threshold.check();
  }

  /** Adds room: slabs that are there already, and the disk they are on when the pool does not know it yet. */
  async grow(
    made: readonly { readonly slab: Slab; readonly record: SlabRecord }[],
    member?: MemberRecord,
  ): Promise<void> {
    await this.#turn.run(async () => {
      for (const { slab } of made) this.slabs.add(slab);
      const { slabs, members } = this.#room;
      const added = made.map(({ record }) => record);
      this.#room = { slabs: [...slabs, ...added], members: member === undefined ? members : [...members, member] };
      // Nobody gets a grain of a slab that the metadata may not know after a crash.
      await this.#commit(this.#trimmed);
      this.allocator.grow(this.slabs.grains);
      this.threshold.check();
    });
  }

  get journalBytes(): number {
    return this.#parts.journalBytes;
  }

  get slabRecords(): readonly SlabRecord[] {
    return this.#room.slabs;
  }

  /** Its disks besides the one with the superblock. */
  get members(): readonly MemberRecord[] {
    return this.#room.members;
  }

  /** What the journal knew better is in its place: from now on the journal of this generation counts. */
  async commitReplay(): Promise<void> {
    await this.#turn.run(async () => {
      const freed = this.allocator.takeQuarantine();
      await this.#commit(this.#trimmed);
      this.allocator.endQuarantine(freed);
      this.reclaim.freed(freed);
    });
    for (const entry of this.#entries.values()) {
      if (entry.record.deleting) void this.finishDelete(entry).catch(() => undefined);
    }
  }

  async dataStable(): Promise<void> {
    try {
      await this.#dataSyncs.stable();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** What was written to the slabs so far is stable when it resolves. A failure ends all writing. */
  sync(): Promise<void> {
    return this.#syncs.run(async () => {
      if (this.#poison !== undefined) throw this.#poison;
      this.syncsBegun++;
      try {
        await this.slabs.sync();
        this.syncs++;
      } catch (error) {
        this.syncsBegun--;
        if (isNoSpace(error)) throw error;
        this.#fail(error);
      }
    });
  }

  #fail(error: unknown): never {
    this.#poison = unstable(error);
    throw this.#poison;
  }

  #plan(): void {
    this.#timer = this.#parts.clock.after(CHECKPOINT_INTERVAL, () => {
      void this.#tick();
    });
  }

  async #tick(): Promise<void> {
    const idle = this.#seen === this.journal.appends && this.allocator.quarantined === 0;
    this.#seen = this.journal.appends;
    if (!idle && this.#poison === undefined) await this.checkpoint().catch(() => undefined);
    if (!this.#closed) this.#plan();
  }

  /** The journal is half full. */
  want(): void {
    if (this.#poison === undefined && !this.#closed) void this.checkpoint().catch(() => undefined);
  }

  // ---- PoolCore

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
        // Else the journal is replayed when it is opened again.
        const placed = [...this.#entries.values()].every((entry) => entry.unplaced === undefined);
        if (placed) await this.checkpoint();
        if (placed) await this.#parts.finish();
      }
    } finally {
      await this.#parts.meta.close();
      await this.slabs.close();
      await this.#parts.close();
    }
  }
}
