// What the link between two nodes could carry on this machine: the bytes one process sends another one over TLS, as the nodes of
// a cluster do, and nothing else. `node mirror-link.js SECONDS` prints a line of JSON.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { TlsIdentity } from '../../core/base/world.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';

export interface LinkSpeed {
  readonly bytesPerSecond: number;
}

const PIECE = 1_048_576;
const [what, port] = process.argv.slice(2);

/** Sends until it is ended. */
async function send(to: number, { ca, cert, key }: TlsIdentity): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: to, ca, cert, key, checkServerIdentity: () => undefined });
  socket.on('error', () => process.exit(0));
  await once(socket, 'secureConnect');
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
  return { bytesPerSecond };
}

if (what === 'send') {
  process.once('message', (identity) => {
    void send(Number(port), identity as TlsIdentity);
  });
} else {
  console.log(JSON.stringify(await receive(Number(what))));
}
