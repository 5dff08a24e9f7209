// Volumes as vhost-user-blk devices on the storage host: a qemu-storage-daemon for each takes it from gemeld's NBD socket, so that it goes
// through cache, journal and mirror like everybody's, and shares memory with the guest, so that nothing goes through QEMU's loop.
// Under systemd they are units of a template (manifests/systemd/gemel-vhost@.service), which come back with the host.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { ServiceError, messageOf } from '../../core/base/errors.ts';
import type { KvmSettings } from './settings.ts';

const PROGRAM = 'qemu-storage-daemon';
/** Milliseconds it may take to open the volume and its socket. */
const START_TIMEOUT = 30_000;
/** Milliseconds it may take to end. */
const STOP_TIMEOUT = 10_000;
/** Seconds I/O waits for a gemeld that is away before it fails: as long as a host with disks of its own would wait for them. */
const RECONNECT_DELAY = 86_400;

type VhostSettings = Pick<KvmSettings, 'vhostFolder' | 'nbdSocket'>;

export const vhostSocket = ({ vhostFolder }: VhostSettings, volume: string): string =>
  join(vhostFolder, `${volume}.sock`);
const pidFile = ({ vhostFolder }: VhostSettings, volume: string): string => join(vhostFolder, `${volume}.pid`);
const unitOf = (volume: string): string => `gemel-vhost@${volume}.service`;
const underSystemd = (): boolean => existsSync('/run/systemd/system');

/** The process that serves the volume; undefined: none does. */
function serving(settings: VhostSettings, volume: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile(settings, volume), 'utf8'));
    // Numbers are used again, also for something that is none of ours.
    const command = readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8');
    return command.includes(PROGRAM) && command.includes(vhostSocket(settings, volume)) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether somebody serves it here. */
export const isVhostServed = (settings: VhostSettings, volume: string): boolean =>
  serving(settings, volume) !== undefined;

/** Serves it, if nobody does yet. The volume has to be mapped to NBD clients. Rejects with hypervisor-refused or bad-request. */
export async function serveVhost(settings: VhostSettings, volume: string): Promise<void> {
  const { nbdSocket, vhostFolder } = settings;
  if (nbdSocket === undefined) {
    throw new ServiceError('bad-request', 'vhost-user takes the unix socket of gemeld on this host: set "nbdSocket"');
  }
  if (serving(settings, volume) !== undefined) return;
  if (underSystemd()) {
    await command('systemctl', ['enable', '--now', unitOf(volume)]);
    return;
  }
  mkdirSync(vhostFolder, { recursive: true, mode: 0o750 });
  const socket = vhostSocket(settings, volume);
  rmSync(socket, { force: true });
  // A comma in a value is written twice (QEMU, "keyval").
  const value = (text: string): string => text.replaceAll(',', ',,');
  const disk = `driver=nbd,node-name=disk,server.type=unix,server.path=${value(nbdSocket)},export=${value(volume)},discard=unmap`;
  const face = `type=vhost-user-blk,id=face,node-name=disk,addr.type=unix,addr.path=${value(socket)},writable=on`;
  await command(PROGRAM, [
    ...['--daemonize', '--pidfile', pidFile(settings, volume)],
    ...['--blockdev', `${disk},reconnect-delay=${String(RECONNECT_DELAY)}`, '--export', face],
  ]);
}

/** Ends that; it is well if nobody served it. The guest has let go of it. */
export async function endVhost(settings: VhostSettings, volume: string): Promise<void> {
  const pid = serving(settings, volume);
  if (underSystemd()) {
    if (pid !== undefined || (await isEnabled(volume)))
      await command('systemctl', ['disable', '--now', unitOf(volume)]);
  } else if (pid !== undefined) {
    process.kill(pid, 'SIGTERM');
    for (const end = Date.now() + STOP_TIMEOUT; serving(settings, volume) !== undefined;) {
      if (Date.now() > end) throw new ServiceError('hypervisor-refused', `${PROGRAM} of '${volume}' does not end`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  for (const file of [vhostSocket(settings, volume), pidFile(settings, volume)]) rmSync(file, { force: true });
}

async function isEnabled(volume: string): Promise<boolean> {
  try {
    await command('systemctl', ['is-enabled', '--quiet', unitOf(volume)]);
    return true;
  } catch {
    return false;
  }
}

function command(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: START_TIMEOUT, encoding: 'utf8' }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else {
        const why = stderr.trim() === '' ? messageOf(error) : stderr.trim().slice(-300);
        reject(new ServiceError('hypervisor-refused', `${program}: ${why}`, { cause: error }));
      }
    });
  });
}
