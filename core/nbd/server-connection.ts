// One connection to the NBD server: negotiation, then requests.
import { messageOf } from '../base/errors.ts';
import { SEND_QUEUE_HIGH } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { MAX_NBD_OPTION, MAX_NBD_PAYLOAD, MAX_NBD_REQUESTS, NBD_NEGOTIATION_TIMEOUT } from '../base/nbd-limits.ts';
import type { Clock, Socket, SocketSink, Timer } from '../base/world.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { Negotiation } from './negotiation.ts';
import type { Agreed, NegotiationOptions, Outcome } from './negotiation.ts';
import { Receiver } from './receiver.ts';
import { Serving } from './serving.ts';
import {
  CLIENT_FLAGS_LENGTH,
  NbdProtocolError,
  OPTION_HEADER,
  decodeOption,
  encodeGreeting,
  encodeOptionReply,
} from './wire/options.ts';
import { Command, OptionReply } from './wire/protocol.ts';
import { REQUEST_LENGTH, decodeRequest } from './wire/transmission.ts';
import type { Request } from './wire/transmission.ts';

export interface ConnectionOptions extends NegotiationOptions {
  readonly socket: Socket;
  readonly clock: Clock;
  readonly log: Log;
  readonly memory: MemoryBudget;
  /** Begins TLS on the socket; present when it is offered. */
  readonly secure?: (socket: Socket) => Promise<Socket>;
  readonly closed: () => void;
}

const NOTHING = Buffer.alloc(0);

export class ServerConnection implements SocketSink {
  readonly #options: ConnectionOptions;
  #socket: Socket;
  readonly #receiver = new Receiver();
  #negotiation: Negotiation;
  #timer: Timer;
  #agreed: Agreed | undefined;
  #serving: Serving | undefined;
  /** Requests that run, and the bytes of memory they use. */
  #running = 0;
  #bytes = 0;
  #out: Buffer[] = [];
  #outBytes = 0;
  #planned = false;
  #closed = false;
  #ending = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#negotiation = new Negotiation(options);
    this.#timer = options.clock.after(NBD_NEGOTIATION_TIMEOUT, () => {
      this.#drop('the client did not finish the negotiation in time');
    });
    this.#socket.write(encodeGreeting(Negotiation.flags));
    this.#receiver.expect(CLIENT_FLAGS_LENGTH, this.#flags);
    this.#socket.start(this);
  }

  /** The export this connection uses, once it is agreed. */
  get agreed(): Agreed | undefined {
    return this.#agreed;
  }

  // ---- SocketSink

  buffer(): Buffer {
    return this.#receiver.buffer();
  }

  received(bytes: number): boolean {
    try {
      this.#receiver.received(bytes);
    } catch (error) {
      this.#drop(messageOf(error));
      return false;
    }
    if (this.#closed) return false;
    this.#flush();
    return !this.#receiver.stopped;
  }

  drained(): void {
    this.#goOn();
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.cancel();
    this.#options.memory.forget(this.#goOn);
    if (this.#agreed !== undefined) this.#options.exports.closed(this.#agreed.served);
    this.#options.closed();
  }

  /** Ends the connection once running requests are answered; new ones are not read. */
  end(): void {
    this.#ending = true;
    this.#receiver.stop();
    this.#flush();
    if (this.#running === 0) this.#socket.end();
  }

  /** Cuts it at once. */
  destroy(why: string): void {
    this.#socket.destroy(why);
  }

  // ---- negotiation

  readonly #flags = (memory: Buffer, at: number): void => {
    this.#negotiation.clientFlags(memory.readUInt32BE(at));
    this.#receiver.expect(OPTION_HEADER, this.#option);
  };

  readonly #option = (memory: Buffer, at: number): void => {
    const { option, length } = decodeOption(memory, at);
    if (length > MAX_NBD_OPTION) {
      this.#socket.write(encodeOptionReply(option, OptionReply.tooBig));
      throw new NbdProtocolError(`an option with ${String(length)} bytes of data`);
    }
    this.#receiver.expect(length, (bytes, from) => {
      this.#apply(this.#negotiation.option(option, Buffer.from(bytes.subarray(from, from + length))));
    });
  };

  #apply({ answers, agreed, close = false, startTls = false }: Outcome): void {
    this.#queue(answers);
    if (startTls) {
      // Bytes that came ahead of TLS must not be taken for what it has protected.
      if (this.#receiver.rest > 0) throw new NbdProtocolError('data behind STARTTLS');
      this.#flush();
      this.#receiver.stop();
      void this.#secure();
      return;
    }
    if (close) {
      this.#flush();
      this.#receiver.stop();
      this.#socket.end();
      return;
    }
    if (agreed === undefined) {
      this.#receiver.expect(OPTION_HEADER, this.#option);
      return;
    }
    this.#timer.cancel();
    this.#agreed = agreed;
    this.#options.exports.opened(agreed.served);
    this.#serving = new Serving(agreed, {
      answer: (...pieces) => {
        this.#answer(pieces);
      },
      ended: (bytes) => {
        this.#requestEnded(bytes);
      },
    });
    this.#receiver.expect(REQUEST_LENGTH, this.#request);
  }

  async #secure(): Promise<void> {
    const { secure } = this.#options;
    if (secure === undefined) return;
    const plain = this.#socket;
    try {
      const socket = await secure(plain);
      if (this.#closed) {
        socket.destroy();
        return;
      }
      this.#socket = socket;
      this.#negotiation = new Negotiation({ exports: this.#options.exports, tls: 'running' });
      this.#receiver.expect(OPTION_HEADER, this.#option);
      this.#receiver.go();
      socket.start(this);
    } catch (error) {
      this.#drop(`TLS could not be started: ${messageOf(error)}`);
      this.closed();
    }
  }

  // ---- requests

  readonly #request = (memory: Buffer, at: number): void => {
    const request = decodeRequest(memory, at);
    // Taken away: a client of a volume that is opened anew finds it again when it comes back.
    if (request.type === Command.disconnect || this.#agreed?.served.gone === true) {
      this.end();
      return;
    }
    if (request.type !== Command.write) {
      this.#begin(request, NOTHING, 0, true);
      return;
    }
    const { length } = request;
    // The data cannot be skipped cheaply, and a client that breaks the limit it knows breaks others.
    if (length > MAX_NBD_PAYLOAD) throw new NbdProtocolError(`a write of ${String(length)} bytes`);
    const own = length > this.#receiver.inPlace ? Buffer.allocUnsafeSlow(length) : undefined;
    this.#receiver.expect(
      length,
      (data, from) => {
        this.#begin(request, data, from, own !== undefined);
      },
      own,
    );
  };

  #begin(request: Request, data: Buffer, at: number, kept: boolean): void {
    const bytes = this.#serving?.begin(request, data, at, kept) ?? -1;
    if (bytes >= 0) {
      this.#running++;
      this.#bytes += bytes;
      this.#options.memory.take(bytes);
    }
    this.#receiver.expect(REQUEST_LENGTH, this.#request);
    this.#pace();
  }

  #requestEnded(bytes: number): void {
    this.#running--;
    this.#bytes -= bytes;
    this.#options.memory.give(bytes);
    if (this.#ending) {
      this.#flush();
      if (this.#running === 0) this.#socket.end();
      return;
    }
    this.#goOn();
  }

  /** Stops reading while too much runs or waits to be sent. */
  #pace(): void {
    const { memory } = this.#options;
    const full = this.#running >= MAX_NBD_REQUESTS || this.#queued() > SEND_QUEUE_HIGH;
    if (full || !memory.admits(this.#bytes)) {
      this.#receiver.stop();
      if (!full) memory.wait(this.#goOn);
    }
  }

  readonly #goOn = (): void => {
    if (this.#closed || this.#ending || !this.#receiver.stopped || this.#agreed === undefined) return;
    try {
      this.#receiver.go();
      this.#pace();
    } catch (error) {
      this.#drop(messageOf(error));
      return;
    }
    this.#flush();
    // The receiver may have been stopped again by what it handed over.
    if (!this.#isStopped()) this.#socket.resume();
  };

  #isStopped(): boolean {
    return this.#receiver.stopped;
  }

  #queued(): number {
    return this.#socket.unsent + this.#outBytes;
  }

  #queue(pieces: readonly Buffer[]): void {
    for (const each of pieces) {
      this.#out.push(each);
      this.#outBytes += each.length;
    }
  }

  #answer(pieces: readonly Buffer[]): void {
    if (this.#closed) return;
    this.#queue(pieces);
    if (this.#planned) return;
    this.#planned = true;
    this.#options.clock.soon(() => {
      this.#planned = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#closed) return;
    const out = this.#out;
    this.#out = [];
    this.#outBytes = 0;
    this.#socket.writeAll(out);
  }

  #drop(why: string): void {
    if (this.#closed) return;
    const { log } = this.#options;
    log.warn({ peer: this.#socket.remoteAddress, why }, 'a NBD connection was closed: check the client');
    this.#flush();
    this.#receiver.stop();
    this.#socket.destroy(why);
  }
}
