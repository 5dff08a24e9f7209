// A libvirtd of our own: its folders are temporary ones, bound over the real ones in a mount namespace, so that neither a libvirtd of
// this machine nor its settings are touched. Virtual machines it has started end with the test.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { Libvirt } from '../../plugins/kvm/libvirt.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { needsAll, type Need } from './needs.ts';
import { killGroup } from './process.ts';

/** Milliseconds the first start on a machine may take: libvirtd asks every QEMU what it can. */
const START_TIMEOUT = 60_000;
const LIBRARIES = '/usr/lib/x86_64-linux-gnu/libvirt';

/** Why there can be none here; false: there can. */
export function needsLibvirtd(...more: Need[]): string | false {
  if (process.getuid?.() !== 0) return 'a libvirtd of our own takes root: mount namespaces, and the accounts of QEMU';
  return needsAll(
    ['libvirtd', 'libvirt-daemon-system'],
    ['virsh', 'libvirt-clients'],
    [
      `${LIBRARIES}/storage-backend/libvirt_storage_backend_iscsi-direct.so`,
      'libvirt-daemon-driver-storage-iscsi-direct',
    ],
    [`${LIBRARIES}/connection-driver/libvirt_driver_qemu.so`, 'libvirt-daemon-driver-qemu'],
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so', 'qemu-block-extra'],
    ['unshare', 'util-linux'],
    ...more,
  );
}

export class Libvirtd {
  readonly folder: string;
  readonly socket: string;
  readonly libvirt: Libvirt;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #output = '';

  constructor(folder: string, settings: string, args: readonly string[]) {
    this.folder = folder;
    this.socket = join(folder, 'run', 'libvirt-sock');
    this.libvirt = new Libvirt({ kind: 'unix', path: this.socket });
    this.#args = args;
    for (const each of ['etc', 'run', 'lib', 'log']) mkdirSync(join(folder, each), { recursive: true });
    writeFileSync(join(folder, 'etc', 'libvirtd.conf'), `auth_unix_rw = "none"\nauth_unix_ro = "none"\n${settings}`);
    const qemu = ['stdio_handler = "file"', 'security_driver = "none"', 'user = "root"', 'group = "root"'];
    qemu.push('dynamic_ownership = 0', 'remember_owner = 0', 'cgroup_controllers = [ ]', 'namespaces = [ ]');
    writeFileSync(join(folder, 'etc', 'qemu.conf'), `${qemu.join('\n')}\n`);
  }

  get uri(): string {
    return `qemu+unix:///system?socket=${this.socket}`;
  }

  /** What it has said, for failure messages. */
  get output(): string {
    return this.#output;
  }

  async start(): Promise<void> {
    const bind = (from: string, to: string): string => `mkdir -p ${to} && mount --bind "$0/${from}" ${to}`;
    const binds = [
      bind('run', '/run/libvirt'),
      bind('etc', '/etc/libvirt'),
      bind('lib', '/var/lib/libvirt'),
      bind('log', '/var/log/libvirt'),
    ];
    const script = [...binds, 'exec /usr/sbin/libvirtd --pid-file "$0/libvirtd.pid" "$@"'].join(' && ');
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, this.folder, ...this.#args];
    const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#output = (this.#output + text).slice(-20_000)));
    }
    const end = Date.now() + START_TIMEOUT;
    for (;;) {
      if (child.exitCode !== null || Date.now() > end) throw new Error(`libvirtd did not start\n${this.#output}`);
      const probe = new Libvirt({ kind: 'unix', path: this.socket }, 0);
      try {
        const { libVersion } = await import('../../plugins/kvm/rpc/procedures.ts');
        await probe.call(libVersion, {});
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      } finally {
        probe.close();
      }
    }
  }

  /** Ends it, with SIGKILL unless told otherwise; its machines go on. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const gone = new Promise((resolve) => child.once('close', resolve));
    if (child.exitCode !== null) return;
    killGroup(child, signal);
    const late = setTimeout(() => {
      killGroup(child, 'SIGKILL');
    }, 10_000);
    await gone;
    clearTimeout(late);
  }

  /** Ends it and everything it has started. Synchronous, for whoever is interrupted. */
  kill(): void {
    this.libvirt.close();
    if (this.#child !== undefined) killGroup(this.#child, 'SIGKILL');
    const folder = join(this.folder, 'run', 'qemu');
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.pid')) : [];
    for (const name of files) {
      const pid = Number(readFileSync(join(folder, name), 'utf8'));
      try {
        if (pid > 1) process.kill(pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    }
  }
}

/** Runs `body` with a libvirtd of its own. `settings`: more lines of libvirtd.conf; `args`: of libvirtd. */
export async function withLibvirtd<T>(
  body: (libvirtd: Libvirtd) => Promise<T>,
  settings = '',
  args: readonly string[] = [],
): Promise<T> {
  const folder = temporaryFolder('libvirtd');
  const libvirtd = new Libvirtd(folder.path, settings, args);
  const forget = atExit(() => {
    libvirtd.kill();
  });
  try {
    await libvirtd.start();
    return await body(libvirtd);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- libvirtd ---\n${libvirtd.output.slice(-2000)}`;
    throw error;
  } finally {
    libvirtd.kill();
    await libvirtd.stop();
    forget();
    folder.remove();
  }
}
