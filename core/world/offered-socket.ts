// Receiving into memory the reader offers, on a socket that is there already: one of TLS, above all, whose handle cannot be moved
// to another object as node-socket.ts does it. What Node keeps for its option `onread` is set afterwards. Of that nothing is
// documented, so a self-test tries it, and where it is different what is received is copied once more, out of memory that is made
// for every read, which costs more collecting of garbage than copying.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket as NodeSocket } from 'node:net';
import { OFFERED_OVERFLOW } from '../base/limits.ts';
import type { Socket, SocketSink } from '../base/world.ts';
import { BaseSocket, CopyingSocket } from './node-socket.ts';

const EMPTY: Buffer = Buffer.alloc(0);
/** Milliseconds the self-test may take. */
const PATIENCE = 2000;

/** What Node has of `onread`, under the names it gives these. */
interface Slots {
  /** The memory offered. */
  readonly buffer: symbol;
  /** Called with the bytes that are in it; false stops reading. */
  readonly callback: symbol;
  /** Asked for the next memory; undefined: the same again. */
  readonly next: symbol;
}

interface Handle {
  useUserBuffer(memory: Buffer): void;
}

function slotsOf(socket: NodeSocket): Slots | undefined {
  const all = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined => all.find(({ description }) => description === name);
  const [buffer, callback, next] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')];
  return buffer === undefined || callback === undefined || next === undefined ? undefined : { buffer, callback, next };
}

/** From now on `socket` asks `next` for memory before it reads, and tells `received` of it. False: that is not possible. */
function offer(
  socket: NodeSocket,
  next: () => Buffer | undefined,
  received: (bytes: number, memory: Buffer) => boolean,
): boolean {
  const slots = slotsOf(socket);
  const handle = (socket as unknown as { _handle: Partial<Handle> | null })._handle;
  const memory = next();
  if (slots === undefined || memory === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  const fields = socket as unknown as Record<symbol, unknown>;
  fields[slots.buffer] = memory;
  fields[slots.callback] = received;
  fields[slots.next] = next;
  handle.useUserBuffer(memory);
  return true;
}

/** A socket that receives into the sink's memory. */
export class OfferedSocket extends BaseSocket {
  #into: SocketSink | undefined;
  /** What came before start(), or while reading was stopped. */
  #rest = EMPTY;
  #isStopped = false;
  /** Where that goes. */
  #overflow = EMPTY;
  #offered = EMPTY;

  start(sink: SocketSink): void {
    const { socket } = this;
    this.#into = sink;
    this.adopt(socket, sink);
    if (socket.destroyed) return;
    // What has been decrypted together with the last word of the handshake.
    const early = socket.read() as Buffer | null;
    if (early !== null) this.#rest = early;
    const works = offer(
      socket,
      () => this.#next(),
      (bytes, memory) => this.#received(bytes, memory),
    );
    if (!works) throw new Error('this socket of Node is made in another way than its others');
    setImmediate(() => {
      this.#goOn();
    });
  }

  resume(): void {
    this.#isStopped = false;
    // Not from inside the caller: calls come from the event loop only.
    setImmediate(() => {
      this.#goOn();
    });
  }

  #goOn(): void {
    this.#deliver();
    if (!this.#isStopped) this.socket.resume();
  }

  /** Memory for the next read; undefined: the same as for the last one. */
  #next(): Buffer | undefined {
    const isDirect = !this.#isStopped && this.#rest.length === 0;
    if (!isDirect && this.#overflow.length === 0) this.#overflow = Buffer.allocUnsafeSlow(OFFERED_OVERFLOW);
    const next = isDirect ? (this.#into as SocketSink).buffer() : this.#overflow;
    if (next === this.#offered) return undefined;
    this.#offered = next;
    return next;
  }

  /** TLS goes on with what it has decrypted already when reading has been stopped. */
  #received(bytes: number, memory: Buffer): boolean {
    if (memory === this.#overflow) {
      this.#rest = Buffer.concat([this.#rest, memory.subarray(0, bytes)]);
      this.#deliver();
    } else if (!(this.#into as SocketSink).received(bytes)) this.#isStopped = true;
    return !this.#isStopped;
  }

  #deliver(): void {
    const sink = this.#into as SocketSink;
    while (this.#rest.length > 0 && !this.#isStopped && !this.socket.destroyed) {
      const bytes = this.#rest.copy(sink.buffer());
      this.#rest = this.#rest.subarray(bytes);
      if (!sink.received(bytes)) {
        this.#isStopped = true;
        this.socket.pause();
      }
    }
  }
}

let works: Promise<boolean> | undefined;

/** Whether an OfferedSocket works here. */
export function offeringWorks(): Promise<boolean> {
  works ??= selfTest().catch(() => false);
  return works;
}

/** The socket of a connection with TLS. `offered`: what offeringWorks() says. */
export function secureSocket(socket: NodeSocket, peerName: string, offered: boolean): Socket {
  return offered ? new OfferedSocket(socket, undefined, peerName) : new CopyingSocket(socket, undefined, peerName);
}

/** Receives two pieces, each into memory of its own, with a stop between them. */
async function selfTest(): Promise<boolean> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write('two'));
    socket.write('one');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  client.pause();
  let timer: NodeJS.Timeout | undefined;
  const run = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, PATIENCE, false);
    client.once('error', () => {
      resolve(false);
    });
    client.once('connect', () => {
      const memories = [Buffer.alloc(3), Buffer.alloc(3)];
      let asked = 0;
      let heard = '';
      const isOffered = offer(
        client,
        () => memories[asked++],
        (bytes, memory) => {
          if (memory !== memories[heard.length / 3] || bytes !== 3) resolve(false);
          heard += memory.toString('latin1');
          if (heard === 'onetwo') resolve(true);
          else {
            client.write('go on');
            setImmediate(() => client.resume());
          }
          return false;
        },
      );
      if (isOffered) client.resume();
      else resolve(false);
    });
  });
  try {
    return await run;
  } finally {
    clearTimeout(timer);
    client.destroy();
    server.close();
  }
}
