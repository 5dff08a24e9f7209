// This machine as an initiator of Linux: open-iscsi and dm-multipath, as far as files say.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding } from './doctor.ts';

const CHECK = 'host';
/** Seconds after which open-iscsi gives commands of a lost path back, by default; multipath wants them soon. */
const DEFAULT_REPLACEMENT = 120;
const LONGEST_WITH_MULTIPATH = 30;

/** `root`: where the file system begins. `portals`: those of the daemon, as far as it could be asked. */
export function hostFindings(root: string, portals: readonly string[]): Finding[] {
  const at = (path: string): string => join(root, path);
  const settings = text(at('etc/iscsi/iscsid.conf'));
  if (settings === undefined) {
    return [{ check: CHECK, level: 'skipped', text: 'this machine is no host: open-iscsi is not installed' }];
  }
  const findings: Finding[] = [];
  const add = (level: Finding['level'], said: string, remedy?: string): void => {
    findings.push({ check: CHECK, level, text: said, ...(remedy === undefined ? {} : { remedy }) });
  };
  const name = /^InitiatorName=(\S+)/m.exec(text(at('etc/iscsi/initiatorname.iscsi')) ?? '')?.[1];
  if (name === undefined) {
    add(
      'error',
      'this machine has no initiator name',
      'iscsi-iname prints one; it goes into /etc/iscsi/initiatorname.iscsi',
    );
  } else add('ok', `this machine is ${name}`);

  const multipath = text(at('etc/multipath.conf'));
  const several = portals.length > 1;
  const installed = existsSync(at('sbin/multipathd')) || existsSync(at('usr/sbin/multipathd'));
  if (several && !installed) {
    add(
      'warning',
      `the daemon has ${String(portals.length)} portals, and multipath is not installed here`,
      'apt-get install multipath-tools',
    );
  }
  const value = /^\s*node\.session\.timeo\.replacement_timeout\s*=\s*(-?\d+)/m.exec(settings)?.[1];
  const replacement = value === undefined ? DEFAULT_REPLACEMENT : Number(value);
  if (several && installed && (replacement < 0 || replacement > LONGEST_WITH_MULTIPATH)) {
    const said = `commands of a lost path wait ${replacement < 0 ? 'for ever' : `${String(replacement)} s`} before multipath may send them another way`;
    add('warning', said, 'In /etc/iscsi/iscsid.conf: node.session.timeo.replacement_timeout = 1; then log in anew.');
  } else add('ok', `commands of a lost path wait ${String(replacement)} s (replacement_timeout)`);
  if (/^\s*node\.conn\[0\]\.timeo\.noop_out_interval\s*=\s*0/m.test(settings)) {
    add(
      'warning',
      'a path that is silently cut is not noticed: noop_out_interval is 0',
      'Set node.conn[0].timeo.noop_out_interval = 1.',
    );
  }
  if (several && installed && multipath === undefined) {
    add(
      'warning',
      'multipath has no settings, so it may not take disks of Gemel together',
      'mpathconf --enable, or write /etc/multipath.conf.',
    );
  }
  const sessions = list(at('sys/class/iscsi_session'));
  const states = sessions.map((each) => text(join(at('sys/class/iscsi_session'), each, 'state'))?.trim());
  const bad = states.filter((state) => state !== undefined && state !== 'LOGGED_IN').length;
  if (bad > 0)
    add(
      'error',
      `${String(bad)} of ${String(sessions.length)} iSCSI sessions of this machine are not logged in`,
      'iscsiadm -m session -P 1',
    );
  else add('ok', `${String(sessions.length)} iSCSI sessions of this machine, all logged in`);
  return findings;
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
