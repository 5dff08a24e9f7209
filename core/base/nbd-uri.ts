// Where a NBD export is, as one text: the NBD URI specification (doc/uri.md of the NBD project).
import { ServiceError } from './errors.ts';
import type { Destination } from './world.ts';

export interface NbdAddress {
  readonly to: Destination;
  readonly exportName: string;
  /** Folder with ca-cert.pem, client-cert.pem and client-key.pem; undefined: no TLS. */
  readonly certificates: string | undefined;
}

/** The port IANA has given to NBD. */
const PORT = 10_809;

/** nbd://HOST[:PORT]/EXPORT, nbds:// with ?tls-certificates=FOLDER, nbd+unix:///EXPORT?socket=PATH. Throws bad-request. */
export function parseNbdUri(text: string): NbdAddress {
  const wrong = (why: string): ServiceError => new ServiceError('bad-request', `'${text.slice(0, 200)}': ${why}`);
  const [, scheme, rest] = /^(nbds?|nbd\+unix):\/\/(.*)$/.exec(text) ?? [];
  if (scheme === undefined || rest === undefined) throw wrong('a NBD URI begins with nbd://, nbds:// or nbd+unix://');
  let url: URL;
  let exportName: string;
  try {
    // As a scheme the parser takes apart; a unix socket has no host.
    url = new URL(`http://${scheme === 'nbd+unix' ? 'unix' : ''}${rest}`);
    exportName = decodeURIComponent(url.pathname.slice(1));
  } catch {
    throw wrong('not a NBD URI');
  }
  if (url.username !== '' || url.password !== '') throw wrong('NBD has no users');
  if (scheme === 'nbd+unix') {
    const path = url.searchParams.get('socket');
    if (path?.startsWith('/') !== true) throw wrong('?socket=/PATH is missing');
    return { to: { path }, exportName, certificates: undefined };
  }
  const certificates = url.searchParams.get('tls-certificates') ?? undefined;
  if (scheme === 'nbds' && certificates?.startsWith('/') !== true) throw wrong('?tls-certificates=/FOLDER is missing');
  if (scheme === 'nbd' && certificates !== undefined) throw wrong('certificates belong to nbds://');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (scheme === 'nbd' && !isLoopback(host)) {
    throw wrong('without TLS only this machine is trusted: use nbds://, or a tunnel');
  }
  // The parser leaves out the port of its own scheme.
  const port = /^(\[[^\]]*\]|[^/?#:]*):80([/?#]|$)/.test(rest) ? 80 : url.port === '' ? PORT : Number(url.port);
  return { to: { host, port }, exportName, certificates };
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
