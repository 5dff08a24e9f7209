// `npm run bench [-- --reps N --seconds S --case NAME,NAME --markdown FILE]`: Gemel beside tgt, istgt and a C server that makes
// the same socket calls, in one run on the same machine: servers alternate inside each repetition, and what counts is the
// median of the ratios of the repetitions.
// `npm run bench -- soak [--minutes N]`, `-- sessions [--seconds N --cache-size MIB]`, `-- hotcold --data DIR`, `-- api`: what a
// table of ratios cannot show; status 1 when a goal is missed.
// `npm run bench -- moments`: how often this machine takes a processor away from a program (native/moments.c).
// `npm run bench -- pool [--data DIR]`: the pool on a real disk (pool.ts); `-- copy [--data DIR]`: offloaded copies (copy.ts);
// `-- mirror [--data DIR]`: two copies on two nodes (mirror.ts); `-- images [--data DIR]`: import and export (images.ts).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { projectRoot } from '../support/project.ts';
import { measureApi } from './api.ts';
import { CASES } from './cases.ts';
import type { Case } from './cases.ts';
import { machineFacts } from './machine.ts';
import { compileTools, filledFile, has, must, startGemel, startIstgt, startReference, startTgt } from './peers.ts';
import type { Server } from './peers.ts';
import { hotAndCold, manySessions, soak, takenMoments } from './modes.ts';
import type { Outcome } from './modes.ts';
import { PoolBench } from './pool.ts';
import { markdown, summarize } from './report.ts';
import type { Sample } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '10' },
    reps: { type: 'string', default: '5' },
    seconds: { type: 'string' },
    'cache-size': { type: 'string' },
    'cold-seconds': { type: 'string', default: '10' },
    case: { type: 'string' },
    size: { type: 'string' },
    durability: { type: 'string', default: 'volatile' },
    data: { type: 'string' },
    markdown: { type: 'string' },
    json: { type: 'string' },
  },
});
/** Of one measurement. */
const seconds = values.seconds ?? '1.5';
const json = values.json ?? join(projectRoot, 'bench-results', `${positionals[0] ?? 'latest'}.json`);
const chosen = values.case?.split(',');
const cases = CASES.filter((each) => chosen?.includes(each.name) ?? true);
const [mode] = positionals;
/** Of the disk that is measured; that which is copied is to be larger than any cache. */
const sizes: Readonly<Record<string, string>> = { copy: '10240', mirror: '512' };
const megabytes = Number(values.size ?? sizes[mode ?? ''] ?? '1024');
const inMemory = !['pool', 'copy', 'mirror', 'images'].includes(mode ?? '') && existsSync('/dev/shm');
const base = values.data ?? (inMemory ? '/dev/shm' : tmpdir());
mkdirSync(base, { recursive: true });
const folder = mkdtempSync(join(base, 'gemel-bench-'));
const tools = compileTools(folder);
const servers: Server[] = [];
let pool: PoolBench | undefined;

async function cleanUp(): Promise<void> {
  pool?.abort();
  for (const each of servers.splice(0)) await each.stop();
  rmSync(folder, { recursive: true, force: true });
}
process.on('SIGINT', () => void cleanUp().finally(() => process.exit(130)));

function generate(url: string, options: readonly string[], pinned: boolean): Sample {
  const command = [tools.load, '-u', url, ...options];
  const [program = '', ...args] = pinned ? ['taskset', '-c', '0', ...command] : command;
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 120_000 });
  if (done.status !== 0) throw new Error(`${url} ${options.join(' ')}: ${done.stderr}`);
  return JSON.parse(done.stdout) as Sample;
}

/** Stamps, reads back and compares with several sizes, before anything is timed. */
function verify(server: Server): void {
  for (const options of [
    ['-b', '4k'],
    ['-b', '64k'],
    ['-b', '1m'],
    ['-b', '4k', '-H', '-D', '-C'],
    ['-b', '1m', '-H', '-D', '-C'],
  ]) {
    must(tools.load, ['-u', server.url, '-V', '-g', '64', ...options]);
  }
}

/** All threads of the process. One that ends while they are gone through is an error to taskset, so it is asked again. */
function pin(pid: number, to: string): void {
  const done = [1, 2, 3].some(() => spawnSync('taskset', ['-acp', to, String(pid)]).status === 0);
  if (!done) throw new Error(`taskset cannot pin process ${String(pid)}`);
}

const everyCpu = `0-${String(cpus().length - 1)}`;

function measure(each: Case, server: Server): Sample {
  if (each.pinned === true) pin(server.pid, '0');
  try {
    const time = ['-t', seconds, '-w', '0.3', '-P', String(server.pid)];
    return generate(server.url, [...each.load, ...time], each.pinned === true);
  } finally {
    if (each.pinned === true) pin(server.pid, everyCpu);
  }
}

/** MiB of the cold volume: more than a few seconds of reading go through. */
const COLD_MEGABYTES = 8192;

/** MiB of cache, unless `--cache-size` is given or all of the volume is to fit: beside a hot session, what is cold must not. */
const CACHES: Readonly<Record<string, number>> = { hotcold: 256 };

/** One of the long runs, with Gemel alone. */
async function runMode(name: string): Promise<Outcome> {
  if (name === 'moments') return takenMoments(folder, seconds);
  const cache = Number(values['cache-size'] ?? CACHES[name] ?? megabytes + 256);
  const flags = ['--cache-size', `${String(cache)}M`];
  const gemel = await startGemel(join(folder, 'gemel'), megabytes, values.durability, flags);
  servers.push(gemel);
  generate(gemel.url, ['-S', '-m', '0', '-b', '1m', '-q', '8', '-t', '3'], false);
  if (name === 'soak') return soak(tools.load, gemel, Number(values.minutes));
  if (name === 'api') return { text: await measureApi(tools.load, gemel), reached: true, facts: {} };
  if (name === 'sessions') return manySessions(tools.load, gemel, cache, Number(values.seconds ?? '20'));
  if (name !== 'hotcold')
    throw new Error(`no mode ${name}: soak, sessions, hotcold, api, moments, pool, copy, mirror, images`);
  // A second volume of the same daemon; hot and cold are only apart on a real disk (--data DIR).
  const url = gemel.create('cold', COLD_MEGABYTES);
  const write = (seconds: number): Sample =>
    generate(url, ['-S', '-m', '0', '-b', '1m', '-q', '8', '-t', String(seconds)], false);
  write(Math.ceil((COLD_MEGABYTES / Math.max(1, write(2).mbs)) * 1.5));
  const chill = (): void => {
    must('sync', []);
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  };
  return hotAndCold(tools.load, gemel, { url, chill });
}

const machine = machineFacts();

function save(results: object): void {
  mkdirSync(join(json, '..'), { recursive: true });
  writeFileSync(json, JSON.stringify(results, null, 1));
}

async function compare(): Promise<void> {
  servers.push(await startGemel(join(folder, 'gemel'), megabytes, values.durability));
  servers.push(await startReference(tools.reference, filledFile(join(folder, 'reference.img'), megabytes)));
  if (has('tgtd')) servers.push(await startTgt(filledFile(join(folder, 'tgt.img'), megabytes)));
  else console.error('tgt is missing: apt-get install tgt');
  if (has('istgt'))
    servers.push(await startIstgt(filledFile(join(folder, 'istgt.img'), megabytes), join(folder, 'istgt')));
  else console.error('istgt is missing: apt-get install istgt');
  for (const server of servers) if (server.name !== 'reference') verify(server);
  // Gemel's volume starts as a hole, and reading a hole measures nothing.
  generate(servers[0]?.url ?? '', ['-S', '-m', '0', '-b', '1m', '-q', '8', '-t', '3'], false);
  const samples: { case: string; rep: number; server: string; sample: Sample }[] = [];
  for (let rep = 0; rep < Number(values.reps); rep++) {
    for (const each of cases) {
      for (const server of servers) {
        if (server.name === 'reference' && each.load.includes('-D')) continue;
        samples.push({ case: each.name, rep, server: server.name, sample: measure(each, server) });
      }
      console.error(`repetition ${String(rep + 1)}: ${each.title}`);
    }
  }
  const rows = summarize(cases, samples);
  const facts = {
    ...machine,
    repetitions: Number(values.reps),
    durability: `${values.durability}; the peers acknowledge from the page cache too`,
    storage: base,
  };
  save({ facts, rows, samples });
  const table = markdown(facts, rows);
  console.log(table);
  if (values.markdown !== undefined) writeFileSync(values.markdown, table);
}

/** What a pool costs, what copies inside it bring, what a second copy on another node costs, and images, on a disk. */
async function runOnDisk(kind: 'pool' | 'copy' | 'mirror' | 'images'): Promise<string> {
  const { reps } = values;
  const common = { folder, tool: tools.load, size: megabytes, parts: chosen, json, markdown: values.markdown };
  const options = {
    ...common,
    reps: Number(reps),
    seconds: Number(seconds),
    coldSeconds: Number(values['cold-seconds']),
  };
  if (kind === 'copy') {
    // Not before it is needed: it brings its own way of cleaning up when it is interrupted.
    const { CopyBench } = await import('./copy.ts');
    return new CopyBench(options).run();
  }
  if (kind === 'images') {
    const { ImageBench } = await import('./images.ts');
    const { text, isReached } = await new ImageBench(options).run();
    if (!isReached) process.exitCode = 1;
    return text;
  }
  if (kind === 'mirror') {
    const { MirrorBench } = await import('./mirror.ts');
    return new MirrorBench(options).run();
  }
  pool = new PoolBench(options);
  return pool.run();
}

try {
  if (mode === undefined) await compare();
  else if (mode === 'pool' || mode === 'copy' || mode === 'mirror' || mode === 'images')
    console.log(await runOnDisk(mode));
  else {
    const { text, reached, facts } = await runMode(mode);
    save({ ...machine, mode, reached, ...facts });
    console.log(text);
    if (!reached) process.exitCode = 1;
  }
} finally {
  await cleanUp();
}
