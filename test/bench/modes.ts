// What a table of ratios cannot show: memory over time, memory under many sessions, and a cold reader beside a hot one. Each says
// whether its goal is reached; `npm run bench -- MODE` ends with status 1 when it is not.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { ANSWER_MEMORY, DATA_MEMORY } from '../../core/base/limits.ts';
import { Client } from './client.ts';
import { nativeSources, must } from './peers.ts';
import type { Gemel } from './peers.ts';
import type { Sample } from './report.ts';

export interface Outcome {
  readonly text: string;
  readonly reached: boolean;
  /** For the JSON file. */
  readonly facts: Readonly<Record<string, unknown>>;
}

const MIB = 1_048_576;

/** Resident memory of a process in MiB. */
function residentOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'latin1'));
  return Number(line?.[1] ?? 0) / 1024;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Load {
  readonly sample: Promise<Sample>;
  readonly running: () => boolean;
}

function begin(tool: string, args: readonly string[]): Load {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  let running = true;
  const sample = new Promise<Sample>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      running = false;
      if (status === 0) resolve(JSON.parse(text) as Sample);
      else reject(new Error(`the load generator failed: ${args.join(' ')}`));
    });
  });
  return { sample, running: () => running };
}

/** Calls `look` every `interval` milliseconds while the load runs. */
async function watching(
  { sample, running }: Load,
  interval: number,
  look: () => void | Promise<void>,
): Promise<Sample> {
  while (running()) {
    await look();
    await Promise.race([sample, sleep(interval)]);
  }
  return sample;
}

/** MiB per minute by least squares. */
function slope(values: readonly number[], interval: number): number {
  const mean = values.reduce((sum, each) => sum + each, 0) / values.length;
  const middle = (values.length - 1) / 2;
  const [up, down] = values.reduce<[number, number]>(
    ([a, b], each, i) => [a + (i - middle) * (each - mean), b + (i - middle) ** 2],
    [0, 0],
  );
  return down === 0 ? 0 : (up / down) * (60_000 / interval);
}

/** So many of the values, evenly spaced, the first and the last included. */
function few(values: readonly number[], count: number): string {
  const at = (i: number): number => values[Math.floor((i * (values.length - 1)) / (count - 1))] ?? 0;
  return Array.from({ length: count }, (_, i) => at(i).toFixed(0)).join(' ');
}

/** The smallest of each tenth: what is left after a collection of garbage. */
function floors(values: readonly number[]): number[] {
  const size = Math.max(1, Math.floor(values.length / 10));
  return Array.from({ length: Math.floor(values.length / size) }, (_, i) =>
    Math.min(...values.slice(i * size, (i + 1) * size)),
  );
}

/** MiB that may come in the second half of a soak, whatever its length: what the collector and the allocator happen to hold. */
const NO_GROWTH = 16;

/**
 * Mixed load for some minutes: small random and large sequential commands, with and without digests, and sessions that come and
 * go. Does memory grow? In the first half caches fill and the young generation takes its size.
 */
export async function soak(tool: string, server: Gemel, minutes: number): Promise<Outcome> {
  const interval = 2000;
  const seconds = Math.round(minutes * 60);
  const time = ['-u', server.url, '-t', String(seconds)];
  const long = [
    begin(tool, [...time, '-m', '70', '-b', '4k', '-q', '32', '-n', '4']),
    begin(tool, [...time, '-m', '50', '-b', '256k', '-q', '4', '-S']),
    begin(tool, [...time, '-m', '70', '-b', '16k', '-q', '8', '-n', '2', '-H', '-D']),
  ];
  const [first] = long;
  if (first === undefined) throw new Error('no load');
  let sessions = 7;
  const coming = async (): Promise<void> => {
    while (first.running()) {
      await begin(tool, ['-u', server.url, '-m', '50', '-b', '8k', '-q', '4', '-n', '8', '-t', '2', '-w', '0.1'])
        .sample;
      sessions += 8;
    }
  };
  const come = coming();
  const client = await Client.open(server);
  const resident: number[] = [];
  const heap: number[] = [];
  try {
    await watching(first, interval, async () => {
      resident.push(residentOf(server.pid));
      heap.push((await client.metric('nodejs_heap_size_used_bytes')) / MIB);
    });
    await Promise.all([...long.map((each) => each.sample), come]);
  } finally {
    client.close();
  }
  const half = <T>(values: readonly T[]): T[] => values.slice(Math.floor(values.length / 2));
  const growth = slope(half(resident), interval) * (minutes / 2);
  const levels = half(floors(heap));
  const heapGrowth = (levels.at(-1) ?? 0) - (levels[0] ?? 0);
  const reached = growth < NO_GROWTH && heapGrowth < NO_GROWTH;
  const text = [
    `soak, ${String(minutes)} min mixed, ${String(sessions)} sessions: ${reached ? 'no growth' : 'MEMORY GROWS'} (goal: less than ${String(NO_GROWTH)} MiB in the second half)`,
    `  resident: ${few(resident, 9)} MiB; second half ${growth.toFixed(1)} MiB`,
    `  heap after collections: ${few(floors(heap), Math.min(9, floors(heap).length))} MiB; second half ${heapGrowth.toFixed(1)} MiB`,
  ].join('\n');
  return { text, reached, facts: { minutes, sessions, interval, resident, heap, growth, heapGrowth } };
}

/**
 * What may be in memory beside the cache: what ANSWER_MEMORY and DATA_MEMORY count, the same again for what the collector has not
 * given back yet, and 512 MiB for code, objects, sockets and slabs.
 */
const BESIDE_CACHE = (2 * (ANSWER_MEMORY + DATA_MEMORY)) / MIB + 512;

/** 256 sessions with 128 commands each. `cache`: MiB that the cache may take; `seconds`: of each size of commands. */
export async function manySessions(tool: string, server: Gemel, cache: number, seconds: number): Promise<Outcome> {
  const before = residentOf(server.pid);
  const limit = cache + BESIDE_CACHE;
  const results: string[] = [];
  const facts: Record<string, unknown> = { before, limit };
  let reached = true;
  for (const block of ['4k', '256k']) {
    const args = ['-u', server.url, '-m', '50', '-b', block, '-q', '128', '-n', '256', '-t', String(seconds)];
    const memory: number[] = [];
    const sample = await watching(begin(tool, args), 250, () => void memory.push(residentOf(server.pid)));
    const refused = `${String(sample.task_set_full)} × TASK SET FULL, ${String(sample.busy)} × BUSY`;
    const peak = Math.max(...memory);
    const growth = slope(memory.slice(Math.floor(memory.length / 2)), 250) * (seconds / 120);
    reached &&= peak <= limit;
    facts[block] = { memory, sample };
    results.push(
      `  ${block}: ${few(memory, 6)} MiB, peak ${peak.toFixed(0)} MiB, second half ${growth.toFixed(0)} MiB, ${sample.iops.toFixed(0)} IOPS, ${refused}`,
    );
  }
  const verdict = reached ? 'bounded' : 'TOO MUCH';
  const head = `256 sessions × QD 128: ${before.toFixed(0)} MiB before, at most ${limit.toFixed(0)} MiB wanted: ${verdict}`;
  return { text: [head, ...results].join('\n'), reached, facts };
}

/** How much longer a command of the hot session may take. */
const DISTURBANCE = 1.2;

/** A session that reads from RAM, alone and beside one that reads cold data from a disk. */
export async function hotAndCold(tool: string, hot: Gemel, cold: { url: string; chill: () => void }): Promise<Outcome> {
  const run = (): Promise<Sample> =>
    begin(tool, ['-u', hot.url, '-m', '100', '-b', '4k', '-q', '1', '-t', '2', '-w', '0.5', '-g', '64']).sample;
  const read = (time: readonly string[]): Promise<Sample> =>
    begin(tool, ['-u', cold.url, '-m', '100', '-b', '64k', '-q', '16', ...time]).sample;
  await run(); // warms the hot part
  const alone = await run();
  cold.chill();
  const other = read(['-t', '3.5', '-w', '0.5']);
  await sleep(500);
  const beside = await run();
  const sample = await other;
  cold.chill();
  const undisturbed = await read(['-t', '2']);
  const ratio = beside.p50us / alone.p50us;
  const rate = alone.iops / beside.iops;
  const reached = ratio <= DISTURBANCE && rate <= DISTURBANCE;
  const text =
    `hot 4 KiB read, QD 1: p50 ${alone.p50us.toFixed(1)} µs alone, ${beside.p50us.toFixed(1)} µs beside a cold reader: ${ratio.toFixed(2)}×; ` +
    `IOPS ${alone.iops.toFixed(0)} and ${beside.iops.toFixed(0)}: ${rate.toFixed(2)}× (goal: ${String(DISTURBANCE)}, ${reached ? 'reached' : 'MISSED'}); ` +
    `the cold one reads ${sample.mbs.toFixed(0)} MB/s, alone ${undisturbed.mbs.toFixed(0)} MB/s`;
  return { text, reached, facts: { alone, beside, cold: sample, coldAlone: undisturbed, ratio, rate } };
}

/** What moments.c says. */
interface Moments {
  readonly perSecond: number;
  readonly us: number;
  readonly everyUs: number;
  readonly guestTicks: number;
}

/**
 * Moments in which the machine took a processor away from a loop that only looks at the clock. What lies between its median and
 * its 99th percentile at QD 1 is one of them, for every server; how much it costs depends on how much has to come back into the
 * caches of the processor.
 */
export function takenMoments(folder: string, seconds: string): Outcome {
  const tool = join(folder, 'moments');
  must('gcc', ['-O2', '-o', tool, join(nativeSources, 'moments.c')]);
  const all = cpus().map((_, cpu) => JSON.parse(must('taskset', ['-c', String(cpu), tool, seconds])) as Moments);
  const lines = all.map(
    ({ perSecond, us, everyUs, guestTicks }, cpu) =>
      `processor ${String(cpu)}: taken away ${String(perSecond)} times a second, every ${String(everyUs)} µs, for ${String(us)} µs (medians); ` +
      `timer interrupts of its own system, all processors: ${String(guestTicks)} a second`,
  );
  return { text: lines.join('\n'), reached: true, facts: { moments: all } };
}
