// The Proxmox plugin's part for its host in a real Linux: every command it gives to open-iscsi, udev and multipath is run against a real
// daemon, with CHAP and two portals. What it asks of the API is run by test/interop/proxmox.test.ts.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { HOST_ADDRESS, assertGuest, runGuest } from '../guest/guest.ts';
import type { PreparedGuest } from '../guest/guest.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

const MIB = 1_048_576;
const IQN = 'iqn.1993-08.org.debian:01:pve-host';
const CHAP = { user: IQN, secret: 'proxmox-host-secret-01' };
const PERL_BASE = '/usr/lib/x86_64-linux-gnu/perl-base';

/** A tar with perl, the modules Debian always has, the plugin's own, and the stand-in for PVE::Tools, which here runs everything. */
async function packPerl(folder: string): Promise<string> {
  const tree = join(folder, 'tree');
  const put = (from: string, to: string): void => {
    mkdirSync(join(tree, dirname(to)), { recursive: true });
    cpSync(from, join(tree, to), { recursive: true, dereference: true });
  };
  put('/usr/bin/perl', 'usr/bin/perl');
  put(PERL_BASE, PERL_BASE.slice(1));
  const { stdout } = await runOk('ldd', ['/usr/bin/perl']);
  for (const [, path = ''] of stdout.matchAll(/=> (\/\S+)/g)) put(path, path.replace(/^\/(usr\/)?/, 'usr/'));
  put(projectFile('manifests', 'proxmox', 'perl', 'Gemel'), 'perl/Gemel');
  put(projectFile('test', 'standins', 'pve', 'PVE', 'Tools.pm'), 'perl/PVE/Tools.pm');
  const tar = join(folder, 'perl.tar');
  // The names of /usr/lib and /perl, and not of / itself, whose mode stays as it is.
  execFileSync('tar', ['-c', '-f', tar, '-C', tree, 'usr', 'perl']);
  return tar;
}

/** Rejects when a command is refused, or does not do what it is for. */
export async function proxmox(guest: PreparedGuest): Promise<void> {
  const folder = temporaryFolder('proxmox');
  try {
    const tar = await packPerl(folder.path);
    await withDaemon({ portals: 2 }, async (daemon) => {
      await daemon.addInitiator(IQN, CHAP);
      const { iqn } = await daemon.createVolume('pve', '64M', ['--map', IQN]);
      const { naa } = (await daemon.gemelJson(['volume', 'show', 'pve'])) as { naa: string };
      const portals = daemon.portals.map((portal) => `${HOST_ADDRESS}:${portal.split(':').at(-1) ?? ''}`);
      const files = [
        tar,
        projectFile('test', 'guest', 'kvm-proxmox.pl'),
        projectFile('manifests', 'linux', 'multipath-gemel.conf'),
      ];
      const script = {
        script: 'kvm-proxmox.sh',
        files: Object.fromEntries(files.map((file) => [basename(file), file])),
        env: {
          ...{ GUEST_IQN: IQN, IQN: iqn, NAA: naa.replace('naa.', ''), PORTALS: portals.join(' ') },
          ...{ CHAP_USER: CHAP.user, CHAP_SECRET: CHAP.secret, NEW_BYTES: String(96 * MIB) },
        },
      };
      const grow = (): Promise<unknown> => daemon.gemelJson(['volume', 'resize', 'pve', '--size', '96M']);
      const result = await runGuest(guest, script, { on: { grow } });
      for (const line of result.log.filter((each) => /@@(OK|BAD)/.test(each))) console.log(line);
      assertGuest(result, ['attach', 'two paths', 'the new size is seen', 'read back', 'no session is left']);
    });
  } finally {
    folder.remove();
  }
}
