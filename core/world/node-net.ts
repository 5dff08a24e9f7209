// The network of this machine: who listens, and which way sockets receive and send here.
import { createServer, connect } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { listenError } from '../base/host-port.ts';
import type { Listener, Net, Socket } from '../base/world.ts';
import { directSends } from './direct-send.ts';
import { connectTo, listenTls } from './node-connect.ts';
import { listenOnPath } from './node-path.ts';
import { CopyingSocket, DirectSocket } from './node-socket.ts';
import type { SendMeans } from './node-socket.ts';
import { offeringWorks } from './offered-socket.ts';

/** Connections the kernel keeps for us while we are busy. */
const BACKLOG = 511;

/** How accepted sockets receive. `automatic` decides by a self-test. */
export type ReceiveMode = 'automatic' | 'direct' | 'copying';
/** How they send: past the stream of Node where a self-test says that it works, or always through it. */
export type SendMode = 'automatic' | 'stream';

/** The network of this machine. */
export async function nodeNet(mode: ReceiveMode = 'automatic', sending: SendMode = 'automatic'): Promise<Net> {
  const direct = mode === 'direct' || (mode === 'automatic' && (await directWorks()));
  const offered = mode !== 'copying' && (await offeringWorks());
  const requests = sending === 'automatic' ? await directSends() : undefined;
  return {
    listen: (host, port, accepted, tls, refused) =>
      tls === undefined
        ? listen(host, port, accepted, direct, requests)
        : listenTls(host, port, accepted, tls, refused, offered),
    listenPath: (path, mode, accepted) =>
      listenOnPath(path, mode, (socket) => {
        accepted(direct ? new DirectSocket(socket, requests) : new CopyingSocket(socket, requests));
      }),
    connect: (to, options) => connectTo(to, options, { direct, offered, requests }),
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
