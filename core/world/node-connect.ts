// Connections to other machines, and TLS between the nodes of a cluster (RFC 8446): both sides show a certificate of the
// cluster's authority, and the name in it says which node it is. Addresses say nothing: they change and are shared.
import { connect } from 'node:net';
import type { NetConnectOpts, Socket as NodeSocket } from 'node:net';
import { connect as connectTls, createServer } from 'node:tls';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { ServiceError, messageOf } from '../base/errors.ts';
import { formatHostPort, listenError } from '../base/host-port.ts';
import { PEER_CONNECT_TIMEOUT } from '../base/limits.ts';
import type { ConnectOptions, Destination, Listener, Socket, TlsIdentity, TlsStart } from '../base/world.ts';
import { CopyingSocket, DirectSocket, listenerOf, plain } from './node-net.ts';
import type { SendMeans } from './node-net.ts';

const nameOf = (to: Destination): string => ('path' in to ? to.path : formatHostPort(to.host, to.port));

/** Net.connect of this machine. `direct` and `requests`: how plain sockets receive and send here. */
export function connectTo(
  to: Destination,
  options: ConnectOptions,
  direct: boolean,
  requests: SendMeans,
): Promise<Socket> {
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
      const made = wrapped(socket, tls?.expect, direct, requests);
      socket.off('error', failed);
      resolve(made);
    });
  });
}

function wrapped(socket: NodeSocket, peerName: string | undefined, direct: boolean, requests: SendMeans): Socket {
  // What TLS decrypts comes from its stream only, and goes through it.
  if (peerName !== undefined) return new CopyingSocket(socket, undefined, peerName);
  return direct ? new DirectSocket(socket, requests) : new CopyingSocket(socket, requests);
}

function tlsOptions({ ca, cert, key }: TlsIdentity, expect: string) {
  return {
    ...{ ca, cert, key },
    minVersion: 'TLSv1.3' as const,
    // The chain has been verified when this is asked.
    checkServerIdentity: (_: string, peer: PeerCertificate): Error | undefined =>
      commonName(peer) === expect ? undefined : new Error(`the certificate is not that of ${expect}`),
  };
}

const commonName = (certificate: PeerCertificate): string | undefined => {
  // Of several names, or of none, nobody knows whose it is. An empty object stands for no certificate.
  const name: unknown = (certificate as Partial<PeerCertificate>).subject?.CN;
  return typeof name === 'string' && name !== '' ? name : undefined;
};

/** Errors of the operating system are about the way there; everything else is what TLS thinks of the peer. */
function connectError(error: NodeJS.ErrnoException, to: Destination, tls: boolean): ServiceError {
  const text = `${nameOf(to)}: ${messageOf(error)}`;
  const trust = tls && error.syscall === undefined && error.code !== 'ECONNRESET';
  return new ServiceError(trust ? 'peer-untrusted' : 'peer-unreachable', text, { cause: error });
}

/** Net.listen with TLS. */
export function listenTls(
  host: string,
  port: number,
  accepted: (socket: Socket) => void,
  { ca, cert, key }: TlsIdentity,
  refused: (address: string, why: string) => void = () => undefined,
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
      else accepted(new CopyingSocket(socket, undefined, name));
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

/** TLS on a socket that has spoken in plain text. Rejects with a ServiceError peer-untrusted. */
export function startTls(socket: NodeSocket, tls: TlsStart): Promise<{ secured: NodeSocket; peerName: string }> {
  const { ca, cert, key, expect } = tls;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      fail(new Error(`TLS was not up within ${String(PEER_CONNECT_TIMEOUT)} ms`));
    }, PEER_CONNECT_TIMEOUT);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new ServiceError('peer-untrusted', messageOf(error), { cause: error }));
    };
    const done = (secured: TLSSocket): void => {
      clearTimeout(timer);
      const peerName = commonName(secured.getPeerCertificate());
      if (peerName === undefined) fail(new Error('the peer has no name'));
      else resolve({ secured, peerName });
    };
    socket.on('error', fail);
    if (!tls.server) {
      const own = { ca, cert, key, minVersion: 'TLSv1.3' as const };
      const client = connectTls({ socket, ...own, ...(expect === undefined ? {} : tlsOptions(tls, expect)) });
      client.once('error', fail);
      client.once('secureConnect', () => {
        client.off('error', fail);
        done(client);
      });
      return;
    }
    // A server that never listens does what a TLS server does, the check of the client's certificate above all.
    const server = createServer({ ca, cert, key, requestCert: true, minVersion: 'TLSv1.3' });
    server.once('secureConnection', done);
    server.once('tlsClientError', fail);
    server.emit('connection', socket);
  });
}
