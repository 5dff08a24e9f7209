// The member of etcd that runs beside a node. It outlives a daemon that crashes or restarts itself, so that neither costs the
// cluster a vote, and is found again by its pid file; it ends when the daemon is stopped in an orderly way.
import { spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { ServiceError } from '../../base/errors.ts';
import { formatHostPort } from '../../base/host-port.ts';
import { ETCD_LOG, ETCD_RESTART, ETCD_STOP, ETCD_TXN_OPS, ETCD_WATCHDOG } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Clock, Timer } from '../../base/world.ts';
import { ETCD_CLIENT_PORT, ETCD_PEER_PORT } from '../../cluster/member.ts';
import type { HostPort } from '../../base/host-port.ts';

export interface EtcdProcessOptions {
  /** Holds ca.pem, node.pem, node.key; the data goes to `etcd` in it. */
  readonly folder: string;
  /** Name of the member: the id of the node. */
  readonly name: string;
  /** Of the node (member.ts): the ports above it are etcd's. */
  readonly address: HostPort;
  /** All members as `name=https://host:port`, and whether they are a cluster already; matters at the first start only. */
  readonly initialCluster: string;
  readonly state: 'new' | 'existing';
  readonly clock: Clock;
  readonly log: Log;
  /** The member was removed from the cluster: it is not started again. */
  readonly onRemoved?: () => void;
  /** Words before the command, such as `ip netns exec NAME`. */
  readonly wrapper?: readonly string[];
}

/** Throws ServiceError program-missing. */
export function requireEtcd(): void {
  if (programPath('etcd') !== undefined) return;
  const how = 'apt-get install --no-install-recommends etcd-server';
  throw new ServiceError('program-missing', `etcd is not installed (${how})`);
}

/** URL at which the etcd of a node talks to its peers. */
export const peerUrl = ({ host, port }: HostPort): string => `https://${formatHostPort(host, port + ETCD_PEER_PORT)}`;

export class EtcdProcess {
  readonly #options: EtcdProcessOptions;
  #timer: Timer | undefined;
  #startedAt = -Infinity;
  #stopped = false;
  /** Bytes of the log from before the last start. */
  #logStart = 0;

  constructor(options: EtcdProcessOptions) {
    this.#options = options;
  }

  /** Starts it, or finds it running, and keeps it running from now on. Throws ServiceError program-missing. */
  start(): void {
    requireEtcd();
    this.#stopped = false;
    this.#check();
  }

  get pid(): number | undefined {
    const path = this.#path('etcd.pid');
    try {
      const pid = Number(readFileSync(path, 'utf8'));
      // A number is used again: is it ours?
      const command = readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').split('\0');
      return command.includes(this.#path('etcd')) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** Leaves it running and looks after it no longer. */
  release(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Ends it; resolves when it is gone. */
  async stop(): Promise<void> {
    this.release();
    const { clock, log } = this.#options;
    const end = clock.now() + ETCD_STOP;
    for (let signal: NodeJS.Signals = 'SIGTERM'; ;) {
      const { pid } = this;
      if (pid === undefined) break;
      try {
        process.kill(pid, signal);
      } catch {
        break;
      }
      const killed = signal === 'SIGKILL';
      while (this.pid !== undefined && (killed || clock.now() < end)) {
        await new Promise<void>((resolve) => clock.after(25, resolve));
      }
      if (this.pid === undefined) break;
      log.warn({ pid }, 'etcd does not end: killed');
      signal = 'SIGKILL';
    }
    rmSync(this.#path('etcd.pid'), { force: true });
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  #check(): void {
    if (this.#stopped) return;
    const { clock, log, onRemoved } = this.#options;
    if (this.pid === undefined && this.#startedAt !== -Infinity && this.#wasRemoved()) {
      log.error(
        { log: this.#path('etcd.log') },
        'the other nodes have removed this one from their cluster: its etcd stays off',
      );
      this.#stopped = true;
      onRemoved?.();
      return;
    }
    if (this.pid === undefined && clock.now() - this.#startedAt >= ETCD_RESTART) {
      if (this.#startedAt !== -Infinity) log.error({ log: this.#path('etcd.log') }, 'etcd ended: started again');
      this.#startedAt = clock.now();
      this.#spawn();
    }
    this.#boundLog();
    this.#timer = clock.after(ETCD_WATCHDOG, () => {
      this.#check();
    });
  }

  /** What etcd says last when its peers tell it that it is no member any more. */
  #wasRemoved(): boolean {
    try {
      const text = readFileSync(this.#path('etcd.log'), 'utf8');
      return text.slice(this.#logStart).includes('permanently removed from the cluster');
    } catch {
      return false;
    }
  }

  #spawn(): void {
    // A log that has begun anew meanwhile is shorter: then all of it counts.
    this.#logStart = statSync(this.#path('etcd.log'), { throwIfNoEntry: false })?.size ?? 0;
    const { wrapper = [], log } = this.#options;
    const [program = 'etcd', ...args] = [...wrapper, programPath('etcd') ?? 'etcd', ...this.#arguments()];
    const output = openSync(this.#path('etcd.log'), 'a', 0o600);
    // Its settings are these arguments, nothing that happens to be in our environment. Its Go runtime on two processors at
    // most: it is a small neighbour of a storage server.
    const env = { PATH: process.env['PATH'] ?? '', GOMAXPROCS: '2' };
    const child = spawn(program, args, { detached: true, stdio: ['ignore', output, output], env });
    closeSync(output);
    child.on('error', (error) => {
      log.error({ error: error.message }, 'etcd cannot be started');
    });
    if (child.pid === undefined) return;
    writeFileSync(this.#path('etcd.pid'), String(child.pid), { mode: 0o600 });
    child.unref();
  }

  #arguments(): string[] {
    const { name, address, initialCluster, state } = this.#options;
    const client = `https://${formatHostPort(address.host, address.port + ETCD_CLIENT_PORT)}`;
    const peer = peerUrl(address);
    const tls = (prefix: string): string[] => [
      ...[`--${prefix}trusted-ca-file`, this.#path('ca.pem')],
      ...[`--${prefix}cert-file`, this.#path('node.pem'), `--${prefix}key-file`, this.#path('node.key')],
      `--${prefix}client-cert-auth`,
    ];
    return [
      ...['--name', name, '--data-dir', this.#path('etcd')],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--initial-cluster', initialCluster, '--initial-cluster-state', state],
      ...tls(''),
      ...tls('peer-'),
      ...['--heartbeat-interval', '100', '--election-timeout', '1000', '--pre-vote'],
      ...['--grpc-keepalive-min-time', '500ms', '--max-txn-ops', String(ETCD_TXN_OPS)],
      ...['--max-request-bytes', '8388608', '--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
      ...['--logger', 'zap', '--log-level', 'warn', '--log-outputs', 'stderr'],
    ];
  }

  #boundLog(): void {
    const path = this.#path('etcd.log');
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= ETCD_LOG) return;
    truncateSync(path);
    this.#logStart = 0;
  }
}

/** Where a program is that the daemon starts; undefined: not installed. */
export function programPath(name: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin']) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
