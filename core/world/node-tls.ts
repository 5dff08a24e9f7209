// TLS between the nodes of a cluster (RFC 8446): both sides show a certificate of the cluster's authority, and the name in it says
// which node it is. Addresses say nothing: they change and are shared.
import type { Socket as NodeSocket } from 'node:net';
import { connect as connectTls, createServer } from 'node:tls';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { ServiceError, messageOf } from '../base/errors.ts';
import { PEER_CONNECT_TIMEOUT } from '../base/limits.ts';
import type { TlsIdentity, TlsStart } from '../base/world.ts';

/** How a connection is made to who has to have a certificate with the name `expect`. */
export function tlsOptions({ ca, cert, key }: TlsIdentity, expect: string) {
  return {
    ...{ ca, cert, key },
    minVersion: 'TLSv1.3' as const,
    // The chain has been verified when this is asked.
    checkServerIdentity: (_: string, peer: PeerCertificate): Error | undefined =>
      commonName(peer) === expect ? undefined : new Error(`the certificate is not that of ${expect}`),
  };
}

/** Whose certificate it is; undefined: nobody knows. */
export const commonName = (certificate: PeerCertificate): string | undefined => {
  // Of several names, or of none, nobody knows whose it is. An empty object stands for no certificate.
  const name: unknown = (certificate as Partial<PeerCertificate>).subject?.CN;
  return typeof name === 'string' && name !== '' ? name : undefined;
};

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
