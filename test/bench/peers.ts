// The servers that are measured: Gemel, tgt, istgt, and the C reference, each on a filled file of its own.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '../support/project.ts';

export type PeerName = 'gemel' | 'tgt' | 'istgt' | 'reference';

export interface Server {
  readonly name: PeerName;
  /** `HOST:PORT/IQN/LUN` for the load generator. */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const IQN = 'iqn.2026-11.org.example';
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a short command; throws with its output when it fails. */
export function must(command: string, args: readonly string[], cwd?: string): string {
  const done = spawnSync(command, args, { encoding: 'utf8', cwd });
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(' ')}: ${done.error?.message ?? done.stderr}`);
  }
  return done.stdout;
}

export const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

/** Sources in C. */
export const nativeSources = join(projectRoot, 'test', 'bench', 'native');

/** Compiles the load generator and the reference server. */
export function compileTools(folder: string): { load: string; reference: string } {
  if (!has('gcc')) throw new Error('gcc is missing: apt-get install gcc libc6-dev');
  const tools = { load: join(folder, 'iscsiload'), reference: join(folder, 'ctgt') };
  must('gcc', ['-O3', '-march=native', '-pthread', '-o', tools.load, join(nativeSources, 'iscsiload.c')]);
  must('gcc', ['-O3', '-march=native', '-o', tools.reference, join(nativeSources, 'ctgt.c')]);
  return tools;
}

/** A file of random bytes: reading holes would measure nothing. */
export function filledFile(name: string, megabytes: number): string {
  must('dd', ['if=/dev/urandom', `of=${name}`, 'bs=1M', `count=${String(megabytes)}`, 'status=none']);
  return name;
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) =>
    child.once('close', () => {
      resolve();
    }),
  );
}

async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 8000);
  await ended(child);
  clearTimeout(timer);
}

export async function startReference(program: string, file: string): Promise<Server> {
  const child = spawn(program, ['13290', '0', '0', file], { stdio: 'ignore' });
  await sleep(500);
  return { name: 'reference', url: '127.0.0.1:13290/x/0', pid: child.pid ?? 0, stop: () => stop(child) };
}

/**
 * `durable`: no write cache, and the file is opened with O_SYNC. `cold`: made for a disk that has to be waited for, and a second
 * logical unit that reads the same file past the page cache (io_submit).
 */
export async function startTgt(file: string, { durable = false, cold = false } = {}): Promise<Server> {
  mkdirSync('/var/run/tgtd', { recursive: true });
  // Threads that wait for the disk: the default of tgt when they do.
  const threads = durable || cold ? '16' : '4';
  const args = ['-f', '-C', '95', '-t', threads, '--iscsi', 'portal=127.0.0.1:13261,nop_interval=0,nop_count=0'];
  const child = spawn('tgtd', args, { stdio: 'ignore' });
  await sleep(1000);
  const admin = (...more: string[]): string => must('tgtadm', ['-C', '95', '--lld', 'iscsi', ...more]);
  admin('--op', 'new', '--mode', 'target', '--tid', '1', '-T', `${IQN}:tgt`);
  const keys = [
    'MaxRecvDataSegmentLength=262144',
    'MaxXmitDataSegmentLength=262144',
    'HeaderDigest=None,CRC32C',
    'DataDigest=None,CRC32C',
    'InitialR2T=No',
    'ImmediateData=Yes',
    'MaxOutstandingR2T=8',
    'FirstBurstLength=262144',
    'MaxBurstLength=1048576',
  ];
  for (const each of keys) {
    const [name = '', value = ''] = each.split('=');
    admin('--op', 'update', '--mode', 'target', '--tid', '1', '--name', name, '--value', value);
  }
  const sync = durable ? ['--bsoflags', 'sync'] : [];
  const unit = (lun: string, kind: string): string[] => ['--lun', lun, '-b', file, '--bstype', kind, ...sync];
  admin('--op', 'new', '--mode', 'logicalunit', '--tid', '1', ...unit('1', 'rdwr'));
  if (cold) admin('--op', 'new', '--mode', 'logicalunit', '--tid', '1', ...unit('2', 'aio'));
  // Caching mode page (SBC-4 6.6.4) without any cache: page, subpage, length, then so many bytes; WCE is in the first.
  const page = `mode_page=8:0:18${':0'.repeat(18)}`;
  if (durable) admin('--op', 'update', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '--params', page);
  admin('--op', 'bind', '--mode', 'target', '--tid', '1', '-I', 'ALL');
  // tgtd ignores SIGTERM while it has targets.
  return { name: 'tgt', url: `127.0.0.1:13261/${IQN}:tgt/1`, pid: child.pid ?? 0, stop: () => stop(child, 'SIGKILL') };
}

export async function startIstgt(file: string, folder: string): Promise<Server> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'auth.conf'), '');
  const config = `[Global]
  NodeBase "${IQN}"
  PidFile ${folder}/istgt.pid
  AuthFile ${folder}/auth.conf
  MediaDirectory ${folder}
  MaxOutstandingR2T 16
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
[UnitControl]
  Portal UC1 127.0.0.1:13269
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:13262
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName istgt
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UseDigest Auto
  UnitType Disk
  QueueDepth 255
  LUN0 Storage ${file} Auto
`;
  writeFileSync(join(folder, 'istgt.conf'), config);
  const child = spawn('istgt', ['-D', '-c', join(folder, 'istgt.conf')], { stdio: 'ignore' });
  await sleep(1000);
  return { name: 'istgt', url: `127.0.0.1:13262/${IQN}:istgt/0`, pid: child.pid ?? 0, stop: () => stop(child) };
}

export interface Gemel extends Server {
  /** Makes another volume of this size and returns its URL. */
  create(name: string, megabytes: number): string;
  /** URL of its API, and a token of an admin. */
  readonly api: string;
  readonly token: string;
}

/** Gemel as a user starts it, with one volume of this size. */
export async function startGemel(
  folder: string,
  megabytes: number,
  durability: string,
  flags: readonly string[] = [],
): Promise<Gemel> {
  const places = ['--data', folder, '--portal', '127.0.0.1:0', '--api', '127.0.0.1:0'];
  const args = ['--json', '--no-demo', ...places, ...flags];
  const child = spawn(process.execPath, [join(projectRoot, 'scripts', 'start.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let line = '';
  for await (line of createInterface({ input: child.stdout })) break;
  const ready = JSON.parse(line) as { pid: number; api: string; token: string };
  const env = { ...process.env, GEMEL_API: ready.api, GEMEL_TOKEN: ready.token };
  const create = (name: string, size: number): string => {
    const kind = durability === 'memory' ? ['--memory'] : ['--durability', durability];
    const wanted = ['--size', `${String(size)}M`, '--map', 'loopback', ...kind, '--json'];
    const client = [join(projectRoot, 'bin', 'gemel.js'), 'volume', 'create', name, ...wanted];
    const made = spawnSync(process.execPath, client, { encoding: 'utf8', env });
    if (made.status !== 0) throw new Error(made.stderr);
    return (JSON.parse(made.stdout) as { url: string }).url.replace('iscsi://', '');
  };
  return {
    name: 'gemel',
    url: create('bench', megabytes),
    create,
    api: ready.api,
    token: ready.token,
    pid: ready.pid,
    stop: async () => {
      await stop(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
