// The API port: HTTPS. Whoever speaks plain HTTP there gets the CA certificate (so that a client that knows its
// fingerprint can go on with verified TLS), and nothing else.
import { createServer as createHttpServer } from 'node:http';
import type { Server as HttpServer, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Server as HttpsServer } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { API_NAME, CLUSTER_API_NAME } from '../base/api-name.ts';
import { ServiceError } from '../base/errors.ts';
import { listenError } from '../base/host-port.ts';
import { API_HEADERS_TIMEOUT, API_TIMEOUT, MAX_API_CONNECTIONS } from '../base/limits.ts';
import { handshakeInTurn } from './courtesy.ts';
import { PROBLEM_TYPE, problemOf } from './problem.ts';
import type { TlsIdentity } from './tls/identity.ts';
import type { ShownCertificate } from './tls/served.ts';

/** First byte of a TLS connection: a handshake record (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;
const TIMEOUTS = { requestTimeout: API_TIMEOUT, headersTimeout: API_HEADERS_TIMEOUT, keepAliveTimeout: 5_000 } as const;

const VERSIONS = { minVersion: 'TLSv1.2' } as const;

const ownPair = ({ cert, ca, key }: TlsIdentity): ShownCertificate => ({ cert: cert + ca, key });

export interface ApiListener {
  readonly address: string;
  readonly port: number;
  /** Exchanges the certificates, for connections from now on. */
  show(own: TlsIdentity, shown: ShownCertificate, cluster?: TlsIdentity): void;
  /** Stops accepting, lets running requests finish for `patience` milliseconds, then closes what is left. */
  close(patience: number): Promise<void>;
}

/**
 * Browsers are shown `shown`; who asks for API_NAME, and who has not given another, the one of our own CA; who asks for
 * CLUSTER_API_NAME, that of the authority of the cluster, if there is one.
 * Serves `app` on `host`:`port` (0: any free one). Rejects with ServiceError port-taken or address-unusable.
 */
export async function listenApi(
  host: string,
  port: number,
  tls: TlsIdentity,
  app: RequestListener,
  shown = ownPair(tls),
  cluster?: TlsIdentity,
): Promise<ApiListener> {
  const contextOf = (identity: TlsIdentity): SecureContext =>
    createSecureContext({ ...ownPair(identity), ...VERSIONS });
  let own = contextOf(tls);
  let common = cluster === undefined ? undefined : contextOf(cluster);
  const SNICallback = (name: string, done: (error: Error | null, context?: SecureContext) => void): void => {
    done(null, name === API_NAME ? own : name === CLUSTER_API_NAME ? common : undefined);
  };
  const secure = createHttpsServer({ ...TIMEOUTS, ...shown, ...VERSIONS, SNICallback }, app);
  secure.on('clientError', answerMalformed);
  const authorities = { '/ca.pem': tls.ca, '/cluster-ca.pem': cluster?.ca };
  const plain = createHttpServer(TIMEOUTS, (request, response) => {
    answerPlain(request, response, authorities);
  });
  const sockets = new Set<Socket>();
  const front = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(API_HEADERS_TIMEOUT, () => socket.destroy());
    socket.once('data', (first) => {
      socket.pause();
      socket.setTimeout(0);
      const begin = (server: HttpServer | HttpsServer): void => {
        if (socket.destroyed) return;
        socket.unshift(first);
        server.emit('connection', socket);
        // Not at once: TLS fetches what was put back in its own next tick, and a socket that flows has lost it by then.
        process.nextTick(() => socket.resume());
      };
      if (first[0] !== TLS_HANDSHAKE) begin(plain);
      else {
        handshakeInTurn(
          () => {
            begin(secure);
          },
          () => socket.destroy(),
        );
      }
    });
  });
  front.maxConnections = MAX_API_CONNECTIONS;
  await listening(front, host, port);
  const { address, port: actual } = front.address() as AddressInfo;
  return {
    address,
    port: actual,
    show: (identity, pair, ofCluster) => {
      own = contextOf(identity);
      common = ofCluster === undefined ? undefined : contextOf(ofCluster);
      authorities['/ca.pem'] = identity.ca;
      authorities['/cluster-ca.pem'] = ofCluster?.ca;
      secure.setSecureContext({ ...pair, ...VERSIONS });
    },
    close: async (patience) => {
      const closed = new Promise((resolve) => front.close(resolve));
      secure.closeIdleConnections();
      plain.closeIdleConnections();
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, patience);
      await closed;
      clearTimeout(timer);
      secure.close();
      plain.close();
    },
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(listenError(error, 'api', host, port));
    });
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      // Running out of file descriptors must not end the process.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

/** What is no HTTP request gets the same kind of answer as everything else, and the connection is closed. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const problem = problemOf(
    new ServiceError('bad-request', 'this is not an HTTP request, or one with too large a head'),
  );
  const body = JSON.stringify(problem);
  const fields = [
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${String(Buffer.byteLength(body))}`,
    'Connection: close',
  ];
  socket.end(`HTTP/1.1 400 Bad Request\r\n${fields.join('\r\n')}\r\n\r\n${body}`);
}

function answerPlain(
  request: IncomingMessage,
  response: ServerResponse,
  authorities: Readonly<Record<string, string | undefined>>,
): void {
  response.setHeader('Connection', 'close');
  response.setHeader('Cache-Control', 'no-store');
  request.resume();
  const path = request.url ?? '';
  const ca = Object.hasOwn(authorities, path) ? authorities[path] : undefined;
  if (request.method === 'GET' && ca !== undefined) {
    response.writeHead(200, { 'Content-Type': 'application/x-pem-file' }).end(ca);
    return;
  }
  // RFC 9110 §15.5.22. No redirect: a client that sends its token in the clear should stop doing so.
  response
    .writeHead(426, { Upgrade: 'TLS/1.2, HTTP/1.1', Connection: 'Upgrade, close', 'Content-Type': 'text/plain' })
    .end('This port speaks HTTPS: use https:// and the CA certificate from /ca.pem.\n');
}
