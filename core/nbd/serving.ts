// Requests of one connection to an export: done on the volume, answered. What is in memory is answered in the same turn.
import { MAX_NBD_DESCRIPTORS, MAX_NBD_PAYLOAD } from '../base/nbd-limits.ts';
import { messageOf } from '../base/errors.ts';
import { WriteNow } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import { errorNumber } from './export.ts';
import { ALLOCATION_CONTEXT } from './negotiation.ts';
import type { Agreed } from './negotiation.ts';
import { readAny, writeAny } from './unaligned.ts';
import { AllocationFlag, Chunk, Command, CommandFlag, NbdError } from './wire/protocol.ts';
import {
  DATA_CHUNK_HEADER,
  SIMPLE_REPLY_LENGTH,
  CHUNK_HEADER,
  dataChunk,
  encodeErrorChunk,
  encodeStatusChunk,
  lastChunk,
  simpleReply,
} from './wire/transmission.ts';
import type { Descriptor, Request } from './wire/transmission.ts';

/** Longest run of blocks a descriptor can tell of. */
const MAX_RUN = 0xffff_fe00;

/** What the connection does with answers. */
export interface Answering {
  /** Queues `pieces`; they leave at the end of the turn. */
  answer(...pieces: Buffer[]): void;
  /** A request that did not end in its turn is over: `bytes` of memory are free again. */
  ended(bytes: number): void;
}

/** A request that cannot be done; the message goes to the client where it can take one. */
class Refused extends Error {
  readonly number: number;

  constructor(number: number, message: string) {
    super(message);
    this.number = number;
  }
}

const FLAGS: Record<number, number> = {
  [Command.read]: CommandFlag.df,
  [Command.write]: CommandFlag.fua,
  [Command.flush]: 0,
  [Command.trim]: CommandFlag.fua,
  [Command.writeZeroes]: CommandFlag.fua | CommandFlag.noHole | CommandFlag.fastZero,
  [Command.blockStatus]: CommandFlag.reqOne,
};

export class Serving {
  readonly #agreed: Agreed;
  readonly #answering: Answering;

  constructor(agreed: Agreed, answering: Answering) {
    this.#agreed = agreed;
    this.#answering = answering;
  }

  get #volume(): Volume {
    return this.#agreed.served.volume;
  }

  /**
   * Does the request; data of a write lies at `at` of `data`, in this turn only unless `kept`. Returns the bytes of memory
   * it goes on using; ended() gives them back. -1: it has been answered.
   */
  begin(request: Request, data: Buffer, at: number, kept: boolean): number {
    try {
      this.#check(request);
      if (this.#now(request, data, at)) return -1;
    } catch (error) {
      this.#fail(request, error);
      return -1;
    }
    const payload = request.type === Command.read || request.type === Command.write ? request.length : 0;
    const held = request.type === Command.write && !kept ? Buffer.from(data.subarray(at, at + payload)) : data;
    void this.#later(request, held, held === data ? at : 0).then(
      () => {
        this.#answering.ended(payload);
      },
      (error: unknown) => {
        this.#fail(request, error);
        this.#answering.ended(payload);
      },
    );
    return payload;
  }

  #check({ type, flags, position, length }: Request): void {
    const { served, allocation, knowsSizes } = this.#agreed;
    const { info } = served.volume;
    const known = FLAGS[type];
    if (known === undefined) throw new Refused(NbdError.invalid, `command ${String(type)} is not offered`);
    if ((flags & ~known) !== 0) throw new Refused(NbdError.invalid, 'a flag that this command does not have');
    if (served.gone) throw new Refused(NbdError.shutdown, 'the volume is no longer served');
    if (type === Command.flush) return;
    const changes = type !== Command.read && type !== Command.blockStatus;
    if (changes && (served.readOnly || info.readOnly))
      throw new Refused(NbdError.permission, 'the export is read-only');
    if (type === Command.blockStatus && !allocation) {
      throw new Refused(NbdError.invalid, 'base:allocation has not been negotiated');
    }
    if (length === 0) throw new Refused(NbdError.invalid, 'a length of zero');
    if (position + length > info.size) {
      throw new Refused(type === Command.write ? NbdError.noSpace : NbdError.invalid, 'behind the end of the export');
    }
    if (type === Command.read && length > MAX_NBD_PAYLOAD) {
      throw new Refused(NbdError.overflow, `more than ${String(MAX_NBD_PAYLOAD)} bytes`);
    }
    const aligned = position % info.blockSize === 0 && length % info.blockSize === 0;
    const anywhere = (type === Command.read || type === Command.write) && !knowsSizes;
    if (!aligned && !anywhere) {
      throw new Refused(NbdError.invalid, `not a multiple of ${String(info.blockSize)} bytes`);
    }
  }

  /** False: it takes longer than this turn. */
  #now(request: Request, data: Buffer, at: number): boolean {
    const { type, flags, position, length, cookie } = request;
    const { served, structured } = this.#agreed;
    const { volume, locks } = served;
    const { blockSize } = volume.info;
    if (position % blockSize !== 0 || length % blockSize !== 0) return false;
    if (type === Command.read) {
      if (!locks.idle && locks.blocks(position, length, false)) return false;
      const head = structured ? DATA_CHUNK_HEADER : SIMPLE_REPLY_LENGTH;
      const reply = Buffer.allocUnsafe(head + length);
      if (!volume.readNow(position, length, reply, head)) return false;
      this.#dataReply(reply, cookie, position, length);
      return true;
    }
    if (type !== Command.write || (flags & CommandFlag.fua) !== 0) return false;
    if (!locks.idle && locks.blocks(position, length, true)) return false;
    const outcome = volume.writeNow(position, data, at, length);
    if (outcome === WriteNow.refused) return false;
    if (outcome === WriteNow.done) {
      this.#good(request);
      return true;
    }
    // Only the answer has to wait; the memory of the client's data is free again.
    volume.whenStable({
      stable: (error) => {
        if (error === undefined) this.#good(request);
        else this.#fail(request, error);
      },
    });
    return true;
  }

  async #later(request: Request, data: Buffer, at: number): Promise<void> {
    const { type, flags, position, length, cookie } = request;
    const { served, structured } = this.#agreed;
    const { volume, locks } = served;
    const fua = (flags & CommandFlag.fua) !== 0;
    switch (type) {
      case Command.read: {
        const head = structured ? DATA_CHUNK_HEADER : SIMPLE_REPLY_LENGTH;
        const reply = Buffer.allocUnsafe(head + length);
        await readAny(volume, locks, position, length, reply, head);
        this.#dataReply(reply, cookie, position, length);
        return;
      }
      case Command.write:
        await writeAny(volume, locks, position, data, at, length, fua);
        break;
      case Command.flush:
        await volume.flush();
        break;
      case Command.blockStatus:
        this.#answering.answer(await this.#status(request));
        return;
      default:
        await this.#clear(request, fua);
    }
    this.#good(request);
  }

  async #clear({ type, flags, position, length }: Request, fua: boolean): Promise<void> {
    const { volume, locks } = this.#agreed.served;
    const { thin, quickZero = false } = volume.info;
    const hole = type === Command.trim || (thin && (flags & CommandFlag.noHole) === 0);
    if ((flags & CommandFlag.fastZero) !== 0 && !(hole ? thin : quickZero)) {
      throw new Refused(NbdError.notSupported, 'writing zeros is not faster than writing');
    }
    const lock = await locks.acquire(position, length, true);
    try {
      await (hole ? volume.unmap(position, length) : volume.zero(position, length));
      if (fua) await volume.flush();
    } finally {
      lock.release();
    }
  }

  async #status({ flags, position, length, cookie }: Request): Promise<Buffer> {
    const limit = (flags & CommandFlag.reqOne) === 0 ? MAX_NBD_DESCRIPTORS : 1;
    const extents = await this.#volume.extents(position, Math.min(length, MAX_RUN), limit);
    const hole = AllocationFlag.hole | AllocationFlag.zero;
    const descriptors: Descriptor[] = extents.map((each) => ({ length: each.length, flags: each.mapped ? 0 : hole }));
    return encodeStatusChunk(cookie, ALLOCATION_CONTEXT, descriptors);
  }

  #dataReply(reply: Buffer, cookie: bigint, position: number, length: number): void {
    if (this.#agreed.structured) dataChunk(reply, 0, cookie, position, length);
    else simpleReply(reply, 0, cookie, 0);
    this.#answering.answer(reply);
    this.#agreed.served.count?.('read', length, false);
  }

  #good({ type, cookie, length }: Request): void {
    const bytes = Buffer.allocUnsafe(this.#agreed.structured ? CHUNK_HEADER : SIMPLE_REPLY_LENGTH);
    if (this.#agreed.structured) lastChunk(bytes, 0, cookie, Chunk.none, 0);
    else simpleReply(bytes, 0, cookie, 0);
    this.#answering.answer(bytes);
    if (type === Command.write) this.#agreed.served.count?.('write', length, false);
  }

  #fail({ type, cookie }: Request, error: unknown): void {
    const number = error instanceof Refused ? error.number : errorNumber(error);
    if (this.#agreed.structured) this.#answering.answer(encodeErrorChunk(cookie, number, messageOf(error)));
    else {
      const bytes = Buffer.allocUnsafe(SIMPLE_REPLY_LENGTH);
      simpleReply(bytes, 0, cookie, number);
      this.#answering.answer(bytes);
    }
    if (type === Command.read || type === Command.write) {
      this.#agreed.served.count?.(type === Command.read ? 'read' : 'write', 0, true);
    }
  }
}
