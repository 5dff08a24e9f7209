import { createServer } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { isWildcard, listenError } from '../base/host-port.ts';
import type { HostPort } from '../base/host-port.ts';

/** Milliseconds for which the list of own addresses is believed; they change, but not during a flood of logins. */
const BELIEVED = 1_000;

function own(): { address: string; internal: boolean; ipv4: boolean }[] {
  return Object.values(networkInterfaces()).flatMap((each) =>
    (each ?? []).map(({ address, internal, family }) => ({ address, internal, ipv4: family === 'IPv4' })),
  );
}

/** Tells whether an address belongs to this machine. */
export function localAddresses(now: () => number): (address: string) => boolean {
  let known = new Set<string>();
  let until = -Infinity;
  return (address) => {
    const bare = (address.split('%')[0] ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
    if (bare === '::1' || /^127\.\d+\.\d+\.\d+$/.test(bare)) return true;
    if (now() >= until) {
      known = new Set(own().map((each) => each.address));
      until = now() + BELIEVED;
    }
    return known.has(bare);
  };
}

/** An address by which other machines reach this one, or loopback when there is none. */
export function outsideAddress(): string {
  const outside = own().filter((each) => !each.internal && !each.address.startsWith('fe80:'));
  return (outside.find((each) => each.ipv4) ?? outside[0])?.address ?? '127.0.0.1';
}

/** Names and addresses under which clients may call the API that listens on `host`. */
export function certificateHosts(host: string): string[] {
  const hosts = ['localhost', '127.0.0.1', '::1'];
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(hostname())) hosts.push(hostname().toLowerCase());
  if (isWildcard(host)) hosts.push(...own().map((each) => each.address.split('%')[0] ?? ''));
  else hosts.push(host.split('%')[0] ?? host);
  return [...new Set(hosts)];
}

/**
 * Rejects with the ServiceError (port-taken, address-unusable) that listening there will end with, so that a start which cannot
 * succeed is told in one line before it has made or opened anything.
 */
export async function checkFree(what: string, { host, port }: HostPort): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(listenError(error, what, host, port));
    });
    server.listen({ host, port }, resolve);
  });
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}
