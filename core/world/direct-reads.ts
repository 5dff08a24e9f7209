// Large reads past the page cache (O_DIRECT, open(2)). What a pool reads in large pieces is kept by its own cache if anybody
// wants it again; the copy that the kernel would make of it costs more time than all the rest of such a read. It is faster
// all the same where the kernel has the data already, so now and then a read goes through the page cache to see.
import * as fs from 'node:fs';
import { DIRECT_READ_BYTES, DIRECT_READ_SLOTS } from '../base/limits.ts';

/** Positions, lengths and memory have to be multiples of the logical block size of the disk, which is at most this. */
const ALIGNMENT = 4096;
/** One read in so many goes the way that was slower lately. */
const TRY_OTHER = 64;
/** The share that one read has in what is known of its way. */
const NEWEST = 0.125;
/** WebAssembly is not among the types of Node; its pages are 64 KiB, and begin at a multiple of that. */
const WASM_PAGE = 65_536;
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

/** Microseconds or whatever, for each byte, of the reads that went one way. */
class Way {
  cost: number | undefined;

  add(time: number, bytes: number): void {
    const cost = time / bytes;
    this.cost = this.cost === undefined ? cost : this.cost + (cost - this.cost) * NEWEST;
  }
}

export class DirectReads {
  readonly #fd: number;
  /** The same file once more, open with O_DIRECT; undefined: not yet, or it cannot be had. */
  #direct: number | undefined;
  #opening: Promise<void> | undefined;
  #impossible = false;
  #running = 0;
  #closed: (() => void) | undefined;
  readonly #past = new Way();
  readonly #through = new Way();
  #count = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** True when this read is better made with read(), which may have to open the file first. */
  wanted(length: number, position: number): boolean {
    if (this.#impossible || length > DIRECT_READ_BYTES || length % ALIGNMENT !== 0 || position % ALIGNMENT !== 0) {
      return false;
    }
    if (this.#direct === undefined) {
      this.#opening ??= this.#open();
      return false;
    }
    const { cost: past } = this.#past;
    const { cost: through } = this.#through;
    const other = ++this.#count % TRY_OTHER === 0;
    return past === undefined || (through !== undefined && past < through) !== other;
  }

  /** A read through the page cache took so long, milliseconds. */
  through(time: number, bytes: number): void {
    this.#through.add(time, bytes);
  }

  /** `done` is told whether `into` has all of it; if not, the read has to be made through the page cache. */
  read(into: readonly Buffer[], length: number, position: number, done: (whole: boolean) => void): void {
    const begun = performance.now();
    slots.take((slot) => {
      const fd = this.#direct;
      if (fd === undefined) {
        slots.giveBack(slot);
        done(false);
        return;
      }
      this.#running++;
      fs.read(fd, slot, 0, length, position, (error, read) => {
        const whole = error === null && read === length;
        let at = 0;
        if (whole) for (const each of into) at += slot.copy(each, 0, at, at + each.length);
        slots.giveBack(slot);
        // The file system, or the disk, wants something else than it said.
        if (error?.code === 'EINVAL') this.#impossible = true;
        if (--this.#running === 0) this.#closed?.();
        this.#past.add(performance.now() - begun, length);
        done(whole);
      });
    });
  }

  async #open(): Promise<void> {
    // Windows has no such flag, and other systems no /proc.
    const flag = (fs.constants as { O_DIRECT?: number }).O_DIRECT;
    if (process.platform !== 'linux' || flag === undefined || !slots.prepare()) {
      this.#impossible = true;
      return;
    }
    await new Promise<void>((resolve) => {
      // By its number: the name may belong to another file by now.
      fs.open(`/proc/self/fd/${String(this.#fd)}`, fs.constants.O_RDONLY | flag, (error, fd) => {
        if (error === null) this.#direct = fd;
        else this.#impossible = true;
        resolve();
      });
    });
  }

  /** Nothing is read any more when it resolves. */
  async close(): Promise<void> {
    this.#impossible = true;
    await this.#opening;
    const fd = this.#direct;
    this.#direct = undefined;
    if (fd === undefined) return;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#closed = resolve));
    await new Promise<void>((resolve) => {
      fs.close(fd, () => {
        resolve();
      });
    });
  }
}
