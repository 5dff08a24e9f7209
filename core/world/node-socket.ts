// Sockets of Node. The kernel writes what arrives straight into memory the reader offers: Node has an option for that
// (`onread`), but only for sockets it makes itself, so an accepted connection's handle is moved to such a socket. That
// touches one undocumented property; a self-test at start-up (node-net.ts) decides whether it works here, else data is copied
// once more. Sending is in direct-send.ts.
import { Socket as NodeSocket } from 'node:net';
import type { SocketConstructorOpts } from 'node:net';
import { SEND_REST_PATIENCE } from '../base/limits.ts';
import type { Gather } from '../base/gather.ts';
import type { Socket, SocketSink, TlsStart } from '../base/world.ts';
import { DirectSender, sendError } from './direct-send.ts';
import type { SendMeans as Means } from './direct-send.ts';
import { startTls } from './node-tls.ts';
import { PieceLine } from './piece-line.ts';

/** The parts of Node's sockets and servers that have no types. */
interface Internals {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}
const internals = (socket: NodeSocket): Internals => socket as unknown as Internals;

/** What sending past the stream needs; undefined: send through it. */
export type SendMeans = Means | undefined;

export abstract class BaseSocket implements Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly peerName: string | undefined;
  protected socket: NodeSocket;
  /** True while drained() is sure to come. */
  #watched = false;
  /** The last piece of a writeAll() has been sent, or never will be. */
  readonly #sent = (): void => {
    if (!this.socket.destroyed && this.unsent === 0) this.#sink?.drained();
  };
  #reason: string | undefined;
  #sink: SocketSink | undefined;
  readonly #requests: SendMeans;
  #direct: DirectSender | undefined;
  /** Set with TLS. */
  #line: PieceLine | undefined;
  #isEnding = false;

  constructor(accepted: NodeSocket, requests: SendMeans, peerName?: string) {
    this.#requests = requests;
    this.peerName = peerName;
    this.socket = accepted;
    this.remoteAddress = plain(accepted.remoteAddress);
    this.remotePort = accepted.remotePort ?? 0;
    this.localAddress = plain(accepted.localAddress);
    this.localPort = accepted.localPort ?? 0;
    // Until start() an error must not become an exception of the process.
    accepted.on('error', (error) => {
      this.#reason ??= error.message;
    });
  }

  abstract start(sink: SocketSink): void;
  abstract resume(): void;

  get unsent(): number {
    return this.socket.writableLength + (this.#direct?.pending ?? 0) + (this.#line?.bytes ?? 0);
  }

  protected adopt(socket: NodeSocket, sink: SocketSink): void {
    this.socket = socket;
    if (socket.closed) {
      setImmediate(() => {
        sink.closed(this.#reason ?? 'closed by the peer');
      });
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    socket.on('error', (error) => {
      this.#reason ??= error.message;
    });
    socket.on('close', () => {
      sink.closed(this.#reason ?? 'closed by the peer');
    });
    socket.on('end', () => {
      // The peer sends nothing more; iSCSI has no use for half a connection.
      socket.destroy();
    });
    socket.on('drain', () => {
      sink.drained();
    });
    this.#sink = sink;
    if (this.peerName !== undefined) this.#line = new PieceLine(socket, this.#sent);
    if (this.#requests === undefined) return;
    this.#direct = new DirectSender(socket, this.#requests, (status) => {
      if (socket.destroyed) return;
      if (status < 0) socket.destroy(sendError(status));
      else if (this.unsent === 0) sink.drained();
    });
  }

  write(data: Buffer, done?: () => void): void {
    const socket = this.socket;
    if (socket.destroyed || socket.writableEnded || this.#isEnding) {
      // Nobody will send it: the memory is free, though not while the caller is still at it.
      if (done !== undefined) setImmediate(done);
      return;
    }
    if (this.#line?.takes([data]) === true) {
      this.#line.add([data], done);
      return;
    }
    const direct = this.#direct;
    // What the stream has queued goes first.
    if (direct !== undefined && done === undefined && socket.writableLength === 0) {
      const status = direct.send(data);
      if (status < 0) socket.destroy(sendError(status));
      return;
    }
    if (done === undefined) socket.write(data);
    else
      socket.write(data, () => {
        done();
      });
    this.#watch();
  }

  writeAll(pieces: readonly Buffer[]): void {
    const socket = this.socket;
    if (socket.destroyed || socket.writableEnded || this.#isEnding) return;
    if (this.#line?.takes(pieces) === true) {
      this.#line.add(pieces, undefined);
      return;
    }
    const direct = this.#direct;
    if (direct !== undefined && socket.writableLength === 0) {
      const status = direct.sendAll(pieces);
      if (status < 0) socket.destroy(sendError(status));
      return;
    }
    socket.cork();
    const last = pieces.length - 1;
    for (let i = 0; i < last; i++) socket.write(pieces[i] as Buffer);
    // Who hears of the last piece needs no empty write behind it, which with TLS costs as much as one with data.
    if (last >= 0) socket.write(pieces[last] as Buffer, this.#sent);
    socket.uncork();
  }

  get gather(): Gather | undefined {
    return this.#direct?.gather;
  }

  sendGathered(gather: Gather): void {
    const socket = this.socket;
    if (socket.destroyed || socket.writableEnded) return;
    const direct = this.#direct;
    if (direct === undefined || socket.writableLength > 0) {
      this.writeAll(gather.rest(0));
      return;
    }
    const status = direct.sendGathered(gather);
    if (status < 0) socket.destroy(sendError(status));
  }

  /** Below the high-water mark Node announces no 'drain': an empty write behind the rest does. */
  #watch(): void {
    const socket = this.socket;
    if (this.#watched || socket.writableLength === 0 || socket.writableNeedDrain || socket.writableEnded) return;
    this.#watched = true;
    socket.write(EMPTY, () => {
      this.#watched = false;
      if (socket.destroyed) return;
      // What was written behind the empty write has nobody else who tells of it.
      if (socket.writableLength > 0) this.#watch();
      else if (this.unsent === 0) this.#sink?.drained();
    });
  }

  end(): void {
    this.#reason ??= 'closed by us';
    if (this.socket.destroyed || this.socket.writableEnded || this.#isEnding) return;
    this.#isEnding = true;
    // A peer that does not read must not keep the connection, and what is queued for it, for ever.
    const patience = setTimeout(() => {
      this.socket.destroy();
    }, SEND_REST_PATIENCE);
    this.socket.once('close', () => {
      clearTimeout(patience);
    });
    const end = (): void => {
      this.socket.end(() => {
        this.socket.destroy();
      });
    };
    if (this.#line === undefined) end();
    else this.#line.whenEmpty(end);
  }

  destroy(reason?: string): void {
    this.#reason ??= reason ?? 'closed by us';
    this.socket.destroy();
  }

  async secure(tls: TlsStart): Promise<Socket> {
    const socket = this.socket;
    // From here on everything that happens is TLS's business.
    for (const event of ['error', 'close', 'end', 'drain', 'data']) socket.removeAllListeners(event);
    this.#sink = undefined;
    this.#direct = undefined;
    const { secured, peerName } = await startTls(socket, tls);
    return new CopyingSocket(secured, undefined, peerName);
  }
}

const EMPTY = Buffer.alloc(0);

/** Receives into the sink's memory. */
export class DirectSocket extends BaseSocket {
  start(sink: SocketSink): void {
    const accepted = this.socket;
    if (accepted.destroyed) {
      this.adopt(accepted, sink);
      return;
    }
    const from = internals(accepted);
    let last: Buffer | undefined;
    const options = {
      handle: from._handle,
      onread: {
        // Asked after every read; no answer means the same memory again.
        buffer: () => {
          const next = sink.buffer();
          if (next === last) return undefined;
          last = next;
          return next;
        },
        callback: (bytes: number) => sink.received(bytes),
      },
    };
    const server = from._server;
    // The old object must not close the handle, and the server must go on counting this connection.
    from._handle = null;
    from._server = null;
    from.server = null;
    const socket = new NodeSocket(options as unknown as SocketConstructorOpts);
    internals(socket)._server = server;
    internals(socket).server = server;
    this.adopt(socket, sink);
  }

  resume(): void {
    this.socket.resume();
  }
}

/** Receives through 'data' events and copies. */
export class CopyingSocket extends BaseSocket {
  #sink_: SocketSink | undefined;
  /** What arrived while reading was stopped. */
  #rest: Buffer = EMPTY;
  #stopped = false;

  start(sink: SocketSink): void {
    this.#sink_ = sink;
    this.adopt(this.socket, sink);
    this.socket.on('data', (chunk: Buffer) => {
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      this.#deliver();
    });
    this.socket.resume();
  }

  resume(): void {
    this.#stopped = false;
    // Not from inside the caller: calls come from the event loop only.
    setImmediate(() => {
      this.#deliver();
      if (!this.#stopped) this.socket.resume();
    });
  }

  #deliver(): void {
    const sink = this.#sink_;
    while (sink !== undefined && this.#rest.length > 0 && !this.#stopped && !this.socket.destroyed) {
      const bytes = this.#rest.copy(sink.buffer());
      this.#rest = this.#rest.subarray(bytes);
      if (sink.received(bytes)) continue;
      this.#stopped = true;
      this.socket.pause();
    }
  }
}

/** An IPv4 address that arrived on an IPv6 socket, in its own form. */
export function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
