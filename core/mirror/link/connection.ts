// One connection between two nodes: who opened it asks, the other one answers. What is sent in one turn leaves in one call.
import { bytesOf } from '../../base/bytes-of.ts';
import type { Clock, Socket, SocketSink } from '../../base/world.ts';
import { PEER_SEND_SLAB, PEER_SMALL_PAYLOAD } from '../../base/limits.ts';
import { FRAME_HEAD, FrameReader, storeFrameHead } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';

export interface ConnectionEvents {
  /** A frame has come. False: read no more until resume(). Throws to end the connection. */
  frame(frame: Frame): boolean;
  /** Called exactly once. */
  closed(reason: string): void;
}

export class FrameConnection implements SocketSink {
  readonly socket: Socket;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  readonly #reader: FrameReader;
  #sent = 0;
  /** Heads, headers and small payloads, one behind the other: from #from to #to they are not queued yet. */
  #slab = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #isPlanned = false;
  #queue: Buffer[] = [];
  #goOn = true;
  #closed = false;

  /** Takes over the socket, in the turn in which it came. */
  constructor(socket: Socket, clock: Clock, events: ConnectionEvents) {
    this.socket = socket;
    this.#clock = clock;
    this.#events = events;
    this.#reader = new FrameReader((frame) => {
      this.#goOn = events.frame(frame) && this.#goOn;
    });
    socket.start(this);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Queues a frame. A payload of more than PEER_SMALL_PAYLOAD bytes must not change until it is answered; others are copied. */
  send(type: number, flags: number, id: number, header: Buffer, payload: readonly Buffer[]): void {
    if (this.#closed) return;
    const bytes = bytesOf(payload);
    const isSmall = bytes <= PEER_SMALL_PAYLOAD;
    this.#makeRoom(FRAME_HEAD + header.length + (isSmall ? bytes : 0));
    this.#to = storeFrameHead(this.#slab, this.#to, type, flags, id, this.#sent, header, payload);
    this.#sent = (this.#sent + 1) >>> 0;
    if (isSmall) {
      for (const piece of payload) this.#to += piece.copy(this.#slab, this.#to);
    } else {
      this.#cut();
      this.#queue.push(...payload);
    }
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.#clock.soon(() => {
      this.#isPlanned = false;
      this.#flush();
    });
  }

  #makeRoom(bytes: number): void {
    // Nothing of it is queued or on its way any more: it may be used from its beginning on.
    if (this.#to > 0 && this.#from === this.#to && this.#queue.length === 0 && this.socket.unsent === 0) {
      this.#from = this.#to = 0;
    }
    if (this.#to + bytes <= this.#slab.length) return;
    this.#cut();
    this.#slab = Buffer.allocUnsafeSlow(PEER_SEND_SLAB);
    this.#from = this.#to = 0;
  }

  #cut(): void {
    if (this.#to > this.#from) this.#queue.push(this.#slab.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }

  resume(): void {
    if (!this.#goOn) this.socket.resume();
    this.#goOn = true;
  }

  destroy(reason: string): void {
    this.socket.destroy(reason);
  }

  /** Nobody uses the payload of a request any more. */
  giveBack(payload: Buffer): void {
    this.#reader.giveBack(payload);
  }

  /** Sends what is queued, then closes. */
  end(): void {
    this.#flush();
    this.socket.end();
  }

  buffer(): Buffer {
    return this.#reader.buffer();
  }

  received(bytes: number): boolean {
    try {
      this.#reader.received(bytes);
    } catch (error) {
      this.socket.destroy(error instanceof Error ? error.message : String(error));
      return false;
    }
    return this.#goOn;
  }

  drained(): void {
    // What may be queued is bounded by the requests that may be under way.
  }

  closed(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#events.closed(reason);
  }

  #flush(): void {
    this.#cut();
    if (this.#queue.length === 0 || this.#closed) return;
    const pieces = this.#queue;
    this.#queue = [];
    this.socket.writeAll(pieces);
  }
}
