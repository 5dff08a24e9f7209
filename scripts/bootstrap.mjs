// Set-up on a fresh machine, with nothing but Node: packages, build, and (for tests) Debian packages.
// Everything said here goes to stderr: stdout belongs to the program that is started afterwards.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OLDEST_NODE = [20, 19];
const SOURCES = ['core', 'vaai', 'odx', 'plugins', 'test'];
const CONSOLE = join(root, 'core', 'console');
/** Of the console, but tests look at them, too. */
const TESTED = ['api/cluster-types.ts', 'parts/forecast.ts'].map((name) => join(CONSOLE, name));
/** A lock left by a set-up that was killed is taken over after this many milliseconds. */
const STALE_LOCK = 600_000;

export const say = (text) => process.stderr.write(`gemel: ${text}\n`);

/** Ends the program with one line. */
export function fail(text) {
  process.stderr.write(`gemel: ${text}\n`);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [wantMajor, wantMinor] = OLDEST_NODE;
  if (major > wantMajor || (major === wantMajor && minor >= wantMinor)) return;
  fail(`Node ${OLDEST_NODE.join('.')} or newer is needed, this is ${process.versions.node}: install a current Node.js`);
}

/** Runs a command with its output on stderr; resolves with the exit status. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
}

/** Holds the set-up lock while `work` runs: two starts at once must not build over each other. Not where nothing can be changed. */
async function alone(work) {
  const name = join(root, '.setup-lock');
  for (;;) {
    try {
      const fd = openSync(name, 'wx');
      writeFileSync(fd, String(process.pid));
      closeSync(fd);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') {
        // Somebody else has set it up, for this user, too.
        if (packagesThere() && compiled(sourceState()) && bundled(consoleState())) return undefined;
        fail(
          `cannot write to ${root} (${error.code}): run npm start once as a user who may, or clone it where you may`,
        );
      }
      if (isStale(name)) rmSync(name, { force: true });
      else await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  const release = () => rmSync(name, { force: true });
  process.on('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function isStale(name) {
  try {
    const holder = Number(readFileSync(name, 'utf8'));
    if (holder > 0) process.kill(holder, 0);
    return Date.now() - statSync(name).mtimeMs > STALE_LOCK;
  } catch {
    return true;
  }
}

const PACKAGES_STAMP = join(root, 'node_modules', '.gemel-stamp');
const BUILD_STAMP = join(root, 'dist', '.stamp');
const CONSOLE_STAMP = join(root, 'dist', '.stamp-console');
const says = (stamp, state) => existsSync(stamp) && readFileSync(stamp, 'utf8') === state;

function lockState() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
}

const packagesThere = () => says(PACKAGES_STAMP, lockState());
const compiled = (state) => says(BUILD_STAMP, state);
const bundled = (state) =>
  ['console', 'cockpit'].every((name) => existsSync(join(root, 'dist', name, 'index.html'))) &&
  says(CONSOLE_STAMP, state);

async function installPackages() {
  if (packagesThere()) return;
  say('installing packages (npm ci) ...');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const status = await run(npm, ['ci', '--no-fund', '--no-audit', '--loglevel=error'], {
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail('npm ci failed: see above; the npm registry has to be reachable');
  writeFileSync(PACKAGES_STAMP, lockState());
}

function* sourceFiles(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const name = join(folder, entry.name);
    if (name === CONSOLE) continue;
    if (entry.isDirectory()) yield* sourceFiles(name);
    else if (entry.name.endsWith('.ts')) yield name;
  }
}

/** Hash over names, sizes and times of these files. */
function stateOf(files) {
  const hash = createHash('sha256');
  for (const name of files) {
    const { size, mtimeMs } = statSync(name);
    hash.update(`${name} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Of everything `tsc` reads. */
function sourceState() {
  const own = ['tsconfig.json', 'package-lock.json', join('docs', 'openapi.json'), join('scripts', 'api-types.mjs')];
  const files = [...own.map((name) => join(root, name)), ...TESTED];
  for (const folder of SOURCES) files.push(...sourceFiles(join(root, folder)));
  return stateOf(files);
}

async function compile() {
  if (compiled(sourceState())) return true;
  say('building ...');
  mkdirSync(join(root, 'dist'), { recursive: true });
  if ((await run(process.execPath, [join(root, 'scripts', 'api-types.mjs')])) !== 0) return false;
  const status = await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root]);
  if (status !== 0) return false;
  // What was made on the way counts as well.
  writeFileSync(BUILD_STAMP, sourceState());
  return true;
}

function consoleState() {
  const own = readdirSync(CONSOLE, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const more = ['package-lock.json', join('scripts', 'console.mjs')];
  for (const name of ['manifest.json', 'settings.json']) more.push(join('manifests', 'cockpit', name));
  return stateOf([...own, ...more.map((name) => join(root, name))].sort());
}

/** The web console; it knows the rest only over HTTP, so it is built only when its own sources have changed. */
async function bundleConsole() {
  const state = consoleState();
  if (bundled(state)) return true;
  say('building the console ...');
  if ((await run(process.execPath, [join(root, 'scripts', 'console.mjs')])) !== 0) return false;
  writeFileSync(CONSOLE_STAMP, state);
  return true;
}

/** Everything needed to run: packages and build. Ends the program when that is impossible. */
export async function prepare() {
  checkNode();
  await alone(async () => {
    await installPackages();
    if (!(await compile()) || !(await bundleConsole())) fail('the build failed: see above');
  });
}

/** A larger young generation: what a command leaves behind is collected in fewer and hardly longer pauses. */
const NODE_FLAGS = ['--enable-source-maps', '--max-semi-space-size=32'];

/**
 * Environment of the daemon. Threads that wait for the disk: with many more of them than processors, waking them costs more
 * than reading from a fast disk does. UV_THREADPOOL_SIZE overrides it: a slow disk with deep queues wants more.
 */
export function daemonEnvironment() {
  const threads = Math.min(32, 4 + 4 * availableParallelism());
  return { UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? String(threads) };
}

/** Starts `node file ...args` in place of this program: same terminal, same signals, same exit status. */
export function become(file, args, env = {}) {
  const child = spawn(process.execPath, [...NODE_FLAGS, join(root, file), ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  // Ctrl-C reaches the whole process group by itself; a signal to this process alone has to be passed on.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  let interrupts = 0;
  process.on('SIGINT', () => {
    interrupts++;
    if (!process.stdin.isTTY) child.kill('SIGINT');
    if (interrupts > 3) child.kill('SIGKILL');
  });
  child.on('error', (error) => fail(error.message));
  child.on('close', (status, signal) => {
    if (signal !== null) {
      // A program that ends by a signal nobody sent has said nothing itself.
      if (!['SIGINT', 'SIGTERM', 'SIGHUP'].includes(signal)) say(`${file} was ended by ${signal}`);
      process.exit(128 + (constants.signals[signal] ?? 0));
    }
    process.exit(status ?? 1);
  });
}

/** Installs the Debian packages that are missing, when this user may. Returns those that are still missing. */
export async function debianPackages(names) {
  const missing = names.filter((name) => {
    const found = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Abbrev}', name], { encoding: 'utf8' });
    return found.error !== undefined || !found.stdout.startsWith('ii');
  });
  if (missing.length === 0) return [];
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).error !== undefined) {
    say(`some checks will be skipped; install their peers with: ${command}`);
    return missing;
  }
  say(`installing Debian packages: ${missing.join(' ')} ...`);
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  // Peers are started by the tests on their own ports; their services must not come up by themselves.
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = ['-qq', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Dpkg::Use-Pty=0'];
  const quiet = { env, stdio: ['ignore', 'ignore', 2] };
  try {
    await run('apt-get', [...apt, 'update'], quiet);
    const status = await run('apt-get', [...apt, 'install', '-y', '--no-install-recommends', ...missing], quiet);
    if (status === 0) return [];
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
  say(`installation failed; some checks will be skipped. By hand: ${command}`);
  return missing;
}
