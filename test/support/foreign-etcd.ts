// An etcd as somebody else would run it: its own certificates, and no setting of ours.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../../core/base/world.ts';
import type { TlsMaterial } from '../../core/cluster/etcd/channel.ts';
import { certify, newAuthority, newKeyPair } from '../../core/daemon/cluster/authority.ts';
import type { Authority } from '../../core/daemon/cluster/authority.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { freePorts } from './net.ts';
import { killGroup, run } from './process.ts';
import type { RunResult } from './process.ts';

const HOST = '127.0.0.1';

export interface ForeignEtcd {
  /** https://HOST:PORT of each member. */
  readonly urls: readonly string[];
  /** Arguments of `gemel cluster init` and `gemel cluster etcd` to use it. */
  readonly args: readonly string[];
  /** What they name. */
  readonly tls: TlsMaterial;
  /** The same with a certificate that another authority has signed. */
  readonly wrongArgs: readonly string[];
  /** Members as they run now. */
  start(member: number): void;
  kill(member: number): Promise<void>;
  etcdctl(...args: readonly string[]): Promise<RunResult>;
  end(): Promise<void>;
}

/** Not waited for. */
export async function foreignEtcd(world: World, count: number): Promise<ForeignEtcd> {
  const folder = temporaryFolder('foreign-etcd');
  const authority = newAuthority(world, 'e'.repeat(32));
  const file = (name: string, content: string): string => {
    const path = join(folder.path, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const pairOf = (name: string, by: Authority): { cert: string; key: string } => {
    const pair = newKeyPair();
    const cert = certify(world, by, name, HOST, pair.publicKey);
    return { cert: file(`${name}.pem`, cert), key: file(`${name}.key`, pair.key) };
  };
  const ca = file('ca.pem', authority.cert);
  const client = pairOf('client', authority);
  const stranger = pairOf('stranger', newAuthority(world, 'f'.repeat(32)));
  const ports = await freePorts(2 * count);
  const clientUrl = (i: number): string => `https://${HOST}:${String(ports[2 * i] ?? 0)}`;
  const peerUrl = (i: number): string => `https://${HOST}:${String(ports[2 * i + 1] ?? 0)}`;
  const all = Array.from({ length: count }, (_, i) => i);
  const initial = all.map((i) => `m${String(i)}=${peerUrl(i)}`).join(',');
  const pairs = all.map((i) => pairOf(`m${String(i)}`, authority));
  const running = new Map<number, ChildProcess>();
  const start = (i: number): void => {
    const { cert = '', key = '' } = pairs[i] ?? {};
    const own = join(folder.path, `data${String(i)}`);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    const args = [
      ...['--name', `m${String(i)}`, '--data-dir', own],
      ...['--listen-client-urls', clientUrl(i), '--advertise-client-urls', clientUrl(i)],
      ...['--listen-peer-urls', peerUrl(i), '--initial-advertise-peer-urls', peerUrl(i)],
      ...['--initial-cluster', initial, '--initial-cluster-state', 'new'],
      ...['--trusted-ca-file', ca, '--cert-file', cert, '--key-file', key, '--client-cert-auth'],
      ...['--peer-trusted-ca-file', ca, '--peer-cert-file', cert, '--peer-key-file', key, '--peer-client-cert-auth'],
      ...['--logger', 'zap', '--log-level', 'error'],
    ];
    running.set(i, spawn('etcd', args, { detached: true, stdio: 'ignore', env: { PATH: process.env['PATH'] ?? '' } }));
  };
  const kill = async (i: number): Promise<void> => {
    const child = running.get(i);
    if (child === undefined) return;
    running.delete(i);
    const gone = new Promise((resolve) => child.once('close', resolve));
    killGroup(child, 'SIGKILL');
    await gone;
  };
  const forget = atExit(() => {
    for (const child of running.values()) killGroup(child, 'SIGKILL');
  });
  for (const i of all) start(i);
  const urls = all.map(clientUrl);
  const argsFor = ({ cert, key }: { cert: string; key: string }): string[] => [
    ...['--etcd', urls.join(','), '--etcd-ca', ca, '--etcd-cert', cert, '--etcd-key', key],
  ];
  return {
    urls,
    args: argsFor(client),
    tls: { ca: authority.cert, cert: readFileSync(client.cert, 'utf8'), key: readFileSync(client.key, 'utf8') },
    wrongArgs: argsFor(stranger),
    ...{ start, kill },
    etcdctl: (...args) => {
      const access = ['--endpoints', urls.join(','), '--cacert', ca, '--cert', client.cert, '--key', client.key];
      return run('etcdctl', [...access, ...args], { timeoutMs: 20_000 });
    },
    end: async () => {
      for (const i of all) await kill(i);
      forget();
      folder.remove();
    },
  };
}
