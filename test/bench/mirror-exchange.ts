// The least a second node can add to a read: how long two processes that do nothing else take over TLS, as the nodes of a cluster
// do, for as many bytes there and back as a forwarded 4 KiB READ and its answer. `node mirror-exchange.js SECONDS` prints a line of JSON.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsIdentity } from '../../core/base/world.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';

export interface Exchange {
  /** Median, in microseconds. */
  readonly exchangeUs: number;
}

/** Bytes of a forwarded READ, and of its answer: frame, header and data. */
const [QUESTION, ANSWER] = [75, 4_140];

/** Answers until it is ended. */
async function answer(port: number, { ca, cert, key }: TlsIdentity): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, ca, cert, key, checkServerIdentity: () => undefined });
  socket.on('error', () => process.exit(0));
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  const data = Buffer.alloc(ANSWER, 1);
  let asked = 0;
  socket.on('data', (got: Buffer) => {
    for (asked += got.length; asked >= QUESTION; asked -= QUESTION) socket.write(data);
  });
}

/** One exchange after the other, for so many seconds. */
function exchanges(socket: TLSSocket, seconds: number): Promise<number> {
  socket.setNoDelay(true);
  const question = Buffer.alloc(QUESTION, 2);
  const all: number[] = [];
  const end = performance.now() + seconds * 1000;
  let [from, heard] = [0, 0];
  return new Promise((resolve) => {
    const ask = (): void => {
      from = performance.now();
      socket.write(question);
    };
    socket.on('data', (data: Buffer) => {
      heard += data.length;
      if (heard < ANSWER) return;
      heard -= ANSWER;
      all.push((performance.now() - from) * 1000);
      if (performance.now() < end) ask();
      else resolve(all.sort((a, b) => a - b)[all.length >> 1] ?? 0);
    });
    ask();
  });
}

async function measure(seconds: number): Promise<Exchange> {
  const authority = clusterAuthority('bench');
  const { ca, cert, key } = authority.identity('server');
  const server = createServer({ ca, cert, key, requestCert: true, minVersion: 'TLSv1.3' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const peer = fork(process.argv[1] ?? '', ['answer', String(typeof address === 'object' ? address?.port : 0)]);
  peer.send(authority.identity('client'));
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  const exchangeUs = await exchanges(socket, seconds);
  socket.on('error', () => undefined);
  peer.kill();
  socket.destroy();
  server.close();
  return { exchangeUs };
}

const [what, port] = process.argv.slice(2);
if (what === 'answer') {
  process.once('message', (identity) => {
    void answer(Number(port), identity as TlsIdentity);
  });
} else {
  console.log(JSON.stringify(await measure(Number(what))));
}
