// `npm run bench -- api`: how fast the API answers, what streams of events cost, and what hosts notice of it all.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Client, textOf } from './client.ts';
import type { Gemel } from './peers.ts';
import type { Sample } from './report.ts';

const CREATES = 60;
/** Volumes of the list; each is created over the API. */
const VOLUMES = 400;
const STREAMS = 1000;

/** Resident memory of a process in MiB. */
const residentOf = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'latin1'))?.[1] ?? 0) / 1024;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** IOPS of hosts for two seconds. */
function load(tool: string, url: string): Promise<number> {
  const child = spawn(tool, ['-u', url, '-b', '4k', '-q', '16', '-m', '70', '-t', '2', '-w', '0.3'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return textOf(child.stdout as unknown as IncomingMessage).then((text) => (JSON.parse(text) as Sample).iops);
}

/** The table of all of it. `tool`: the load generator. */
export async function measureApi(tool: string, gemel: Gemel): Promise<string> {
  const client = await Client.open(gemel);
  const lines: string[] = [];
  const create = (name: string): Promise<number> =>
    client.call('POST', '/volumes', { name, size: 1_048_576, kind: 'memory', target: `t${name.slice(-2)}` });
  const both: number[] = [];
  for (let i = 0; i < CREATES; i++) {
    const name = `a${String(i)}`;
    both.push((await create(name)) + (await client.call('PUT', `/volumes/${name}/maps/all`, {})));
  }
  lines.push(`create and map: p50 ${median(both).toFixed(1)} ms (goal: 30)`);
  for (let i = 0; i < VOLUMES; i++) await create(`b${String(i)}`);
  const pages: number[] = [];
  for (let i = 0; i < 20; i++) pages.push(await client.call('GET', '/volumes?limit=100'));
  lines.push(`first page of ${String(VOLUMES + CREATES)} volumes: p50 ${median(pages).toFixed(1)} ms (goal: 100)`);

  const alone = [await load(tool, gemel.url)];
  let over = false;
  let calls = 0;
  const work = async (): Promise<void> => {
    for (; !over; calls++) await client.call('GET', calls % 2 === 0 ? '/volumes?limit=20' : '/status');
  };
  const begun = performance.now();
  // One client that asks again as soon as it has its answer.
  const busy = work();
  const beside = [await load(tool, gemel.url), await load(tool, gemel.url)];
  over = true;
  await busy;
  const rate = calls / ((performance.now() - begun) / 1000);
  alone.push(await load(tool, gemel.url));
  const share = (median(beside) / Math.max(...alone)) * 100;
  lines.push(
    `IOPS alone ${alone.map((each) => each.toFixed(0)).join(', ')}; beside ${rate.toFixed(0)} API calls a second ` +
      `${beside.map((each) => each.toFixed(0)).join(', ')}: ${share.toFixed(0)} % (goal: 95; client and load share the processors)`,
  );

  const before = residentOf(gemel.pid);
  const ends: (() => void)[] = [];
  for (let i = 0; i < STREAMS; i += 20) {
    ends.push(...(await Promise.all(Array.from({ length: 20 }, () => client.stream()))));
  }
  for (let i = 0; i < 20; i++) await client.call('PUT', `/volumes/a${String(i)}/maps/loopback`, {});
  const after = residentOf(gemel.pid);
  lines.push(
    `${String(STREAMS)} streams of events: ${(after - before).toFixed(0)} MiB more than ${before.toFixed(0)} MiB (goal: 200)`,
  );
  for (const end of ends) end();
  client.close();
  return lines.join('\n');
}
