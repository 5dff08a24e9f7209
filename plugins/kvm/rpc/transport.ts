// Ways to a libvirtd: a unix socket, TLS with certificates on both sides, SSH with the socket forwarded.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect as connectNet } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { ServiceError, messageOf } from '../../../core/base/errors.ts';
import { CONNECT_TIMEOUT } from './limits.ts';

/** Where libvirtd is. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tls'; readonly host: string; readonly port: number; readonly certificates: string }
  | {
      readonly kind: 'ssh';
      /** `USER@HOST` or a name of ssh_config. */
      readonly destination: string;
      readonly port: number | undefined;
      readonly path: string;
      /** File with the keys of hosts; undefined: ssh's own. */
      readonly knownHosts: string | undefined;
      readonly identity: string | undefined;
    };

const DEFAULT_SOCKET = '/run/libvirt/libvirt-sock';
const TLS_PORT = 16514;
/** Where libvirt keeps its certificates (libvirt.org, "TLS setup"): ca, and below it those of the client. */
const CERTIFICATES = '/etc/pki';

/**
 * The address a libvirt URI stands for: `qemu:///system`, `qemu+unix:///system?socket=PATH`,
 * `qemu+tls://HOST[:PORT]/system?pkipath=FOLDER`, `qemu+ssh://[USER@]HOST[:PORT]/system?socket=PATH&known_hosts=FILE&keyfile=FILE`.
 * Throws ServiceError bad-request.
 */
export function parseUri(text: string): Address {
  const bad = (why: string): ServiceError => new ServiceError('bad-request', `'${text.slice(0, 200)}' ${why}`);
  const parts = /^qemu(?:\+(unix|tls|ssh))?:\/\/([^/?#]*)\/system(?:\?([^#]*))?$/.exec(text);
  if (parts === null) {
    throw bad('is no libvirt URI this works with: qemu:///system, qemu+tls://HOST/system, qemu+ssh://USER@HOST/system');
  }
  const [, transport = 'unix', authority = '', search = ''] = parts;
  const query = new URLSearchParams(search);
  const known = ['socket', 'pkipath', 'known_hosts', 'keyfile'];
  const unknown = [...query.keys()].find((key) => !known.includes(key));
  // Above all no_verify and known_hosts_verify: whom we talk to is always verified.
  if (unknown !== undefined) throw bad(`has a parameter that is not known here: ${unknown}`);
  const path = query.get('socket') ?? DEFAULT_SOCKET;
  if (transport === 'unix') {
    if (authority !== '') throw bad('names a host; its transport (tls or ssh) is missing');
    return { kind: 'unix', path };
  }
  const place = /^(?:([\w.-]+)@)?(\[[\da-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/.exec(authority);
  // ssh would take a name that begins with a dash for an option.
  if (place === null || authority.startsWith('-') || /@-/.test(authority)) throw bad('has no host');
  const [, user, name = '', port] = place;
  const host = name.replace(/^\[(.*)\]$/, '$1');
  if (transport === 'tls') {
    return { kind: 'tls', host, port: Number(port ?? TLS_PORT), certificates: query.get('pkipath') ?? CERTIFICATES };
  }
  return {
    kind: 'ssh',
    destination: user === undefined ? host : `${user}@${host}`,
    port: port === undefined ? undefined : Number(port),
    path,
    knownHosts: query.get('known_hosts') ?? undefined,
    identity: query.get('keyfile') ?? undefined,
  };
}

/** Opens a connection. Rejects with ServiceError hypervisor-unreachable or untrusted-server. */
export async function openTransport(address: Address): Promise<Duplex> {
  try {
    if (address.kind === 'unix') return await connected(connectNet(address.path), 'connect');
    return address.kind === 'tls' ? await openTls(address) : await openSsh(address);
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw new ServiceError('hypervisor-unreachable', `no libvirtd at ${placeOf(address)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The address for people. */
export function placeOf(address: Address): string {
  if (address.kind === 'unix') return address.path;
  return address.kind === 'tls' ? `${address.host}:${String(address.port)}` : address.destination;
}

async function openTls(address: Extract<Address, { kind: 'tls' }>): Promise<Duplex> {
  const folder = address.certificates;
  const custom = folder !== CERTIFICATES;
  const at = (usual: string, flat: string): Promise<Buffer> => readFile(join(folder, custom ? flat : usual));
  const [ca, cert, key] = await Promise.all([
    at('CA/cacert.pem', 'cacert.pem'),
    at('libvirt/clientcert.pem', 'clientcert.pem'),
    at('libvirt/private/clientkey.pem', 'clientkey.pem'),
  ]);
  const { host, port } = address;
  const identity = { ca, cert, key, minVersion: 'TLSv1.2' as const };
  const socket = connectTls({ host, port, servername: /^[\d.]+$|:/.test(host) ? '' : host, ...identity });
  await connected(socket, 'secureConnect');
  // Before its protocol, libvirtd says with one byte whether it takes our certificate (virNetServerClientTLS).
  await acknowledged(socket);
  return socket;
}

function acknowledged(socket: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (): void => {
      settle(new ServiceError('unauthorized', 'libvirtd does not accept our certificate'));
    };
    const readable = (): void => {
      const byte = socket.read(1) as Buffer | null;
      if (byte === null) return;
      if (byte[0] === 1) settle();
      else refused();
    };
    const timer = setTimeout(() => {
      settle(new Error('no answer to our certificate'));
    }, CONNECT_TIMEOUT);
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      socket.off('readable', readable).off('close', refused).off('error', refused);
      if (error === undefined) {
        resolve();
        return;
      }
      socket.on('error', () => undefined).destroy();
      reject(error);
    };
    socket.on('readable', readable).on('close', refused).on('error', refused);
  });
}

function connected<S extends Socket>(socket: S, event: string): Promise<S> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), CONNECT_TIMEOUT);
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      const tls = /CERT|TLS|SSL|SIGNATURE|ISSUER/.test(error.code ?? '');
      reject(tls ? new ServiceError('untrusted-server', messageOf(error), { cause: error }) : error);
    };
    socket.once('error', failed);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** `ssh` forwards the socket; it checks the key of the host, and never asks anything. */
async function openSsh(address: Extract<Address, { kind: 'ssh' }>): Promise<Duplex> {
  const folder = await mkdtemp(join(tmpdir(), 'gemel-ssh-'));
  const local = join(folder, 'socket');
  const options = ['BatchMode=yes', 'StrictHostKeyChecking=yes', 'ExitOnForwardFailure=yes', 'ClearAllForwardings=no'];
  options.push(`ConnectTimeout=${String(CONNECT_TIMEOUT / 1000)}`, 'ServerAliveInterval=15', 'ServerAliveCountMax=3');
  if (address.knownHosts !== undefined) options.push(`UserKnownHostsFile=${address.knownHosts}`);
  const args = options.flatMap((option) => ['-o', option]);
  if (address.port !== undefined) args.push('-p', String(address.port));
  if (address.identity !== undefined) args.push('-i', address.identity, '-o', 'IdentitiesOnly=yes');
  args.push('-N', '-T', '-L', `${local}:${address.path}`, '--', address.destination);
  const child = spawn('ssh', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ssh = { said: '', over: false };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (ssh.said = (ssh.said + text).slice(-1000)));
  const ended = new Promise<void>((resolve) => {
    const over = (error: unknown): void => {
      if (error instanceof Error) ssh.said = error.message;
      ssh.over = true;
      resolve();
    };
    child.once('error', over).once('close', over);
  });
  const end = (): void => {
    child.kill('SIGTERM');
    void ended.then(() => rm(folder, { recursive: true, force: true }));
  };
  const deadline = Date.now() + CONNECT_TIMEOUT;
  for (;;) {
    try {
      const socket = await connected(connectNet(local), 'connect');
      socket.once('close', end);
      return socket;
    } catch (error) {
      if (ssh.over || Date.now() > deadline) {
        end();
        const why = ssh.said.trim().split('\n').at(-1) ?? '';
        if (/host key/i.test(ssh.said)) throw new ServiceError('untrusted-server', `${address.destination}: ${why}`);
        if (/permission denied/i.test(ssh.said))
          throw new ServiceError('unauthorized', `${address.destination}: ${why}`);
        throw new ServiceError(
          'hypervisor-unreachable',
          `${address.destination}: ${why === '' ? messageOf(error) : why}`,
        );
      }
    }
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
}
