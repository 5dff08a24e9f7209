// The write path of an owner. What overlaps is done one after the other, here and so at every replica. A write is noted
// before any copy is touched, then goes to all of them at once, and is acknowledged when each that counts has it, and what
// the others lack is noted.
import {
  HOLD_PATIENCE,
  MAX_PEER_PAYLOAD,
  MIRROR_CONTROL_PATIENCE,
  MIRROR_IN_FLIGHT,
  MIRROR_PATIENCE,
  PEER_SMALL_PAYLOAD,
  WIDE_OPERATION,
} from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { StableWaiter } from '../volume/volume.ts';
import type { RangeLock } from '../volume/range-locks.ts';
import type { Member } from './member.ts';
import { Operation } from './messages.ts';
import { moved } from './term.ts';
import type { Order, Term } from './term.ts';

/** A write that was taken and is not everywhere yet. */
interface Entry {
  readonly serial: number;
  readonly position: number;
  readonly length: number;
  readonly lock: RangeLock;
  /** Who does not get it; undefined: everybody does. */
  readonly skipped: readonly Member[] | undefined;
  /** When it was taken. */
  readonly at: number;
  /** Copies and notes it waits for. */
  parts: number;
  isOver: boolean;
}

interface Waiting {
  /** Entries up to this one. */
  readonly serial: number;
  readonly waiter: StableWaiter;
}

/** Operations that may take longer than a write. */
const LONG: ReadonlySet<number> = new Set([
  Operation.flush,
  Operation.zero,
  Operation.unmap,
  Operation.resize,
  Operation.share,
  Operation.rollback,
]);

/** Whether these can be done turns out here, and only then the others are told. */
const HERE_FIRST: ReadonlySet<number> = new Set([Operation.share, Operation.rollback, Operation.resize]);

export class Writer {
  readonly #term: Term;
  #bytes = 0;
  #serial = 0;
  /** Taken writes in order; those before #first are over. */
  #line: Entry[] = [];
  #first = 0;
  #waiting: Waiting[] = [];
  #batch: Entry[] = [];
  /** A write failed that nobody was waiting for yet. */
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;
  #running = 0;
  #idle: (() => void)[] = [];
  /** Operations the volume below is at; they go on when the term is over. */
  #local = 0;
  #drained: (() => void)[] = [];

  constructor(term: Term) {
    this.#term = term;
    term.held.add((error) => {
      this.#failAll(error);
    });
  }

  /** Operations under way. */
  get running(): number {
    return this.#running;
  }

  /** Volume.writeNow. */
  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    const term = this.#term;
    const { backing, regions, durability } = term.options;
    if (term.isOver || this.#closed !== undefined || this.#bytes + length > MIRROR_IN_FLIGHT) return WriteNow.refused;
    if (term.writesThrough || term.isCongested || !regions.isHot(position, length)) return WriteNow.refused;
    if (length > MAX_PEER_PAYLOAD) return WriteNow.refused;
    for (const member of term.members.values()) {
      if (member.state === 'leaving' && member.counts) return WriteNow.refused;
      const isSkipped = term.isSkipped(member, position, length);
      if (isSkipped && !regions.isNoted(member.node, position, length)) return WriteNow.refused;
    }
    const lock = term.locks.tryAcquire(position, length, true);
    if (lock === undefined) return WriteNow.refused;
    let taken: WriteNow = WriteNow.refused;
    try {
      taken = backing.writeNow(position, source, at, length);
    } finally {
      // Nothing was changed, and nobody was told.
      if (taken === WriteNow.refused) lock.release();
    }
    if (taken === WriteNow.refused) return WriteNow.refused;
    term.busyAt = term.options.clock.now();
    const isLocalOver = taken === WriteNow.done || durability === Durability.mirroredRam;
    const entry = this.#open(position, length, lock);
    if (!isLocalOver) this.#later(entry);
    let data: Buffer | undefined;
    for (const member of term.members.values()) {
      if (term.isSkipped(member, position, length)) continue;
      // The caller may use its memory again when this returns: what the link does not copy is copied here.
      data ??=
        length > PEER_SMALL_PAYLOAD ? Buffer.from(source.subarray(at, at + length)) : source.subarray(at, at + length);
      entry.parts++;
      term.sendTold(member, { operation: Operation.write, fua: false, position, length, data }, () => {
        this.#part(entry);
      });
    }
    this.#part(entry);
    return entry.isOver ? WriteNow.done : WriteNow.placed;
  }

  /** Volume.whenStable. */
  whenStable(waiter: StableWaiter): void {
    this.#flushBatch();
    const failure = this.#term.isOver ? moved('another node serves this volume') : this.#failure;
    this.#failure = undefined;
    if (failure !== undefined || this.#first === this.#line.length) {
      this.#term.options.clock.soon(() => {
        waiter.stable(failure);
      });
      return;
    }
    this.#waiting.push({ serial: this.#serial, waiter });
  }

  /** Volume.write. More than one message carries goes in pieces: it need not be atomic. */
  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    const { backing } = this.#term.options;
    for (let done = 0; done < length; done += MAX_PEER_PAYLOAD) {
      const [to, from, size] = [position + done, at + done, Math.min(length - done, MAX_PEER_PAYLOAD)];
      const data = source.subarray(from, from + size);
      await this.operate({ operation: Operation.write, fua, position: to, length: size, data }, () =>
        backing.write(to, source, from, size, fua || this.#term.writesThrough),
      );
    }
  }

  /** Does an operation on blocks here and at every replica. Rejects with a VolumeError. */
  async operate(order: Order, local: () => Promise<void>): Promise<void> {
    const term = this.#term;
    const { position, length } = order;
    const { clock } = term.options;
    const startedAt = clock.now();
    await this.#admitted();
    this.#term.requireKnown(order.operation);
    const lock = await term.lock(position, length, true);
    await this.locked(order, local, lock);
    if (order.operation === Operation.write) term.times.add(clock.now() - startedAt, length);
  }

  /**
   * The same under a lock that is held already; it is given free. `holds`: asked when the others are to be told, and in the end;
   * when it does not, they get the blocks that are here, and it is refused as not ready.
   */
  async locked(order: Order, local: () => Promise<void>, lock: RangeLock, holds?: () => boolean): Promise<void> {
    const term = this.#term;
    const { regions } = term.options;
    const { position, length } = order;
    const isWide = length >= WIDE_OPERATION;
    try {
      term.check();
      if (isWide) await regions.beginWide(position, length);
      for (;;) {
        while (!isWide && !regions.isHot(position, length)) await regions.heat(position, length);
        if (this.#closed === undefined) break;
        // Handed over meanwhile, as if nothing were under way.
        await this.#admitted();
      }
      term.check();
    } catch (error) {
      if (isWide) regions.endWide(position, length);
      lock.release();
      // The note cannot be kept: no room, or bad media. Another node may have some.
      if (!(error instanceof VolumeError) && !term.isOver && !term.isAlone) {
        term.options.onMediaError(messageOf(error));
        term.check();
      }
      throw asVolumeError(error);
    }
    term.busyAt = term.options.clock.now();
    await term.bounded(this.#run(order, local, lock, holds));
  }

  /** Sends an operation that is not about blocks to all that are in sync; what runs here is `local`. */
  async everywhere(order: Order, local: () => Promise<void>): Promise<void> {
    const term = this.#term;
    do await this.#admitted();
    while (this.#closed !== undefined);
    term.check();
    term.requireKnown(order.operation);
    this.#running++;
    const all = this.#everywhere(order, local).finally(() => {
      this.#ran();
    });
    await term.bounded(all);
    term.check();
  }

  async #everywhere(order: Order, local: () => Promise<void>): Promise<void> {
    const term = this.#term;
    const parts = [this.#here(local)];
    if (HERE_FIRST.has(order.operation)) await parts[0];
    if (term.isOver) return;
    for (const member of term.members.values()) {
      if (member.state === 'sync' || member.state === 'joining')
        parts.push(term.send(member, order, MIRROR_CONTROL_PATIENCE));
      else if (member.state === 'leaving' && member.counts) parts.push(member.gone);
    }
    await Promise.all(parts);
  }

  /**
   * Takes a point in time here and at all that are in sync; the caller sees to it that nothing is being written. Resolves with
   * the nodes that do not have it. One that is being brought up to date does not have all of the volume yet.
   */
  async point(order: Order, local: () => Promise<void>): Promise<string[]> {
    const term = this.#term;
    do await this.#admitted();
    while (this.#closed !== undefined);
    term.check();
    this.#running++;
    const parts = [this.#here(local)];
    const asked: Member[] = [];
    for (const member of term.members.values()) {
      if (member.state === 'sync') {
        asked.push(member);
        parts.push(term.send(member, order, HOLD_PATIENCE));
      } else if (member.state === 'leaving' && member.counts) parts.push(member.gone);
    }
    const all = Promise.allSettled(parts).finally(() => {
      this.#ran();
    });
    const [mine] = await term.bounded(all);
    term.check();
    if (mine?.status === 'rejected')
      throw mine.reason instanceof Error ? mine.reason : new Error(messageOf(mine.reason));
    // Somebody else may serve the volume by now: then this is not what it is.
    if (!term.mayServe) await term.untilServing();
    return [...term.members.values()]
      .filter((each) => !asked.includes(each) || each.state !== 'sync')
      .map(({ node }) => node);
  }

  /** No operation begins from now on until the returned function is called; resolves when those under way are over. */
  async close(): Promise<() => void> {
    let open: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => (open = resolve));
    this.#closed = closed;
    const reopen = (): void => {
      if (this.#closed === closed) this.#closed = undefined;
      open();
    };
    this.#flushBatch();
    try {
      await this.#term.bounded(this.#untilIdle());
    } catch (error) {
      reopen();
      throw error;
    }
    return reopen;
  }

  /** Nothing of this term touches the blocks any more when it resolves; the term is over. */
  async drain(): Promise<void> {
    if (this.#local > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  async #here(local: () => Promise<void>): Promise<void> {
    this.#local++;
    try {
      await local();
    } finally {
      this.#local--;
      if (this.#local === 0) for (const each of this.#drained.splice(0)) each();
    }
  }

  async #admitted(): Promise<void> {
    const term = this.#term;
    term.check();
    while (this.#closed !== undefined || term.isCongested) {
      await (this.#closed === undefined
        ? new Promise<void>((resolve) => term.options.clock.after(1, resolve))
        : term.bounded(this.#closed));
      term.check();
    }
  }

  async #untilIdle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #ran(): void {
    this.#running--;
    if (this.#running === 0) for (const each of this.#idle.splice(0)) each();
  }

  async #run(order: Order, local: () => Promise<void>, lock: RangeLock, holds = (): boolean => true): Promise<void> {
    const term = this.#term;
    const { regions } = term.options;
    const { position, length } = order;
    const isWide = length >= WIDE_OPERATION;
    this.#running++;
    if (!isWide) regions.begin(position, length);
    const over = (): void => {
      if (isWide) regions.endWide(position, length);
      else regions.end(position, length);
      lock.release();
      this.#ran();
    };
    let work = local;
    if (HERE_FIRST.has(order.operation)) {
      try {
        await this.#here(local);
      } catch (error) {
        over();
        throw asVolumeError(error);
      }
      work = () => Promise.resolve();
      if (term.isOver) return;
    }
    const targets: Member[] = [];
    const skipped: Member[] = [];
    for (const member of term.members.values()) {
      (term.isSkipped(member, position, length) ? skipped : targets).push(member);
    }
    for (const each of skipped) each.skipping++;
    // Both begin in this turn: what is sent is in the order of the locks.
    const here = this.#here(work);
    const patience = LONG.has(order.operation) ? HOLD_PATIENCE : MIRROR_PATIENCE;
    const held = holds();
    const there = held ? targets.map((member) => term.send(member, order, patience)) : [];
    const noted = this.#noteSkipped(skipped, position, length);
    const [mine] = await Promise.allSettled([here, noted, ...there]);
    const note = await Promise.allSettled([noted]);
    if (term.isOver) return;
    if (note[0].status === 'rejected') {
      term.depose(`what a replica lacks cannot be kept: ${messageOf(note[0].reason)}`);
      return;
    }
    let failure: unknown = mine.status === 'rejected' ? mine.reason : undefined;
    if (mine.status === 'fulfilled' && !(held && holds()))
      failure = new VolumeError(VolumeFault.notReady, 'it has moved');
    if (failure !== undefined) await this.#reconcile(order, targets, failure);
    for (const each of skipped) each.skipping--;
    over();
    if (failure !== undefined) throw asVolumeError(failure);
  }

  /** What the skipped ones lack is on stable media when it resolves, and the record does not name them any more. */
  async #noteSkipped(skipped: readonly Member[], position: number, length: number): Promise<void> {
    if (skipped.length === 0) return;
    await this.#term.options.regions.markDirty(
      skipped.map(({ node }) => node),
      [[position, length]],
    );
    for (const each of skipped) if (each.state === 'leaving' && each.counts) await each.gone;
  }

  /**
   * It failed here, and others may have done it. With bad media nobody knows what is here: somebody else goes on, and nothing of
   * this range is served. So it is without room here when another one has some. Whatever else refused it has changed nothing
   * here: the others get what is here, if that can be.
   */
  async #reconcile(order: Order, targets: readonly Member[], error: unknown): Promise<void> {
    const term = this.#term;
    const others = targets.filter(({ state }) => state === 'sync' || state === 'joining');
    if (others.length === 0) return;
    const isRefused =
      error instanceof VolumeError && error.fault !== VolumeFault.writeError && error.fault !== VolumeFault.noSpace;
    const isGivenBack = isRefused && (await this.#giveBack(order, others).catch(() => false));
    term.check();
    if (isGivenBack) return;
    term.options.onMediaError(messageOf(error));
    term.check();
  }

  /** The others get what is here, or are left out. Rejects when neither can be done. */
  async #giveBack({ position, length }: Order, others: readonly Member[]): Promise<true> {
    const term = this.#term;
    const { backing, regions } = term.options;
    if (length <= WIDE_OPERATION) {
      const data = Buffer.allocUnsafe(length);
      await backing.read(position, length, data, 0);
      const back: Order = { operation: Operation.write, fua: false, position, length, data };
      await Promise.all(others.map((member) => term.send(member, back)));
    } else {
      const nodes = others.map(({ node }) => node);
      await regions.markDirty(nodes, [[position, length]]);
      await Promise.all(others.map((member) => term.eject(member, 'an operation was done there, and not here')));
    }
    return true;
  }

  // ---- writes that were taken at once

  #open(position: number, length: number, lock: RangeLock): Entry {
    const term = this.#term;
    term.options.regions.begin(position, length);
    this.#running++;
    this.#bytes += length;
    let skipped: Member[] | undefined;
    for (const member of term.members.values()) {
      if (!term.isSkipped(member, position, length)) continue;
      member.skipping++;
      (skipped ??= []).push(member);
    }
    const serial = ++this.#serial;
    const entry: Entry = { serial, position, length, lock, skipped, at: term.busyAt, parts: 1, isOver: false };
    this.#line.push(entry);
    return entry;
  }

  #part(entry: Entry): void {
    const term = this.#term;
    if (--entry.parts > 0 || entry.isOver || term.isOver) return;
    entry.isOver = true;
    this.#bytes -= entry.length;
    term.times.add(term.options.clock.now() - entry.at, entry.length);
    if (entry.skipped !== undefined) for (const each of entry.skipped) each.skipping--;
    term.options.regions.end(entry.position, entry.length);
    entry.lock.release();
    this.#ran();
    this.#advance();
  }

  /** The entry also waits for what the volume below calls stable. */
  #later(entry: Entry): void {
    entry.parts++;
    if (this.#batch.length === 0) {
      this.#term.options.clock.soon(() => {
        this.#flushBatch();
      });
    }
    this.#batch.push(entry);
  }

  #flushBatch(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#term.options.backing.whenStable({
      stable: (error) => {
        if (error === undefined) for (const each of batch) this.#part(each);
        else this.#failed(error, batch);
      },
    });
  }

  /** The disk here has not kept what it took. Others have it: somebody else goes on. Alone, this is how it is. */
  #failed(error: Error, batch: readonly Entry[]): void {
    const term = this.#term;
    if (term.isOver) return;
    if (!term.isAlone) {
      term.options.onMediaError(messageOf(error));
      return;
    }
    this.#failAll(error);
    this.#failure = error;
    for (const each of batch) this.#part(each);
  }

  #failAll(error: Error): void {
    for (const { waiter } of this.#waiting.splice(0)) waiter.stable(error);
  }

  #advance(): void {
    while (this.#line[this.#first]?.isOver === true) this.#first++;
    const done = this.#first === this.#line.length ? this.#serial : (this.#line[this.#first] as Entry).serial - 1;
    if (this.#first > 1024) {
      this.#line = this.#line.slice(this.#first);
      this.#first = 0;
    }
    while (this.#waiting.length > 0 && (this.#waiting[0] as Waiting).serial <= done) {
      const { waiter } = this.#waiting.shift() as Waiting;
      waiter.stable(undefined);
    }
  }
}

function asVolumeError(error: unknown): Error {
  if (error instanceof VolumeError) return error;
  return new VolumeError(VolumeFault.writeError, messageOf(error), undefined, { cause: error });
}
