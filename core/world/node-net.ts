// Sockets of Node. The kernel writes what arrives straight into memory the reader offers: Node has an option for that
// (`onread`), but only for sockets it makes itself, so an accepted connection's handle is moved to such a socket. That
// touches one undocumented property; a self-test at start-up decides whether it works here, else data is copied once more.
// Sending is in direct-send.ts.
import { createServer, connect, Socket as NodeSocket } from 'node:net';
import type { AddressInfo, Server, SocketConstructorOpts } from 'node:net';
import { listenError } from '../base/host-port.ts';
import { SEND_REST_PATIENCE } from '../base/limits.ts';
import type { Listener, Net, Socket, SocketSink, TlsStart } from '../base/world.ts';
import { DirectSender, directSends, sendError } from './direct-send.ts';
import { connectTo, listenTls, startTls } from './node-connect.ts';
import { LinkAwake } from './link-awake.ts';
import { listenOnPath } from './node-path.ts';

/** The parts of Node's sockets and servers that have no types. */
interface Internals {
  _handle: unknown;
  _server: unknown;
  server: unknown;
}
const internals = (socket: NodeSocket): Internals => socket as unknown as Internals;

/** What sending past the stream needs; undefined: send through it. */
export type SendMeans = Awaited<ReturnType<typeof directSends>>;

/** Connections the kernel keeps for us while we are busy. */
const BACKLOG = 511;

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
    const { writableLength } = this.socket;
    return this.#direct === undefined ? writableLength : writableLength + this.#direct.pending;
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
    if (this.#requests === undefined) return;
    this.#direct = new DirectSender(socket, this.#requests, (status) => {
      if (socket.destroyed) return;
      if (status < 0) socket.destroy(sendError(status));
      else if (this.unsent === 0) sink.drained();
    });
  }

  write(data: Buffer, done?: () => void): void {
    const socket = this.socket;
    if (socket.destroyed || socket.writableEnded) {
      // Nobody will send it: the memory is free, though not while the caller is still at it.
      if (done !== undefined) setImmediate(done);
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
    if (socket.destroyed || socket.writableEnded) return;
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
    if (this.socket.destroyed || this.socket.writableEnded) return;
    // A peer that does not read must not keep the connection, and what is queued for it, for ever.
    const patience = setTimeout(() => {
      this.socket.destroy();
    }, SEND_REST_PATIENCE);
    this.socket.once('close', () => {
      clearTimeout(patience);
    });
    this.socket.end(() => {
      this.socket.destroy();
    });
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
  /** Of a link between nodes. */
  readonly #awake = this.peerName === undefined ? undefined : new LinkAwake();

  override writeAll(pieces: readonly Buffer[]): void {
    super.writeAll(pieces);
    this.#awake?.sent();
  }

  start(sink: SocketSink): void {
    this.#sink_ = sink;
    this.adopt(this.socket, sink);
    this.socket.on('data', (chunk: Buffer) => {
      this.#awake?.received();
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

/** How accepted sockets receive. `automatic` decides by a self-test. */
export type ReceiveMode = 'automatic' | 'direct' | 'copying';
/** How they send: past the stream of Node where a self-test says that it works, or always through it. */
export type SendMode = 'automatic' | 'stream';

/** The network of this machine. */
export async function nodeNet(mode: ReceiveMode = 'automatic', sending: SendMode = 'automatic'): Promise<Net> {
  const direct = mode === 'direct' || (mode === 'automatic' && (await directWorks()));
  const requests = sending === 'automatic' ? await directSends() : undefined;
  return {
    listen: (host, port, accepted, tls, refused) =>
      tls === undefined
        ? listen(host, port, accepted, direct, requests)
        : listenTls(host, port, accepted, tls, refused),
    listenPath: (path, mode, accepted) =>
      listenOnPath(path, mode, (socket) => {
        accepted(direct ? new DirectSocket(socket, requests) : new CopyingSocket(socket, requests));
      }),
    connect: (to, options) => connectTo(to, options, direct, requests),
  };
}

function listen(
  host: string,
  port: number,
  accepted: (socket: Socket) => void,
  direct: boolean,
  requests: SendMeans,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
      accepted(direct ? new DirectSocket(socket, requests) : new CopyingSocket(socket, requests));
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(listenError(error, 'portal', host, port));
    });
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.removeAllListeners('error');
      // Running out of file descriptors must not end the process.
      server.on('error', () => undefined);
      resolve(listenerOf(server));
    });
  });
}

/** A server that listens, as a Listener. */
export function listenerOf(server: Server): Listener {
  const { address, port } = server.address() as AddressInfo;
  return {
    address,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      }),
  };
}

/** An IPv4 address that arrived on an IPv6 socket, in its own form. */
export function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

/** Sends two pieces through a loopback connection with moved handle, with a stop between them. */
async function directWorks(): Promise<boolean> {
  let heard = '';
  const memory = Buffer.alloc(64);
  let finish: (works: boolean) => void = () => undefined;
  const result = new Promise<boolean>((resolve) => {
    finish = resolve;
  });
  const listener = await listen(
    '127.0.0.1',
    0,
    (socket) => {
      try {
        socket.start({
          buffer: () => memory,
          received: (bytes) => {
            heard += memory.toString('latin1', 0, bytes);
            if (heard === 'onetwo') socket.write(Buffer.from('ok'));
            return true;
          },
          drained: () => undefined,
          closed: () => undefined,
        });
      } catch {
        finish(false);
      }
    },
    true,
    undefined,
  ).catch(() => undefined);
  if (listener === undefined) return false;
  const client = connect({ host: '127.0.0.1', port: listener.port }, () => {
    client.write('one');
    setTimeout(() => client.write('two'), 5);
  });
  client.on('data', (data) => {
    finish(data.toString('latin1') === 'ok');
  });
  client.on('error', () => {
    finish(false);
  });
  const timer = setTimeout(() => {
    finish(false);
  }, 1000);
  const works = await result;
  clearTimeout(timer);
  client.destroy();
  await listener.close();
  return works;
}
