import { ServiceError, messageOf } from './errors.ts';

export interface HostPort {
  /** IPv4 or IPv6 literal (without brackets) or a name. */
  readonly host: string;
  readonly port: number;
}

const BRACKETED = /^\[([0-9a-f:.]+(?:%[\w.-]+)?)\]:(\d{1,5})$/i;
const PLAIN = /^([\w.-]+):(\d{1,5})$/;

/** `127.0.0.1:3260`, `[::1]:3260` or `name:3260`. Throws ServiceError bad-request that names `what`. */
export function parseHostPort(text: string, what: string): HostPort {
  const match = BRACKETED.exec(text) ?? PLAIN.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 65535) {
    throw new ServiceError(
      'bad-request',
      `${what}: '${text.slice(0, 80)}' is not HOST:PORT (IPv6 in brackets: [::1]:3260)`,
    );
  }
  return { host: match[1], port };
}

/** The reverse of parseHostPort. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}

/** True for the addresses that stand for all addresses of the machine. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Why `what` cannot listen on an address, from the error of the operating system. */
export function listenError(error: NodeJS.ErrnoException, what: string, host: string, port: number): ServiceError {
  const where = `${what} ${formatHostPort(host, port)}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new ServiceError('port-taken', `${where} is in use by another program`, { cause: error });
    case 'EADDRNOTAVAIL':
      return new ServiceError('address-unusable', `${where}: this machine has no such address`, { cause: error });
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new ServiceError('address-unusable', `${where}: there is no host of this name`, { cause: error });
    case 'EACCES':
      return new ServiceError('address-unusable', `${where}: not permitted; ports below 1024 need privileges`, {
        cause: error,
      });
    default:
      return new ServiceError('address-unusable', `${where}: ${messageOf(error)}`, { cause: error });
  }
}
