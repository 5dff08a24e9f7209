// One connection between two nodes: who opened it asks, the other one answers. What is sent in one turn leaves in one call.
import type { Clock, Socket, SocketSink } from '../../base/world.ts';
import { FrameReader, frameHead } from '../wire/frame.ts';
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

  /** Queues a frame. The pieces must not change until they are sent: until it is answered, for a request. */
  send(type: number, flags: number, id: number, header: Buffer, payload: readonly Buffer[]): void {
    if (this.#closed) return;
    const head = frameHead(type, flags, id, this.#sent, header, payload);
    this.#sent = (this.#sent + 1) >>> 0;
    if (this.#queue.length === 0) {
      this.#clock.soon(() => {
        this.#flush();
      });
    }
    this.#queue.push(head, ...payload);
  }

  resume(): void {
    if (!this.#goOn) this.socket.resume();
    this.#goOn = true;
  }

  destroy(reason: string): void {
    this.socket.destroy(reason);
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
    if (this.#queue.length === 0 || this.#closed) return;
    const pieces = this.#queue;
    this.#queue = [];
    this.socket.writeAll(pieces);
  }
}
