// `npm run bench -- images [--data DIR --reps N --size MIB --case raw,qcow2]`: images into a durable disk of a pool and out of it,
// beside qemu-img copying the same image from file to file on the same disk, and beside dd copying nothing but its data. All of
// them from a cold disk, and until what was copied is stable. Of the image a quarter is data that nobody can compress, the rest holes.
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, rmSync, statSync, statfsSync } from 'node:fs';
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { atExit } from '../support/cleanup.ts';
import { Daemon } from '../support/daemon.ts';
import { freePorts } from '../support/net.ts';
import { describeRun } from '../support/process.ts';
import { Client } from './client.ts';
import { machineFacts } from './machine.ts';
import { has, must } from './peers.ts';
import { dropCaches } from './pool-peers.ts';
import { absolute, compared, median, poolMarkdown, reached } from './pool-report.ts';
import type { DiskBenchOptions, PoolRow } from './pool-report.ts';

const MIB = 1_048_576;
const GIB = 1_073_741_824;
const FORMATS = ['raw', 'qcow2'] as const;
type Format = (typeof FORMATS)[number];
/** Bytes of data in one piece, and of the hole behind each. */
const PIECE = 16 * MIB;
const HOLE = 3 * PIECE;
/** Of the slower one of qemu-img and the disk. */
const GOAL = { atLeast: 0.9 };
/** Bytes that move beside the data may be so many times the data: headers, answers, blocks that are only in part data. */
const MOVED = { atMost: 1.05 };
/** Milliseconds one copy may take. */
const PATIENCE = 300_000;

/** Seconds of each repetition, and MiB that crossed the wire. */
interface Copies {
  readonly ours: number[];
  readonly qemu: number[];
  readonly disk: number[];
  readonly moved: number[];
}

const noCopies = (): Copies => ({ ours: [], qemu: [], disk: [], moved: [] });

export class ImageBench {
  readonly #options: DiskBenchOptions;
  readonly #formats: readonly Format[];
  readonly #bytes: number;
  readonly #rows: PoolRow[] = [];
  readonly #raw: Record<string, Copies> = {};
  #daemon!: Daemon;

  constructor(options: DiskBenchOptions) {
    this.#options = options;
    const unknown = options.parts?.filter((each) => !FORMATS.includes(each as Format)) ?? [];
    if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}: ${FORMATS.join(', ')}`);
    this.#formats = FORMATS.filter((each) => options.parts?.includes(each) ?? true);
    this.#bytes = Math.ceil((options.size * MIB) / PIECE) * PIECE;
    atExit(() => {
      rmSync(options.folder, { recursive: true, force: true });
    });
    if (!has('qemu-img')) throw new Error('qemu-img is missing: apt-get install qemu-utils qemu-block-extra');
    if (process.getuid?.() !== 0) throw new Error('only root can make the kernel forget what it has of files');
  }

  /** The table, and whether every goal is reached. */
  async run(): Promise<{ readonly text: string; readonly isReached: boolean }> {
    const { folder, json, markdown } = this.#options;
    this.#makeImages();
    const [api, portal] = await freePorts(2);
    const at = [`127.0.0.1:${String(portal)}`];
    this.#daemon = new Daemon(join(folder, 'gemel'), at, `127.0.0.1:${String(api)}`, { args: ['--no-demo'] });
    await this.#daemon.start();
    try {
      const size = `${String(Math.ceil((this.#bytes * 2) / GIB) + 2)}G`;
      await this.#daemon.gemelJson(['pool', 'create', 'tank', '--size', size]);
      for (let rep = 0; rep < this.#options.reps; rep++) {
        for (const format of this.#formats) {
          await this.#import(format);
          await this.#export(format);
          await this.#daemon.gemelJson(['volume', 'delete', '--purge', 'disk']);
          this.#say(`${format}, repetition ${String(rep + 1)}`);
        }
      }
    } finally {
      await this.#daemon.stop();
    }
    for (const [name, copies] of Object.entries(this.#raw)) this.#report(name, copies);
    const { type, bsize, blocks } = statfsSync(folder);
    const facts = {
      ...machineFacts(),
      repetitions: this.#options.reps,
      image: `${String(this.#bytes / MIB)} MiB of data and ${String((this.#bytes / PIECE) * (HOLE / MIB))} MiB of holes`,
      storage: `file system ${type.toString(16)}h of ${String(Math.round((bsize * blocks) / GIB))} GiB, a durable disk of a pool`,
    };
    mkdirSync(join(json, '..'), { recursive: true });
    writeFileSync(json, JSON.stringify({ facts, rows: this.#rows, raw: this.#raw }, null, 1));
    const text = poolMarkdown(facts, this.#rows);
    if (markdown !== undefined) writeFileSync(markdown, text);
    return { text, isReached: this.#rows.every((row) => reached(row) !== false) };
  }

  #say(text: string): void {
    console.error(`images: ${text}`);
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  // ---- what is copied

  /** The image in both formats, and its data alone. */
  #makeImages(): void {
    const [image, data] = [openSync(this.#path('image.raw'), 'wx'), openSync(this.#path('data'), 'wx')];
    try {
      for (let done = 0; done < this.#bytes; done += PIECE) {
        const piece = randomBytes(PIECE);
        writeSync(image, piece, 0, PIECE, (done / PIECE) * (PIECE + HOLE));
        writeSync(data, piece, 0, PIECE, done);
      }
      ftruncateSync(image, (this.#bytes / PIECE) * (PIECE + HOLE));
      if (fstatSync(image).blocks * 512 > this.#bytes + MIB) throw new Error('this file system has no holes');
    } finally {
      closeSync(image);
      closeSync(data);
    }
    const [from, to] = [this.#path('image.raw'), this.#path('image.qcow2')];
    must('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', from, to]);
  }

  // ---- the copies

  async #import(format: Format): Promise<void> {
    const copies = (this.#raw[`import of ${format}`] ??= noCopies());
    const image = this.#path(`image.${format}`);
    copies.ours.push(await this.#gemel(['volume', 'import', image, 'disk', '--pool', 'tank', '--format', format]));
    copies.moved.push((await this.#moved('written')) / MIB);
    const disk = await this.#daemon.volume('disk');
    if ((disk.allocatedBytes ?? NaN) !== this.#bytes) throw new Error(`${String(disk.allocatedBytes)} bytes are used`);
    this.#peers(copies, image, format, 'raw');
  }

  async #export(format: Format): Promise<void> {
    const copies = (this.#raw[`export to ${format}`] ??= noCopies());
    // What was just written is in its memory.
    await this.#daemon.stop();
    await this.#daemon.start();
    const path = this.#path('exported');
    copies.ours.push(await this.#gemel(['volume', 'export', 'disk', path, '--format', format]));
    copies.moved.push((await this.#moved('read')) / MIB);
    if (statSync(path).blocks * 512 > this.#bytes * 1.02) throw new Error('the holes are not holes any more');
    must('qemu-img', ['compare', '-f', 'raw', '-F', format, this.#path('image.raw'), path]);
    rmSync(path);
    this.#peers(copies, this.#path('image.raw'), 'raw', format);
  }

  #peers(copies: Copies, image: string, from: Format, to: Format): void {
    const path = this.#path('copy');
    const convert = ['qemu-img', 'convert', '-f', from, '-O', to, image, path];
    copies.qemu.push(this.#timed(() => must('sh', ['-c', '"$@" && sync "$0"', path, ...convert])));
    rmSync(path);
    const files = [`if=${this.#path('data')}`, `of=${path}`];
    copies.disk.push(this.#timed(() => must('dd', [...files, 'bs=1M', 'conv=fsync', 'status=none'])));
    rmSync(path);
  }

  /** Seconds, from a cold disk. */
  #timed(work: () => unknown): number {
    dropCaches();
    const begun = performance.now();
    work();
    return (performance.now() - begun) / 1000;
  }

  /** Seconds of a command of the real program, with its start and its end. */
  async #gemel(args: readonly string[]): Promise<number> {
    dropCaches();
    const begun = performance.now();
    const done = await this.#daemon.gemel(args, { timeoutMs: PATIENCE });
    if (done.code !== 0) throw new Error(describeRun(done));
    return (performance.now() - begun) / 1000;
  }

  /** Bytes that initiators have read from the disk, or written to it, since it is there and the daemon runs. */
  async #moved(which: 'read' | 'written'): Promise<number> {
    const client = await Client.open(this.#daemon.ready);
    try {
      return await client.metric(`gemel_volume_${which}_bytes_total{volume="disk"}`);
    } finally {
      client.close();
    }
  }

  // ---- the table

  #report(name: string, copies: Copies): void {
    const megabytes = this.#bytes / MIB;
    const rates = (seconds: readonly number[]): number[] => seconds.map((each) => megabytes / each);
    const [ours, qemu, disk] = [rates(copies.ours), rates(copies.qemu), rates(copies.disk)];
    const slower = qemu.map((each, i) => Math.min(each, disk[i] ?? NaN));
    const figures = `qemu-img ${median(qemu).toFixed(0)}, dd ${median(disk).toFixed(0)} MiB/s; whichever is slower`;
    this.#rows.push(compared(`${name}, data`, 'MiB/s', ours, slower, GOAL, figures));
    const moved = median(copies.moved) / megabytes;
    this.#rows.push(absolute(`${name}, bytes on the wire for each of data`, '', moved, MOVED));
  }
}
