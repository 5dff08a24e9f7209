// Many reads of files with one system call, and no thread for any of them: the asynchronous I/O of Linux (io_submit(2)), which
// works as it should on files that are open with O_DIRECT. libuv has threads that read; to wake one costs more than all
// the rest of a small read. Node has no such calls: koffi, a package that need not be there, makes them. A self-test tries all
// that is used, and where anything is different the threads read. The same package says where memory lies and asks for it in
// large pages (base/memory-address).
import * as fs from 'node:fs';
import { Socket } from 'node:net';
import { endianness } from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ASYNC_READS,
  ASYNC_READ_BATCH,
  ASYNC_READ_BATCH_BYTES,
  ASYNC_READ_PIECES,
  LARGE_PAGES_BUSY,
  LARGE_PAGES_REST,
  LARGE_PAGES_RESTS,
} from '../base/limits.ts';
import { bytesOf } from '../base/bytes-of.ts';
import { LARGE_PAGE, addressOf, useLargePages, useMemoryAddresses } from '../base/memory-address.ts';
import { Turn } from '../base/turn.ts';

type Native = (...args: readonly number[]) => number;
/** What is used of koffi. */
type NativeAsync = (address: number, bytes: number, advice: number, done: () => void) => void;

interface Koffi {
  readonly load: (library: null) => {
    readonly func: (declaration: string) => Native & { readonly async: NativeAsync };
  };
  readonly address: (memory: Uint8Array) => bigint;
  readonly errno: () => number;
}

/** Numbers of the system calls: those of x86-64, and of the architectures that came later. */
const CALLS = {
  x64: { setup: 206, getEvents: 208, submit: 209, readNow: 327, cached: 451, write: 1 },
  arm64: { setup: 0, getEvents: 4, submit: 2, readNow: 286, cached: 451, write: 64 },
} as const;

/** struct iocb, struct iovec, a pointer, struct io_event (io_submit(2), linux/aio_abi.h), bytes. */
const IOCB = 64;
const IOVEC = 16;
const POINTER = 8;
const EVENT = 32;
/** struct cachestat_range and struct cachestat (linux/mman.h): its first number is that of the pages in the page cache. */
const CACHED_RANGE = 16;
const CACHED_FACTS = 40;
const PAGE = 4096;
/** IOCB_CMD_PREAD, IOCB_CMD_PREADV, IOCB_FLAG_RESFD. */
const PREAD = 0;
const PREADV = 7;
const TELLS_EVENTFD = 1;
/** RWF_NOWAIT (preadv2(2)): what would have to wait before it is under way fails with EAGAIN, or the event loop would wait. */
const NOWAIT = 8;
/** EFD_CLOEXEC | EFD_NONBLOCK. */
const EVENTFD_FLAGS = 0o2004000;
/** MADV_COLLAPSE (madvise(2)), since Linux 6.1. */
const COLLAPSE = 25;
const TWO_32 = 4_294_967_296;
/** Milliseconds the self-test may take. */
const PATIENCE = 2000;

/** The result: bytes read, or a negative error number. Called by the event loop, never by the call that began the read. */
export type ReadDone = (result: number) => void;

export class AsyncReads {
  readonly #native: Native;
  readonly #errno: () => number;
  readonly #calls: (typeof CALLS)[keyof typeof CALLS];
  /**
   * All that the kernel is shown: control blocks, then their pieces, then pointers to those to submit, then events, then the
   * context or the piece of readNow().
   */
  readonly #words: Uint32Array;
  readonly #results: Int32Array;
  readonly #address: number;
  readonly #vectorsAt = ASYNC_READS * IOCB;
  readonly #pointersAt = this.#vectorsAt + ASYNC_READS * ASYNC_READ_PIECES * IOVEC;
  readonly #eventsAt = this.#pointersAt + ASYNC_READS * POINTER;
  readonly #lastAt = this.#eventsAt + ASYNC_READS * EVENT;
  readonly #context: number;
  readonly #eventfd: number;
  readonly #socket: Socket;
  readonly #free: number[] = [];
  /** By slot: who is told, and what is being read into, which must not be given free meanwhile. */
  readonly #done: (ReadDone | undefined)[] = [];
  readonly #memory: unknown[] = [];
  /** By slot: bytes that are read; and those of all that are under way. */
  readonly #lengths = new Float64Array(ASYNC_READS);
  #bytes = 0;
  /** Slots that are filled in and not submitted. */
  #waiting: number[] = [];
  #broken = false;
  /** The kernel does not tell what its page cache has. */
  #blind = false;

  /** Throws where anything of it is missing. */
  constructor(koffi: Koffi) {
    const calls = (CALLS as Partial<Record<string, (typeof CALLS)['x64' | 'arm64']>>)[process.arch];
    if (process.platform !== 'linux' || calls === undefined || endianness() !== 'LE') throw new Error('not here');
    const libc = koffi.load(null);
    this.#native = libc.func('long syscall(long number, long a, long b, long c, long d, long e, long f)');
    this.#errno = koffi.errno;
    this.#calls = calls;
    const memory = new ArrayBuffer(this.#lastAt + CACHED_RANGE + CACHED_FACTS);
    this.#words = new Uint32Array(memory);
    this.#results = new Int32Array(memory);
    this.#address = addressOf(Buffer.from(memory)) ?? 0;
    const last = this.#lastAt;
    if (this.#native(calls.setup, ASYNC_READS, this.#address + last, 0, 0, 0, 0) !== 0) throw new Error('io_setup');
    this.#context = (this.#words[last / 4 + 1] as number) * TWO_32 + (this.#words[last / 4] as number);
    this.#eventfd = libc.func('int eventfd(unsigned int count, int flags)')(0, EVENTFD_FLAGS);
    if (this.#eventfd < 0) throw new Error('eventfd');
    for (let slot = ASYNC_READS - 1; slot >= 0; slot--) {
      this.#free.push(slot);
      const at = (slot * IOCB) / 4;
      this.#words[at] = slot; // aio_data
      this.#words[at + 14] = TELLS_EVENTFD;
      this.#words[at + 15] = this.#eventfd;
    }
    this.#socket = this.#listen();
  }

  /** `length` bytes from `position` on to `memory`, which begins at `address`. False: too many are under way. */
  read(fd: number, memory: Buffer, address: number, length: number, position: number, done: ReadDone): boolean {
    const slot = this.#take(memory, length, done);
    if (slot < 0) return false;
    this.#fill(slot, PREAD, fd, address, length, position);
    return true;
  }

  /** The same into several places, whose addresses have to be known. */
  readAll(fd: number, into: readonly Buffer[], position: number, done: ReadDone): boolean {
    if (into.length > ASYNC_READ_PIECES) return false;
    const slot = this.#take(into, bytesOf(into), done);
    if (slot < 0) return false;
    const vectors = this.#vectorsAt + slot * ASYNC_READ_PIECES * IOVEC;
    for (let i = 0; i < into.length; i++) {
      const piece = into[i] as Buffer;
      this.#store(vectors + i * IOVEC, addressOf(piece) ?? 0);
      this.#store(vectors + i * IOVEC + POINTER, piece.length);
    }
    this.#fill(slot, PREADV, fd, this.#address + vectors, into.length, position);
    return true;
  }

  /**
   * Reads what the page cache has, through a file that is not open with O_DIRECT. False: it has not all of it, or that cannot
   * be told; some of it may have been stored.
   */
  readNow(fd: number, address: number, length: number, position: number): boolean {
    if (!this.#mayHave(fd, length, position)) return false;
    this.#store(this.#lastAt, address);
    this.#store(this.#lastAt + POINTER, length);
    const high = 0; // of the position, where a long has 32 bits
    return this.#native(this.#calls.readNow, fd, this.#address + this.#lastAt, 1, position, high, NOWAIT) === length;
  }

  /** False: the page cache lacks some of it. To read in order to see makes the kernel read ahead, whatever is said of waiting. */
  #mayHave(fd: number, length: number, position: number): boolean {
    if (this.#blind) return true;
    const last = this.#lastAt;
    this.#store(last, position);
    this.#store(last + POINTER, length);
    const range = this.#address + last;
    // Linux has it since 6.5.
    if (this.#native(this.#calls.cached, fd, range, range + CACHED_RANGE, 0, 0, 0) !== 0) this.#blind = true;
    return this.#blind || (this.#words[(last + CACHED_RANGE) / 4] as number) * PAGE >= length;
  }

  #take(memory: unknown, bytes: number, done: ReadDone): number {
    const slot = this.#broken ? undefined : this.#free.pop();
    if (slot === undefined) return -1;
    // As long as a read is under way the process goes on.
    if (this.#free.length === ASYNC_READS - 1) this.#socket.ref();
    this.#memory[slot] = memory;
    this.#done[slot] = done;
    this.#lengths[slot] = bytes;
    this.#bytes += bytes;
    return slot;
  }

  #fill(slot: number, operation: number, fd: number, address: number, count: number, position: number): void {
    const at = slot * IOCB;
    const words = this.#words;
    words[at / 4 + 3] = NOWAIT; // aio_rw_flags
    words[at / 4 + 4] = operation; // aio_lio_opcode, and no priority
    words[at / 4 + 5] = fd;
    this.#store(at + 24, address);
    this.#store(at + 32, count);
    this.#store(at + 40, position);
    // All that this turn of the event loop asks for goes with one system call.
    if (this.#waiting.push(slot) === 1) setImmediate(this.#submitSoon);
  }

  readonly #submitSoon = (): void => {
    const slots = this.#waiting;
    this.#waiting = [];
    for (let i = 0; i < slots.length; i++) {
      this.#store(this.#pointersAt + i * POINTER, this.#address + (slots[i] as number) * IOCB);
    }
    for (let next = 0; next < slots.length;) {
      const pointers = this.#address + this.#pointersAt + next * POINTER;
      const taken = this.#native(this.#calls.submit, this.#context, slots.length - next, pointers, 0, 0, 0);
      if (taken > 0) next += taken;
      // The first of them cannot be submitted.
      else this.#finish(slots[next++] as number, -(this.#errno() || 5));
    }
  };

  #store(at: number, value: number): void {
    this.#words[at / 4] = value % TWO_32;
    this.#words[at / 4 + 1] = Math.floor(value / TWO_32);
  }

  #finish(slot: number, result: number): void {
    const done = this.#done[slot];
    this.#done[slot] = undefined;
    this.#memory[slot] = undefined;
    this.#bytes -= this.#lengths[slot] as number;
    this.#free.push(slot);
    if (this.#free.length === ASYNC_READS) this.#socket.unref();
    done?.(result);
  }

  /** Tells who waits for reads that have ended; `least`: so many are waited for. */
  #reap(least: number): void {
    const events = this.#address + this.#eventsAt;
    const most = this.#bunch();
    const count = this.#native(this.#calls.getEvents, this.#context, least, most, events, 0, 0);
    for (let i = 0; i < count; i++) {
      const at = (this.#eventsAt + i * EVENT) / 4;
      this.#finish(this.#words[at] as number, this.#results[at + 4] as number);
    }
    if (count === most) this.#reapAgain();
  }

  /** How many that have ended are dealt with at once: of large ones fewer, by what they have on average. */
  #bunch(): number {
    const underWay = ASYNC_READS - this.#free.length;
    if (this.#bytes * ASYNC_READ_BATCH <= ASYNC_READ_BATCH_BYTES * underWay) return ASYNC_READ_BATCH;
    return Math.max(1, Math.floor((ASYNC_READ_BATCH_BYTES * underWay) / this.#bytes));
  }

  /**
   * There may be more. Not now: what these bring is to be on its way first, and what comes in meanwhile on its way to the disk.
   * Otherwise all reads of a deep queue soon end and begin together, and either the disk or the processor waits.
   */
  #reapAgain(): void {
    this.#store(this.#lastAt, 1);
    this.#native(this.#calls.write, this.#eventfd, this.#address + this.#lastAt, POINTER, 0, 0, 0);
  }

  /** Hears from the eventfd that reads have ended: libuv reads it like a pipe. */
  #listen(): Socket {
    const socket = new Socket({
      handle: pipeOf(this.#eventfd),
      readable: true,
      writable: false,
      onread: {
        // Larger than what is read at once, or libuv would read, and call, again at once.
        buffer: Buffer.alloc(2 * POINTER),
        callback: () => {
          this.#reap(0);
          return true;
        },
      },
    } as unknown as ConstructorParameters<typeof Socket>[0]);
    const ended = (): void => {
      if (this.#broken) return;
      this.#broken = true;
      // Nothing would tell of what is under way.
      this.#submitSoon();
      while (this.#free.length < ASYNC_READS) this.#reap(1);
    };
    socket.on('error', ended).on('close', ended);
    socket.resume();
    socket.unref();
    return socket;
  }

  /** No read is under way, and none will be. */
  close(): void {
    this.#broken = true;
    this.#socket.destroy();
  }
}

/** A handle that reads this file descriptor. Node makes one itself for pipes and sockets only; its class is found at a socket. */
function pipeOf(fd: number): unknown {
  interface Pipe {
    open(fd: number): number;
  }
  const socket = new Socket();
  socket.on('error', () => undefined);
  // Nobody listens there; the handle is made before that comes out.
  socket.connect({ path: '/' });
  const { _handle: handle } = socket as unknown as { readonly _handle: Pipe };
  const pipe = new (handle.constructor as new (type: number) => Pipe)(0);
  socket.destroy();
  if (pipe.open(fd) !== 0) throw new Error('the eventfd cannot be read');
  return pipe;
}

let reads: AsyncReads | undefined;
/** One that did not pass the self-test: the kernel may still store into its memory. */
let useless: AsyncReads | undefined;

let learned: Promise<void> | undefined;

/** What learnAsyncReads() found; undefined: threads have to read. */
export function asyncReads(): AsyncReads | undefined {
  return reads;
}

/** Finds out whether reads can be made this way here. */
export function learnAsyncReads(): Promise<void> {
  learned ??= learn().catch(() => undefined);
  return learned;
}

async function learn(): Promise<void> {
  if (process.platform !== 'linux') return;
  // Not by its name: where the package is not installed the compiler does not know it.
  const name: string = 'koffi';
  const { default: koffi } = (await import(name)) as { readonly default: Koffi };
  useMemoryAddresses((memory) => Number(koffi.address(memory)));
  const madvise = koffi.load(null).func('int madvise(intptr_t address, size_t length, int advice)');
  // A kernel that has none of them refuses, and all stays as it is.
  // By a thread, one large page after the other: meanwhile whoever touches new memory of the process has to wait, five
  // milliseconds where the memory of a virtual machine comes from its host. Frames that are being read into stay as they are.
  const turn = new Turn();
  useLargePages((address, bytes) => {
    void turn.run(async () => {
      for (let at = 0; at < bytes; at += LARGE_PAGE) {
        await restFromPages();
        await new Promise<void>((done) => {
          madvise.async(address + at, LARGE_PAGE, COLLAPSE, done);
        });
      }
    });
  });
  const made = new AsyncReads(koffi);
  if (await selfTest(made)) {
    reads = made;
    return;
  }
  useless = made;
  useless.close();
}

/** Before the next large page: longer while the event loop has much to do. */
async function restFromPages(): Promise<void> {
  const before = performance.eventLoopUtilization();
  for (let rests = 0; rests < LARGE_PAGES_RESTS; rests++) {
    await delay(LARGE_PAGES_REST, undefined, { ref: false });
    if (performance.eventLoopUtilization(before).utilization < LARGE_PAGES_BUSY) return;
  }
}

/** Reads the beginning of the program that runs, in one piece and in two. */
async function selfTest(made: AsyncReads): Promise<boolean> {
  const fd = fs.openSync('/proc/self/exe', 'r');
  try {
    const bytes = 8192;
    const expected = Buffer.alloc(bytes);
    fs.readSync(fd, expected, 0, bytes, 0);
    const one = Buffer.alloc(bytes);
    const two = [Buffer.alloc(4096), Buffer.alloc(4096)];
    const results = await Promise.all([
      timely((done) => made.read(fd, one, addressOf(one) ?? 0, bytes, 0, done)),
      timely((done) => made.readAll(fd, two, 0, done)),
    ]);
    return results.every((each) => each === bytes) && one.equals(expected) && Buffer.concat(two).equals(expected);
  } finally {
    fs.closeSync(fd);
  }
}

function timely(begin: (done: ReadDone) => boolean): Promise<number> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve(-1);
    }, PATIENCE);
    const done = (result: number): void => {
      clearTimeout(timer);
      resolve(result);
    };
    if (!begin(done)) done(-1);
  });
}
