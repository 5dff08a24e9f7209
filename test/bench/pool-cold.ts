// Reads from the disk: the pool over iSCSI, tgt over iSCSI on a file of the same disk (through the page cache or past it,
// whichever is faster), fio on the very part of the slab that the volume fills, and Node programs that do
// nothing but read it. All of them past the page cache, each for a while after it has settled, free and pinned alike.
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { sumsBytes } from '../../core/pool/format.ts';
import { GRAIN } from '../../core/volume/grain.ts';
import { child } from './child.ts';
import type { Server } from './peers.ts';
import type { ReaderResult } from './node-reader.ts';
import { dropCaches, fioReads, load } from './pool-peers.ts';
import type { FilledPart, FioResult, LoadSample, ReadPattern } from './pool-peers.ts';
import { compared, median } from './pool-report.ts';
import type { PoolRow } from './pool-report.ts';

/** Seconds before each measurement that do not count, or as long as it itself where that is less. */
const WARM = 3;
const GOAL = { atLeast: 0.9 };
const RANDOM: ReadPattern = { block: '4k', depth: 32, inOrder: false };
const IN_ORDER: ReadPattern = { block: '256k', depth: 8, inOrder: true };

export interface ColdOptions extends FilledPart {
  readonly tool: string;
  readonly url: string;
  /** Of the server. */
  readonly pid: number;
  /** Its logical units 1 and 2 have the same file, read in two ways. */
  readonly tgt: Server | undefined;
  readonly reps: number;
  readonly seconds: number;
  readonly say: (text: string) => void;
}

/** Where the data of a pool lies that has one volume, written once from its beginning to its end. Throws when it is not there. */
export function dataOf(pool: string, bytes: number): FilledPart {
  const file = join(pool, 'slab-00000');
  const { size, blocks } = statSync(file);
  // A slab is its checksums, then its grains.
  let grains = Math.floor(size / GRAIN);
  while (sumsBytes(grains) + grains * GRAIN > size) grains--;
  if (blocks * 512 < bytes) throw new Error(`${file} is not full of data: what is a hole costs nothing to read`);
  return { file, from: sumsBytes(grains), bytes };
}

interface Measured {
  readonly ours: LoadSample[];
  /** Without any where tgt is missing, or pinned. */
  readonly tgt: LoadSample[];
  readonly fio: FioResult[];
  /** fio with half the queue: what the disk has at least while the other half of the commands is on its way. Empty when pinned. */
  readonly half: FioResult[];
  /** Reads a second. */
  readonly node: number[];
  /** Processors that were busy while ours were measured, whoever with. */
  readonly busy: number[];
}

export function coldReads(options: ColdOptions): { rows: PoolRow[]; raw: Record<string, unknown> } {
  const rows: PoolRow[] = [];
  const raw: Record<string, unknown> = {};
  for (const pattern of [RANDOM, IN_ORDER]) {
    for (const pinned of [false, true]) {
      const title = `${pattern.block} ${pattern.inOrder ? 'sequential' : 'random'} read from disk, QD ${String(pattern.depth)}`;
      const name = pinned ? `${title}, pinned` : title;
      const measured = measure(options, pattern, pinned, name);
      raw[name] = measured;
      rows.push(...rowsOf(name, measured, pinned));
    }
  }
  return { rows, raw };
}

/** Pinned: the server and fio have the first processor, the generator the second; the Node programs are not measured. */
function measure(options: ColdOptions, pattern: ReadPattern, pinned: boolean, name: string): Measured {
  const { tool, url, pid, reps, seconds, say } = options;
  const warm = Math.min(WARM, seconds);
  const measured: Measured = { ours: [], tgt: [], fio: [], half: [], node: [], busy: [] };
  const time = ['-t', String(seconds), '-w', String(warm)];
  const order = pattern.inOrder ? ['-S'] : [];
  const reads = [...order, '-m', '100', '-b', pattern.block, '-q', String(pattern.depth), ...time];
  pin(pid, pinned ? '0' : '0-1023');
  for (let rep = 0; rep < reps; rep++) {
    dropCaches();
    const before = processorTime();
    measured.ours.push(load(tool, url, [...reads, '-P', String(pid)], pinned ? 1 : undefined));
    measured.busy.push(busySince(before));
    if (options.tgt !== undefined && !pinned) measured.tgt.push(tgtReads(tool, options.tgt, reads));
    const run = { seconds, warm, cpu: pinned ? 0 : undefined };
    measured.fio.push(fioReads(options, pattern, run, ['libaio', 'io_uring']));
    if (!pinned) {
      measured.half.push(fioReads(options, { ...pattern, depth: pattern.depth / 2 }, run, ['libaio']));
      measured.node.push(nodeReader(options, pattern));
    }
    say(`${name}, repetition ${String(rep + 1)}`);
  }
  pin(pid, '0-1023');
  return measured;
}

/** Milliseconds that all processors together were idle and were there. */
function processorTime(): { idle: number; all: number } {
  const sum = { idle: 0, all: 0 };
  for (const { times } of cpus()) {
    sum.idle += times.idle;
    sum.all += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return sum;
}

/** Processors that were busy on average since then. */
function busySince(before: { idle: number; all: number }): number {
  const now = processorTime();
  return (cpus().length * (now.all - before.all - (now.idle - before.idle))) / (now.all - before.all);
}

/** The faster of its two ways. */
function tgtReads(tool: string, tgt: Server, reads: readonly string[]): LoadSample {
  const samples = [1, 2].map((lun) => {
    dropCaches();
    return load(tool, tgt.url.replace(/\d+$/, String(lun)), [...reads, '-P', String(tgt.pid)]);
  });
  return samples.reduce((best, each) => (each.iops > best.iops ? each : best));
}

function rowsOf(name: string, { ours, tgt, fio, half, node, busy }: Measured, pinned: boolean): PoolRow[] {
  const iops = ours.map((each) => each.iops);
  const theirs = fio.map((each) => each.iops);
  const of = (cores: readonly number[]): string => median(cores).toFixed(2);
  const server = of(ours.map((each) => each.srv_cores));
  const generator = of(ours.map((each) => each.cli_cores));
  const shared = `busy processors: daemon ${server}, generator ${generator}, with everybody else ${of(busy)}; fio ${of(fio.map((each) => each.cores))}`;
  const rows = [compared(`${name} / fio`, 'IOPS', iops, theirs, pinned ? undefined : GOAL, shared)];
  if (pinned) return rows;
  if (tgt.length > 0) {
    const peer = tgt.map((each) => each.iops);
    const busy = `tgt: ${of(tgt.map((each) => each.srv_cores))} processors busy, reading past the page cache or through it`;
    rows.push(
      compared(`${name} / tgt`, 'IOPS', iops, peer, undefined, busy),
      compared(`tgt, ${name} / fio`, 'IOPS', peer, theirs, undefined),
    );
  }
  const halves = half.map((each) => each.iops);
  rows.push(
    compared(`fio with half the queue / fio`, 'IOPS', halves, theirs, undefined, 'the others are not at the disk'),
    compared(`${name} / a Node program that only reads`, 'IOPS', iops, node, undefined),
    compared(`that program / fio`, 'IOPS', node, theirs, undefined, 'io_submit or threads, whichever is faster'),
  );
  return rows;
}

/** Reads a second of node-reader.ts, whichever way is faster. */
function nodeReader({ file, from, bytes, seconds }: ColdOptions, { block, depth, inOrder }: ReadPattern): number {
  const size = block === '4k' ? '4096' : '262144';
  const order = inOrder ? 'sequential' : 'random';
  const rates = ['direct', 'submit'].map((way) => {
    dropCaches();
    const args = [file, size, String(depth), order, way, String(seconds), String(from), String(bytes)];
    return (child('node-reader.js', args) as ReaderResult).iops;
  });
  return Math.max(...rates);
}

/** All threads of the process. */
function pin(pid: number, to: string): void {
  const done = [1, 2, 3].some(() => spawnSync('taskset', ['-acp', to, String(pid)]).status === 0);
  if (!done) throw new Error(`taskset cannot pin process ${String(pid)}`);
}
