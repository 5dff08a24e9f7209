// `npm run bench -- copy [--data DIR --reps N --seconds S --size MIB --case shared,ragged,caw,foreground]`: what it brings to
// leave copies to the storage, beside the same host copying through the wire, with the same daemon and the same disks.
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atExit } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import type { Disk } from '../support/daemon.ts';
import { EsxiDisk } from '../support/esxi-copy.ts';
import type { CopySegment } from '../support/esxi-copy.ts';
import { freePorts } from '../support/net.ts';
import { run } from '../support/process.ts';
import { inCdb, newListId, outCdb, populateList, writeList } from '../support/windows-copy.ts';
import { machineFacts } from './machine.ts';
import { has } from './peers.ts';
import { load } from './pool-peers.ts';
import type { LoadSample } from './pool-peers.ts';
import { absolute, compared, median, poolMarkdown } from './pool-report.ts';
import type { DiskBenchOptions, PoolRow } from './pool-report.ts';

const KIB = 1024;
const MIB = 1_048_576;
const GIB = 1_073_741_824;
const BLOCK = 512;
const HOST = 'iqn.2026-11.org.example:bench';
const PARTS = ['shared', 'ragged', 'caw', 'foreground'] as const;
type Part = (typeof PARTS)[number];
/** Sessions of the host that offloads, each with one command at a time. */
const PATHS = 4;
/** DataMover.MaxHWTransferSize of ESXi: by default, and at most. */
const STEPS = [4 * MIB, 16 * MIB] as const;
/** Blocks one descriptor of a segment can name (SPC-4 6.4, type 02h), in whole MiB. */
const MOST = 31 * MIB;
/** Where ragged copies go: as far as they come from. */
const RAGGED = 4 * KIB;
/** Bytes of a part of a copy that goes on as long as something else. */
const PART = 64 * MIB;
/** Bytes one UNMAP gives back at most. */
const UNMAP_STEP = 512 * MIB;

/** Milliseconds. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
const urlOf = (disk: Disk): string => disk.url.replace('iscsi://', '');

export class CopyBench {
  readonly #options: DiskBenchOptions;
  readonly #rows: PoolRow[] = [];
  readonly #raw: Record<string, unknown> = {};
  readonly #open = new Set<EsxiDisk>();
  #daemon!: Daemon;
  #names = 0;

  constructor(options: DiskBenchOptions) {
    this.#options = options;
    const unknown = options.parts?.filter((each) => !PARTS.includes(each as Part)) ?? [];
    if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}: ${PARTS.join(', ')}`);
    atExit(() => {
      rmSync(options.folder, { recursive: true, force: true });
    });
    if (!has('qemu-img')) throw new Error('qemu-img is missing: apt-get install qemu-utils qemu-block-extra');
  }

  async run(): Promise<string> {
    const { folder, parts, size, json, markdown } = this.#options;
    const wants = (part: Part): boolean => parts?.includes(part) ?? true;
    const [api, portal] = await freePorts(2);
    const [at, where] = [`127.0.0.1:${String(api)}`, `127.0.0.1:${String(portal)}`];
    this.#daemon = new Daemon(join(folder, 'gemel'), [where], at, {
      args: ['--no-demo'],
    });
    await this.#daemon.start();
    try {
      await this.#daemon.gemelJson([
        'pool',
        'create',
        'tank',
        '--size',
        `${String(Math.ceil((size * 3) / 1024) + 4)}G`,
      ]);
      // What is measured is the copy, not whether it is taken.
      await this.#daemon.gemelJson(['copy-route', 'always']);
      if (wants('caw')) await this.#compareAndWrite();
      if (wants('shared') || wants('ragged') || wants('foreground')) await this.#copies(wants);
    } finally {
      this.#close();
      await this.#daemon.stop();
    }
    const { type, bsize, blocks } = statfsSync(folder);
    const facts = {
      ...machineFacts(),
      repetitions: this.#options.reps,
      disk: `${String(size)} MiB, all of it written`,
      storage: `file system ${type.toString(16)}h of ${String(Math.round((bsize * blocks) / GIB))} GiB, durable disks of one pool`,
    };
    mkdirSync(join(json, '..'), { recursive: true });
    writeFileSync(json, JSON.stringify({ facts, rows: this.#rows, raw: this.#raw }, null, 1));
    const table = poolMarkdown(facts, this.#rows);
    if (markdown !== undefined) writeFileSync(markdown, table);
    return table;
  }

  // ---- the disks

  #say(text: string): void {
    console.error(`copy: ${text}`);
  }

  #create(bytes: number): Promise<Disk> {
    const maps = ['--map', 'loopback', '--map', HOST];
    const name = `disk${String(this.#names++)}`;
    return this.#daemon.createVolume(name, `${String(bytes / MIB)}M`, ['--pool', 'tank', ...maps]);
  }

  async #delete(disk: Disk): Promise<void> {
    await this.#daemon.gemelJson(['volume', 'delete', '--purge', disk.name, '--force']);
  }

  async #attach({ iqn, lun }: Disk): Promise<EsxiDisk> {
    const [host = '', port] = (this.#daemon.portals[0] ?? '').split(':');
    const opened = await EsxiDisk.open({ host, port: Number(port), iqn, lun, initiator: HOST, paths: PATHS });
    this.#open.add(opened);
    return opened;
  }

  #close(): void {
    for (const each of this.#open) each.close();
    this.#open.clear();
  }

  /** Writes all of a disk. */
  #fill(disk: Disk): void {
    const begun = performance.now();
    let written = 0;
    while (written * MIB < disk.size && performance.now() - begun < 600_000) {
      // The generator stops after a time: each run goes over the disk from the front, so it is to be long enough.
      const time = written === 0 ? 2 : Math.ceil((disk.size / MIB / (written / 2)) * 1.25);
      const sample = load(this.#options.tool, urlOf(disk), [...FILL, '-t', String(time), '-w', '0']);
      written = sample.mbs * time * (1e6 / MIB);
    }
  }

  /** The host copies, or has the storage copy (-C); bytes of the one disk to bytes of the other. */
  async #convert(
    source: Disk,
    target: Disk,
    from: number,
    to: number,
    length: number,
    offload: boolean,
  ): Promise<number> {
    const image = (disk: Disk, offset: number): string =>
      `driver=raw,offset=${String(offset)},size=${String(length)},file.driver=iscsi,file.transport=tcp,` +
      `file.portal=${this.#daemon.portals[0] ?? ''},file.target=${disk.iqn},file.lun=${String(disk.lun)},` +
      `file.initiator-name=${HOST}`;
    // Out of order, which is faster.
    const flags = ['-W', '-m', '16', ...(offload ? ['-C'] : [])];
    const args = [
      'convert',
      '-n',
      ...flags,
      '--image-opts',
      '--target-image-opts',
      image(source, from),
      image(target, to),
    ];
    const done = await run('qemu-img', args, { timeoutMs: 600_000 });
    if (done.code !== 0) throw new Error(`${done.command}: ${done.stderr}`);
    return done.ms;
  }

  /** EXTENDED COPY (LID1) in steps of so many bytes, as many commands at once as there are sessions. */
  async #extendedCopy(
    source: EsxiDisk,
    target: EsxiDisk,
    from: number,
    to: number,
    length: number,
    step: number,
  ): Promise<number> {
    const segments: CopySegment[][] = [];
    for (let at = 0; at < length;) {
      const list: CopySegment[] = [];
      for (let left = Math.min(step, length - at); left > 0;) {
        const size = Math.min(MOST, left);
        list.push({ from: (from + at) / BLOCK, to: (to + at) / BLOCK, blocks: size / BLOCK });
        at += size;
        left -= size;
      }
      segments.push(list);
    }
    return timed(() => inParallel(segments, (list) => target.extendedCopy(source, target, list)));
  }

  /** Tokens of 256 MiB, as Windows does it: one after the other. */
  async #tokens(source: EsxiDisk, target: EsxiDisk, length: number): Promise<number> {
    const step = 256 * MIB;
    return timed(async () => {
      for (let at = 0; at < length; at += step) {
        const range = [at / BLOCK, Math.min(step, length - at) / BLOCK] as const;
        const [listId, list] = [newListId(), populateList([range])];
        await source.must('POPULATE TOKEN', outCdb(0x10, listId, list.length), { write: list, path: 0 });
        const data = await source.must('RECEIVE ROD TOKEN INFORMATION', inCdb(0x07, listId, 1024), {
          read: 1024,
          path: 0,
        });
        const token = data.subarray(38 + data.readUInt8(13), 550 + data.readUInt8(13));
        const write = writeList(token, 0, [range], 0x02);
        await target.must('WRITE USING TOKEN', outCdb(0x11, newListId(), write.length), { write });
      }
    });
  }

  async #copies(wants: (part: Part) => boolean): Promise<void> {
    const bytes = this.#options.size * MIB;
    const source = await this.#create(bytes);
    this.#say(`writing ${String(this.#options.size)} MiB`);
    this.#fill(source);
    if (wants('shared')) await this.#shared(source, bytes);
    if (wants('ragged')) await this.#ragged(source, Math.min(bytes / 2, 2 * GIB));
    if (wants('foreground')) await this.#foreground(source, bytes);
    if (wants('shared')) await this.#unmap(source, bytes);
  }

  // ---- the parts

  async #shared(source: Disk, bytes: number): Promise<void> {
    const { reps, size } = this.#options;
    const what = `${String(size)} MiB`;
    const times = new Map<string, number[]>();
    const note = (name: string, ms: number): void => {
      times.set(name, [...(times.get(name) ?? []), ms]);
    };
    const from = await this.#attach(source);
    const fresh = async (body: (target: Disk, to: EsxiDisk) => Promise<void>): Promise<void> => {
      const target = await this.#create(bytes);
      const to = await this.#attach(target);
      await body(target, to);
      to.close();
      this.#open.delete(to);
      await this.#delete(target);
    };
    for (let rep = 0; rep < reps; rep++) {
      for (const step of [...STEPS, 248 * MIB]) {
        await fresh(async (_, to) => {
          note(`xcopy ${String(step / MIB)}`, await this.#extendedCopy(from, to, 0, 0, bytes, step));
        });
        // A tenth of the bytes, with as many commands.
        await fresh(async (_, to) => {
          const tenth = Math.floor(bytes / 10 / MIB) * MIB;
          const small = Math.ceil(step / 10 / (64 * KIB)) * 64 * KIB;
          note(`tenth ${String(step / MIB)}`, await this.#extendedCopy(from, to, 0, 0, tenth, small));
        });
      }
      await fresh(async (_, to) => {
        note('tokens', await this.#tokens(from, to, bytes));
      });
      await fresh(async (target) => {
        note('convert -C', await this.#convert(source, target, 0, 0, bytes, true));
      });
      this.#say(`shared copies, repetition ${String(rep + 1)}`);
    }
    const target = await this.#create(bytes);
    const host = await this.#convert(source, target, 0, 0, bytes, false);
    this.#say(`qemu-img convert without offload: ${seconds(host)}`);
    this.#raw['shared'] = { times: Object.fromEntries(times), host };
    const of = (name: string): number[] => times.get(name) ?? [];
    const slower = (name: string): number[] => of(name).map(() => host);
    const faster = (title: string, name: string, goal?: PoolRow['goal']): void => {
      // Times the host needs for the time of the storage: more is better.
      const row = compared(
        title,
        's',
        slower(name).map((ms) => ms / 1000),
        of(name).map((ms) => ms / 1000),
        goal,
      );
      this.#rows.push({ ...row, note: 'left: qemu-img convert -W -m 16, once; compared with: the storage' });
    };
    const goal = { atLeast: 100 };
    const [small, large] = STEPS.map((step) => `xcopy ${String(step / MIB)}`) as [string, string];
    faster(`${what}: host / EXTENDED COPY, 248 MiB a command`, 'xcopy 248', goal);
    faster(`${what}: host / EXTENDED COPY, 16 MiB a command, 4 at once`, large, goal);
    faster(`${what}: host / EXTENDED COPY, 4 MiB a command, 4 at once`, small);
    faster(`${what}: host / POPULATE TOKEN + WRITE USING TOKEN of 256 MiB`, 'tokens', goal);
    faster(`${what}: host / qemu-img convert -C -W -m 16`, 'convert -C', goal);
    for (const step of [248 * MIB, ...STEPS.toReversed()]) {
      const [all, tenth] = [of(`xcopy ${String(step / MIB)}`), of(`tenth ${String(step / MIB)}`)];
      const commands = Math.ceil(bytes / step);
      const title = `${String(commands)} commands of ${String(step / MIB)} MiB / as many for a tenth of the bytes`;
      this.#rows.push(
        compared(title, 'ms', all, tenth, undefined, `${(median(all) / commands).toFixed(2)} ms a command`),
      );
    }
    // On the copy the host has made: all of it is data of its own.
    const to = await this.#attach(target);
    const zero = await timed(() => to.zero(0, bytes / BLOCK));
    this.#raw['zero'] = zero;
    this.#rows.push(absolute(`WRITE SAME of zeros, ${what} of data, one command`, 'ms', zero, { atMost: 1000 }));
    to.close();
    await this.#delete(target);
  }

  /** The last: nothing is left of the source. */
  async #unmap(source: Disk, bytes: number): Promise<void> {
    const disk = await this.#attach(source);
    const ranges = Array.from({ length: Math.ceil(bytes / UNMAP_STEP) }, (_, i) => i * UNMAP_STEP);
    const unmap = await timed(async () => {
      for (const at of ranges) await disk.unmap([[at / BLOCK, Math.min(UNMAP_STEP, bytes - at) / BLOCK]]);
    });
    this.#raw['unmap'] = unmap;
    const title = `UNMAP of ${String(bytes / MIB)} MiB of data, 512 MiB a command`;
    this.#rows.push(absolute(title, 'ms', unmap, undefined));
    disk.close();
  }

  async #ragged(source: Disk, length: number): Promise<void> {
    const from = await this.#attach(source);
    const target = await this.#create(length + MIB);
    const to = await this.#attach(target);
    const host: number[] = [];
    const times = new Map<string, number[]>([
      ['4', []],
      ['16', []],
      ['248', []],
      ['-C', []],
    ]);
    for (let rep = 0; rep < this.#options.reps; rep++) {
      host.push(await this.#convert(source, target, 0, RAGGED, length, false));
      for (const [name, list] of times) {
        if (name === '-C') list.push(await this.#convert(source, target, 0, RAGGED, length, true));
        else list.push(await this.#extendedCopy(from, to, 0, RAGGED, length, Number(name) * MIB));
      }
      this.#say(`ragged copies, repetition ${String(rep + 1)}`);
    }
    this.#raw['ragged'] = { host, ...Object.fromEntries(times) };
    const rate = (all: readonly number[]): number[] => all.map((ms) => (length / MIB / ms) * 1000);
    for (const [name, list] of times) {
      const how = name === '-C' ? 'qemu-img convert -C' : `EXTENDED COPY, ${name} MiB a command, 4 at once`;
      const title = `${String(length / MIB)} MiB, 4 KiB askew: ${how} / the host`;
      this.#rows.push(compared(title, 'MiB/s', rate(list), rate(host), { atLeast: 1 }));
    }
    to.close();
    await this.#delete(target);
  }

  async #compareAndWrite(): Promise<void> {
    const { tool, reps, seconds: time } = this.#options;
    for (const [size, label] of [
      ['512', '512 bytes'],
      ['4k', '4 KiB'],
    ] as const) {
      const disk = await this.#create(256 * MIB);
      const common = ['-m', '0', '-b', size, '-g', '4'];
      load(tool, urlOf(disk), [...common, '-S', '-q', '32', '-t', '3', '-w', '0']);
      const caw: LoadSample[] = [];
      const write: LoadSample[] = [];
      for (let rep = 0; rep < reps; rep++) {
        const alone = [...common, '-q', '1', '-t', String(time), '-w', '0.3'];
        write.push(load(tool, urlOf(disk), alone));
        caw.push(load(tool, urlOf(disk), [...alone, '-c']));
      }
      this.#raw[`compare and write ${size}`] = { caw, write };
      const of = (samples: readonly LoadSample[], key: 'p50us' | 'p99us'): number[] => samples.map((each) => each[key]);
      const title = `COMPARE AND WRITE of ${label}, QD 1 / WRITE`;
      this.#rows.push(
        compared(`${title}: median`, 'µs', of(caw, 'p50us'), of(write, 'p50us'), { atMost: 1.3 }),
        compared(`${title}: p99`, 'µs', of(caw, 'p99us'), of(write, 'p99us'), undefined),
      );
      await this.#delete(disk);
    }
  }

  /** Latency of others while copies are made as fast as the storage can. */
  async #foreground(source: Disk, bytes: number): Promise<void> {
    const { reps, seconds: time } = this.#options;
    const from = await this.#attach(source);
    const length = Math.min(bytes / 2, 2 * GIB);
    const target = await this.#create(length + MIB);
    const to = await this.#attach(target);
    const busy = await this.#create(256 * MIB);
    this.#fill(busy);
    const loads = [
      ['reads, QD 32', ['-m', '100', '-q', '32']],
      ['durable writes, QD 32', ['-m', '0', '-q', '32']],
      ['reads, QD 1', ['-m', '100', '-q', '1']],
    ] as const;
    for (const [name, options] of loads) {
      const idle: LoadSample[] = [];
      const during = new Map<string, LoadSample[]>();
      const rates = new Map<string, number[]>();
      for (let rep = 0; rep < reps; rep++) {
        const sample = (): Promise<LoadSample> =>
          spawnLoad(this.#options.tool, urlOf(busy), [...options, '-b', '4k', '-t', String(time), '-w', '0.3']);
        idle.push(await sample());
        for (const [kind, offset, step] of [
          ['shared', 0, 16 * MIB],
          ['ragged', RAGGED, 16 * MIB],
        ] as const) {
          const end = new AbortController();
          let copied = 0;
          const begun = performance.now();
          const copying = (async () => {
            // In parts, so that it ends soon when it is no longer needed.
            for (let at = 0; !end.signal.aborted; at = (at + PART) % length) {
              await this.#extendedCopy(from, to, at, at + offset, Math.min(PART, length - at), step);
              copied += PART;
            }
          })();
          during.set(kind, [...(during.get(kind) ?? []), await sample()]);
          end.abort();
          await copying;
          rates.set(kind, [...(rates.get(kind) ?? []), (copied / MIB / (performance.now() - begun)) * 1000]);
        }
        this.#say(`4 KiB ${name} beside a copy, repetition ${String(rep + 1)}`);
      }
      this.#raw[`foreground ${name}`] = { idle, during: Object.fromEntries(during), rates: Object.fromEntries(rates) };
      for (const [kind, samples] of during) {
        const of = (all: readonly LoadSample[]): number[] => all.map((each) => each.p99us);
        const rate = median(rates.get(kind) ?? []);
        const iops = median(samples.map((each) => each.iops)) / median(idle.map((each) => each.iops));
        const note = `the copy: ${rate.toFixed(0)} MiB/s; IOPS ${(iops * 100).toFixed(0)} % of idle`;
        const title = `p99 of 4 KiB ${name}, beside a ${kind} copy / idle`;
        this.#rows.push(compared(title, 'µs', of(samples), of(idle), { atMost: 2 }, note));
      }
    }
    to.close();
    await this.#delete(busy);
    await this.#delete(target);
  }
}

const FILL = ['-S', '-m', '0', '-b', '1m', '-q', '32'];

/** All of them, PATHS at a time. */
async function inParallel<T>(all: readonly T[], work: (each: T) => Promise<unknown>): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    for (let each = all[next++]; each !== undefined; each = all[next++]) await work(each);
  };
  await Promise.all(Array.from({ length: PATHS }, one));
}

/** The load generator beside something else. */
function spawnLoad(tool: string, url: string, options: readonly string[]): Promise<LoadSample> {
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
