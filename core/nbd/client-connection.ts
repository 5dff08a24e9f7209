// One connection to a NBD server, as its client: negotiation, then requests that are answered in any order.
import { messageOf } from '../base/errors.ts';
import { MAX_NBD_OPTION, MAX_NBD_PAYLOAD, NBD_NEGOTIATION_TIMEOUT, NBD_REQUEST_TIMEOUT } from '../base/nbd-limits.ts';
import type { Clock, Socket, SocketSink, Timer } from '../base/world.ts';
import { ClientNegotiation } from './client-negotiation.ts';
import type { Opened } from './client-negotiation.ts';
import { Receiver } from './receiver.ts';
import { GREETING_LENGTH, NbdProtocolError, OPTION_REPLY_HEADER, decodeOptionReply } from './wire/options.ts';
import {
  CHUNK_DONE,
  CHUNK_ERROR,
  Chunk,
  Command,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './wire/protocol.ts';
import {
  CHUNK_HEADER,
  SIMPLE_REPLY_LENGTH,
  decodeChunk,
  decodeDescriptors,
  decodeError,
  encodeRequest,
} from './wire/transmission.ts';
import type { Descriptor } from './wire/transmission.ts';

/** The server could not do a request; the connection goes on. */
export class NbdRequestError extends Error {
  override name = 'NbdRequestError';
  /** "Error values" of the protocol. */
  readonly number: number;

  constructor(number: number, message: string) {
    super(message);
    this.number = number;
  }
}

/** The connection is gone: what the server made of the requests that were running is not known. */
export class NbdDisconnected extends Error {
  override name = 'NbdDisconnected';
}

/** A request as the volume asks for it. Positions and lengths are bytes. */
export interface Asked {
  readonly type: Command;
  readonly flags: number;
  readonly position: number;
  readonly length: number;
  /** Data of a write: `length` bytes of `memory` at `at`; where a read puts them. */
  readonly memory?: Buffer;
  readonly at?: number;
}

interface Running extends Asked {
  readonly startedAt: number;
  resolve(descriptors: readonly Descriptor[]): void;
  reject(error: Error): void;
  descriptors: Descriptor[];
  /** Bytes of a read that have come. */
  filled: number;
  error: Error | undefined;
}

export interface ClientOptions {
  readonly socket: Socket;
  readonly clock: Clock;
  readonly exportName: string;
  /** Begins TLS; without it the connection stays as it is. */
  readonly secure?: (socket: Socket) => Promise<Socket>;
  /** The connection ended by itself, after it was opened. */
  readonly lost: (why: string) => void;
}

export class ClientConnection implements SocketSink {
  readonly #options: ClientOptions;
  #socket: Socket;
  readonly #receiver = new Receiver();
  #negotiation: ClientNegotiation;
  #opened: Opened | undefined;
  #settle: { resolve(connection: ClientConnection): void; reject(error: Error): void } | undefined;
  readonly #running = new Map<bigint, Running>();
  #cookie = 1n;
  #out: Buffer[] = [];
  #planned = false;
  #timer: Timer;
  #why: string | undefined;
  #closed = false;

  /** Negotiates on a fresh socket. Rejects with an Error that says what the server did not like. */
  static open(options: ClientOptions): Promise<ClientConnection> {
    return new Promise((resolve, reject) => {
      new ClientConnection(options, { resolve, reject });
    });
  }

  private constructor(
    options: ClientOptions,
    settle: { resolve(connection: ClientConnection): void; reject(error: Error): void },
  ) {
    this.#options = options;
    this.#settle = settle;
    this.#socket = options.socket;
    this.#negotiation = new ClientNegotiation(options.exportName, options.secure !== undefined);
    this.#timer = options.clock.after(NBD_NEGOTIATION_TIMEOUT, () => {
      this.#end('the server did not finish the negotiation in time');
    });
    this.#receiver.expect(GREETING_LENGTH, (memory, at) => {
      this.#say(this.#negotiation.greeting(memory.subarray(at, at + GREETING_LENGTH)));
      this.#receiver.expect(OPTION_REPLY_HEADER, this.#optionReply);
    });
    this.#socket.start(this);
  }

  get opened(): Opened {
    if (this.#opened === undefined) throw new Error('the negotiation is not over');
    return this.#opened;
  }

  /** False: it has ended, or is about to. */
  get usable(): boolean {
    return !this.#closed && this.#why === undefined;
  }

  /** Requests that run. */
  get load(): number {
    return this.#running.size;
  }

  /** Resolves with what BLOCK_STATUS told, else with nothing. Rejects with NbdRequestError or NbdDisconnected. */
  request(asked: Asked): Promise<readonly Descriptor[]> {
    if (this.#closed) return Promise.reject(new NbdDisconnected(this.#why ?? 'the connection is closed'));
    return new Promise((resolve, reject) => {
      const cookie = this.#cookie++;
      const startedAt = this.#options.clock.now();
      this.#running.set(cookie, { ...asked, startedAt, resolve, reject, descriptors: [], filled: 0, error: undefined });
      this.#out.push(encodeRequest({ ...asked, cookie }));
      const { type, memory, at = 0, length } = asked;
      if (type === Command.write && memory !== undefined) this.#out.push(memory.subarray(at, at + length));
      this.#plan();
    });
  }

  /** Says good-bye; only when idle. */
  close(): void {
    if (this.#closed) return;
    this.#why = 'closed';
    this.#socket.write(encodeRequest({ flags: 0, type: Command.disconnect, cookie: 0n, position: 0, length: 0 }));
    this.#socket.end();
  }

  destroy(why: string): void {
    this.#end(why);
  }

  // ---- SocketSink

  buffer(): Buffer {
    return this.#receiver.buffer();
  }

  received(bytes: number): boolean {
    try {
      this.#receiver.received(bytes);
    } catch (error) {
      this.#end(messageOf(error));
    }
    return !this.#closed && !this.#receiver.stopped;
  }

  drained(): void {
    // Requests are bounded by who makes them.
  }

  closed(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.cancel();
    const why = this.#why ?? reason;
    this.#settle?.reject(new NbdDisconnected(why));
    const wasOpen = this.#settle === undefined;
    this.#settle = undefined;
    for (const each of this.#running.values()) each.reject(new NbdDisconnected(why));
    this.#running.clear();
    if (wasOpen) this.#options.lost(why);
  }

  #end(why: string): void {
    this.#why ??= why;
    this.#socket.destroy(why);
  }

  // ---- negotiation

  readonly #optionReply = (memory: Buffer, at: number): void => {
    const header = decodeOptionReply(memory, at);
    if (header.length > MAX_NBD_OPTION) throw new NbdProtocolError('an answer to an option that is too long');
    this.#receiver.expect(header.length, (bytes, from) => {
      const next = this.#negotiation.reply(header, Buffer.from(bytes.subarray(from, from + header.length)));
      if (next === 'start-tls') {
        if (this.#receiver.rest > 0) throw new NbdProtocolError('data ahead of TLS');
        this.#receiver.stop();
        void this.#secure();
        return;
      }
      if (Buffer.isBuffer(next)) this.#say(next);
      if (next !== undefined && !Buffer.isBuffer(next)) this.#begin(next);
      else this.#receiver.expect(OPTION_REPLY_HEADER, this.#optionReply);
    });
  };

  async #secure(): Promise<void> {
    try {
      const secured = await this.#options.secure?.(this.#socket);
      if (secured === undefined) throw new Error('TLS is not configured');
      this.#socket = secured;
      this.#receiver.expect(OPTION_REPLY_HEADER, this.#optionReply);
      this.#receiver.go();
      secured.start(this);
      this.#say(this.#negotiation.afterTls());
    } catch (error) {
      this.#why = `TLS could not be started: ${messageOf(error)}`;
      this.closed(this.#why);
    }
  }

  #begin(opened: Opened): void {
    this.#opened = opened;
    this.#timer.cancel();
    this.#receiver.expect(4, this.#magic);
    this.#watch();
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.resolve(this);
  }

  /** A server that answers nothing for too long is taken for gone; every request is looked at once in a while. */
  #watch(): void {
    const { clock } = this.#options;
    this.#timer = clock.after(NBD_REQUEST_TIMEOUT / 4, () => {
      const [oldest] = this.#running.values();
      if (oldest !== undefined && clock.now() - oldest.startedAt > NBD_REQUEST_TIMEOUT) {
        this.#end(`no answer for ${String(NBD_REQUEST_TIMEOUT)} ms`);
        return;
      }
      if (!this.#closed) this.#watch();
    });
  }

  // ---- replies

  readonly #magic = (memory: Buffer, at: number): void => {
    const magic = memory.readUInt32BE(at);
    if (magic === STRUCTURED_REPLY_MAGIC && this.opened.structured) {
      this.#receiver.expect(CHUNK_HEADER - 4, this.#chunk);
    } else if (magic === SIMPLE_REPLY_MAGIC) this.#receiver.expect(SIMPLE_REPLY_LENGTH - 4, this.#simple);
    else throw new NbdProtocolError('a reply without its magic number');
  };

  readonly #simple = (memory: Buffer, at: number): void => {
    const error = memory.readUInt32BE(at);
    const cookie = memory.readBigUInt64BE(at + 4);
    const running = this.#of(cookie);
    if (error !== 0) running.error = new NbdRequestError(error, `the server reports error ${String(error)}`);
    if (error === 0 && running.type === Command.read) {
      if (this.opened.structured) throw new NbdProtocolError('a simple reply to a read');
      this.#receiver.expect(
        running.length,
        () => {
          running.filled = running.length;
          this.#done(cookie, running);
        },
        ...this.#target(running, running.position, running.length),
      );
      return;
    }
    this.#done(cookie, running);
  };

  readonly #chunk = (memory: Buffer, at: number): void => {
    const { done, type, cookie, length } = decodeChunk(memory, at - 4);
    const flags = memory.readUInt16BE(at);
    if ((flags & ~CHUNK_DONE) !== 0) throw new NbdProtocolError('a chunk with unknown flags');
    const running = this.#of(cookie);
    const over = (): void => {
      if (done) this.#done(cookie, running);
      else this.#receiver.expect(4, this.#magic);
    };
    if (type === Chunk.none) {
      if (length > 0 || !done) throw new NbdProtocolError('an empty chunk that is none');
      over();
    } else if (type === Chunk.offsetData) this.#data(running, length, over);
    else {
      if (length > MAX_NBD_OPTION) throw new NbdProtocolError('a chunk that is too long');
      this.#receiver.expect(length, (bytes, from) => {
        this.#payload(running, type, bytes.subarray(from, from + length));
        over();
      });
    }
  };

  #data(running: Running, length: number, over: () => void): void {
    if (length <= 8 || length - 8 > MAX_NBD_PAYLOAD) throw new NbdProtocolError('a data chunk of a wrong length');
    this.#receiver.expect(8, (memory, at) => {
      const position = Number(memory.readBigUInt64BE(at));
      this.#receiver.expect(
        length - 8,
        () => {
          running.filled += length - 8;
          over();
        },
        ...this.#target(running, position, length - 8),
      );
    });
  }

  #payload(running: Running, type: number, payload: Buffer): void {
    if (type === Chunk.offsetHole) {
      if (payload.length !== 12) throw new NbdProtocolError('a hole of a wrong length');
      const length = payload.readUInt32BE(8);
      const [memory, at] = this.#target(running, Number(payload.readBigUInt64BE(0)), length);
      memory.fill(0, at, at + length);
      running.filled += length;
    } else if (type === Chunk.blockStatus) {
      const { context, descriptors } = decodeDescriptors(payload);
      if (context === this.opened.context) running.descriptors = descriptors;
    } else if ((type & CHUNK_ERROR) !== 0) {
      const { error, message } = decodeError(payload);
      running.error = new NbdRequestError(
        error,
        message === '' ? `the server reports error ${String(error)}` : message,
      );
    } else throw new NbdProtocolError(`a chunk of the unknown type ${String(type)}`);
  }

  /** Where bytes at this position go. Throws a NbdProtocolError where nobody has asked for them. */
  #target(running: Running, position: number, length: number): [Buffer, number] {
    const { memory, at = 0 } = running;
    const offset = position - running.position;
    if (running.type !== Command.read || memory === undefined || offset < 0 || offset + length > running.length) {
      throw new NbdProtocolError('data nobody has asked for');
    }
    return [memory, at + offset];
  }

  #of(cookie: bigint): Running {
    const running = this.#running.get(cookie);
    if (running === undefined) throw new NbdProtocolError('a reply to no request');
    return running;
  }

  #done(cookie: bigint, running: Running): void {
    this.#receiver.expect(4, this.#magic);
    if (running.error === undefined && running.type === Command.read && running.filled < running.length) {
      throw new NbdProtocolError('a read with less data than asked for');
    }
    this.#running.delete(cookie);
    if (running.error === undefined) running.resolve(running.descriptors);
    else running.reject(running.error);
  }

  // ---- sending

  #say(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    this.#options.clock.soon(() => {
      this.#planned = false;
      const out = this.#out;
      this.#out = [];
      if (!this.#closed) this.#socket.writeAll(out);
    });
  }
}
