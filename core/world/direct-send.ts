// Sending past the stream of a Node socket: straight to its handle, which hands the bytes to the operating system in the same
// call. The stream would make a request object, a callback and a round of process.nextTick for every send, though nearly all
// of them are complete when they return; here one request object serves until a send has to wait. None of this is
// documented, so a self-test tries all that is used, and where anything is different sends go through the stream.
import { bytesOf } from '../base/bytes-of.ts';
import type { Gather } from '../base/gather.ts';
import { addressOf } from '../base/memory-address.ts';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { sharedGather, writeVector } from './gathered-send.ts';
import type { WriteVector } from './gathered-send.ts';

/** What the handle tells about a send that had to wait. It belongs to that send until `oncomplete` has been called. */
interface Request {
  oncomplete: ((status: number) => void) | undefined;
  /** Keeps what is being sent alive. */
  memory: unknown;
  getAsyncId(): number;
}

type RequestClass = new () => Request;

interface Handle {
  /** The number of the file; -1 once it is closed. */
  readonly fd: number;
  /** 0, or a negative error number. Takes hold of the request only when not everything could be sent at once. */
  writeBuffer(request: Request, data: Buffer): number;
  writev(request: Request, pieces: readonly Buffer[], allBuffers: true): number;
}

/** What a DirectSender is made of. */
export interface SendMeans {
  readonly requests: RequestClass;
  /** Undefined: a Gather cannot be sent. */
  readonly vectors: WriteVector | undefined;
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
  readonly #vectors: WriteVector | undefined;
  readonly #done: (status: number) => void;
  #request: Request;

  /** `done`: a send that had to wait is over, with 0 or a negative error number; called by the event loop. */
  constructor(socket: Socket, { requests, vectors }: SendMeans, done: (status: number) => void) {
    this.#handle = handleOf(socket);
    this.#requests = requests;
    this.#vectors = vectors;
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

  /** The gather whose content sendGathered() sends; undefined: it cannot. */
  get gather(): Gather | undefined {
    return this.#vectors === undefined ? undefined : sharedGather();
  }

  /** The same with what has been gathered. Allocation-free unless it has to wait. */
  sendGathered(gather: Gather): number {
    let sent = 0;
    // Behind what has to wait it waits, too. Errors are found again, and told, by the usual way.
    if (this.pending === 0 && this.#vectors !== undefined && gather.address !== undefined) {
      sent = Math.max(0, this.#vectors(this.#handle.fd, gather.address, gather.count));
    }
    return sent === gather.bytes ? 0 : this.sendAll(gather.rest(sent));
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

let learned: Promise<SendMeans | undefined> | undefined;

/** What DirectSender needs, or undefined where it does not work. */
export function directSends(): Promise<SendMeans | undefined> {
  learned ??= learn().catch(() => undefined);
  return learned;
}

async function learn(): Promise<SendMeans | undefined> {
  const vectors = await writeVector();
  const found = vectors === undefined ? undefined : await selfTest(vectors);
  return found ?? (await selfTest(undefined));
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
async function selfTest(vectors: WriteVector | undefined): Promise<SendMeans | undefined> {
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, PATIENCE, undefined);
  });
  let socket: Socket | undefined;
  const run = async (): Promise<SendMeans | undefined> => {
    socket = await accepted;
    const ends = [socket, client].map(
      (each) =>
        new Promise<undefined>((resolve) => {
          each.once('error', () => {
            resolve(undefined);
          });
        }),
    );
    return Promise.race([tryOut(socket, client, vectors), ...ends]);
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

async function tryOut(
  socket: Socket,
  client: Socket,
  vectors: WriteVector | undefined,
): Promise<SendMeans | undefined> {
  const requests = watchSend(socket, 'one');
  if (requests === undefined || new requests().getAsyncId() !== FREE) return undefined;
  let waited: number[] = [];
  let wake: () => void = () => undefined;
  const means = { requests, vectors };
  const sender = new DirectSender(socket, means, (status) => {
    waited.push(status);
    wake();
  });
  const pending = (): number => sender.pending;
  if (sender.send(Buffer.from('two')) !== 0) return undefined;
  if (sender.sendAll([Buffer.from('three'), Buffer.from('four')]) !== 0 || pending() !== 0) return undefined;
  if (vectors !== undefined && !triesVector(socket, vectors)) return undefined;
  const piece = Buffer.alloc(PIECE, '.');
  let pieces = 0;
  // Nobody reads: at some time a send has to wait, and another one behind it.
  while (pending() <= PIECE) {
    if (pieces++ === MAX_PIECES || sender.send(piece) !== 0) return undefined;
  }
  const expected = vectors === undefined ? 'onetwothreefour' : 'onetwothreefourfivesix';
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
  return works && sender.send(piece) < 0 ? means : undefined;
}

/** Sends 'fivesix' in two pieces; true when all of it went at once. */
function triesVector(socket: Socket, vectors: WriteVector): boolean {
  const gather = sharedGather();
  const memory = Buffer.from('sixfive');
  const address = addressOf(memory);
  if (address === undefined || gather.address === undefined) return false;
  gather.add(memory, address, 3, 4);
  gather.add(memory, address, 0, 3);
  const sent = vectors(handleOf(socket).fd, gather.address, gather.count);
  const all = gather.bytes;
  gather.clear();
  return sent === all;
}
