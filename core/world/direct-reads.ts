// Large reads past the page cache (O_DIRECT, open(2)). What a pool reads in large pieces is kept by its own cache if anybody
// wants it again; the copy that the kernel would make of it costs more time than all the rest of such a read. It is faster
// all the same where the kernel has the data already, so now and then a read goes through the page cache to see.
import * as fs from 'node:fs';
import { bytesOf } from '../base/bytes-of.ts';
import { DIRECT_READ_BYTES, DIRECT_READ_SLOTS } from '../base/limits.ts';
import { MEMORY_ALIGNMENT, addressOf } from '../base/memory-address.ts';
import { asyncReads } from './async-reads.ts';
import type { ReadDone } from './async-reads.ts';
import { DirectFile } from './direct-file.ts';
import { ByCache, BySpeed, Streams } from './read-ways.ts';

/** Positions and lengths have to be multiples of this, too. */
const ALIGNMENT = MEMORY_ALIGNMENT;
/** WebAssembly is not among the types of Node; its pages are 64 KiB, and begin at a multiple of that. */
const WASM_PAGE = 65_536;
/** One small read in so many is timed. */
const TIMED = 8;
interface Wasm {
  readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
}

/** Memory whose address is a multiple of ALIGNMENT, which nothing else in Node can be made to have. */
class Slots {
  readonly #free: Buffer[] = [];
  readonly #line: ((slot: Buffer) => void)[] = [];
  #made = false;

  /** False: there is none to be had. */
  prepare(): boolean {
    if (this.#made) return true;
    const pages = (DIRECT_READ_SLOTS * DIRECT_READ_BYTES) / WASM_PAGE;
    try {
      const { Memory } = (globalThis as unknown as { readonly WebAssembly: Wasm }).WebAssembly;
      const { buffer } = new Memory({ initial: pages, maximum: pages });
      for (let i = 0; i < DIRECT_READ_SLOTS; i++) {
        this.#free.push(Buffer.from(buffer, i * DIRECT_READ_BYTES, DIRECT_READ_BYTES));
      }
    } catch {
      return false;
    }
    this.#made = true;
    return true;
  }

  /** Calls `go` with a slot, now or when there is one. */
  take(go: (slot: Buffer) => void): void {
    const slot = this.#free.pop();
    if (slot === undefined) this.#line.push(go);
    else go(slot);
  }

  giveBack(slot: Buffer): void {
    const next = this.#line.shift();
    if (next === undefined) this.#free.push(slot);
    else next(slot);
  }
}

const slots = new Slots();

export class DirectReads {
  readonly #fd: number;
  readonly #direct: DirectFile;
  /** Small reads under way, whichever way. */
  #smallReads = 0;
  #reads = 0;
  readonly #bySpeed = new BySpeed();
  readonly #large = new ByCache(false);
  readonly #small = new ByCache(true);
  readonly #streams = new Streams();

  constructor(fd: number) {
    this.#fd = fd;
    this.#direct = new DirectFile(fd, fs.constants.O_RDONLY, () => slots.prepare());
  }

  /**
   * True when this read is better made with read(), which may have to open the file first. Otherwise through() is to be told
   * how long it took.
   */
  wanted(into: readonly Buffer[], length: number, position: number): boolean {
    if (!this.#possible(length, position)) return false;
    const address = asyncReads() === undefined ? undefined : placeOf(into[0]);
    if (address === undefined) return this.#bySpeed.past;
    // The first block stands for all of them.
    this.#ask(this.#large, address, ALIGNMENT, position);
    return this.#large.past;
  }

  /** A large read that was not wanted() took so long, milliseconds. */
  through(time: number, bytes: number): void {
    this.#bySpeed.through(time, bytes);
  }

  #possible(length: number, position: number): boolean {
    if (length > DIRECT_READ_BYTES || length % ALIGNMENT !== 0 || position % ALIGNMENT !== 0) return false;
    return this.#direct.want();
  }

  /** Asks now and then whether the kernel has it. True: it is there by now. */
  #ask(ways: ByCache, address: number, length: number, position: number): boolean {
    if (!ways.asks) return false;
    const hot = asyncReads()?.readNow(this.#fd, address, length, position) === true;
    ways.had(hot);
    return hot;
  }

  /** A small read begins, or has ended. */
  count(change: 1 | -1): void {
    this.#smallReads += change;
  }

  /**
   * A small read, made past the page cache if that is better. False: it is to be made through the page cache, and `done` is not
   * called. Else `done` is told as in read(), now or later.
   */
  readSmall(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean {
    const reads = asyncReads();
    if (reads === undefined || !this.#possible(length, position)) return false;
    const address = placeOf(into, at);
    const { fd } = this.#direct;
    if (address === undefined || fd === undefined) return false;
    const ways = this.#small;
    if (this.#streams.goesOn(position, length)) {
      if (!reads.readNow(this.#fd, address, length, position)) return false;
      done(true);
      return true;
    }
    if (this.#ask(ways, address, length, position)) {
      done(true);
      return true;
    }
    if (!ways.past) return false;
    const begun = performance.now();
    const before = this.#smallReads;
    const ended = (result: number): void => {
      // They come and end in bunches.
      ways.took(performance.now() - begun, Math.max(before, this.#smallReads));
      this.#direct.ended(result);
      done(result === length);
    };
    if (!reads.read(fd, into, address, length, position, ended)) return false;
    this.#direct.begins();
    return true;
  }

  /** readSmall() of what nobody reads in order, if that is better made past the page cache: see DiskFile.readSoon. */
  readSoon(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean {
    const reads = asyncReads();
    if (reads === undefined || !this.#possible(length, position)) return false;
    const address = placeOf(into, at);
    const { fd } = this.#direct;
    const ways = this.#small;
    if (address === undefined || fd === undefined || this.#streams.follows(position)) return false;
    if (this.#ask(ways, address, length, position)) {
      this.#streams.ended(position + length);
      setImmediate(done, true);
      return true;
    }
    if (!ways.past || !reads.read(fd, into, address, length, position, this.#endOf(length, done))) return false;
    this.#streams.ended(position + length);
    this.#smallReads++;
    this.#direct.begins();
    return true;
  }

  /** read() where the kernel stores straight into the memory, if that is better: see DiskFile.readLargeSoon. */
  readLargeSoon(into: readonly Buffer[], position: number, done: (whole: boolean) => void): boolean {
    const length = bytesOf(into);
    if (asyncReads() === undefined || !this.#possible(length, position)) return false;
    const address = placeOf(into[0]);
    if (address === undefined) return false;
    this.#ask(this.#large, address, ALIGNMENT, position);
    return this.#large.past && this.#readStraight(into, length, position, done);
  }

  /** What is called when the small read is over. */
  #endOf(length: number, done: (whole: boolean) => void): ReadDone {
    // Not for each of them: to look at the clock takes as long as much of the rest.
    if (this.#reads++ % TIMED !== 0) {
      return (result) => {
        this.#smallReads--;
        this.#direct.ended(result);
        done(result === length);
      };
    }
    const begun = performance.now();
    const before = this.#smallReads;
    return (result) => {
      // They come and end in bunches.
      this.#small.took(performance.now() - begun, Math.max(before, this.#smallReads));
      this.#smallReads--;
      this.#direct.ended(result);
      done(result === length);
    };
  }

  /** `done` is told whether `into` has all of it; if not, the read has to be made through the page cache. */
  read(into: readonly Buffer[], length: number, position: number, done: (whole: boolean) => void): void {
    const begun = performance.now();
    if (this.#readStraight(into, length, position, done)) return;
    slots.take((slot) => {
      const { fd } = this.#direct;
      if (fd === undefined) {
        slots.giveBack(slot);
        done(false);
        return;
      }
      this.#direct.begins();
      fs.read(fd, slot, 0, length, position, (error, read) => {
        const whole = error === null && read === length;
        let at = 0;
        if (whole) for (const each of into) at += slot.copy(each, 0, at, at + each.length);
        slots.giveBack(slot);
        if (whole) this.#bySpeed.direct(performance.now() - begun, length);
        this.#direct.ended(error === null ? read : (error.errno ?? 0));
        done(whole);
      });
    });
  }

  /** Into the memory itself, where its place allows that. False: not so. */
  #readStraight(into: readonly Buffer[], length: number, position: number, done: (whole: boolean) => void): boolean {
    const { fd } = this.#direct;
    if (fd === undefined) return false;
    for (const each of into) if (each.length % ALIGNMENT !== 0 || placeOf(each) === undefined) return false;
    const ended = (result: number): void => {
      this.#direct.ended(result);
      done(result === length);
    };
    if (asyncReads()?.readAll(fd, into, position, ended) !== true) return false;
    this.#direct.begins();
    return true;
  }

  /** Nothing is read any more when it resolves. */
  close(): Promise<void> {
    return this.#direct.close();
  }
}

/** Address of the byte `at`, if reads past the page cache may begin there. */
function placeOf(memory: Buffer | undefined, at = 0): number | undefined {
  const address = memory === undefined ? undefined : addressOf(memory);
  return address === undefined || (address + at) % ALIGNMENT !== 0 ? undefined : address + at;
}
