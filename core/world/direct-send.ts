// Sending past the stream of a Node socket: straight to its handle, which hands the bytes to the operating system in the same
// call. The stream would make a request object, a callback and a round of process.nextTick for every send, though nearly all
// of them are complete when they return; here one request object serves until a send has to wait. None of this is
// documented, so a self-test tries all that is used, and where anything is different sends go through the stream.
import { bytesOf } from '../base/bytes-of.ts';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';

/** What the handle tells about a send that had to wait. It belongs to that send until `oncomplete` has been called. */
interface Request {
  oncomplete: ((status: number) => void) | undefined;
  /** Keeps what is being sent alive. */
  memory: unknown;
  getAsyncId(): number;
}

type RequestClass = new () => Request;

interface Handle {
  /** 0, or a negative error number. Takes hold of the request only when not everything could be sent at once. */
  writeBuffer(request: Request, data: Buffer): number;
  writev(request: Request, pieces: readonly Buffer[], allBuffers: true): number;
}

/** The id of a request that no send has hold of. */
const FREE = -1;
/** The self-test fills a connection up with pieces of so many bytes; this many do not fit into any. */
const PIECE = 1_048_576;
const MAX_PIECES = 256;
/** Milliseconds the self-test may take. */
const PATIENCE = 2000;

const handleOf = (socket: Socket): Handle => (socket as unknown as { _handle: Handle })._handle;

export class DirectSender {
  /** Bytes sent that the operating system has not taken. */
  pending = 0;
  readonly #handle: Handle;
  readonly #requests: RequestClass;
  readonly #done: (status: number) => void;
  #request: Request;

  /** `done`: a send that had to wait is over, with 0 or a negative error number; called by the event loop. */
  constructor(socket: Socket, requests: RequestClass, done: (status: number) => void) {
    this.#handle = handleOf(socket);
    this.#requests = requests;
    this.#done = done;
    this.#request = new requests();
  }

  /** 0, or a negative error number. `data` must not change while it is pending. Allocation-free unless it has to wait. */
  send(data: Buffer): number {
    const request = this.#request;
    const status = this.#handle.writeBuffer(request, data);
    if (request.getAsyncId() !== FREE) this.#wait(request, data, data.length);
    return status;
  }

  /** The same with several pieces in one system call. */
  sendAll(pieces: readonly Buffer[]): number {
    const request = this.#request;
    const status = this.#handle.writev(request, pieces, true);
    if (request.getAsyncId() !== FREE) {
      this.#wait(request, pieces, bytesOf(pieces));
    }
    return status;
  }

  #wait(request: Request, memory: unknown, bytes: number): void {
    this.pending += bytes;
    request.memory = memory;
    request.oncomplete = (status) => {
      request.memory = undefined;
      this.pending -= bytes;
      this.#done(status);
    };
    // A request that is in use would end the process if it were used again.
    this.#request = new this.#requests();
  }
}

/** What `done` and send() say, as an error of the socket. */
export function sendError(status: number): Error {
  return new Error(`write ${getSystemErrorName(status)}`);
}

let learned: Promise<RequestClass | undefined> | undefined;

/** What DirectSender needs, or undefined where it does not work. */
export function directSends(): Promise<RequestClass | undefined> {
  learned ??= selfTest().catch(() => undefined);
  return learned;
}

/** The class of the request that the socket makes to send `data`. */
function watchSend(socket: Socket, data: string): RequestClass | undefined {
  const handle = handleOf(socket);
  const own = handle as Partial<Handle>;
  let found: RequestClass | undefined;
  // Shadows the method of the prototype for one call.
  own.writeBuffer = (request, sent) => {
    found = request.constructor as RequestClass;
    delete own.writeBuffer;
    return handle.writeBuffer(request, sent);
  };
  socket.write(Buffer.from(data));
  delete own.writeBuffer;
  return found;
}

/** Sends one buffer, several, and so much that it has to wait, through a loopback connection. */
async function selfTest(): Promise<RequestClass | undefined> {
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, PATIENCE, undefined);
  });
  let socket: Socket | undefined;
  const run = async (): Promise<RequestClass | undefined> => {
    socket = await accepted;
    const ends = [socket, client].map(
      (each) =>
        new Promise<undefined>((resolve) => {
          each.once('error', () => {
            resolve(undefined);
          });
        }),
    );
    return Promise.race([tryOut(socket, client), ...ends]);
  };
  try {
    return await Promise.race([run(), patience]);
  } finally {
    clearTimeout(timer);
    socket?.destroy();
    client.destroy();
    server.close();
  }
}

async function tryOut(socket: Socket, client: Socket): Promise<RequestClass | undefined> {
  const requests = watchSend(socket, 'one');
  if (requests === undefined || new requests().getAsyncId() !== FREE) return undefined;
  let waited: number[] = [];
  let wake: () => void = () => undefined;
  const sender = new DirectSender(socket, requests, (status) => {
    waited.push(status);
    wake();
  });
  const pending = (): number => sender.pending;
  if (sender.send(Buffer.from('two')) !== 0) return undefined;
  if (sender.sendAll([Buffer.from('three'), Buffer.from('four')]) !== 0 || pending() !== 0) return undefined;
  const piece = Buffer.alloc(PIECE, '.');
  let pieces = 0;
  // Nobody reads: at some time a send has to wait, and another one behind it.
  while (pending() <= PIECE) {
    if (pieces++ === MAX_PIECES || sender.send(piece) !== 0) return undefined;
  }
  const expected = 'onetwothreefour';
  let head = '';
  let bytes = 0;
  client.on('data', (data) => {
    if (head.length < expected.length) head += data.toString('latin1', 0, expected.length - head.length);
    bytes += data.length;
    wake();
  });
  const all = expected.length + pieces * PIECE;
  while (pending() > 0 || bytes < all) await new Promise<void>((resolve) => (wake = resolve));
  const works = head === expected && waited.length === 2 && waited.every((status) => status === 0);
  // A closed handle says so.
  waited = [];
  socket.destroy();
  return works && sender.send(piece) < 0 ? requests : undefined;
}
