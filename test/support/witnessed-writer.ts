// Writes numbered blocks without a break, remembers every write that was acknowledged, and knows what each block must hold.
import assert from 'node:assert/strict';
import { read16, write16 } from './cdb.ts';
import { PathHost } from './path-host.ts';
import type { PathHostOptions } from './path-host.ts';

/** Bytes of one write, blocks each writer goes through again and again, and blocks read at a time when all are. */
const BYTES = 4096;
const BLOCKS = 2048;
const TOGETHER = 16;
/** Writes to a block before the next one: a write that lands late is on top of a newer one, and stays there for long. */
const TIMES = 3;
const MARK = 16;

export interface WriterOptions extends Omit<PathHostOptions, 'number'> {
  /** How many write at the same time, each with sessions and blocks of its own. */
  readonly count: number;
  /** Bytes of a logical block. */
  readonly blockLength: number;
}

interface Writer {
  readonly host: PathHost;
  readonly number: number;
  /** Per block the number of the write that was acknowledged last; 0: none. */
  readonly acknowledged: number[];
  writes: number;
}

export class WitnessedWriters {
  readonly #writers: readonly Writer[];
  readonly #blocks: number;
  #running: Promise<unknown> | undefined;
  #stop = false;

  constructor({ count, blockLength, ...host }: WriterOptions) {
    this.#blocks = BYTES / blockLength;
    this.#writers = Array.from({ length: count }, (_, number) => {
      const acknowledged = Array.from({ length: BLOCKS }, () => 0);
      return { host: new PathHost({ ...host, number: number + 1 }), number, acknowledged, writes: 0 };
    });
  }

  /** Writes acknowledged so far. */
  get writes(): number {
    return this.#writers.reduce((sum, { writes }) => sum + writes, 0);
  }

  start(): void {
    assert.equal(this.#running, undefined);
    this.#stop = false;
    this.#running = Promise.all(this.#writers.map((writer) => this.#write(writer)));
    // Whoever waits for it next hears of an error.
    this.#running.catch(() => undefined);
  }

  /** Lets every writer end what it has begun. Rejects when one has seen an error, or data that is not what it wrote. */
  async stop(): Promise<void> {
    this.#stop = true;
    await this.#running;
    this.#running = undefined;
  }

  /** Every writer has so many more writes acknowledged. Rejects like stop(). */
  async progress(count = 20): Promise<void> {
    const goals = this.#writers.map(({ writes }) => writes + count);
    const reached = (): boolean => this.#writers.every(({ writes }, i) => writes >= (goals[i] ?? 0));
    while (!reached()) {
      // A writer that fails ends this; one that goes on does not.
      await Promise.race([this.#running, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
  }

  /** Milliseconds of the longest pause any writer saw since the last call. */
  takePause(): number {
    const longest = Math.max(...this.#writers.map(({ host }) => host.longest));
    for (const { host } of this.#writers) host.longest = 0;
    return Math.round(longest);
  }

  /** Every block holds what was acknowledged last. While nobody writes. `path`: read through that one only. */
  async verify(path?: number): Promise<void> {
    assert.equal(this.#running, undefined);
    await Promise.all(
      this.#writers.map(async (writer) => {
        for (let block = 0; block < BLOCKS; block += TOGETHER) await this.#check(writer, block, TOGETHER, path);
      }),
    );
  }

  close(): void {
    for (const { host } of this.#writers) host.close();
  }

  async #write(writer: Writer): Promise<void> {
    while (!this.#stop) {
      const number = writer.writes + 1;
      const block = Math.floor(number / TIMES) % BLOCKS;
      await writer.host.command(write16(this.#address(writer, block), this.#blocks), {
        write: content(writer.number, block, number),
      });
      writer.acknowledged[block] = number;
      writer.writes = number;
      // What was just written, or something older: nobody else writes there.
      await this.#check(writer, number % 2 === 0 ? block : (number * 37) % BLOCKS, 1);
    }
  }

  async #check(writer: Writer, first: number, count: number, path?: number): Promise<void> {
    const cdb = read16(this.#address(writer, first), count * this.#blocks);
    const { data } = await writer.host.command(cdb, { read: count * BYTES }, path);
    assert.equal(data.length, count * BYTES);
    for (let i = 0; i < count; i++) {
      const block = first + i;
      const number = writer.acknowledged[block] ?? 0;
      const found = data.subarray(i * BYTES, (i + 1) * BYTES);
      if (found.equals(content(writer.number, block, number))) continue;
      const marks = Array.from({ length: BYTES / MARK }, (_, at) => found.toString('hex', at * MARK, (at + 1) * MARK));
      const there = [...new Set(marks)].slice(0, 4).join(', ');
      assert.fail(`writer ${writer.number}, block ${block}: write ${number} was acknowledged, there is ${there}`);
    }
  }

  #address({ number }: Writer, block: number): number {
    return (number * BLOCKS + block) * this.#blocks;
  }
}

/** What write `number` puts into a block: in every 16 bytes who wrote it; zeros before the first one. */
function content(writer: number, block: number, number: number): Buffer {
  const mark = Buffer.alloc(MARK);
  if (number > 0) {
    mark.writeUInt32BE(writer + 1, 0);
    mark.writeUInt32BE(block, 4);
    mark.writeBigUInt64BE(BigInt(number), 8);
  }
  return Buffer.alloc(BYTES, mark);
}
