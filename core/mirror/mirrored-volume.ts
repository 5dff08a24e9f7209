// A volume with replicas on several nodes, as the layers above see it. At its owner it is served; elsewhere everything that
// needs blocks fails with `moved`, and whole commands are forwarded instead.
import { ServiceError } from '../base/errors.ts';
import { MAX_PEER_PAYLOAD, MAX_UNIT_STATE, MIRROR_CONTROL_PATIENCE } from '../base/limits.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, Place, SpaceResources, StableWaiter, Volume, VolumeInfo } from '../volume/volume.ts';
import type { RangeLock } from '../volume/range-locks.ts';
import { MirrorMessage, Operation, json } from './messages.ts';
import type { Order, Term } from './term.ts';
import { moved } from './term.ts';
import type { Ownership } from './ownership.ts';
import type { Steward } from './steward.ts';

export class MirroredVolume implements Volume {
  readonly id: string;
  readonly steward: Steward;
  readonly #backing: Volume;
  readonly #durability: Durability;
  #closing: Promise<void> | undefined;
  readonly writeAtomic?: Volume['writeAtomic'] & {};
  readonly readPlaces?: Volume['readPlaces'] & {};
  readonly bring?: Volume['bring'] & {};

  constructor(steward: Steward) {
    const { id, backing, durability } = steward.options;
    this.id = id;
    this.steward = steward;
    this.#backing = backing;
    this.#durability = durability;
    if (backing.writeAtomic !== undefined) {
      this.writeAtomic = (position, source, at, length, fua) => this.#writeAtomic(position, source, at, length, fua);
    }
    if (backing.readPlaces !== undefined) this.readPlaces = (places) => this.#readPlaces(places);
    if (backing.bring !== undefined) this.bring = (position, length) => this.#bring(position, length);
  }

  get info(): VolumeInfo {
    return { ...this.#backing.info, durability: this.#durability };
  }
  get resources(): SpaceResources | undefined {
    return this.#backing.resources;
  }
  /** The local copy. Only for who knows what it is worth. */
  get backing(): Volume {
    return this.#backing;
  }
  get ownership(): Ownership {
    return this.steward.ownership;
  }

  /** State the SCSI side keeps with the volume; undefined: none. At the owner it is what was set last. */
  unitState(): Buffer | undefined {
    return this.steward.options.regions.unitState;
  }
  /** Resolves when every in-sync replica has it on stable media. At most MAX_UNIT_STATE bytes. Rejects with a VolumeError. */
  async setUnitState(state: Buffer | undefined): Promise<void> {
    const data = state ?? Buffer.alloc(0);
    if (data.length > MAX_UNIT_STATE) throw new RangeError('too much state for a unit');
    const writer = await this.steward.serving();
    await writer.everywhere({ operation: Operation.unitState, fua: true, position: 0, length: data.length, data }, () =>
      this.steward.options.regions.update({ unitState: data.length === 0 ? undefined : data.toString('base64') }),
    );
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    const term = this.steward.term;
    // What is being written is not there yet: who reads it waits until it is everywhere, or nowhere.
    if (term === undefined || term.locks.blocks(position, length, false)) return false;
    if (!this.#backing.readNow(position, length, target, at)) return false;
    // The lease is looked at after the blocks were.
    const now = term.options.clock.now();
    term.busyAt = now;
    return term.mayServeAt(now);
  }

  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    const term = this.steward.term;
    if (term?.mayServe !== true || term.locks.blocks(position, length, false)) return false;
    term.busyAt = term.options.clock.now();
    return this.#backing.viewNow(position, length, pieces);
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    await this.#reading(position, length, (term) => this.#readHere(term, position, length, target, at));
  }

  async #readPlaces(places: readonly Place[]): Promise<void> {
    const position = Math.min(...places.map((each) => each.position));
    const end = Math.max(...places.map((each) => each.position + each.length));
    await this.#reading(position, end - position, () => this.#backing.readPlaces?.(places));
  }

  async #bring(position: number, length: number): Promise<boolean> {
    await this.steward.serving();
    return (await this.#backing.bring?.(position, length)) === true;
  }

  async extents(position: number, length: number, limit: number): Promise<Extent[]> {
    return this.#reading(position, length, () => this.#backing.extents(position, length, limit));
  }

  /**
   * Runs `work` while nothing is being written to the range, or until it calls `release`. What it made of the copy here is what
   * the volume was, because this node could still serve it afterwards. Rejects as `work` does, and with a VolumeError.
   */
  async atRest<T>(position: number, length: number, work: (release: () => void) => Promise<T>): Promise<T> {
    await this.steward.serving();
    const term = this.#term();
    const lock = await term.lock(position, length, false);
    try {
      const result = await work(() => {
        lock.release();
      });
      if (!term.mayServe) await term.untilServing();
      return result;
    } finally {
      lock.release();
    }
  }

  /** Reads while nothing is written there, and only gives what it was if this node may still serve it then. */
  async #reading<T>(position: number, length: number, work: (term: Term) => Promise<T> | T): Promise<T> {
    await this.steward.serving();
    const term = this.#term();
    term.busyAt = term.options.clock.now();
    const lock = await term.lock(position, length, false);
    try {
      for (;;) {
        const result = await work(term);
        if (term.mayServe) return result;
        await term.untilServing();
      }
    } finally {
      lock.release();
    }
  }

  /** Reads here; what cannot be read here is read from a replica, and put right. */
  async #readHere(term: Term, position: number, length: number, target: Buffer, at: number): Promise<void> {
    try {
      await this.#backing.read(position, length, target, at);
    } catch (error) {
      if (!(error instanceof VolumeError) || error.fault !== VolumeFault.readError) throw error;
      const data = await this.#readElsewhere(term, position, length);
      if (data === undefined) throw error;
      data.copy(target, at);
      // Writing it anew may put it on a good place; when it does not, it stays as it is.
      await this.#backing.write(position, data, 0, length, true).catch(() => undefined);
    }
  }

  async #readElsewhere(term: Term, position: number, length: number): Promise<Buffer | undefined> {
    for (const member of term.members.values()) {
      const link = term.options.linkTo(member.node);
      if (member.state !== 'sync' || link === undefined) continue;
      const message = { volume: this.id, epoch: term.epoch, session: member.session };
      const pieces: Buffer[] = [];
      try {
        for (let done = 0; done < length; done += MAX_PEER_PAYLOAD) {
          const ranges = [[position + done, Math.min(length - done, MAX_PEER_PAYLOAD)]];
          const header = json({ ...message, ranges });
          pieces.push((await link.request(MirrorMessage.read, header, [], MIRROR_CONTROL_PATIENCE)).data);
        }
        const data = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
        if (data?.length === length) return data;
      } catch {
        // The next one.
      }
    }
    return undefined;
  }

  // ---- writing

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    return this.steward.writer?.writeNow(position, source, at, length) ?? WriteNow.refused;
  }

  whenStable(waiter: StableWaiter): void {
    const { writer } = this.steward;
    if (writer !== undefined) {
      writer.whenStable(waiter);
      return;
    }
    this.steward.options.clock.soon(() => {
      waiter.stable(moved('no node serves this volume'));
    });
  }

  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    await (await this.steward.serving()).write(position, source, at, length, fua);
  }

  async #writeAtomic(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    const data = source.subarray(at, at + length);
    const writer = await this.steward.serving();
    const isThrough = fua || this.#term().writesThrough;
    await writer.operate({ operation: Operation.atomic, fua, position, length, data }, async () => {
      await this.#backing.writeAtomic?.(position, source, at, length, isThrough);
    });
  }

  async flush(): Promise<void> {
    const writer = await this.steward.serving();
    if (this.#durability !== Durability.mirroredRam) {
      // What was acknowledged is on stable media everywhere.
      await this.#backing.flush();
      return;
    }
    await new Promise<void>((resolve, reject) => {
      writer.whenStable({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
    await writer.everywhere({ operation: Operation.flush, fua: true, position: 0, length: 0 }, () =>
      this.#backing.flush(),
    );
  }

  async zero(position: number, length: number): Promise<void> {
    const writer = await this.steward.serving();
    await writer.operate({ operation: Operation.zero, fua: true, position, length }, () =>
      this.#backing.zero(position, length),
    );
  }

  async unmap(position: number, length: number): Promise<void> {
    const writer = await this.steward.serving();
    await writer.operate({ operation: Operation.unmap, fua: true, position, length }, () =>
      this.#backing.unmap(position, length),
    );
  }

  // ---- copies

  sharesWith(source: Volume): boolean {
    return (
      source instanceof MirroredVolume && this.#backing.sharesWith?.(source.#backing) === true && this.#follows(source)
    );
  }

  /** The copy crosses to the replicas as what it is. They must have the source, as it is here. */
  async shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    if (!(source instanceof MirroredVolume) || this.#backing.shareFrom === undefined) return false;
    const writer = await this.steward.serving();
    await source.steward.serving();
    if (!this.#follows(source)) return false;
    const [ours, theirs] = [this.#term(), source.#term()];
    const lock = await lockBoth(ours, theirs, from, to, length);
    // Only now nothing of the source is under way to a replica.
    if (!this.#follows(source)) {
      lock.release();
      return false;
    }
    const order: Order = {
      ...{ operation: Operation.share, fua: true, position: to, length },
      source: { volume: source.id, position: from },
    };
    const shared = { isDone: false };
    const local = async (): Promise<void> => {
      shared.isDone = (await this.#backing.shareFrom?.(source.#backing, from, to, length)) === true;
      if (!shared.isDone) throw new VolumeError(VolumeFault.notReady, 'these copies cannot share blocks');
    };
    // Each node copies what it has of the source itself. That is the same everywhere, and was what the source is, if this node
    // may still serve the source afterwards. Within one volume the replicas answer for that.
    let isSame = true as boolean;
    const holds = (): boolean => (isSame = theirs === ours || (theirs.mayServe && this.#follows(source)));
    try {
      await writer.locked(order, local, lock, holds);
    } catch (error) {
      // What ends with the term gives nothing free, but the source may be served on.
      if (ours.isOver) {
        void writer.drain().then(() => {
          lock.release();
        });
      }
      const isRefused = error instanceof VolumeError && error.fault === VolumeFault.notReady;
      if (!isRefused || (shared.isDone && isSame)) throw error;
      return false;
    }
    return true;
  }

  /** Every replica of this one that is in sync has the source, in sync. */
  #follows(source: MirroredVolume): boolean {
    const ours = this.steward.term;
    const theirs = source.steward.term;
    if (ours === undefined || theirs === undefined || ours.isOver || theirs.isOver) return false;
    for (const member of ours.members.values()) {
      if (member.state === 'out' || !(member.state === 'sync' || member.counts || member.state === 'joining')) continue;
      if (theirs.members.get(member.node)?.state !== 'sync') return false;
    }
    return true;
  }

  // ---- points in time

  /**
   * The volume becomes what it was at this point, here and at every replica. Nobody may be using it. Rejects with a
   * VolumeError, and with a ServiceError when this node does not have the point, or it cannot be taken.
   */
  async rollback(point: string): Promise<void> {
    const { points } = this.steward.options;
    if (points?.has(point) !== true) throw new ServiceError('not-found', 'this node does not have the snapshot');
    const writer = await this.steward.serving();
    await writer
      .operate(
        {
          ...{ operation: Operation.rollback, fua: true, position: 0, length: this.info.size },
          source: { volume: point, position: 0 },
        },
        () => points.rollback(point),
      )
      .catch((error: unknown) => {
        throw error instanceof VolumeError && error.cause instanceof ServiceError ? error.cause : error;
      });
  }

  // ---- the rest

  allocatedBytes(): number {
    return this.#backing.allocatedBytes();
  }

  async resize(size: number): Promise<void> {
    const writer = await this.steward.serving();
    const term = this.#term();
    const { regions } = term.options;
    const lock = await term.lock(0, Math.max(size, this.info.size), true);
    try {
      // Who does not get this keeps what is cut off, even if the volume has grown again when it is back: that is noted before.
      const before = this.info.size;
      const cut = Math.max(0, before - size);
      const nodes = [...term.members.keys()];
      const undo = cut > 0 ? await regions.markForNow(nodes, size, cut) : undefined;
      let isOpen = false as boolean;
      const local = async (): Promise<void> => {
        isOpen = true;
        await this.#backing.resize(size).catch((error: unknown) => {
          isOpen = false;
          throw error;
        });
      };
      try {
        await writer.everywhere({ operation: Operation.resize, fua: true, position: 0, length: size }, local);
      } catch (error) {
        // It could not be done here, so nobody else was told. Who waits no longer does not know what becomes of it; and what was
        // noted since the term is over is not to be taken back.
        if (!isOpen && !term.isOver && this.info.size === before) undo?.();
        throw error;
      }
      for (const { node, state } of cut > 0 ? term.members.values() : [])
        if (state === 'sync') regions.copied(node, size, cut);
    } finally {
      lock.release();
    }
  }

  /** The owner stops serving; nothing is handed over. The local copy is made stable and closed. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.steward.close();
    await this.#backing.close();
    await this.steward.options.regions.update({ clean: true });
    await this.steward.options.regions.close();
  }

  #term(): Term {
    const { term } = this.steward;
    if (term === undefined) throw moved('no node serves this volume');
    term.check();
    return term;
  }
}

/** The target exclusively, and the source, so that nothing is being written there. Rejects with a VolumeError. */
async function lockBoth(ours: Term, theirs: Term, from: number, to: number, length: number): Promise<RangeLock> {
  if (ours === theirs) {
    const position = Math.min(from, to);
    return ours.lock(position, Math.max(from, to) + length - position, true);
  }
  const wanted = [
    { term: theirs, position: from, exclusive: false },
    { term: ours, position: to, exclusive: true },
  ].sort((a, b) => a.term.locks.serial - b.term.locks.serial);
  const held: RangeLock[] = [];
  const release = (): void => {
    for (const each of held) each.release();
  };
  try {
    for (const { term, position, exclusive } of wanted) held.push(await term.lock(position, length, exclusive));
  } catch (error) {
    release();
    throw error;
  }
  return { release, makeExclusive: () => undefined };
}
