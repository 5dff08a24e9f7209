// `npm run package:proxmox`: dist/gemel-proxmox_VERSION_all.deb, the storage plugin for Proxmox VE.
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, root, say } from './bootstrap.mjs';

const { values: options } = parseArgs({ options: { out: { type: 'string', default: join(root, 'dist') } } });
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const source = join(root, 'manifests', 'proxmox');
const stage = join(options.out, `package-proxmox-${process.pid}`);
/** Seconds since 1970 that all files have: the same sources make the same package. */
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? Math.floor(statSync(join(root, 'package.json')).mtimeMs / 1000));

function put(path, content, mode = 0o644) {
  mkdirSync(dirname(join(stage, path)), { recursive: true });
  writeFileSync(join(stage, path), content);
  chmodSync(join(stage, path), mode);
}

/** Rights and times for everything below `folder`, whatever the mask of who builds. Returns KiB. */
function level(folder) {
  let kib = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) kib += level(path);
    else kib += Math.ceil(statSync(path).size / 1024);
    chmodSync(path, entry.isDirectory() || entry.name === 'postinst' ? 0o755 : 0o644);
    utimesSync(path, epoch, epoch);
  }
  return kib;
}

try {
  mkdirSync(stage, { recursive: true });
  chmodSync(stage, 0o755);
  const perl = join(stage, 'usr/share/perl5');
  cpSync(join(source, 'perl', 'Gemel'), join(perl, 'Gemel'), { recursive: true });
  put('usr/share/perl5/PVE/Storage/Custom/GemelPlugin.pm', readFileSync(join(source, 'perl', 'GemelPlugin.pm')));
  put('usr/share/doc/gemel-proxmox/README.md', readFileSync(join(source, 'README.md')));
  put('usr/share/doc/gemel-proxmox/copyright', readFileSync(join(source, 'debian', 'copyright')));
  const kib = level(stage);
  const control = readFileSync(join(source, 'debian', 'control'), 'utf8');
  put('DEBIAN/control', control.replace('@VERSION@', version).replace('@SIZE@', String(kib)));
  put('DEBIAN/postinst', readFileSync(join(source, 'debian', 'postinst')), 0o755);
  level(stage);
  const file = join(options.out, `gemel-proxmox_${version}_all.deb`);
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
  const args = ['-Zxz', '--root-owner-group', '--build', stage, file];
  const { status, stderr, error } = spawnSync('dpkg-deb', args, { encoding: 'utf8', env });
  if (status !== 0) fail(`dpkg-deb failed: ${stderr || error?.message}`);
  say(`${file}: ${(statSync(file).size / 1e3).toFixed(0)} kB`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}
