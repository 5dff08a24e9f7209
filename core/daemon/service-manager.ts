// Tells systemd how far the daemon is (sd_notify), through its own program: Node has no datagram sockets of the Unix family.
import { execFile } from 'node:child_process';
import type { Log } from '../base/log.ts';

/** Milliseconds systemd-notify may take. */
const PATIENCE = 10_000;

/**
 * The daemon serves. Resolves when the service manager knows, or at once when none asked (NOTIFY_SOCKET). That it cannot be
 * told is logged, and fatal only to those who wait for it.
 */
export function tellReady(env: Readonly<Record<string, string | undefined>>, status: string, log: Log): Promise<void> {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return Promise.resolve();
  return new Promise((resolve) => {
    const args = ['--ready', `--pid=${String(process.pid)}`, `--status=${status}`];
    execFile('systemd-notify', args, { timeout: PATIENCE }, (error) => {
      if (error !== null) log.error({ error: error.message }, 'systemd could not be told that the daemon is ready');
      resolve();
    });
  });
}
