// What the link between two nodes could carry on this machine: the bytes one process sends another one over TLS, as the nodes of
// a cluster do, and nothing else. `node mirror-link.js SECONDS` prints a line of JSON. `node mirror-link.js SECONDS FROM TO`: what
// is sent is read from one file, and what is received counts when it is stable in another one, both full: the least that a copy
// from disk to disk takes of the processors.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fdatasync, fstatSync, openSync, read, write } from 'node:fs';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsIdentity } from '../../core/base/world.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';

export interface LinkSpeed {
  readonly bytesPerSecond: number;
}

const PIECE = 1_048_576;
/** Pieces that are being read, or are not stable yet. */
const PARALLEL = 12;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends until it is ended. */
async function send(port: number, { ca, cert, key }: TlsIdentity, from: string | undefined): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, ca, cert, key, checkServerIdentity: () => undefined });
  socket.on('error', () => process.exit(0));
  await once(socket, 'secureConnect');
  if (from === undefined) {
    const piece = Buffer.alloc(PIECE, 1);
    for (;;) if (!socket.write(piece)) await once(socket, 'drain');
  }
  const file = openSync(from, 'r');
  const pieces = Math.floor(fstatSync(file).size / PIECE);
  let next = 0;
  const sendNext = (memory: Buffer): void => {
    read(file, memory, 0, PIECE, (next++ % pieces) * PIECE, (error) => {
      if (error !== null) throw error;
      socket.write(memory, () => {
        sendNext(memory);
      });
    });
  };
  for (let i = 0; i < PARALLEL; i++) sendNext(Buffer.allocUnsafeSlow(PIECE));
}

/** Writes pieces, and makes stable what has been written meanwhile, together. */
class Keeper {
  readonly #file: number;
  readonly #pieces: number;
  readonly #free: Buffer[] = Array.from({ length: 2 * PARALLEL }, () => Buffer.allocUnsafeSlow(PIECE));
  #next = 0;
  #written = 0;
  #syncing = false;
  stable = 0;

  constructor(file: string) {
    this.#file = openSync(file, 'r+');
    this.#pieces = Math.floor(fstatSync(this.#file).size / PIECE);
  }

  /** Memory for a piece; undefined: enough is under way. */
  get memory(): Buffer | undefined {
    return this.#free.pop();
  }

  keep(piece: Buffer, more: () => void): void {
    write(this.#file, piece, 0, PIECE, (this.#next++ % this.#pieces) * PIECE, (error) => {
      if (error !== null) throw error;
      this.#free.push(piece);
      this.#written++;
      this.#sync();
      more();
    });
  }

  #sync(): void {
    if (this.#syncing || this.#written === 0) return;
    this.#syncing = true;
    const count = this.#written;
    this.#written = 0;
    fdatasync(this.#file, (error) => {
      if (error !== null) throw error;
      this.#syncing = false;
      this.stable += count * PIECE;
      this.#sync();
    });
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Counts what comes, or what is stable of it. */
function counter(socket: TLSSocket, to: string | undefined): () => number {
  let bytes = 0;
  if (to === undefined) {
    socket.on('data', (data: Buffer) => (bytes += data.length));
    return () => bytes;
  }
  const keeper = new Keeper(to);
  let memory = keeper.memory;
  let filled = 0;
  const take = (data: Buffer): void => {
    for (let at = 0; at < data.length;) {
      memory ??= keeper.memory;
      if (memory === undefined) {
        socket.pause();
        socket.unshift(data.subarray(at));
        return;
      }
      const copied = data.copy(memory, filled, at);
      at += copied;
      filled += copied;
      if (filled < PIECE) continue;
      keeper.keep(memory, () => socket.resume());
      memory = undefined;
      filled = 0;
    }
  };
  socket.on('data', take);
  socket.once('close', () => {
    keeper.close();
  });
  return () => keeper.stable;
}

async function receive(seconds: number, from: string | undefined, to: string | undefined): Promise<LinkSpeed> {
  const authority = clusterAuthority('bench');
  const own = authority.identity('server');
  const server = createServer({ ca: own.ca, cert: own.cert, key: own.key, requestCert: true, minVersion: 'TLSv1.3' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = String(typeof address === 'object' ? address?.port : 0);
  const sender = fork(process.argv[1] ?? '', ['send', port, ...(from === undefined ? [] : [from])]);
  sender.send(authority.identity('client'));
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  socket.on('error', () => undefined);
  const count = counter(socket, to);
  // The windows of TCP open first.
  await sleep(300);
  const [before, start] = [count(), performance.now()];
  await sleep(seconds * 1000);
  const bytesPerSecond = (count() - before) / ((performance.now() - start) / 1000);
  sender.kill();
  server.close();
  return { bytesPerSecond };
}

const [what, second, third] = process.argv.slice(2);
if (what === 'send') {
  process.once('message', (identity) => {
    void send(Number(second), identity as TlsIdentity, third);
  });
} else {
  console.log(JSON.stringify(await receive(Number(what), second, third)));
  // What is still on its way to the disk is of no use.
  process.exit(0);
}
