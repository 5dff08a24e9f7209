// What a table of ratios cannot show: memory over time, memory under many sessions, and a cold reader beside a hot one.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Server } from './peers.ts';
import type { Sample } from './report.ts';

/** Resident memory of a process in MiB. */
function residentOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'latin1'));
  return Number(line?.[1] ?? 0) / 1024;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Sampled {
  /** MiB, every `interval` milliseconds. */
  readonly memory: number[];
  readonly sample: Sample;
}

/** Runs the load generator while memory is sampled every `interval` milliseconds. */
async function sampled(tool: string, args: readonly string[], pid: number, interval: number): Promise<Sampled> {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  let running = true;
  const ended = new Promise<number>((resolve) =>
    child.once('close', (status) => {
      running = false;
      resolve(status ?? 1);
    }),
  );
  const memory: number[] = [];
  while (running) {
    memory.push(residentOf(pid));
    await Promise.race([ended, sleep(interval)]);
  }
  if ((await ended) !== 0) throw new Error(`the load generator failed: ${args.join(' ')}`);
  return { memory, sample: JSON.parse(text) as Sample };
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

/** Mixed load for some minutes: does memory grow? In the first half caches fill and the young generation takes its size. */
export async function soak(tool: string, server: Server, minutes: number): Promise<string> {
  const interval = 2000;
  const args = ['-u', server.url, '-m', '70', '-b', '4k', '-q', '32', '-n', '4', '-t', String(minutes * 60)];
  const { memory } = await sampled(tool, args, server.pid, interval);
  const later = memory.slice(Math.floor(memory.length / 2));
  const growth = slope(later, interval);
  const verdict = growth * minutes < 16 ? 'no growth' : 'MEMORY GROWS';
  const steps = Array.from(
    { length: 9 },
    (_, i) => memory[Math.floor((i * (memory.length - 1)) / 8)]?.toFixed(0) ?? '',
  );
  return `soak, ${String(minutes)} min mixed: ${steps.join(' ')} MiB resident, ${growth.toFixed(2)} MiB/min: ${verdict}`;
}

/** 256 sessions with 128 commands each. */
export async function manySessions(tool: string, server: Server): Promise<string> {
  const before = residentOf(server.pid);
  const results: string[] = [];
  for (const block of ['4k', '256k']) {
    const args = ['-u', server.url, '-m', '50', '-b', block, '-q', '128', '-n', '256', '-t', '20'];
    const { memory, sample } = await sampled(tool, args, server.pid, 250);
    const refused = `${String(sample.task_set_full)} × TASK SET FULL, ${String(sample.busy)} × BUSY`;
    const steps = Array.from(
      { length: 6 },
      (_, i) => memory[Math.floor((i * (memory.length - 1)) / 5)]?.toFixed(0) ?? '',
    );
    const peak = Math.max(...memory).toFixed(0);
    results.push(`${block}: ${steps.join(' ')} MiB, peak ${peak} MiB, ${sample.iops.toFixed(0)} IOPS, ${refused}`);
  }
  return `256 sessions × QD 128: ${before.toFixed(0)} MiB before, ${results.join(', ')}`;
}

/** A session that reads from RAM, alone and beside one that reads cold data from a disk. */
export async function hotAndCold(tool: string, hot: Server, cold: { url: string; chill: () => void }): Promise<string> {
  const run = async (): Promise<Sample> => {
    const args = ['-u', hot.url, '-m', '100', '-b', '4k', '-q', '1', '-t', '2', '-w', '0.5', '-g', '64'];
    return (await sampled(tool, args, hot.pid, 1000)).sample;
  };
  await run(); // warms the hot part
  const alone = await run();
  cold.chill();
  const other = sampled(
    tool,
    ['-u', cold.url, '-m', '100', '-b', '64k', '-q', '16', '-t', '3.5', '-w', '0.5'],
    hot.pid,
    1000,
  );
  await sleep(500);
  const beside = await run();
  const { sample } = await other;
  cold.chill();
  const undisturbed = await sampled(
    tool,
    ['-u', cold.url, '-m', '100', '-b', '64k', '-q', '16', '-t', '2'],
    hot.pid,
    1000,
  );
  const ratio = beside.p50us / alone.p50us;
  const line = `hot 4 KiB read, QD 1: p50 ${alone.p50us.toFixed(1)} µs alone, ${beside.p50us.toFixed(1)} µs beside a cold reader`;
  return `${line}: ${ratio.toFixed(2)}×; the cold one reads ${sample.mbs.toFixed(0)} MB/s, alone ${undisturbed.sample.mbs.toFixed(0)} MB/s`;
}
