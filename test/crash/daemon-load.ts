// What hosts do to a disk of the daemon that is killed: everything at once, and what they are told is written down.
import assert from 'node:assert/strict';
import { FUA, read16, write16 } from '../support/cdb.ts';
import { Offload } from './daemon-offload.ts';
import { seen, stampSector } from './daemon-model.ts';
import type { Tokens } from './daemon-offload.ts';
import type { DiskModel, Entry, Instant, Rule, Write, Writes } from './daemon-model.ts';
import { CLOSED, Gone, Pipe } from './daemon-pipe.ts';
import type { Answer } from './daemon-pipe.ts';
import { SECTOR } from './record.ts';
import type { Random } from './sim-disk.ts';

/** Commands under way in each session. */
export const DEPTH = 16;
/** Sectors of the writes, from 512 bytes to 256 KiB. */
const SIZES = [1, 1, 2, 3, 7, 8, 8, 8, 9, 16, 17, 24, 64, 127, 128, 128, 129, 256, 256, 300, 384, 512];
const GRAIN_SECTORS = 128;
/** Where most of the writes go, in sectors: there they meet each other. */
const HOT = 4096;
/** Around here a leaf of the map ends, in sectors. */
const LEAF = 131_072;
/** Statuses that say that nothing was done (SAM-5 5.3.1). */
const BUSY = 0x08;
const CHECK_CONDITION = 0x02;
const TASK_SET_FULL = 0x28;
/** Sectors read at once when everything is read. */
const READ_ALL = 512;

export interface Range {
  readonly first: number;
  readonly count: number;
}

export interface LoadFacts {
  readonly writes: Writes;
  readonly random: Random;
  /** The space may be used up: a write may be refused, and nobody knows how much of it was written. */
  readonly mayBeFull: boolean;
  /** Commands answered with GOOD, and refused because the space is used up. */
  readonly counts: { good: number; refused: number };
  readonly tokens: Tokens;
  /** Disks that can be copied from. */
  readonly sources: () => readonly Host[];
  /** The daemon is there, and nobody is about to end it. */
  readonly alive: () => boolean;
  /** Something is not as it must be. */
  readonly fail: (error: unknown) => void;
}

/** A disk and the session that uses it. */
export class Host {
  readonly model: DiskModel;
  readonly iqn: string;
  /** UNMAP is offered. */
  readonly thin: boolean;
  /** Nobody may begin to copy from it. */
  apart = false;
  readonly offload: Offload;
  readonly #facts: LoadFacts;
  #pipe: Pipe | undefined;
  #stopping = false;
  #workers: Promise<void>[] = [];

  constructor(model: DiskModel, iqn: string, thin: boolean, facts: LoadFacts) {
    this.model = model;
    this.iqn = iqn;
    this.thin = thin;
    this.#facts = facts;
    this.offload = new Offload(this, facts, (...all) => this.#send(...all));
  }

  async connect(portal: string): Promise<void> {
    const { random } = this.#facts;
    const keys = {
      ImmediateData: random() < 0.7 ? 'Yes' : 'No',
      HeaderDigest: random() < 0.2 ? 'CRC32C' : 'None',
      DataDigest: random() < 0.2 ? 'CRC32C' : 'None',
    };
    this.#pipe = await Pipe.open(portal, { target: this.iqn, keys });
    await this.offload.prepare();
  }

  /** Keeps DEPTH commands under way until it is stopped or the connection ends. */
  start(): void {
    this.#stopping = false;
    this.#workers = Array.from({ length: DEPTH }, () => this.#work());
  }

  /** Waits for what is under way, and ends the session. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#workers);
    await this.disconnect();
  }

  async disconnect(): Promise<void> {
    this.#pipe?.close();
    await this.over();
  }

  /** Resolves when the connection is over and everything that came through it has been written down. */
  async over(): Promise<void> {
    await this.#pipe?.over;
    await Promise.all(this.#workers);
  }

  async #work(): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#step();
      } catch (error) {
        // The end of the connection is what a kill looks like; at any other time it is a failure.
        if (!(error instanceof Gone) || error.message !== CLOSED || (!this.#isStopping() && this.#facts.alive())) {
          this.#facts.fail(error instanceof Gone ? new Error(`${this.model.name}: ${error.message}`) : error);
        }
        return;
      }
    }
  }

  /** Read anew: it changes while a command is under way. */
  #isStopping(): boolean {
    return this.#stopping;
  }

  async #step(): Promise<void> {
    const dice = this.#facts.random();
    if (dice < 0.5) await this.#write(this.#range());
    else if (dice < 0.58 && this.thin) await this.#unmap();
    else if (dice < 0.66) await this.#writeSame(this.#range());
    else if (dice < 0.7) await this.flush();
    else if (dice < 0.73) await this.offload.step();
    else await this.#read(this.#range());
  }

  #pick(limit: number): number {
    return Math.floor(this.#facts.random() * limit);
  }

  #range(): Range {
    const count = Math.min(SIZES[this.#pick(SIZES.length)] ?? 8, this.model.sectors);
    const room = this.model.sectors - count;
    const where = this.#facts.random();
    let first = where < 0.1 ? this.#pick(room + 1) : this.#pick(HOT);
    if (where > 0.75 && room > LEAF) first += LEAF - HOT / 2;
    else if (where > 0.65) first = room - this.#pick(64);
    const aligned = this.#facts.random();
    if (aligned < 0.4) first -= first % 8;
    else if (aligned < 0.65) first -= first % GRAIN_SECTORS;
    return { first: Math.max(0, Math.min(first, room)), count };
  }

  async #send(cdb: Buffer, options: { read?: number; write?: Buffer } = {}, sent?: () => void): Promise<Answer> {
    assert.ok(this.#pipe !== undefined, 'there is no session');
    return this.#pipe.send(cdb, options, sent);
  }

  /** False: it was not executed, or not known how far. Throws when the answer is none that can be expected. */
  #isGood(answer: Answer, what: string): boolean {
    if (answer.status === 0) {
      this.#facts.counts.good++;
      return true;
    }
    if (!wasExecuted(answer)) return false;
    if (this.#facts.mayBeFull && answer.senseCode === '07/27/07') {
      this.#facts.counts.refused++;
      return false;
    }
    throw new Error(`${what}: status ${answer.status.toString(16)}, sense ${answer.senseCode}`);
  }

  // ---- commands that change something

  async #change(
    ranges: readonly Range[],
    kind: { zeros?: boolean; same?: boolean; stable?: boolean },
    what: string,
    command: (write: Write) => { cdb: Buffer; data?: Buffer },
  ): Promise<void> {
    const { model } = this;
    const { writes } = this.#facts;
    // Its number is taken, and it is written down, when it is really sent.
    let write: Write | undefined;
    const begun = writes.begin(model.number, kind.zeros === true, kind.same === true);
    const { cdb, data } = command(begun);
    const answer = await this.#send(cdb, data === undefined ? {} : { write: data }, () => {
      write = begun;
      model.begin(begun, ranges);
    });
    assert.ok(write !== undefined);
    if (this.#isGood(answer, `${model.name}: ${what}`)) model.good(write, ranges, kind.stable === true);
    else model.bad(write, ranges, wasExecuted(answer));
  }

  #write({ first, count }: Range): Promise<void> {
    const fua = this.#facts.random() < 0.1;
    return this.#change([{ first, count }], { stable: fua }, 'WRITE', (write) => {
      const data = Buffer.allocUnsafe(count * SECTOR);
      for (let i = 0; i < count; i++) stampSector(write, first + i, data, i * SECTOR);
      return { cdb: write16(first, count, fua ? FUA : 0), data };
    });
  }

  #unmap(): Promise<void> {
    const ranges = Array.from({ length: 1 + this.#pick(3) }, () => this.#range());
    return this.#change(ranges, { zeros: true }, 'UNMAP', () => {
      const data = Buffer.alloc(8 + ranges.length * 16);
      data.writeUInt16BE(data.length - 2, 0);
      data.writeUInt16BE(data.length - 8, 2);
      ranges.forEach(({ first, count }, i) => {
        data.writeBigUInt64BE(BigInt(first), 8 + i * 16);
        data.writeUInt32BE(count, 16 + i * 16);
      });
      const cdb = Buffer.alloc(10);
      cdb[0] = 0x42;
      cdb.writeUInt16BE(data.length, 7);
      return { cdb, data };
    });
  }

  #writeSame({ first, count }: Range): Promise<void> {
    const kind = this.#pick(this.thin ? 3 : 2);
    const zeros = kind > 0;
    return this.#change([{ first, count }], { zeros, same: true }, 'WRITE SAME', (write) => {
      const cdb = write16(first, count);
      cdb[0] = 0x93;
      // NDOB, or UNMAP with a block of zeros.
      cdb[1] = kind === 1 ? 0x01 : kind === 2 ? 0x08 : 0;
      const data = Buffer.alloc(SECTOR);
      stampSector(write, first, data, 0);
      return kind === 1 ? { cdb } : { cdb, data };
    });
  }

  /** SYNCHRONIZE CACHE (16) of everything. */
  async flush(): Promise<boolean> {
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x91;
    let sent = 0;
    const answer = await this.#send(cdb, {}, () => (sent = this.#facts.writes.order.next()));
    if (!this.#isGood(answer, `${this.model.name}: SYNCHRONIZE CACHE`)) return false;
    this.model.flushed(sent);
    return true;
  }

  // ---- reading

  async #read({ first, count }: Range): Promise<void> {
    let look: ReturnType<DiskModel['look']> | undefined;
    try {
      const answer = await this.#send(read16(first, count), { read: count * SECTOR }, () => (look = this.model.look()));
      if (!this.#isGood(answer, `${this.model.name}: READ`) || look === undefined) return;
      assert.equal(answer.data.length, count * SECTOR);
      const what = `${this.model.name}, read under load (sent ${String(look.since)}, now ${String(this.#facts.writes.order.now)})`;
      const { since, allowed } = look;
      const isFile = this.model.name.startsWith('f');
      // A file is read and written in the page cache at the same time: what is being written may be seen half.
      const torn = (entries: readonly Entry[]): boolean => isFile && entries.some(({ write }) => write.ended > since);
      const may = (sector: number): ReturnType<typeof allowed> | 'anything' => {
        const entries = allowed(sector);
        return entries !== undefined && torn(entries) ? 'anything' : entries;
      };
      seen(this.#facts.writes, answer.data, first, may, what);
    } finally {
      look?.end();
    }
  }

  /**
   * Reads the whole disk. It must be what the model allows, after a crash or after an orderly stop; from then on it is what
   * was read.
   */
  async verify(rule: Rule, what: string): Promise<void> {
    const { model } = this;
    model.is(await this.readAll((sector) => model.allowed(sector, rule), `${model.name} ${what}`));
  }

  /** What the whole disk shows, which must be allowed. `instant`: it was caught at one. */
  async readAll(
    allowed: (sector: number) => readonly Entry[] | undefined,
    what: string,
    instant?: Instant,
  ): Promise<Map<number, Entry[]>> {
    const { sectors } = this.model;
    const found = new Map<number, Entry[]>();
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let first = next; first < sectors; first = next) {
        const count = Math.min(READ_ALL, sectors - first);
        next = first + count;
        const data = await this.#readPiece({ first, count });
        seen(this.#facts.writes, data, first, allowed, what).forEach((entry, i) => {
          if (entry === undefined) return;
          instant?.add(entry, `${what}, LBA ${String(first + i)}`);
          found.set(first + i, [entry]);
        });
      }
    };
    await Promise.all(Array.from({ length: DEPTH / 2 }, worker));
    return found;
  }

  async #readPiece({ first, count }: Range): Promise<Buffer> {
    for (let tries = 0; ; tries++) {
      const answer = await this.#send(read16(first, count), { read: count * SECTOR });
      if (answer.status === 0) {
        assert.equal(answer.data.length, count * SECTOR);
        return answer.data;
      }
      const what = `status ${answer.status.toString(16)}, sense ${answer.senseCode}`;
      assert.ok(tries < 10 && !wasExecuted(answer), `${this.model.name}: READ of LBA ${String(first)}: ${what}`);
    }
  }
}

/** False: the target did not begin with it. UNIT ATTENTION and NOT READY come before anything is done. */
export function wasExecuted({ status, senseCode }: Answer): boolean {
  if (status === BUSY || status === TASK_SET_FULL) return false;
  return !(status === CHECK_CONDITION && /^0[26]\//.test(senseCode));
}
