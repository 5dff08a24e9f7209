import { formatSize } from '../base/sizes.ts';
import type { DiskView } from '../control/views.ts';

export interface ReadyFacts {
  readonly api: string;
  readonly token: string;
  readonly portals: readonly string[];
  readonly disks: readonly DiskView[];
  /** Where the first user is made, as long as there is none; for people only. */
  readonly firstLogin?: string;
  readonly usersMissing: boolean;
}

/** The line scripts wait for. */
export function readyLine({ api, token, portals, disks }: ReadyFacts): string {
  const shown = disks.map(({ name, iqn, lun, size, url }) => ({ name, iqn, lun, size, url }));
  return JSON.stringify({ ready: true, pid: process.pid, api, token, portals, disks: shown });
}

/** The same for a person, with two commands to try. `gemel`: how this person can call the client. */
export function readyText(
  { api, portals, disks, ...rest }: ReadyFacts,
  version: string,
  folder: string,
  gemel: string,
): string {
  const portal = portals[0] ?? '';
  const lines = [`Gemel ${version} is ready.`, ''];
  lines.push(...portals.map((each) => `  Portal  ${each}`), `  API     ${api}`, `  Data    ${folder}`);
  for (const disk of disks.slice(0, 10)) {
    const who = disk.maps.map((map) => (map.initiator === 'loopback' ? 'this machine' : map.initiator)).join(', ');
    const facts = `LUN ${String(disk.lun)}, ${formatSize(disk.size)}, for ${who === '' ? 'nobody yet' : who}`;
    lines.push(
      `  Disk    ${disk.name}: ${disk.state === 'online' ? facts : (disk.problem ?? 'failed')}`,
      `          ${disk.iqn}`,
    );
  }
  if (disks.length > 10) lines.push(`          and ${String(disks.length - 10)} more (${gemel} volume list)`);
  const first = disks.find((disk) => disk.state === 'online');
  if (rest.firstLogin !== undefined) {
    lines.push('', 'First login in the console (this link is good once, for 24 hours):', `  ${rest.firstLogin}`);
  } else if (rest.usersMissing) {
    lines.push('', `Nobody can log in to the console yet: \`${gemel} first-login\` prints a link for the first user.`);
  }
  lines.push('', 'Try:');
  if (first === undefined) lines.push(`  ${gemel} volume create my-disk --size 10G --map loopback`);
  else lines.push(`  qemu-img info ${first.url}`);
  lines.push(`  iscsiadm -m discovery -t sendtargets -p ${portal}`, '', 'Ctrl-C stops it.', '');
  return lines.join('\n');
}
