// `npm run package`: dist/gemel_VERSION_ARCH.deb, made with dpkg-deb and nothing else of Debian's tools.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { fail, prepare, root, say } from './bootstrap.mjs';

const { values: options } = parseArgs({
  options: {
    version: { type: 'string' },
    out: { type: 'string', default: join(root, 'dist') },
    compression: { type: 'string', default: 'xz' },
  },
});
await prepare();

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const version = options.version ?? manifest.version;
if (!/^\d[\w.+~]*$/.test(version)) fail(`'${version}' is no version for a Debian package`);
const architecture = output('dpkg', ['--print-architecture']);
/** Seconds since 1970 that all files have: the same sources make the same package. */
const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? commitTime());
const stage = join(options.out, `package-${process.pid}`);
const inStage = (path) => join(stage, path);
const debian = (name) => readFileSync(join(root, 'manifests', 'debian', name), 'utf8').replaceAll('@VERSION@', version);

function output(program, args, input) {
  const { stdout, stderr, status, error } = spawnSync(program, args, { encoding: 'utf8', input, cwd: root });
  if (error?.code === 'ENOENT') fail(`${program} is missing: a Debian package is made on Debian`);
  if (status !== 0) fail(`${program} failed: ${stderr || error?.message}`);
  return stdout.trim();
}

function commitTime() {
  const { stdout, status } = spawnSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8', cwd: root });
  return status === 0 ? stdout.trim() : Math.floor(Date.now() / 1000);
}

function put(path, content, mode = 0o644) {
  mkdirSync(dirname(inStage(path)), { recursive: true });
  writeFileSync(inStage(path), content);
  chmodSync(inStage(path), mode);
}

const putZipped = (path, content) => put(path, gzipSync(content, { level: 9 }));

function* filesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path);
    else yield path;
  }
}

/** The compiled program, without what was compiled from sources that are gone. */
function copyProgram() {
  for (const part of ['core', 'vaai', 'odx', 'plugins']) {
    if (!existsSync(join(root, 'dist', part))) continue;
    cpSync(join(root, 'dist', part), inStage(`usr/lib/gemel/dist/${part}`), {
      recursive: true,
      filter: (from) => {
        if (statSync(from).isDirectory()) return true;
        const source = join(root, relative(join(root, 'dist'), from)).replace(/\.js(\.map)?$/, '.ts');
        return !/\.js(\.map)?$/.test(from) || existsSync(source);
      },
    });
  }
  // The web console is built for browsers; its files have no sources of the same name.
  const console = join(root, 'dist', 'console');
  if (existsSync(console)) cpSync(console, inStage('usr/lib/gemel/dist/console'), { recursive: true });
  // Used when Cockpit is there; its bridge finds what is in this folder.
  const cockpit = join(root, 'dist', 'cockpit');
  if (existsSync(cockpit)) cpSync(cockpit, inStage('usr/share/cockpit/gemel'), { recursive: true });
  const { name, description, license, type, engines } = manifest;
  const shown = { name, version, description, license, type, engines };
  put('usr/lib/gemel/package.json', `${JSON.stringify(shown, undefined, 2)}\n`);
}

/** Parts of npm packages that only those need who change or compile them. */
const NOT_NEEDED =
  /(^|\/)(\.github|\.nyc_output|test|tests|benchmarks?|examples?|docs?|man|bin|tools)(\/|$)|\.(ts|cts|mts|map|md|markdown|html|gyp|musl\.node)$|(^|\/)musl_[^/]*(\/|$)|(^|\/)(\.[^/]+|Makefile|rollup\.config\.[cm]?js)$/;
/** Headers for those who compile addons. */
const LEFT_OUT = ['node-addon-api'];
const SOURCES_OF = {
  lmdb: /^(src|dependencies)(\/|$)/,
  zod: /^src(\/|$)/,
  'msgpackr-extract': /^(src|prebuilds)(\/|$)/,
  koffi: /^(src|vendor|cnoke\.cjs)(\/|$)/,
};

/** Production packages, as package-lock.json names them. Returns the license of each. */
function copyPackages() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const licenses = new Map();
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '' || entry.dev || entry.devOptional) continue;
    const from = join(root, path);
    if (!existsSync(from)) {
      // For another machine than this one; anything else has to be there.
      if (entry.optional) continue;
      fail(`${path} is missing: npm ci`);
    }
    const name = path.replace(/^.*node_modules\//, '');
    if (LEFT_OUT.includes(name)) continue;
    cpSync(from, inStage(`usr/lib/gemel/${path}`), {
      recursive: true,
      filter: (each) => {
        const inside = relative(from, each);
        if (inside === '') return true;
        if (/^LICEN[CS]E|^NOTICE/i.test(basename(inside))) return true;
        return !inside.startsWith('node_modules') && !NOT_NEEDED.test(inside) && !SOURCES_OF[name]?.test(inside);
      },
    });
    licenses.set(name, { license: entry.license ?? 'see its package.json', version: entry.version, path });
  }
  return licenses;
}

/** Paragraphs for debian/copyright: what each package of npm is under; the texts are beside the packages. */
function licenseParagraphs(licenses) {
  const paragraphs = [...licenses].map(([name, { license, path }]) => {
    const short = license.replaceAll(/[^\w.+-]+/g, '-');
    return `\nFiles: usr/lib/gemel/${path}/*\nCopyright: the authors of ${name}, as named in its package\nLicense: ${short}-${name.replaceAll(/\W+/g, '-').replace(/^-/, '')}\n ${license}; the text is in /usr/lib/gemel/${path}.`;
  });
  return paragraphs.join('\n');
}

function cli(...args) {
  return `${output(process.execPath, [join(stage, 'usr/lib/gemel/dist/core/cli/main.js'), ...args])}\n`;
}

function copyTexts(licenses) {
  putZipped('usr/share/man/man1/gemel.1.gz', cli('man'));
  putZipped('usr/share/man/man8/gemeld.8.gz', debian('gemeld.8'));
  put('usr/share/bash-completion/completions/gemel', cli('completion', 'bash'));
  put('usr/share/zsh/vendor-completions/_gemel', cli('completion', 'zsh'));
  put('usr/share/fish/vendor_completions.d/gemel.fish', cli('completion', 'fish'));
  put('usr/share/doc/gemel/copyright', debian('copyright').replace('@LICENSES@', licenseParagraphs(licenses)));
  put('usr/share/doc/gemel/README.Debian', debian('README.Debian'));
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  const entry = `gemel (${version}) unstable; urgency=medium\n\n  * Release ${version}: see CHANGELOG of the project.\n\n -- The Gemel developers <gemel@localhost.invalid>  ${date}\n`;
  putZipped('usr/share/doc/gemel/changelog.gz', entry);
  for (const folder of ['prometheus', 'grafana', 'linux']) {
    cpSync(join(root, 'manifests', folder), inStage(`usr/share/gemel/${folder}`), { recursive: true });
  }
}

function writeControl() {
  const files = [...filesIn(stage)].map((path) => relative(stage, path)).sort();
  const kib = files.reduce((sum, path) => sum + Math.ceil(statSync(inStage(path)).size / 1024), 0);
  const hash = (path) =>
    createHash('md5')
      .update(readFileSync(inStage(path)))
      .digest('hex');
  const sums = files.filter((path) => !path.startsWith('etc/')).map((path) => `${hash(path)}  ${path}\n`);
  put('DEBIAN/control', debian('control').replace('@ARCH@', architecture).replace('@SIZE@', String(kib)));
  put('DEBIAN/conffiles', '/etc/gemel/gemel.json\n');
  put('DEBIAN/md5sums', sums.join(''));
  for (const script of ['postinst', 'prerm', 'postrm']) put(`DEBIAN/${script}`, debian(script), 0o755);
}

/** One time and one set of rights for everything, whatever the mask of who builds. */
function level(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) level(path);
    const mayRun = entry.isDirectory() || /^(usr\/bin\/|DEBIAN\/(postinst|prerm|postrm)$)/.test(relative(stage, path));
    chmodSync(path, mayRun ? 0o755 : 0o644);
    utimesSync(path, epoch, epoch);
  }
  utimesSync(folder, epoch, epoch);
}

try {
  mkdirSync(stage, { recursive: true });
  chmodSync(stage, 0o755);
  copyProgram();
  const licenses = copyPackages();
  put('usr/bin/gemel', debian('gemel.sh'), 0o755);
  put('usr/bin/gemeld', debian('gemeld.sh'), 0o755);
  put('etc/gemel/gemel.json', debian('gemel.json'));
  for (const unit of ['gemeld', 'gemel-kvm-agent', 'gemel-vhost@']) {
    put(`lib/systemd/system/${unit}.service`, readFileSync(join(root, `manifests/systemd/${unit}.service`)));
  }
  put('usr/share/lintian/overrides/gemel', debian('lintian-overrides'));
  copyTexts(licenses);
  writeControl();
  level(stage);
  const file = join(options.out, `gemel_${version}_${architecture}.deb`);
  process.env.SOURCE_DATE_EPOCH = String(epoch);
  output('dpkg-deb', [`-Z${options.compression}`, '--root-owner-group', '--build', stage, file]);
  say(`${file}: ${(statSync(file).size / 1e6).toFixed(1)} MB`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}
