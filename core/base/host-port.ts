import { ServiceError } from './errors.ts';

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
