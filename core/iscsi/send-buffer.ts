// What one event answers, collected so that it leaves in one system call. Headers and small payloads are written into a
// slab; large payloads that already lie in memory are queued as slices between two regions of the slab.
import type { Gather } from '../base/gather.ts';
import { addressOf } from '../base/memory-address.ts';
import { viewGuard } from '../base/view-guard.ts';
import type { Socket } from '../base/world.ts';
import type { AnswerMemory } from './answer-memory.ts';

/** Bytes of one slab: a READ of 1 MiB with the headers of its PDUs, even small ones, fits. */
const SLAB = 1_310_720;
/**
 * Collected bytes after which a send is made at once: what has just been written is then still in the cache. Twice the
 * largest PDU: sends of a single one of 256 KiB were measured to be half as fast on a loopback connection.
 */
const FLUSH_AT = 524_288;
/** Bytes of answers that are worth a send of their own half-way through a batch. */
const HALF_FROM = 49_152;
/** Bytes of commands in one receive from which on small answers are gathered: for a few, to copy them costs less. */
const GATHER_FROM = 384;
/** Places of a Gather that one answer, the region before it and a change of slabs need at most. */
const GATHER_ROOM = 8;
/** Slabs kept for reuse over all connections. */
const MAX_SPARE_SLABS = 64;

const EMPTY = Buffer.alloc(0);

/** Slabs that all connections of one event loop share. */
export class SlabPool {
  readonly #spare: Buffer[] = [];
  /** Slabs in use by any connection. */
  inUse = 0;

  take(): Buffer {
    this.inUse++;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLAB);
  }

  giveBack(slab: Buffer): void {
    this.inUse--;
    if (this.#spare.length < MAX_SPARE_SLABS) this.#spare.push(slab);
  }
}

export class SendBuffer {
  /** Current slab; valid after reserve(). */
  slab: Buffer;
  #at = 0;
  /** Start of the region that has not been queued yet. */
  #from = 0;
  #pieces: Buffer[] = [];
  #collected = 0;
  /** Slabs the operating system has not taken completely. */
  #busy: Buffer[] = [];
  readonly #socket: Socket;
  readonly #pool: SlabPool;
  readonly #memory: AnswerMemory;
  /** Bytes of `waiting` that #memory knows of. */
  #counted = 0;
  #released = false;
  /** Bytes handed to the socket since the connection began. */
  sent = 0;
  /** The last region sent, as a view of a slab from its beginning. */
  #view: Buffer = EMPTY;
  #viewOf: Buffer = EMPTY;
  /** Our hold of the viewGuard; 0: none. */
  #hold = 0;
  /** What goes before the current region of the slab; undefined: nothing is gathered. */
  #gather: Gather | undefined;
  /** See #slabAddress. */
  #address = -1;
  #addressOf: Buffer = EMPTY;
  #gathers = false;
  readonly #unsent = (): void => {
    this.flush();
  };

  constructor(socket: Socket, pool: SlabPool, memory: AnswerMemory) {
    this.#socket = socket;
    this.#pool = pool;
    this.#memory = memory;
    this.slab = pool.take();
  }

  /** Bytes collected or queued that the operating system has not taken. */
  get waiting(): number {
    return this.#collected + this.#socket.unsent;
  }

  /** True when the peer has to take answers before it is asked for more. */
  get full(): boolean {
    return this.#memory.full(this.waiting);
  }

  /** Brings the memory of all connections up to date. */
  count(): void {
    const waiting = this.waiting;
    if (waiting === this.#counted || this.#released) return;
    this.#memory.change(waiting - this.#counted);
    this.#counted = waiting;
  }

  /** Position in `slab` of `bytes` fresh bytes (at most SLAB). They hold rubbish: every one has to be stored. */
  reserve(bytes: number): number {
    if (this.#at + bytes > SLAB) this.#nextSlab();
    const at = this.#at;
    this.#at += bytes;
    this.#collected += bytes;
    return at;
  }

  /** Takes back the last reservation, which began at `at`. */
  unreserve(at: number): void {
    this.trim(at);
  }

  /** Shortens the last reservation so that it ends at `end`. */
  trim(end: number): void {
    this.#collected -= this.#at - end;
    this.#at = end;
  }

  /** Memory of volumes that is appended from now on stays as it is until it has been sent. */
  holdViews(): void {
    if (this.#hold === 0) this.#hold = viewGuard.hold();
  }

  #releaseViews(): void {
    if (this.#hold === 0) return;
    viewGuard.release(this.#hold);
    this.#hold = 0;
  }

  /** False: gathering() would say no. */
  get mayGather(): boolean {
    return this.#gathers;
  }

  /** `bytes` of commands have come at once. */
  beginBatch(bytes: number): void {
    this.#gathers = bytes >= GATHER_FROM && this.#socket.gather !== undefined;
  }

  /**
   * Where a small answer, whose header has just been reserved, may be gathered; a hold is taken as by holdViews. undefined: it has
   * to be copied.
   */
  gathering(): Gather | undefined {
    if (this.#pieces.length > 0) return undefined;
    const gather = this.#gather ?? this.#socket.gather;
    // Somebody else may be at it whose turn this is not.
    if (gather === undefined || (this.#gather === undefined && gather.count > 0)) return undefined;
    if (gather.room < GATHER_ROOM || this.#slabAddress() < 0) return undefined;
    this.holdViews();
    return gather;
  }

  /** What was reserved so far goes to the place that was skipped before the last piece, of `bytes`. */
  gathered(gather: Gather, place: number, bytes: number): void {
    gather.set(place, this.slab, this.#slabAddress(), this.#from, this.#at - this.#from);
    this.#from = this.#at;
    this.#collected += bytes;
    if (this.#gather !== undefined) return;
    this.#gather = gather;
    viewGuard.unsent = this.#unsent;
  }

  /** Of the first byte of the slab; negative: nobody can tell. */
  #slabAddress(): number {
    if (this.#addressOf !== this.slab) {
      this.#address = addressOf(this.slab) ?? -1;
      this.#addressOf = this.slab;
    }
    return this.#address;
  }

  /** Puts what is left of the slab behind what has been gathered. */
  #closeGather(gather: Gather): void {
    if (this.#at > this.#from) gather.add(this.slab, this.#slabAddress(), this.#from, this.#at - this.#from);
    this.#from = this.#at;
  }

  #endGather(gather: Gather): void {
    gather.clear();
    this.#gather = undefined;
    viewGuard.unsent = undefined;
  }

  /** What has been gathered becomes pieces: something comes behind it that is no small answer. */
  #pieceTogether(): void {
    const gather = this.#gather;
    if (gather === undefined) return;
    this.#closeGather(gather);
    this.#pieces = gather.rest(0);
    this.#endGather(gather);
  }

  /** Queues memory that is not in the slab. It must stay unchanged until it has been sent (see holdViews). */
  append(data: Buffer): void {
    this.#pieceTogether();
    if (this.#at > this.#from) this.#pieces.push(this.slab.subarray(this.#from, this.#at));
    this.#from = this.#at;
    this.#pieces.push(data);
    this.#collected += data.length;
  }

  /** Sends when enough has been collected; called between PDUs. */
  flushIfFull(): void {
    if (this.#collected >= FLUSH_AT || (this.#gather !== undefined && this.#gather.room < GATHER_ROOM)) this.flush();
  }

  /**
   * Half of a batch has been answered: sends it if nothing has been sent since `sent` was `before`, so that the initiator
   * works on it while we go on with the rest.
   */
  flushHalf(before: number): void {
    if (this.sent === before && this.#collected >= HALF_FROM) this.flush();
  }

  /** Sends everything collected. */
  flush(): void {
    if (this.#collected === 0) {
      if (this.#hold !== 0 && this.#socket.unsent === 0) this.#releaseViews();
      this.count();
      return;
    }
    const socket = this.#socket;
    this.sent += this.#collected;
    this.#collected = 0;
    const gather = this.#gather;
    if (gather !== undefined) {
      this.#closeGather(gather);
      socket.sendGathered?.(gather);
      this.#endGather(gather);
    } else if (this.#pieces.length === 0) {
      socket.write(this.#region());
    } else {
      if (this.#at > this.#from) this.#pieces.push(this.slab.subarray(this.#from, this.#at));
      socket.writeAll(this.#pieces);
      this.#pieces = [];
    }
    this.#from = this.#at;
    if (socket.unsent === 0) this.#rewind();
    else if (this.#at > SLAB / 2) this.#nextSlab();
    this.count();
  }

  /** The operating system has taken everything. */
  drained(): void {
    for (const slab of this.#busy) this.#pool.giveBack(slab);
    this.#busy = [];
    if (this.#collected === 0) this.#rewind();
    this.count();
  }

  /** The connection is gone. */
  release(): void {
    if (this.#gather !== undefined) this.#endGather(this.#gather);
    this.#releaseViews();
    this.#released = true;
    this.#memory.change(-this.#counted);
    this.#counted = 0;
    // Slabs that may still be referenced by the operating system are left to the garbage collector.
    if (this.#socket.unsent === 0) {
      for (const slab of this.#busy) this.#pool.giveBack(slab);
      this.#pool.giveBack(this.slab);
    } else {
      this.#pool.inUse -= this.#busy.length + 1;
    }
    this.#busy = [];
    this.#pieces = [];
    this.slab = this.#view = this.#viewOf = EMPTY;
    this.#at = this.#from = this.#collected = 0;
  }

  /** What has been written into the slab and not queued yet. */
  #region(): Buffer {
    if (this.#from !== 0) return this.slab.subarray(this.#from, this.#at);
    // Answers of one size follow each other, and making a view costs more than asking for it.
    if (this.#view.length !== this.#at || this.#viewOf !== this.slab) {
      this.#viewOf = this.slab;
      this.#view = this.slab.subarray(0, this.#at);
    }
    return this.#view;
  }

  #rewind(): void {
    this.#releaseViews();
    if (this.#busy.length > 0) {
      for (const slab of this.#busy) this.#pool.giveBack(slab);
      this.#busy = [];
    }
    this.#at = this.#from = 0;
  }

  /** The current slab stays with what is queued; a fresh one takes its place. */
  #nextSlab(): void {
    if (this.#gather !== undefined) this.#closeGather(this.#gather);
    else if (this.#at > this.#from) this.#pieces.push(this.slab.subarray(this.#from, this.#at));
    this.#busy.push(this.slab);
    this.slab = this.#pool.take();
    this.#at = this.#from = 0;
  }
}
