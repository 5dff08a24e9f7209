// `npm test [stage ...]`: sets up what is missing, runs the checks stage by stage, ends with `N passed, N failed, N skipped`.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { run as runTests } from 'node:test';
import { inspect } from 'node:util';
import { debianPackages, fail, prepare, root, say } from './bootstrap.mjs';

/** Peers the checks use, as Debian packages. */
const PEERS = [
  ...[
    'etcd-server',
    'libiscsi-bin',
    'qemu-utils',
    'qemu-block-extra',
    'qemu-system-x86',
    'cpio',
    'open-iscsi',
    'multipath-tools',
  ],
  ...[
    'mount',
    'kpartx',
    'sg3-utils',
    'ddpt',
    'lsscsi',
    'dmsetup',
    'udev',
    'kmod',
    'e2fsprogs',
    'busybox-static',
    'curl',
    'grub-pc-bin',
    'grub-common',
    'systemd',
    'adduser',
    'lintian',
    'prometheus',
    'rsyslog',
    'rsyslog-openssl',
    'python3-aiosmtpd',
    'zsh',
    'fish',
    'groff',
    'chromium',
    'cockpit-ws',
    'cockpit-bridge',
    'cockpit-system',
    'virt-manager',
    'gir1.2-spiceclientgtk-3.0',
    'xvfb',
    'openbox',
    'imagemagick',
    'at-spi2-core',
    'dbus',
    'python3-dogtail',
    'spin',
    'gcc',
    'libc6-dev',
    'libnbd-bin',
    'libvirt-daemon-system',
    'libvirt-clients',
    'libvirt-daemon-driver-qemu',
    'libvirt-daemon-driver-storage-iscsi-direct',
    'openssh-server',
    'libjson-perl',
    'liblwp-protocol-https-perl',
    'nbdkit',
  ],
];
/**
 * `seconds`: what a file, or the command, takes on a quiet machine with two processors; `busy`: how many processors it keeps
 * busy meanwhile. Estimates; LONG has those of files that differ much from their stage. `timeout`: milliseconds for one file,
 * or for the command.
 */
const STAGES = [
  {
    name: 'format',
    command: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'],
    ...{ seconds: 23, busy: 1, timeout: 240_000 },
  },
  { name: 'lint', command: ['node_modules/eslint/bin/eslint.js', '.'], seconds: 55, busy: 1, timeout: 400_000 },
  {
    name: 'types',
    command: ['node_modules/typescript/bin/tsc', '-p', 'core/console'],
    ...{ seconds: 3, busy: 1, timeout: 120_000 },
  },
  { name: 'tidy', seconds: 1, busy: 1, timeout: 60_000 },
  { name: 'unit', seconds: 2, busy: 0.6, timeout: 180_000 },
  { name: 'crash', seconds: 10, busy: 0.7, timeout: 300_000 },
  { name: 'sim', seconds: 15, busy: 1, timeout: 300_000 },
  { name: 'model', seconds: 30, busy: 1, timeout: 300_000, peers: true },
  { name: 'fuzz', seconds: 20, busy: 1, timeout: 300_000 },
  { name: 'conformance', seconds: 60, busy: 0.3, timeout: 600_000, peers: true },
  { name: 'interop', seconds: 15, busy: 0.5, timeout: 300_000, peers: true },
  { name: 'package', seconds: 100, busy: 0.6, timeout: 300_000, peers: true },
  { name: 'ui', seconds: 20, busy: 0.7, timeout: 300_000, peers: true },
  { name: 'guest', seconds: 40, busy: 0.5, timeout: 400_000, peers: true },
];
/** Names of files, with their seconds and what they keep busy. */
const LONG = [
  [/conformance.profile-(a|b|pool)/, 130, 0.4],
  [/conformance.forwarded/, 40, 0.3],
  [/interop.cluster-faults/, 75, 0.3],
  [/interop.(cluster|cluster-foreign|etcd-partition)\./, 45, 0.2],
  [/interop.esxi/, 70, 0.6],
  [/interop.(copy|damage|device-pool|full-disk|images)/, 35, 0.6],
  [/interop.kvm(-faults)?\./, 45, 0.5],
  [/guest.kvm/, 60, 0.8],
  [/crash.(job-kinds|daemon)\./, 60, 0.8],
  [/guest.linux/, 90, 0.4],
  [/unit.*(mirror|slow-streams|forward)/, 12, 0.5],
];
/** Test files that run at the same time at most, however little they need. */
const AT_ONCE = 3 * availableParallelism();
/** Milliseconds a test file has to undo what it did before it is killed. */
const GRACE = 5000;
/** Characters of what a failure says that are repeated at the end, and of the line that names it. */
const REPEATED = 3000;
const LINE = 240;
/** The whole run ends after this many milliseconds, whatever hangs. */
const TIME_LIMIT = 19.5 * 60_000;

const totals = { passed: 0, failed: 0, skipped: 0 };
/** The same by stage. */
const counts = new Map(STAGES.map((stage) => [stage, { passed: 0, failed: 0, skipped: 0 }]));
/** Each with what it said, for the end: whoever sees the last lines only must see why. */
const failures = [];
/** Tests that were cut off with the file, or the suite, they are in: by that failure they are explained. */
let cutOff = 0;
const skips = [];

function finish() {
  rmSync(temporary, { recursive: true, force: true });
  for (const each of skips) console.log(`skipped: ${each}`);
  for (const { name, said } of failures) if (said !== '') console.log(`--- ${name}\n${said}\n`);
  for (const { name, why } of failures) console.log(`FAILED: ${name}${why === '' ? '' : `: ${why}`}`);
  if (cutOff > 0) console.log(`FAILED: ${cutOff} more that were cut off with what they are in`);
  if (totals.passed + totals.failed === 0) totals.failed = 1;
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  process.exit(totals.failed === 0 ? 0 : 1);
}

function count(stage, what) {
  totals[what]++;
  counts.get(stage)[what]++;
}

/** `said`: everything that is known about it; `why`: one line. */
function failed(stage, name, why = '', said = '') {
  if (stage === undefined) totals.failed++;
  else count(stage, 'failed');
  const line = why.replace(/\s+/g, ' ').trim();
  failures.push({ name, why: line.length > LINE ? `${line.slice(0, LINE)} ...` : line, said: said.slice(0, REPEATED) });
}

function* testFiles(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const name = join(folder, entry.name);
    if (entry.isDirectory()) yield* testFiles(name);
    else if (entry.name.endsWith('.test.js')) yield name;
  }
}

/** A compiled test whose source is gone would still run: only files with a source count. */
const hasSource = (name) => existsSync(name.replace(`${join(root, 'dist')}`, root).replace(/\.js$/, '.ts'));

function runCommand(stage) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, stage.command, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: stage.timeout,
      killSignal: 'SIGKILL',
    });
    let said = '';
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text) => {
        process.stdout.write(text);
        said = (said + text).slice(-REPEATED);
      });
    }
    child.on('close', (status) => {
      if (status === 0) count(stage, 'passed');
      else failed(stage, stage.name, status === null ? `ended after ${stage.timeout / 1000} s` : 'see above', said);
      resolve();
    });
  });
}

/** What a failed test threw; node wraps it. */
const thrownBy = (error) => error?.cause ?? error;

/** The messages of an error and of its causes, the outermost first: the first line of each. */
function messagesOf(error) {
  const messages = [];
  for (let each = error; each !== undefined && each !== null && messages.length < 5; each = each.cause) {
    const [first = '', ...more] = String(each.message ?? each)
      .split('\n')
      .filter((line) => line.trim() !== '');
    // What was compared says more than that something was; and how to have it again.
    const compared = more.filter((line) => /^\s*[+-] /.test(line) && !line.includes('actual')).slice(0, 2);
    const again = more.filter((line) => /^npm run |\bseed \d/.test(line)).slice(0, 1);
    messages.push([first, ...compared, ...again].join(' '));
  }
  return messages.join(': ');
}

/** What is to be done for a stage, each with what it needs. */
function tasksOf(stage) {
  const { seconds, busy } = stage;
  if (stage.command !== undefined) return [{ stage, seconds, busy, work: () => runCommand(stage) }];
  return [...testFiles(join(root, 'dist', 'test', stage.name))].filter(hasSource).map((file) => {
    const [, itsSeconds = seconds, itsBusy = busy] = LONG.find(([name]) => name.test(file)) ?? [];
    return { stage, seconds: itsSeconds, busy: itsBusy, file, work: () => runFile(stage, file) };
  });
}

/** Test files that run, with what is being tested in each. */
const running = new Map();

function runFile(stage, file) {
  const name = relative(join(root, 'dist'), file);
  /** Tests under way, outermost first. */
  const under = [];
  running.set(file, under);
  return new Promise((resolve) => {
    // Its own limit is for where we cannot find the processes.
    const stream = runTests({ files: [file], timeout: stage.timeout + 2 * GRACE });
    let late;
    let said = '';
    const timer = setTimeout(() => {
      late = `${name}: ended after ${stage.timeout / 1000} s${during(under)}`;
      failed(stage, `${stage.name}: ${late}`, '', said);
      void endProcesses(file);
    }, stage.timeout);
    // A suite, and a file, is reported like a test; only what has nothing inside counts.
    const inside = new Map();
    stream.on('test:dequeue', (event) => event.name !== file && under.push(event.name));
    stream.on('test:start', ({ nesting, name }) => {
      inside.set(nesting, { name, children: 0 });
      const parent = inside.get(nesting - 1);
      if (parent !== undefined) parent.children++;
    });
    const isSuite = ({ nesting }) => (inside.get(nesting)?.children ?? 0) > 0;
    const over = (event) => {
      const at = under.indexOf(event.name);
      if (at >= 0) under.splice(at, 1);
    };
    stream.on('test:pass', (event) => {
      over(event);
      if (event.skip !== undefined || event.todo !== undefined) {
        count(stage, 'skipped');
        skips.push(`${stage.name}: ${event.name} - ${String(event.skip ?? event.todo)}`);
      } else if (event.details?.type !== 'suite' && !isSuite(event)) count(stage, 'passed');
    });
    stream.on('test:fail', (event) => {
      over(event);
      const type = event.details?.error?.failureType;
      // What fails because the file is being ended says nothing of its own.
      if (type === 'subtestsFailed' || late !== undefined) return;
      if (type === 'cancelledByParent') {
        count(stage, 'failed');
        cutOff++;
        return;
      }
      const thrown = thrownBy(event.details?.error);
      const whole = event.name === file;
      // A file that fails as a whole has said why there, if anywhere.
      const what = `${inspect(thrown)}${whole && said !== '' ? `\n${said}` : ''}`;
      const title = `${stage.name}: ${whole ? name : event.name}`;
      failed(stage, title, messagesOf(thrown), `(${event.file ?? ''})\n${what}`);
      console.log(`--- ${title} (${event.file ?? ''})\n${what}\n`);
    });
    stream.on('test:stderr', ({ message }) => {
      said = (said + message).slice(-4000);
      if (process.env.GEMEL_TEST_OUTPUT !== undefined) process.stderr.write(message);
    });
    stream.on(
      'test:stdout',
      ({ message }) => process.env.GEMEL_TEST_OUTPUT === undefined || process.stdout.write(message),
    );
    stream.on('end', () => {
      clearTimeout(timer);
      running.delete(file);
      if (late !== undefined) console.log(`--- ${stage.name}: ${late}\n`);
      resolve();
    });
    stream.resume();
  });
}

const during = (under) => (under.length === 0 ? ', when its tests were over' : `, during '${under.join(' > ')}'`);

/** Processes as [pid, parent, command line]. Empty where there is no /proc. */
function processes() {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((each) => /^\d+$/.test(each))
    .flatMap((pid) => {
      try {
        // The name, in parentheses, may contain anything.
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return [[Number(pid), Number(parent), readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')]];
      } catch {
        return [];
      }
    });
}

/** Ends the process of a test file, which undoes what it did if it still can, and after that whatever it started. */
async function endProcesses(file) {
  const all = processes();
  const family = all
    .filter(([, parent, command]) => parent === process.pid && command.includes(file))
    .map(([pid]) => pid);
  // Those it started may have groups of their own.
  for (const pid of family) family.push(...all.filter(([, parent]) => parent === pid).map(([child]) => child));
  const [first, ...others] = family;
  if (first === undefined) return;
  send(first, 'SIGTERM');
  for (let i = 0; i < GRACE / 100 && send(first, 0); i++) await new Promise((resolve) => setTimeout(resolve, 100));
  for (const pid of [first, ...others]) send(pid, 'SIGKILL');
}

/** False: there is no such process. */
function send(pid, signal) {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

const wanted = process.argv.slice(2).filter((each) => each !== '--only');
for (const name of wanted) {
  if (!STAGES.some((stage) => stage.name === name))
    fail(`no stage ${name}; there are ${STAGES.map((s) => s.name).join(', ')}`);
}
const stages = STAGES.filter((stage) => wanted.length === 0 || wanted.includes(stage.name));
const temporary = mkdtempSync(join(tmpdir(), 'gemel-test-'));
process.env.TMPDIR = temporary;
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }));
await prepare();
if (stages.some((stage) => stage.peers)) await debianPackages(PEERS);
setTimeout(() => {
  failed(undefined, `the run took longer than ${TIME_LIMIT / 60_000} minutes and was ended`);
  for (const [file, under] of running)
    failures.push({ name: `${relative(join(root, 'dist'), file)}${during(under)}`, why: '', said: '' });
  void Promise.all([...running.keys()].map(endProcesses)).then(finish);
}, TIME_LIMIT).unref();

/** Files that took longer than this many seconds are named. */
const SLOW = 20;

/**
 * Everything at once that the processors have time for: most checks wait, for a disk, a time limit, another program. What takes
 * longest begins first, so that the run does not end with one of them alone.
 */
async function runAll(tasks) {
  const left = tasks.toSorted((a, b) => b.seconds - a.seconds);
  const begun = new Map();
  const slow = new Map(stages.map((stage) => [stage, []]));
  let free = availableParallelism();
  let count = 0;
  await new Promise((resolve) => {
    const next = () => {
      if (left.length === 0 && count === 0) resolve();
      for (;;) {
        // In this order, even if it is a little more than they have time for: else those that need much would wait to the end.
        const task = count < AT_ONCE && free > 0.01 ? left.shift() : undefined;
        if (task === undefined) return;
        free -= task.busy;
        count++;
        const start = Date.now();
        const { stage } = task;
        if (!begun.has(stage)) begun.set(stage, start);
        void task.work().then(() => {
          free += task.busy;
          count--;
          const seconds = (Date.now() - start) / 1000;
          if (task.file !== undefined && seconds > SLOW)
            slow.get(stage).push([basename(task.file, '.test.js'), seconds]);
          task.isDone = true;
          if (tasks.every((each) => each.stage !== stage || each.isDone))
            tell(stage, begun.get(stage), slow.get(stage));
          next();
        });
      }
    };
    next();
  });
}

function tell(stage, start, slow) {
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  const { passed, failed, skipped } = counts.get(stage);
  const named = slow.sort(([, a], [, b]) => b - a).map(([name, took]) => `${name} ${took.toFixed(0)}`);
  const longest = named.length === 0 ? '' : ` (${named.join(', ')})`;
  say(`${stage.name}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds} s${longest}`);
}

const beginning = Date.now();
await runAll(stages.flatMap(tasksOf));
say(`all of it took ${((Date.now() - beginning) / 1000).toFixed(0)} s`);
finish();
