// The journal: what was acknowledged is here before it is in its place. A ring of batches; everything that is added in one
// turn of the event loop leaves in one append that is on stable media when it returns (O_DSYNC), or in two where it is much: then
// disk and processor work at the same time.
import {
  JOURNAL_BATCH,
  JOURNAL_BATCHES,
  JOURNAL_EARLY,
  JOURNAL_HEADER,
  JOURNAL_PARALLEL,
  JOURNAL_QUIET,
} from '../base/limits.ts';
import type { Clock, DiskFile, Timer } from '../base/world.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import type { StableWaiter } from '../volume/volume.ts';
import type { Places } from './places.ts';
import { Batch } from './record.ts';

/** Bytes of the ring that batches not yet in it may need, and what is skipped where they do not fit before its end. */
const MARGIN = (JOURNAL_BATCHES + 1) * (JOURNAL_HEADER + JOURNAL_BATCH);

/** A place in the journal: where a batch begins, and its number. */
export interface JournalMark {
  readonly position: number;
  readonly seq: number;
}

export interface JournalOptions {
  readonly poolId: Buffer;
  readonly generation: number;
  /** Bytes of the ring, from position 0 of the file on. */
  readonly size: number;
  /** Where the first batch goes. */
  readonly start: JournalMark;
  readonly clock: Clock;
  /** More than half of the ring is in use: time to put things in their places and trim. */
  readonly pressure: () => void;
}

/** A batch and who waits for it. */
interface Slot {
  readonly batch: Batch;
  waiters: StableWaiter[];
}

/** A batch in the ring. */
interface Written {
  readonly seq: number;
  readonly position: number;
  /** Bytes it takes away from the ring, with what was skipped at the end before it. */
  readonly bytes: number;
}

export class Journal {
  readonly #file: DiskFile;
  readonly #options: JournalOptions;
  readonly #free: Slot[] = [];
  #filling: Slot;
  /** Sealed, in order; the first `#running` of them are on their way. */
  #queue: { slot: Slot; position: number; done: boolean }[] = [];
  #running = 0;
  #planned = false;
  #head: number;
  #nextSeq: number;
  #durable: number;
  #used = 0;
  readonly #ring: Written[] = [];
  #poison: VolumeError | undefined;
  #room: (() => void)[] = [];
  /** Nothing behind the last batch says yet that it was stable: when this is due, an empty one does. */
  #quiet: Timer | undefined;
  #closed = false;
  /** Bytes appended since the pool was opened, and appends; empty batches are none. */
  appendedBytes = 0;
  appends = 0;

  constructor(file: DiskFile, options: JournalOptions) {
    this.#file = file;
    this.#options = options;
    for (let i = 0; i < JOURNAL_BATCHES; i++) this.#free.push({ batch: new Batch(), waiters: [] });
    this.#filling = this.#free.pop() as Slot;
    this.#head = options.start.position;
    this.#nextSeq = options.start.seq;
    this.#durable = options.start.seq - 1;
  }

  /** Set after a failed append: nothing is acknowledged any more, because nobody knows what the disk has. */
  get poison(): VolumeError | undefined {
    return this.#poison;
  }

  /** Number of the batch that what is added now goes into. */
  get seq(): number {
    return this.#nextSeq;
  }

  /** Everything in batches up to this number is on stable media. */
  get durable(): number {
    return this.#durable;
  }

  /** True when the records of one command, with up to a batch of data, can be added now. */
  get ready(): boolean {
    return this.#free.length > 0 && !this.full;
  }

  /** Nothing can be added before the ring is trimmed. */
  get full(): boolean {
    return this.#used + MARGIN > this.#options.size;
  }

  get usedBytes(): number {
    return this.#used;
  }

  // ---- adding

  /**
   * Whole blocks of data, up to a batch of them since `ready` said yes in this turn. False: there is no room now, see room().
   * Throws after a failed append.
   */
  data(volume: number, block: number, source: Buffer, at: number, blocks: number): boolean {
    // The first piece of a write may have sealed a batch, which takes its room in the ring then. MARGIN is for that too: what
    // was admitted must not find the ring full half way, for the cache has all of it already.
    return this.#put((batch) => batch.addData(volume, block, source, at, blocks));
  }

  map(volume: number, grain: number, places: Places): boolean {
    return this.#add((batch) => batch.addMap(volume, grain, places));
  }

  clear(volume: number, block: number, blocks: number): boolean {
    return this.#add((batch) => batch.addClear(volume, block, blocks));
  }

  /** What is added next in this very turn, up to so many blocks and records, goes into one batch. False: none is free. */
  together(blocks: number, records: number): boolean {
    if (this.#filling.batch.hasRoom(blocks, records)) return true;
    const next = this.#free.pop();
    if (next === undefined) return false;
    this.#seal(next);
    return true;
  }

  #add(add: (batch: Batch) => boolean): boolean {
    if (this.#poison !== undefined) throw this.#poison;
    return this.#used + MARGIN <= this.#options.size && this.#put(add);
  }

  #put(add: (batch: Batch) => boolean): boolean {
    if (this.#poison !== undefined) throw this.#poison;
    if (!add(this.#filling.batch)) {
      const next = this.#free.pop();
      if (next === undefined) return false;
      this.#seal(next);
      if (!add(next.batch)) throw new RangeError('a record is larger than a batch');
    }
    this.#plan();
    return true;
  }

  /** Calls the waiter when everything added so far is on stable media. Never before it returns. */
  wait(waiter: StableWaiter): void {
    if (!this.#filling.batch.empty) {
      this.#filling.waiters.push(waiter);
      // Here a command ends, so what is to be in one batch is.
      if (this.#queue.length === 0 && this.#filling.batch.size >= JOURNAL_EARLY) this.#flush();
      return;
    }
    const last = this.#queue.at(-1)?.slot;
    if (last !== undefined) last.waiters.push(waiter);
    else
      this.#options.clock.soon(() => {
        waiter.stable(this.#poison);
      });
  }

  /** The same as a promise. */
  stable(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.wait({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }

  /** Resolves when adding may work again: a batch has been written, or the ring has been trimmed. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#room.push(resolve);
      if (this.#queue.length === 0 && this.#used + MARGIN <= this.#options.size) this.wake();
    });
  }

  /** Whoever waits for room looks again. */
  wake(): void {
    for (const go of this.#room.splice(0)) go();
  }

  // ---- the last word

  /** Appends nothing any more when it resolves; what is collected must have been written. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#quiet?.cancel();
    while (this.#queue.length > 0) await this.room();
  }

  /** Looks later whether the last batch still is the last. One timer serves all batches of that time. */
  #confirmLater(): void {
    if (this.#quiet !== undefined || this.#closed || this.#poison !== undefined) return;
    const before = this.#nextSeq;
    this.#quiet = this.#options.clock.after(JOURNAL_QUIET, () => {
      this.#quiet = undefined;
      if (this.#nextSeq === before) this.#confirm();
      else this.#confirmLater();
    });
  }

  #confirm(): void {
    // What a checkpoint has put in its place is not read again.
    if (this.#ring.length === 0 || this.#closed || this.#poison !== undefined) return;
    if (this.#queue.length > 0 || !this.#filling.batch.empty || this.full) return;
    const next = this.#free.pop();
    if (next !== undefined) this.#seal(next);
  }

  // ---- the ring

  /** Where the first batch begins that has none of what was added so far. Resolves at once unless all batches are busy. */
  async mark(): Promise<JournalMark> {
    while (!this.#filling.batch.empty) {
      const next = this.#free.pop();
      if (next === undefined) await this.room();
      else this.#seal(next);
    }
    return { position: this.#head, seq: this.#nextSeq };
  }

  /** Batches before this mark are not needed any more. */
  trim(mark: JournalMark): void {
    while (this.#ring.length > 0 && (this.#ring[0] as Written).seq < mark.seq) {
      this.#used -= (this.#ring.shift() as Written).bytes;
    }
    this.wake();
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    this.#options.clock.soon(() => {
      this.#planned = false;
      this.#flush();
    });
  }

  /** Sends what has been collected, unless enough is under way: then it goes when something has come back. */
  #flush(): void {
    if (this.#filling.batch.empty || this.#queue.length >= JOURNAL_PARALLEL) return;
    const next = this.#free.pop();
    if (next !== undefined) this.#seal(next);
  }

  #seal(next: Slot): void {
    const slot = this.#filling;
    this.#filling = next;
    slot.batch.seal(this.#nextSeq++, this.#options.generation, this.#options.poolId, this.#durable);
    this.#enqueue(slot);
    this.#start();
  }

  /** Gives the batch its place in the ring; #add has made sure that there is one. */
  #enqueue(slot: Slot): void {
    const { size } = this.#options;
    const bytes = slot.batch.to - slot.batch.from;
    // Also when the last batch ended where the ring does, and there is nothing to skip.
    const wraps = this.#head + bytes > size;
    const skipped = wraps ? size - this.#head : 0;
    const position = wraps ? 0 : this.#head;
    this.#head = position + bytes;
    this.#used += skipped + bytes;
    this.#ring.push({ seq: slot.batch.seq, position, bytes: skipped + bytes });
    this.#queue.push({ slot, position, done: false });
    if (this.#used * 2 > size) this.#options.pressure();
  }

  #start(): void {
    while (this.#running < JOURNAL_PARALLEL && this.#running < this.#queue.length) {
      const next = this.#queue[this.#running] as { slot: Slot; position: number; done: boolean };
      this.#running++;
      void this.#append(next);
    }
  }

  async #append(next: { slot: Slot; position: number; done: boolean }): Promise<void> {
    const { bytes, from, to, empty } = next.slot.batch;
    try {
      if (this.#poison === undefined) await this.#file.write(bytes, from, to - from, next.position);
      if (!empty) {
        this.appendedBytes += to - from;
        this.appends++;
      }
    } catch (error) {
      this.#poison ??= new VolumeError(
        VolumeFault.writeError,
        'the journal cannot be written; the pool takes no more writes until it is opened again',
        undefined,
        { cause: error },
      );
    }
    next.done = true;
    this.#complete();
  }

  /** Batches are acknowledged in order: one that is missing would end the replay before the ones behind it. */
  #complete(): void {
    while (this.#queue[0]?.done === true) {
      const { slot } = this.#queue.shift() as { slot: Slot };
      this.#running--;
      if (this.#poison === undefined) this.#durable = slot.batch.seq;
      if (!slot.batch.empty) this.#confirmLater();
      const waiters = slot.waiters;
      slot.waiters = [];
      slot.batch.reset();
      this.#free.push(slot);
      for (const waiter of waiters) waiter.stable(this.#poison);
    }
    if (this.#poison !== undefined) this.#failRest();
    this.#start();
    this.#flush();
    this.wake();
  }

  /** After a failure nothing that is collected will be written. */
  #failRest(): void {
    const { waiters, batch } = this.#filling;
    this.#filling.waiters = [];
    batch.reset();
    for (const waiter of waiters) waiter.stable(this.#poison);
  }
}
