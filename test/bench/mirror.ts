// `npm run bench -- mirror [--data DIR --reps N --seconds S --size MIB --case writes,reads,forwarded,resync,handover]`: what a second
// copy costs. Two daemons and a witness, each with its own etcd, on this machine: they share its processors and its disk with each
// other and with the load, so a mirrored write is two durable writes to one disk, and everything the nodes say to each other
// takes time from what they do. Each row compares with the same daemon without a second copy, alternating inside each repetition.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { eventually, withDaemonPair } from '../support/daemon-pair.ts';
import type { DaemonPair } from '../support/daemon-pair.ts';
import type { Daemon } from '../support/daemon.ts';
import { child } from './child.ts';
import { machineFacts } from './machine.ts';
import type { Exchange } from './mirror-exchange.ts';
import type { LinkSpeed } from './mirror-link.ts';
import { filledFile } from './peers.ts';
import { spawnLoad } from './pool.ts';
import { fioCopy, load } from './pool-peers.ts';
import type { LoadSample } from './pool-peers.ts';
import { absolute, compared, median, poolMarkdown } from './pool-report.ts';
import type { DiskBenchOptions, PoolRow } from './pool-report.ts';

const MIB = 1_048_576;
const PARTS = ['writes', 'reads', 'forwarded', 'resync', 'handover'] as const;
type Part = (typeof PARTS)[number];

const WRITES = ['-m', '0', '-b', '4k', '-q', '32'];
const READS = ['-m', '100', '-b', '4k', '-q', '32'];
const ONE_READ = ['-m', '100', '-b', '4k', '-q', '1'];
/** What hosts do while a replica is brought up to date, or handed over. */
const FOREGROUND = ['-m', '70', '-b', '4k', '-q', '4'];
/** Seconds of the load around a hand-over, which happens in their midst. */
const AROUND = 3;

interface Shown {
  readonly owner: string | null;
  readonly node: string;
  readonly inSync: readonly string[];
  readonly replicas: readonly { readonly node: string; readonly state: string }[];
}

/** What the daemon logs when a replica is in sync again. */
interface Caught {
  readonly copied: number;
  readonly seconds: number;
}

export class MirrorBench {
  readonly #options: DiskBenchOptions;
  readonly #parts: readonly Part[];
  readonly #rows: PoolRow[] = [];
  readonly #raw: Record<string, unknown> = {};

  constructor(options: DiskBenchOptions) {
    this.#options = options;
    const { parts = PARTS } = options;
    const wrong = parts.find((each) => !PARTS.some((part) => part === each));
    if (wrong !== undefined) throw new Error(`no case ${wrong}: ${PARTS.join(', ')}`);
    this.#parts = PARTS.filter((each) => parts.includes(each));
  }

  /** Runs the chosen parts and returns the table. */
  async run(): Promise<string> {
    const { folder, size, markdown } = this.#options;
    mkdirSync(join(folder, 'pair'));
    // Two volumes of each node and what their overwriting takes.
    const pool = `${String(size * 5 + 1024)}M`;
    await withDaemonPair((pair) => this.#measure(pair), { pool, folder: join(folder, 'pair') });
    const table = this.#keep();
    if (markdown !== undefined) writeFileSync(markdown, table);
    return table;
  }

  /** Writes what has been measured so far, so that a run that is cut short is not lost; returns the table. */
  #keep(): string {
    const { folder, size, reps, json } = this.#options;
    const facts = {
      ...machineFacts(', for both nodes, the witness and the load'),
      repetitions: reps,
      'MiB of each volume': size,
      disk: `one for both nodes, at ${folder}`,
    };
    mkdirSync(join(json, '..'), { recursive: true });
    writeFileSync(json, JSON.stringify({ facts, rows: this.#rows, samples: this.#raw }, null, 1));
    return poolMarkdown(facts, this.#rows);
  }

  async #measure(pair: DaemonPair): Promise<void> {
    const { alpha, beta } = pair;
    const { size, tool } = this.#options;
    const bytes = `${String(size)}M`;
    const plain = await alpha.createVolume('plain', bytes, ['--replicas', '1']);
    const other = await beta.createVolume('other', bytes, ['--replicas', '1']);
    const twice = await alpha.createVolume('twice', bytes);
    await eventually('both serve it', async () =>
      ((await beta.listVolumes()) as { name: string; state?: string }[]).some(
        ({ name, state }) => name === 'twice' && state === 'online',
      ),
    );
    await this.#inSync(alpha);
    const urls: Urls = {
      plain: alpha.url(plain).replace('iscsi://', ''),
      other: beta.url(other).replace('iscsi://', ''),
      local: alpha.url(twice).replace('iscsi://', ''),
      remote: beta.url(twice).replace('iscsi://', ''),
    };
    for (const url of [urls.plain, urls.other, urls.local]) fill(tool, url, size);
    const parts: Record<Part, () => Promise<void> | void> = {
      writes: () => this.#writes(urls, pair),
      reads: () => {
        this.#reads(urls);
      },
      forwarded: () => {
        this.#forwarded(urls, pair);
      },
      resync: () => this.#resync(urls, pair),
      handover: () => this.#handOver(urls, pair),
    };
    for (const each of this.#parts) {
      await parts[each]();
      this.#keep();
    }
  }

  #load(url: string, options: readonly string[], cpu?: number): LoadSample {
    const { tool, seconds } = this.#options;
    return load(tool, url, [...options, '-t', String(seconds), '-w', '0.3'], cpu);
  }

  /** Both, in turn, in each repetition. */
  #pairs(what: string, a: () => LoadSample, b: () => LoadSample): { a: LoadSample[]; b: LoadSample[] } {
    const all = { a: [] as LoadSample[], b: [] as LoadSample[] };
    for (let rep = 0; rep < this.#options.reps; rep++) {
      all.a.push(a());
      all.b.push(b());
      console.error(`${what}, repetition ${String(rep + 1)}`);
    }
    this.#raw[what] = all;
    return all;
  }

  async #writes({ local, plain, other }: Urls, { alpha, beta }: DaemonPair): Promise<void> {
    const pids = [alpha, beta].map(({ ready }) => ready.pid);
    const options = [...WRITES, '-P', pids.join(',')];
    /** Microseconds of processor each node spends on a write. */
    const spent = { mirrored: [] as number[][], plain: [] as number[][] };
    const run = (url: string, into: number[][]) => (): LoadSample => {
      const [before, start] = [pids.map(processorTime), performance.now()];
      const sample = this.#load(url, options);
      const writes = (sample.iops * (performance.now() - start)) / 1000;
      into.push(pids.map((pid, i) => (processorTime(pid) - (before[i] ?? 0)) / writes));
      return sample;
    };
    const { a, b } = this.#pairs('writes', run(local, spent.mirrored), run(plain, spent.plain));
    const title = 'durable 4 KiB random write, QD 32, on two nodes / on one';
    const of = (all: readonly number[][], node: number): string =>
      median(all.map((each) => each[node] ?? 0)).toFixed(0);
    const note =
      `p99 ${micros(a, 'p99us')} / ${micros(b, 'p99us')} µs; cores of the daemons ${cores(a)} / ${cores(b)}; ` +
      `processor time of a write: owner ${of(spent.mirrored, 0)}, replica ${of(spent.mirrored, 1)}, unmirrored ${of(spent.plain, 0)} µs`;
    this.#rows.push(compared(title, 'IOPS', iops(a), iops(b), { atLeast: 0.5 }, note));
    // Both nodes are on one machine: what they write side by side without each other is the most they could write in step.
    const most: number[] = [];
    for (let rep = 0; rep < this.#options.reps; rep++) {
      const both = [plain, other].map((url) =>
        spawnLoad(this.#options.tool, url, [...WRITES, '-t', String(this.#options.seconds), '-w', '0.3']),
      );
      most.push(Math.min(...iops(await Promise.all(both))));
    }
    this.#raw['writes'] = { mirrored: a, plain: b, spent, sideBySide: most };
    const apart = 'the same / on one, while the other node writes as much: one disk, one set of processors';
    this.#rows.push(compared(apart, 'IOPS', iops(a), most, undefined, 'the slower one of the two'));
  }

  #reads({ local, plain }: Urls): void {
    // A difference of 3 % needs more than three looks.
    const run = (url: string) => (): LoadSample => this.#load(url, READS);
    const { a, b } = this.#pairs('reads', run(local), run(plain));
    const title = '4 KiB random read at the owner, QD 32, with two copies / with one';
    this.#rows.push(compared(title, 'IOPS', iops(a), iops(b), { atLeast: 0.97 }));
  }

  #forwarded({ local, remote }: Urls, { alpha, beta }: DaemonPair): void {
    const one = this.#pairs(
      'forwarded, QD 1',
      () => this.#load(remote, ONE_READ),
      () => this.#load(local, ONE_READ),
    );
    const title = 'forwarded 4 KiB read, QD 1 / local';
    const of = (all: readonly LoadSample[]): number[] => all.map((each) => each.p50us);
    const note = `median latency; p99 ${micros(one.a, 'p99us')} / ${micros(one.b, 'p99us')} µs`;
    this.#rows.push(compared(title, 'µs', of(one.a), of(one.b), { atMost: 2.2 }, note));
    // Whatever forwards a command has to ask, and to hear the answer.
    const { exchangeUs } = child('mirror-exchange.js', ['1']) as Exchange;
    const least = of(one.b).map((each) => each + exchangeUs);
    const bare = `${exchangeUs.toFixed(0)} µs for as many bytes there and back over TLS between two processes that do nothing else`;
    this.#rows.push(
      compared(
        'the least a second node can add: local and one exchange / local',
        'µs',
        least,
        of(one.b),
        undefined,
        bare,
      ),
    );
    const pids = [alpha, beta].map(({ ready }) => ready.pid);
    for (const pid of pids) pin(pid, '0');
    try {
      const pinned = this.#pairs(
        'forwarded, QD 1, one processor',
        () => this.#load(remote, ONE_READ, 0),
        () => this.#load(local, ONE_READ, 0),
      );
      const software = 'without the time in which processors wake up: all on one of them';
      this.#rows.push(compared(title, 'µs', of(pinned.a), of(pinned.b), undefined, software));
    } finally {
      for (const pid of pids) pin(pid, `0-${String(cpus().length - 1)}`);
    }
    const many = this.#pairs(
      'forwarded, QD 32',
      () => this.#load(remote, READS),
      () => this.#load(local, READS),
    );
    this.#rows.push(compared('forwarded 4 KiB read, QD 32 / local', 'IOPS', iops(many.a), iops(many.b), undefined));
  }

  /** A node is away while the whole volume is written, and comes back: first to an idle owner, then to a busy one. */
  async #resync({ local }: Urls, { alpha, beta }: DaemonPair): Promise<void> {
    const { folder, size, tool, seconds } = this.#options;
    const disks = ['from.img', 'to.img'].map((each) => filledFile(join(folder, each), Math.min(size, 512)));
    // Both nodes have the same disk: it is read while it is written.
    const disk = fioCopy(disks[1] ?? '', MIB, 4, seconds);
    const link = child('mirror-link.js', [String(seconds)]) as LinkSpeed;
    const bare = child('mirror-link.js', [String(seconds), ...disks]) as LinkSpeed;
    for (const each of disks) rmSync(each);
    const most = Math.min(disk.bytesPerSecond, link.bytesPerSecond);
    const idle = await this.#awayAndBack(alpha, beta, () => {
      fill(tool, local, size);
    });
    const before = this.#load(local, FOREGROUND);
    const during: LoadSample[] = [];
    const busy = await this.#awayAndBack(
      alpha,
      beta,
      () => {
        fill(tool, local, size);
      },
      async () => {
        during.push(await spawnLoad(tool, local, [...FOREGROUND, '-t', String(seconds), '-w', '0.3']));
      },
    );
    this.#raw['resync'] = { disk, link, bare, idle, busy, before, during };
    const rate = idle.copied / MIB / idle.seconds;
    const note =
      `the smaller one of disk, read and written at the same time, ${mibs(disk.bytesPerSecond)}, ` +
      `and link ${mibs(link.bytesPerSecond)} MiB/s`;
    const together =
      'the same / a program that only reads, sends with TLS, receives and writes, on the same processors';
    this.#rows.push(
      compared('resync, hosts idle / what disk and link carry', 'MiB/s', [rate], [most / MIB], { atLeast: 0.8 }, note),
      compared(together, 'MiB/s', [rate], [bare.bytesPerSecond / MIB], undefined),
      absolute('bytes of it beyond 1.1 × what was written', 'MiB', idle.copied / MIB - 1.1 * size, { atMost: 64 }),
      compared(
        'p99 of 4 KiB, 70 % reads, QD 4, during a resync / before',
        'µs',
        [Math.max(...during.map((each) => each.p99us))],
        [before.p99us],
        { atMost: 2 },
        `the resync went on with ${(busy.copied / MIB / busy.seconds).toFixed(0)} MiB/s`,
      ),
      compared('IOPS during it / before', 'IOPS', [median(during.map((each) => each.iops))], [before.iops], undefined),
    );
  }

  /** The replica is stopped while `work` is done, and started again; `during`: done over and over until it is in sync. */
  async #awayAndBack(
    alpha: Daemon,
    beta: Daemon,
    work: () => void,
    during: () => Promise<void> = () => Promise.resolve(),
  ): Promise<Caught> {
    await beta.crash();
    await eventually('it is left out', async () => (await shown(alpha)).inSync.length === 1);
    work();
    const from = alpha.output.length;
    await beta.start();
    await eventually('it joins', async () =>
      (await shown(alpha)).replicas.some(({ state }) => state === 'joining' || state === 'sync'),
    );
    let caught = caughtUp(alpha.output.slice(from));
    while (caught === undefined) {
      await during();
      await new Promise((resolve) => setTimeout(resolve, 100));
      caught = caughtUp(alpha.output.slice(from));
    }
    await this.#inSync(alpha);
    console.error(`resync: ${(caught.copied / MIB).toFixed(0)} MiB in ${caught.seconds.toFixed(1)} s`);
    return caught;
  }

  async #handOver({ local }: Urls, { alpha, beta }: DaemonPair): Promise<void> {
    const { tool, reps } = this.#options;
    const pauses: number[] = [];
    const usual: number[] = [];
    for (let rep = 0; rep < reps; rep++) {
      for (const to of ['beta', 'alpha']) {
        const running = spawnLoad(tool, local, [...FOREGROUND, '-t', String(AROUND), '-w', '0.3']);
        await new Promise((resolve) => setTimeout(resolve, 1500));
        const asked = (to === 'beta' ? alpha : beta).gemelJson(['volume', 'hand-over', 'twice', '--to', to]);
        const [sample] = await Promise.all([running, asked]);
        pauses.push(sample.maxus / 1000);
        usual.push(sample.p99us / 1000);
        await this.#inSync(to === 'beta' ? beta : alpha);
      }
      console.error(`hand-over, repetition ${String(rep + 1)}`);
    }
    this.#raw['handover'] = { pauses, usual };
    const note = `slowest command of the load, the worst of ${String(pauses.length)}; median ${median(pauses).toFixed(0)} ms; usual p99 ${median(usual).toFixed(1)} ms`;
    this.#rows.push(
      absolute('pause of a planned hand-over under load', 'ms', Math.max(...pauses), { atMost: 300 }, note),
    );
  }

  /** Resolves when this node owns the volume and both copies are in step. */
  async #inSync(owner: Daemon): Promise<void> {
    await eventually('both copies in step', async () => {
      const { inSync, replicas } = await shown(owner);
      return inSync.length === 2 && replicas.some(({ state }) => state === 'sync');
    });
  }
}

interface Urls {
  /** One copy, at its node; one at the other node; two copies, at their owner; the same through the other node. */
  readonly plain: string;
  readonly other: string;
  readonly local: string;
  readonly remote: string;
}

/** Writes the whole volume once. */
function fill(tool: string, url: string, megabytes: number): void {
  const write = (seconds: number): LoadSample =>
    load(tool, url, ['-S', '-m', '0', '-b', '1m', '-q', '8', '-t', String(seconds), '-w', '0']);
  const speed = Math.max(1, write(1).mbs);
  const left = megabytes * 1.3 - speed;
  if (left > 0) write(left / speed);
}

async function shown(at: Daemon): Promise<Shown> {
  const { api, token } = at.ready;
  return (await new ApiClient(api, token).call('GET', '/volumes/twice/replication')) as Shown;
}

function caughtUp(log: string): Caught | undefined {
  const line = log.split('\n').find((each) => each.includes('a replica is in sync again'));
  return line === undefined || !line.endsWith('}') ? undefined : (JSON.parse(line) as Caught);
}

/** Microseconds of processor a process has had: fields 14 and 15 of proc(5) stat, in hundredths of a second. */
function processorTime(pid: number): number {
  const text = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function pin(pid: number, to: string): void {
  // A thread that ends while they are gone through is an error to taskset, so it is asked again.
  const done = [1, 2, 3].some(() => spawnSync('taskset', ['-acp', to, String(pid)]).status === 0);
  if (!done) throw new Error(`taskset cannot pin process ${String(pid)}`);
}

const iops = (all: readonly LoadSample[]): number[] => all.map((each) => each.iops);
const cores = (all: readonly LoadSample[]): string => median(all.map((each) => each.srv_cores)).toFixed(2);
const micros = (all: readonly LoadSample[], key: 'p50us' | 'p99us'): string =>
  median(all.map((each) => each[key])).toFixed(0);
const mibs = (bytes: number): string => (bytes / MIB).toFixed(0);
