// Connections to other machines, and those of the nodes of a cluster, with TLS.
import { connect } from 'node:net';
import type { NetConnectOpts, Socket as NodeSocket } from 'node:net';
import { connect as connectTls, createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { ServiceError, messageOf } from '../base/errors.ts';
import { formatHostPort, listenError } from '../base/host-port.ts';
import { PEER_CONNECT_TIMEOUT } from '../base/limits.ts';
import type { ConnectOptions, Destination, Listener, Socket, TlsIdentity } from '../base/world.ts';
import { listenerOf } from './node-net.ts';
import { CopyingSocket, DirectSocket, plain } from './node-socket.ts';
import type { SendMeans } from './node-socket.ts';
import { commonName, tlsOptions } from './node-tls.ts';
import { secureSocket } from './offered-socket.ts';

/** How sockets receive and send here: plain ones directly, those of TLS into memory that is offered. */
export interface SocketWays {
  readonly direct: boolean;
  readonly offered: boolean;
  readonly requests: SendMeans;
}

const nameOf = (to: Destination): string => ('path' in to ? to.path : formatHostPort(to.host, to.port));

/** Net.connect of this machine. */
export function connectTo(to: Destination, options: ConnectOptions, ways: SocketWays): Promise<Socket> {
  const { tls, timeout } = options;
  return new Promise((resolve, reject) => {
    const where: NetConnectOpts = 'path' in to ? { path: to.path } : { host: to.host, port: to.port, noDelay: true };
    const socket = tls === undefined ? connect(where) : connectTls({ ...where, ...tlsOptions(tls, tls.expect) });
    // Nothing may be read before start(): what the old object of a moved handle has read would be lost.
    if (tls === undefined) socket.pause();
    const timer = setTimeout(() => {
      fail(new ServiceError('peer-unreachable', `${nameOf(to)}: no answer within ${String(timeout)} ms`));
    }, timeout);
    const fail = (error: ServiceError): void => {
      clearTimeout(timer);
      // What the dying socket still has to say is of no interest, but must not end the process.
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const failed = (error: NodeJS.ErrnoException): void => {
      fail(connectError(error, to, tls !== undefined));
    };
    const closed = (): void => {
      fail(new ServiceError('peer-unreachable', `${nameOf(to)}: closed by the peer`));
    };
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer);
      socket.off('close', closed);
      const made = wrapped(socket, tls?.expect, ways);
      socket.off('error', failed);
      resolve(made);
    });
  });
}

function wrapped(socket: NodeSocket, peerName: string | undefined, { direct, offered, requests }: SocketWays): Socket {
  // What TLS encrypts goes through its stream.
  if (peerName !== undefined) return secureSocket(socket, peerName, offered);
  return direct ? new DirectSocket(socket, requests) : new CopyingSocket(socket, requests);
}

/** Errors of the operating system are about the way there; everything else is what TLS thinks of the peer. */
function connectError(error: NodeJS.ErrnoException, to: Destination, tls: boolean): ServiceError {
  const text = `${nameOf(to)}: ${messageOf(error)}`;
  const trust = tls && error.syscall === undefined && error.code !== 'ECONNRESET';
  return new ServiceError(trust ? 'peer-untrusted' : 'peer-unreachable', text, { cause: error });
}

/** Net.listen with TLS. `offered`: SocketWays. */
export function listenTls(
  host: string,
  port: number,
  accepted: (socket: Socket) => void,
  { ca, cert, key }: TlsIdentity,
  refused: (address: string, why: string) => void = () => undefined,
  offered = false,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const options = {
      ...{ ca, cert, key },
      requestCert: true,
      minVersion: 'TLSv1.3' as const,
      handshakeTimeout: PEER_CONNECT_TIMEOUT,
      noDelay: true,
    };
    const server = createServer(options, (socket: TLSSocket) => {
      const name = commonName(socket.getPeerCertificate());
      if (name === undefined) socket.destroy();
      else accepted(secureSocket(socket, name, offered));
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(listenError(error, 'peer port', host, port));
    });
    // Whoever fails the handshake is gone by then; a socket that breaks during it must not end the process.
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // A certificate of another authority ends the connection without an error of its own.
      const { remoteAddress = 'an address no longer known' } = socket;
      const named: unknown = socket.authorizationError;
      refused(plain(remoteAddress), typeof named === 'string' ? named : (error.code ?? error.message));
      socket.destroy();
    });
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined);
      resolve(listenerOf(server));
    });
  });
}
