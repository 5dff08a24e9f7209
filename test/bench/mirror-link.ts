// What the link between two nodes could carry on this machine: the bytes one process sends another one over TLS, as the nodes of
// a cluster do, and nothing else; and how long an exchange takes of as much as a forwarded 4 KiB READ and its answer.
// `node mirror-link.js SECONDS` prints a line of JSON.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsIdentity } from '../../core/base/world.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';

export interface LinkSpeed {
  readonly bytesPerSecond: number;
  /** Median of an exchange, one at a time, microseconds. */
  readonly exchangeUs: number;
}

const PIECE = 1_048_576;
/** Bytes of a forwarded READ, and of its answer: frame, header and data. */
const [QUESTION, ANSWER] = [75, 4_140];
const [what, port] = process.argv.slice(2);

/** Answers questions, as many as come in a second, then sends until it is ended. */
async function send(to: number, { ca, cert, key }: TlsIdentity): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: to, ca, cert, key, checkServerIdentity: () => undefined });
  socket.on('error', () => process.exit(0));
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  const answer = Buffer.alloc(ANSWER, 1);
  let asked = 0;
  const reply = (data: Buffer): void => {
    for (asked += data.length; asked >= QUESTION; asked -= QUESTION) socket.write(answer);
  };
  socket.on('data', reply);
  await once(process, 'message');
  socket.off('data', reply);
  const piece = Buffer.alloc(PIECE, 1);
  for (;;) if (!socket.write(piece)) await once(socket, 'drain');
}

async function receive(seconds: number): Promise<LinkSpeed> {
  const authority = clusterAuthority('bench');
  const own = authority.identity('server');
  const server = createServer({ ca: own.ca, cert: own.cert, key: own.key, requestCert: true, minVersion: 'TLSv1.3' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const sender = fork(process.argv[1] ?? '', ['send', String(typeof address === 'object' ? address?.port : 0)]);
  sender.send(authority.identity('client'));
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  const exchangeUs = await exchanges(socket);
  sender.send('send');
  let bytes = 0;
  socket.on('data', (data: Buffer) => (bytes += data.length));
  socket.on('error', () => undefined);
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  // The windows of TCP open first.
  await sleep(300);
  const [before, start] = [bytes, performance.now()];
  await sleep(seconds * 1000);
  const bytesPerSecond = (bytes - before) / ((performance.now() - start) / 1000);
  sender.kill();
  socket.destroy();
  server.close();
  return { bytesPerSecond, exchangeUs };
}

/** Exchanges for a second, one after the other. */
function exchanges(socket: TLSSocket): Promise<number> {
  socket.setNoDelay(true);
  const question = Buffer.alloc(QUESTION, 2);
  const all: number[] = [];
  const end = performance.now() + 1000;
  let [from, heard] = [0, 0];
  return new Promise((resolve) => {
    const ask = (): void => {
      from = performance.now();
      socket.write(question);
    };
    const listen = (data: Buffer): void => {
      heard += data.length;
      if (heard < ANSWER) return;
      heard -= ANSWER;
      all.push((performance.now() - from) * 1000);
      if (performance.now() < end) {
        ask();
        return;
      }
      socket.off('data', listen);
      resolve(all.sort((a, b) => a - b)[all.length >> 1] ?? 0);
    };
    socket.on('data', listen);
    ask();
  });
}

if (what === 'send') {
  process.once('message', (identity) => {
    void send(Number(port), identity as TlsIdentity);
  });
} else {
  console.log(JSON.stringify(await receive(Number(what))));
}
