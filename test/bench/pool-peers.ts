// What a pool is measured against: tgt made equally durable, and fio doing to the disk what the pool does.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { must, startTgt } from './peers.ts';
import type { Server } from './peers.ts';
import type { Sample } from './report.ts';

/** Octal flags of open(2) on Linux, as /proc/PID/fdinfo shows them. */
const O_SYNC = 0o4010000;

/** A line of the load generator, with what the table of report.ts does not show. */
export interface LoadSample extends Sample {
  readonly p999us: number;
  readonly maxus: number;
}

/** Runs the load generator to its end; `cpu`: the one it may use. */
export function load(tool: string, url: string, options: readonly string[], cpu?: number): LoadSample {
  const pinned = cpu === undefined ? [] : ['taskset', '-c', String(cpu), tool];
  const done = spawnSync(pinned[0] ?? tool, [...pinned.slice(1), '-u', url, ...options], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (done.status !== 0) throw new Error(`${url} ${options.join(' ')}: ${done.stderr}`);
  return JSON.parse(done.stdout) as LoadSample;
}

/** tgt without a write cache on a file that is opened with O_SYNC; throws when it is not. */
export async function startDurableTgt(file: string): Promise<Server> {
  const tgt = await startTgt(file, { durable: true });
  const flags = flagsOf(tgt.pid, file);
  if (flags.length > 0 && flags.every((each) => (each & O_SYNC) === O_SYNC)) return tgt;
  await tgt.stop();
  throw new Error(`tgt does not have ${file} open with O_SYNC`);
}

/** Flags with which a process has the file open. */
function flagsOf(pid: number, file: string): number[] {
  const folder = `/proc/${String(pid)}`;
  return readdirSync(`${folder}/fd`).flatMap((fd) => {
    if (readlinkSync(`${folder}/fd/${fd}`) !== file) return [];
    const line = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`${folder}/fdinfo/${fd}`, 'latin1'));
    return [parseInt(line?.[1] ?? '0', 8)];
  });
}

/** The kernel forgets what it has of files. Needs root. */
export function dropCaches(): void {
  must('sync', []);
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

export interface FioResult {
  /** Engine and how it was used. */
  readonly how: string;
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Processors it was busy with, without what interrupts took. */
  readonly cores: number;
}

interface FioJob {
  readonly usr_cpu: number;
  readonly sys_cpu: number;
  readonly read: { readonly iops: number; readonly bw_bytes: number };
  readonly write: { readonly iops: number; readonly bw_bytes: number };
}

export interface FioRun {
  readonly seconds: number;
  /** Seconds before that, which do not count. */
  readonly warm?: number;
  readonly cpu?: number | undefined;
}

function fio(how: string, options: readonly string[], { seconds, warm = 0.3, cpu }: FioRun): FioResult | undefined {
  const always = ['--name=bench', '--output-format=json', '--time_based', '--group_reporting', '--thread'];
  const time = [`--runtime=${String(seconds)}`, `--ramp_time=${String(warm)}`, '--randrepeat=0', '--norandommap'];
  const pinned = cpu === undefined ? [] : ['taskset', '-c', String(cpu), 'fio'];
  const done = spawnSync(pinned[0] ?? 'fio', [...pinned.slice(1), ...always, ...time, ...options], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (done.status !== 0) return undefined;
  const job = (JSON.parse(done.stdout.slice(done.stdout.indexOf('{'))) as { jobs: FioJob[] }).jobs[0];
  if (job === undefined) return undefined;
  const both = [job.read, job.write].filter((each) => each.iops > 0).sort((a, b) => a.bw_bytes - b.bw_bytes);
  const { iops, bw_bytes: bytesPerSecond } = both[0] ?? job.write;
  return { how, iops, bytesPerSecond, cores: (job.usr_cpu + job.sys_cpu) / 100 };
}

const QUEUES: readonly { readonly how: string; readonly options: readonly string[] }[] = [
  { how: 'libaio, direct', options: ['--ioengine=libaio', '--direct=1', '--iodepth=32'] },
  { how: 'io_uring, direct', options: ['--ioengine=io_uring', '--direct=1', '--iodepth=32'] },
  { how: '32 threads', options: ['--ioengine=psync', '--direct=1', '--numjobs=32'] },
];

/** 4 KiB written at random places at queue depth 32, with each engine that runs here; the fastest comes first. */
export function fioRandom(file: string, seconds: number): FioResult[] {
  const results = QUEUES.flatMap(({ how, options }) => {
    const size = [`--filename=${file}`, '--rw=randwrite', '--bs=4k', '--sync=dsync', '--overwrite=1'];
    return fio(how, [...size, ...options], { seconds }) ?? [];
  });
  if (results.length === 0) throw new Error(`fio runs with no engine on ${file}`);
  return results.sort((a, b) => b.iops - a.iops);
}

/** Part of a file that is full of data; bytes. */
export interface FilledPart {
  readonly file: string;
  readonly from: number;
  readonly bytes: number;
}

export interface ReadPattern {
  readonly block: '4k' | '256k';
  readonly depth: number;
  readonly inOrder: boolean;
}

/** Reads past the page cache, with the engine that is faster; `cpu`: the one it may use. */
export function fioReads(part: FilledPart, pattern: ReadPattern, run: FioRun, engines: readonly string[]): FioResult {
  const where = [`--filename=${part.file}`, `--offset=${String(part.from)}`, `--size=${String(part.bytes)}`];
  const how = [`--rw=${pattern.inOrder ? 'read' : 'randread'}`, `--bs=${pattern.block}`];
  const results = engines.flatMap((engine) => {
    dropCaches();
    const queue = [`--ioengine=${engine}`, '--direct=1', `--iodepth=${String(pattern.depth)}`];
    return fio(engine, [...where, ...how, ...queue], run) ?? [];
  });
  const best = results.sort((a, b) => b.iops - a.iops)[0];
  if (best === undefined) throw new Error(`fio runs with no engine on ${part.file}`);
  return best;
}

/**
 * Appends of `bytes`, `parallel` at a time, each stable before the next of its thread: what the journal does. With a queue
 * depth of N there are never more than N blocks under way, so `parallel` appends must not have more of them together.
 */
export function fioAppend(file: string, bytes: number, parallel: number, seconds: number): FioResult {
  const how = `O_DSYNC, ${String(parallel)} × ${String(bytes / 1024)} KiB`;
  const options = ['--rw=write', `--bs=${String(bytes)}`, '--ioengine=psync', '--sync=dsync', '--overwrite=1'];
  const share = `${String(100 / parallel)}%`;
  const jobs = [`--numjobs=${String(parallel)}`, `--offset_increment=${share}`, `--size=${share}`];
  const result = fio(how, [`--filename=${file}`, ...options, ...jobs], { seconds });
  if (result === undefined) throw new Error(`fio cannot append to ${file}`);
  return result;
}

/**
 * Pieces of `bytes` read and written at the same time, one as often as the other, past the page cache and each write stable: what a
 * disk has to do that is read from and copied to. The slower one of the two.
 */
export function fioCopy(file: string, bytes: number, parallel: number, seconds: number): FioResult {
  const how = `direct, half of it O_DSYNC writes, ${String(parallel)} × ${String(bytes / 1024)} KiB`;
  const options = ['--rw=rw', '--rwmixread=50', `--bs=${String(bytes)}`, '--ioengine=psync', '--direct=1'];
  const share = `${String(Math.floor(100 / parallel))}%`;
  const jobs = [`--numjobs=${String(parallel)}`, `--offset_increment=${share}`, `--size=${share}`];
  const always = ['--sync=dsync', '--overwrite=1', `--filename=${file}`];
  const result = fio(how, [...always, ...options, ...jobs], { seconds });
  if (result === undefined) throw new Error(`fio cannot copy on ${file}`);
  return result;
}
