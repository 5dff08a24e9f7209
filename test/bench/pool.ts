// `npm run bench -- pool [--data DIR --reps N --seconds S --size MIB --case durable,cache,cold,maps,snapshots,open]`: what a
// pool costs on a real disk, beside tgt made as durable and beside fio doing the same to the disk.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { CACHE_SHARE, MAX_DEFAULT_CACHE } from '../../core/base/limits.ts';
import { DAEMON_ENV, DAEMON_FLAGS, child, program } from './child.ts';
import { machineFacts } from './machine.ts';
import { filledFile, has, must, startTgt } from './peers.ts';
import { coldReads, dataOf } from './pool-cold.ts';
import { fioAppend, fioRandom, load, startDurableTgt } from './pool-peers.ts';
import type { LoadSample } from './pool-peers.ts';
import type { CloneTimes, OpenCost } from './pool-maps.ts';
import { absolute, compared, median, poolMarkdown } from './pool-report.ts';
import type { DiskBenchOptions, PoolRow } from './pool-report.ts';
import type { ServerFacts, ServerOptions, ServerRequest } from './pool-server.ts';

const MIB = 1_048_576;
const TIB = 1_099_511_627_776;
const TMPFS = 0x0102_1994;
const PARTS = ['durable', 'cache', 'cold', 'maps', 'snapshots', 'open'] as const;
type Part = (typeof PARTS)[number];
const READS = ['-m', '100', '-b', '4k', '-q', '32'];
const WRITES = ['-m', '0', '-b', '4k', '-q', '32'];
const FILL = ['-S', '-m', '0', '-b', '1m', '-q', '8'];
const QD = 32;
/** What the kernel still has to write, of files that were made just now, would be what the next measurement waits for. */
const settle = (): void => void must('sync', []);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A pool in a process of its own. */
class PoolServer {
  readonly pid: number;
  #facts: ServerFacts;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, facts: ServerFacts) {
    this.#child = child;
    this.#facts = facts;
    this.pid = child.pid ?? 0;
  }

  static async start(options: ServerOptions, profile?: string): Promise<PoolServer> {
    const flags = profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profile];
    const child = spawn(
      process.execPath,
      [...DAEMON_FLAGS, ...flags, program('pool-server.js'), JSON.stringify(options)],
      {
        env: DAEMON_ENV,
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    return new PoolServer(child, await answer(child));
  }

  /** The volume of the pool, and the memory volume, for the load generator. */
  get pool(): string {
    return `${this.#facts.url}/0`;
  }

  get memory(): string {
    return `${this.#facts.url}/1`;
  }

  async ask(request: ServerRequest): Promise<ServerFacts> {
    const answered = answer(this.#child);
    this.#child.send(request);
    this.#facts = await answered;
    return this.#facts;
  }

  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) =>
      this.#child.once('close', () => {
        resolve();
      }),
    );
    await this.ask({ kind: 'close' });
    await ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

function answer(child: ChildProcess): Promise<ServerFacts> {
  return new Promise((resolve, reject) => {
    const gone = (): void => {
      reject(new Error('the pool server ended'));
    };
    child.once('close', gone);
    child.once('message', (facts) => {
      child.off('close', gone);
      resolve(facts as ServerFacts);
    });
  });
}

export class PoolBench {
  readonly #options: DiskBenchOptions;
  readonly #rows: PoolRow[] = [];
  readonly #raw: Record<string, unknown> = {};
  readonly #running = new Set<{ kill(): void }>();

  /** Refuses a file system in memory: nothing is durable there, and it costs nothing. */
  constructor(options: DiskBenchOptions) {
    this.#options = options;
    if (statfsSync(options.folder).type === TMPFS) {
      throw new Error(`${options.folder} is in memory: name a folder of a disk with --data DIR`);
    }
    const unknown = options.parts?.filter((each) => !PARTS.includes(each as Part)) ?? [];
    if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}: ${PARTS.join(', ')}`);
    if (!has('fio')) throw new Error('fio is missing: apt-get install fio');
  }

  /** Ends what still runs. */
  abort(): void {
    for (const each of this.#running) each.kill();
  }

  async run(): Promise<string> {
    const { parts, json, markdown } = this.#options;
    const wants = (part: Part): boolean => parts?.includes(part) ?? true;
    if (wants('durable')) await this.#durable();
    if (wants('cache')) await this.#cache();
    if (wants('cold')) await this.#cold();
    if (wants('maps')) this.#maps();
    if (wants('snapshots')) await this.#snapshots();
    if (wants('open')) this.#open();
    const facts = {
      ...machineFacts(),
      repetitions: this.#options.reps,
      seconds: this.#options.seconds,
      volume: `${String(this.#options.size)} MiB`,
    };
    mkdirSync(join(json, '..'), { recursive: true });
    writeFileSync(json, JSON.stringify({ facts, rows: this.#rows, raw: this.#raw }, null, 1));
    const table = poolMarkdown(facts, this.#rows);
    if (markdown !== undefined) writeFileSync(markdown, table);
    return table;
  }

  async #start(name: string, options: Partial<ServerOptions> = {}): Promise<PoolServer> {
    const { folder, size } = this.#options;
    const wanted: ServerOptions = {
      folder: join(folder, name),
      volume: size * MIB,
      // What the daemon takes of this machine.
      cache: Math.min(Math.floor(totalmem() / CACHE_SHARE), MAX_DEFAULT_CACHE),
      journal: 1024 * MIB,
      memory: 256 * MIB,
      existing: false,
      ...options,
    };
    const profile = process.env['BENCH_PROFILE'];
    const server = await PoolServer.start(wanted, profile);
    this.#running.add(server);
    return server;
  }

  async #stop(server: PoolServer): Promise<void> {
    await server.stop();
    this.#running.delete(server);
  }

  #load(url: string, options: readonly string[], seconds = this.#options.seconds): LoadSample {
    return load(this.#options.tool, url, [...options, '-t', String(seconds), '-w', '0.3']);
  }

  /** Writes all of the volume: reading, or overwriting, a hole measures nothing. */
  async #fill(server: PoolServer, url: string): Promise<void> {
    // The generator stops after a time, not after a volume: a sequential run begins again at the front.
    const begun = performance.now();
    let seconds = 3;
    while (performance.now() - begun < 600_000) {
      // In MB; the size is in MiB.
      const written = this.#load(url, FILL, seconds).mbs * seconds;
      if (written > this.#options.size * 1.1) break;
      seconds = Math.min(120, Math.ceil(((this.#options.size * 1.3) / Math.max(1, written)) * seconds));
    }
    await server.ask({ kind: 'checkpoint' });
  }

  #say(text: string): void {
    console.error(`pool: ${text}`);
  }

  // ---- 1

  async #durable(): Promise<void> {
    const { folder, reps, size, seconds } = this.#options;
    const gemel = await this.#start('durable');
    await this.#fill(gemel, gemel.pool);
    const file = filledFile(join(folder, 'tgt.img'), size);
    const disk = filledFile(join(folder, 'fio.img'), size);
    const tgt = has('tgtd') ? await startDurableTgt(file) : undefined;
    if (tgt === undefined) console.error('tgt is missing: apt-get install tgt');
    const ours: LoadSample[] = [];
    const theirs: LoadSample[] = [];
    const random: number[] = [];
    const append: number[] = [];
    let how = { random: '', append: '' };
    try {
      for (let rep = 0; rep < reps; rep++) {
        const before = await gemel.ask({ kind: 'facts' });
        settle();
        ours.push(this.#load(gemel.pool, WRITES));
        const after = await gemel.ask({ kind: 'checkpoint' });
        settle();
        if (tgt !== undefined) theirs.push(this.#load(tgt.url, WRITES));
        settle();
        const fio = fioRandom(disk, seconds);
        // What one append of the journal had, on average; its header is what fio writes besides the blocks.
        const bytes = (after.appendedBytes - before.appendedBytes) / Math.max(1, after.appends - before.appends);
        const blocks = Math.max(2, Math.round(bytes / 4096));
        // As many blocks under way as the queue depth allows, like here: one append of all of them, or two of half.
        const parallel = Math.min(2, Math.max(1, Math.round(QD / (blocks - 1))));
        const sequence = fioAppend(disk, blocks * 4096, parallel, seconds);
        random.push(fio[0]?.iops ?? NaN);
        append.push(sequence.iops * (blocks - 1));
        how = { random: fio[0]?.how ?? '', append: sequence.how };
        this.#raw[`durable ${String(rep)}`] = { ours: ours.at(-1), tgt: theirs.at(-1), fio, sequence };
        this.#say(`durable writes, repetition ${String(rep + 1)}`);
      }
      const iops = ours.map((each) => each.iops);
      const title = 'durable 4 KiB random write, QD 32';
      if (tgt !== undefined) {
        const tgtIops = theirs.map((each) => each.iops);
        const note = 'write cache off, backing store O_SYNC (seen in /proc)';
        this.#rows.push(compared(`${title} / tgt`, 'IOPS', iops, tgtIops, { atLeast: 3 }, note));
      }
      const note = (text: string): string => `fastest engine: ${text}`;
      this.#rows.push(
        compared(`${title} / fio randwrite O_DSYNC`, 'IOPS', iops, random, { atLeast: 0.6 }, note(how.random)),
        compared(`${title} / fio append`, 'blocks/s', iops, append, { atLeast: 0.6 }, how.append),
      );
      await this.#stalls(gemel);
    } finally {
      await tgt?.stop();
    }
    await this.#stop(gemel);
  }

  /** Latency of writes while a checkpoint puts much into its place, and while it does not. */
  async #stalls(gemel: PoolServer): Promise<void> {
    const quiet: LoadSample[] = [];
    const busy: LoadSample[] = [];
    const took: number[] = [];
    for (let rep = 0; rep < this.#options.reps; rep++) {
      await gemel.ask({ kind: 'checkpoint' });
      settle();
      quiet.push(this.#load(gemel.pool, WRITES, 2));
      // Half of the cache may be dirty: much of it is now.
      this.#load(gemel.pool, WRITES, 4);
      const checkpoint = sleep(300).then(() => gemel.ask({ kind: 'checkpoint' }));
      const during = spawnLoad(this.#options.tool, gemel.pool, [...WRITES, '-t', '2', '-w', '0.3']);
      took.push((await checkpoint).took);
      busy.push(await during);
      this.#raw[`checkpoint ${String(rep)}`] = { quiet: quiet.at(-1), busy: busy.at(-1), took: took.at(-1) };
    }
    const of = (samples: readonly LoadSample[], key: 'p99us' | 'p999us' | 'maxus'): number[] =>
      samples.map((each) => each[key]);
    const note = `the checkpoint took ${median(took).toFixed(0)} ms`;
    this.#rows.push(
      compared('p99 of these writes during a checkpoint', 'µs', of(busy, 'p99us'), of(quiet, 'p99us'), undefined, note),
      compared('p99.9', 'µs', of(busy, 'p999us'), of(quiet, 'p999us'), undefined),
      compared('longest', 'µs', of(busy, 'maxus'), of(quiet, 'maxus'), undefined),
    );
  }

  // ---- 2

  async #cache(): Promise<void> {
    const part = ['-g', '192'];
    const gemel = await this.#start('cache');
    await this.#fill(gemel, gemel.pool);
    this.#load(gemel.memory, [...FILL, ...part], 3);
    // Brings it into the cache.
    this.#load(gemel.pool, ['-S', '-m', '100', '-b', '1m', '-q', '4', ...part], 3);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let rep = 0; rep < this.#options.reps; rep++) {
      ours.push(this.#load(gemel.pool, [...READS, ...part]).iops);
      theirs.push(this.#load(gemel.memory, [...READS, ...part]).iops);
      this.#say(`reads from the cache, repetition ${String(rep + 1)}`);
    }
    this.#raw['cache'] = { ours, theirs };
    const title = '4 KiB random read from the cache, QD 32 / memory volume';
    this.#rows.push(compared(title, 'IOPS', ours, theirs, { atLeast: 0.9 }));
    await this.#stop(gemel);
  }

  async #cold(): Promise<void> {
    const { folder, reps, coldSeconds, size, tool } = this.#options;
    const gemel = await this.#start('cold', { cache: 8 * MIB });
    await gemel.ask({ kind: 'fill' });
    await gemel.ask({ kind: 'checkpoint' });
    const tgt = has('tgtd') ? await startTgt(filledFile(join(folder, 'tgt.img'), size), { cold: true }) : undefined;
    if (tgt === undefined) console.error('tgt is missing: apt-get install tgt');
    else this.#running.add({ kill: () => void tgt.stop() });
    const { rows, raw } = coldReads({
      tool,
      url: gemel.pool,
      pid: gemel.pid,
      tgt,
      ...dataOf(join(folder, 'cold'), size * MIB),
      reps,
      seconds: coldSeconds,
      say: (text) => {
        this.#say(text);
      },
    });
    this.#rows.push(...rows);
    this.#raw['cold'] = raw;
    await tgt?.stop();
    await this.#stop(gemel);
  }

  // ---- 3

  #maps(): void {
    const reps = String(Math.max(5, this.#options.reps));
    const times = child('pool-maps.js', ['clone', join(this.#options.folder, 'clones'), reps]) as CloneTimes;
    this.#raw['clones'] = times;
    const { large, small } = times;
    this.#rows.push(
      absolute('clone of 100 GiB, every grain written', 'ms', median(large), { atMost: 200 }, slowest(large)),
      absolute('the same / clone of 1 GiB', '×', median(large) / median(small), { atMost: 2 }, slowest(small)),
    );
  }

  async #snapshots(): Promise<void> {
    const part = ['-g', '192'];
    const rows: { readonly hot: number[]; readonly cold: number[] }[] = [];
    const hot = await this.#start('snapshots');
    await this.#fill(hot, hot.pool);
    await this.#stop(hot);
    for (const count of [0, 1000]) {
      const row = { hot: [] as number[], cold: [] as number[] };
      for (const [kind, cache] of [
        ['hot', this.#options.size * 2 * MIB],
        ['cold', 8 * MIB],
      ] as const) {
        const server = await this.#start('snapshots', { existing: true, cache });
        if (count > 0 && kind === 'hot') {
          const { took } = await server.ask({ kind: 'snapshots', count });
          this.#say(`${String(count)} snapshots in ${took.toFixed(0)} ms`);
        }
        this.#load(server.pool, ['-S', '-m', '100', '-b', '1m', '-q', '4', ...part], 2);
        for (let rep = 0; rep < this.#options.reps; rep++) {
          const reads = kind === 'hot' ? [...READS, ...part] : READS;
          row[kind].push(this.#load(server.pool, reads).iops);
        }
        await this.#stop(server);
      }
      rows.push(row);
    }
    const [without, with1000] = rows as [(typeof rows)[number], (typeof rows)[number]];
    this.#raw['snapshots'] = rows;
    const title = '4 KiB read with 1,000 snapshots / without';
    const goal = { atLeast: 0.9 };
    this.#rows.push(
      compared(`${title}, from the cache`, 'IOPS', with1000.hot, without.hot, goal),
      compared(`${title}, past the cache`, 'IOPS', with1000.cold, without.cold, goal),
    );
  }

  // ---- 4

  #open(): void {
    const cost = (name: string, bytes: number): OpenCost => {
      const folder = join(this.#options.folder, name);
      child('pool-maps.js', ['make', folder, String(bytes)]);
      const costs = [1, 2, 3].map(() => child('pool-maps.js', ['open', folder]) as OpenCost);
      this.#raw[name] = costs;
      const of = (key: keyof OpenCost): number => median(costs.map((each) => each[key]));
      return { took: of('took'), anonymous: of('anonymous'), mapped: of('mapped'), grains: of('grains') };
    };
    const small = cost('open-1g', 1024 * MIB);
    const large = cost('open-1t', TIB);
    const more = large.anonymous + large.mapped - small.anonymous - small.mapped;
    const note = `resident, beyond a pool with 1 GiB; of it ${(large.mapped - small.mapped).toFixed(0)} MiB mapped files`;
    this.#rows.push(
      absolute('opening a pool with 1 TiB mapped', 'ms', large.took, { atMost: 5000 }),
      absolute('memory of 1 TiB mapped', 'MiB', more, { atMost: 150 }, note),
    );
  }
}

const slowest = (times: readonly number[]): string => `slowest ${Math.max(...times).toFixed(1)} ms`;

/** The load generator beside something else. */
export function spawnLoad(tool: string, url: string, options: readonly string[]): Promise<LoadSample> {
  const running = spawn(tool, ['-u', url, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  running.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  return new Promise((resolve, reject) => {
    running.once('close', (status) => {
      if (status === 0) resolve(JSON.parse(text) as LoadSample);
      else reject(new Error(`the load generator failed on ${url}`));
    });
  });
}
