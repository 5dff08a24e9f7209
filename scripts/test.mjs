// `npm test [stage ...]`: sets up what is missing, runs the checks stage by stage, ends with `N passed, N failed, N skipped`.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run as runTests } from 'node:test';
import { debianPackages, fail, prepare, root, say } from './bootstrap.mjs';

/** Peers the checks use, as Debian packages. */
const PEERS = [
  ...['libiscsi-bin', 'qemu-utils', 'qemu-block-extra', 'qemu-system-x86', 'cpio', 'open-iscsi', 'multipath-tools'],
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
  ],
];
/** In order. `concurrency`: test files at a time; `timeout`: milliseconds for one file. */
const STAGES = [
  { name: 'format', command: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'] },
  { name: 'lint', command: ['node_modules/eslint/bin/eslint.js', '.'] },
  { name: 'tidy', concurrency: 2, timeout: 60_000 },
  { name: 'unit', concurrency: 2, timeout: 180_000 },
  { name: 'crash', concurrency: 2, timeout: 180_000 },
  { name: 'fuzz', concurrency: 1, timeout: 180_000 },
  { name: 'conformance', concurrency: 2, timeout: 600_000, peers: true },
  { name: 'interop', concurrency: 1, timeout: 300_000, peers: true },
  { name: 'guest', concurrency: 2, timeout: 400_000, peers: true },
];
/** The whole run ends after this many milliseconds, whatever hangs. */
const TIME_LIMIT = 19 * 60_000;

const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skips = [];

function finish() {
  rmSync(temporary, { recursive: true, force: true });
  for (const each of skips) console.log(`skipped: ${each}`);
  for (const each of failures) console.log(`FAILED: ${each}`);
  if (totals.passed + totals.failed === 0) totals.failed = 1;
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  process.exit(totals.failed === 0 ? 0 : 1);
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
    const child = spawn(process.execPath, stage.command, { cwd: root, stdio: ['ignore', 1, 1] });
    child.on('close', (status) => {
      if (status === 0) totals.passed++;
      else {
        totals.failed++;
        failures.push(`${stage.name}: see above`);
      }
      resolve();
    });
  });
}

/** The text of what a failed test threw. */
function causeOf(error) {
  const cause = error?.cause ?? error;
  return String(cause?.stack ?? cause?.message ?? cause);
}

function runStage(stage) {
  const files = [...testFiles(join(root, 'dist', 'test', stage.name))].filter(hasSource).sort();
  if (files.length === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const stream = runTests({ files, concurrency: stage.concurrency, timeout: stage.timeout });
    // A suite, and a file, is reported like a test; only what has nothing inside counts.
    const inside = new Map();
    stream.on('test:start', ({ name, nesting, file }) => {
      const key = `${file}#${nesting}`;
      inside.set(key, { name, children: 0 });
      if (nesting > 0) {
        const parent = inside.get(`${file}#${nesting - 1}`);
        if (parent !== undefined) parent.children++;
      }
    });
    const isSuite = ({ nesting, file }) => (inside.get(`${file}#${nesting}`)?.children ?? 0) > 0;
    stream.on('test:pass', (event) => {
      if (event.skip !== undefined || event.todo !== undefined) {
        totals.skipped++;
        skips.push(`${stage.name}: ${event.name} - ${String(event.skip ?? event.todo)}`);
      } else if (event.details?.type !== 'suite' && !isSuite(event)) totals.passed++;
    });
    stream.on('test:fail', (event) => {
      const type = event.details?.error?.failureType;
      if (type === 'subtestsFailed') return;
      totals.failed++;
      failures.push(`${stage.name}: ${event.name}`);
      console.log(`--- ${stage.name}: ${event.name} (${event.file ?? ''})\n${causeOf(event.details?.error)}\n`);
    });
    stream.on(
      'test:stderr',
      ({ message }) => process.env.GEMEL_TEST_OUTPUT === undefined || process.stderr.write(message),
    );
    stream.on(
      'test:stdout',
      ({ message }) => process.env.GEMEL_TEST_OUTPUT === undefined || process.stdout.write(message),
    );
    stream.on('end', resolve);
    stream.resume();
  });
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
  totals.failed++;
  failures.push(`the run took longer than ${TIME_LIMIT / 60_000} minutes and was ended`);
  finish();
}, TIME_LIMIT).unref();
for (const stage of stages) {
  const start = Date.now();
  const before = { ...totals };
  await (stage.command === undefined ? runStage(stage) : runCommand(stage));
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  const count = (key) => totals[key] - before[key];
  say(
    `${stage.name}: ${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped in ${seconds} s`,
  );
}
finish();
