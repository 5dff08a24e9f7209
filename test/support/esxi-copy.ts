// An initiator that leaves work to the storage as ESXi does: what it asks first, how large its commands are, when it tries
// again and when it does the work itself (field notes: VAAI). It speaks iSCSI to a real portal, one session for each path.
import assert from 'node:assert/strict';
import { Initiator } from './initiator.ts';
import type { ScsiAnswer } from './initiator.ts';

const MIB = 1_048_576;
const GOOD = 0x00;
const CHECK_CONDITION = 0x02;
const BUSY = 0x08;
const TASK_SET_FULL = 0x28;
/** How often a command is sent again, and milliseconds between two tries when the target has too much to do. */
const TRIES = 40;
const PAUSE = 50;

export interface EsxiOptions {
  readonly host: string;
  readonly port: number;
  /** iSCSI name of the target. */
  readonly iqn: string;
  readonly lun: number;
  /** iSCSI name of the host. */
  readonly initiator: string;
  /** Sessions to the disk. */
  readonly paths?: number;
}

/** What a command is sent with. */
export interface Payload {
  readonly read?: number;
  readonly write?: Buffer;
  /** Number of the path; whichever comes next, if there is none: list identifiers are those of one nexus. */
  readonly path?: number;
}

/** What RECEIVE COPY OPERATING PARAMETERS said. */
export interface CopyLimits {
  readonly cscds: number;
  readonly segments: number;
  readonly listBytes: number;
  readonly segmentBytes: number;
  readonly types: readonly number[];
}

/** A command that was refused, or failed, for good. */
export class Refused extends Error {
  readonly answer: ScsiAnswer;
  constructor(what: string, answer: ScsiAnswer) {
    super(`${what}: status ${answer.status.toString(16)}, sense ${answer.senseCode}`);
    this.answer = answer;
  }
}

/** Blocks from LBA to LBA. */
export interface CopySegment {
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
}

/** Each has a name of its own: one of the same name would take the place of another. */
let sessions = 0;

/** A disk as one host sees it. */
export class EsxiDisk {
  readonly naa: Buffer;
  /** VENDOR IDENTIFICATION and PRODUCT IDENTIFICATION. */
  readonly model: string;
  readonly offersCopies: boolean;
  readonly blockSize: number;
  readonly blocks: number;
  /** Logical block provisioning management (LBPME). */
  readonly thin: boolean;
  /** undefined: it has no such command. */
  readonly limits: CopyLimits | undefined;
  /** How often a command was sent again. */
  retries = 0;
  readonly #paths: Path[];
  #next = 0;

  private constructor(paths: Path[], facts: Facts) {
    this.#paths = paths;
    this.naa = facts.naa;
    this.model = facts.model;
    this.offersCopies = facts.offersCopies;
    this.blockSize = facts.blockSize;
    this.blocks = facts.blocks;
    this.thin = facts.thin;
    this.limits = facts.limits;
  }

  /** Logs in, and asks what the disk is. */
  static async open(options: EsxiOptions): Promise<EsxiDisk> {
    const { host, port, iqn, lun, initiator } = options;
    const paths: Path[] = [];
    for (let n = 0; n < (options.paths ?? 1); n++) {
      const isid = `80${(++sessions).toString(16).padStart(10, '0')}`;
      const keys = { InitialR2T: 'No', ImmediateData: 'Yes', FirstBurstLength: '262144', MaxBurstLength: '1048576' };
      paths.push(new Path(await Initiator.login(host, port, { initiator, target: iqn, isid, keys }), lun));
    }
    return new EsxiDisk(paths, await factsOf(paths[0] as Path));
  }

  close(): void {
    for (const path of this.#paths) path.session.destroy();
  }

  /** Sends a command by the next path, again where ESXi does, and returns the last answer. */
  async send(cdb: Buffer, payload: Payload = {}): Promise<ScsiAnswer> {
    const path = this.#paths[(payload.path ?? this.#next++) % this.#paths.length] as Path;
    for (let tries = 1; ; tries++) {
      const answer = await path.send(cdb, payload);
      if (!mayPass(answer) || tries === TRIES) return answer;
      this.retries++;
      const full = answer.status === BUSY || answer.status === TASK_SET_FULL;
      if (full) await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  /** Throws Refused for what does not end with GOOD. */
  async must(what: string, cdb: Buffer, payload: Payload = {}): Promise<Buffer> {
    const answer = await this.send(cdb, payload);
    if (answer.status !== GOOD) throw new Refused(what, answer);
    return answer.data;
  }

  // ---- what any initiator does

  read(lba: number, blocks: number): Promise<Buffer> {
    return this.must('READ (16)', cdb16(0x88, lba, blocks), { read: blocks * this.blockSize });
  }

  async write(lba: number, data: Buffer): Promise<void> {
    await this.must('WRITE (16)', cdb16(0x8a, lba, data.length / this.blockSize), { write: data });
  }

  // ---- VAAI

  /** Hardware accelerated locking ("ATS"). false: the blocks hold something else (MISCOMPARE). Throws Refused. */
  async testAndSet(lba: number, old: Buffer, fresh: Buffer): Promise<boolean> {
    const cdb = cdb16(0x89, lba, 0);
    cdb[13] = old.length / this.blockSize;
    const answer = await this.send(cdb, { write: Buffer.concat([old, fresh]) });
    if (answer.status === GOOD) return true;
    if (answer.status === CHECK_CONDITION && answer.senseCode.toLowerCase() === '0e/1d/00') return false;
    throw new Refused('COMPARE AND WRITE', answer);
  }

  /** Block zeroing: WRITE SAME (16) with one block of zeros. */
  async zero(lba: number, blocks: number): Promise<void> {
    await this.must('WRITE SAME (16)', cdb16(0x93, lba, blocks), { write: Buffer.alloc(this.blockSize) });
  }

  /** Space reclamation: UNMAP. */
  async unmap(ranges: readonly (readonly [lba: number, blocks: number])[]): Promise<void> {
    const list = Buffer.alloc(8 + ranges.length * 16);
    list.writeUInt16BE(list.length - 2, 0);
    list.writeUInt16BE(list.length - 8, 2);
    ranges.forEach(([lba, blocks], i) => {
      list.writeBigUInt64BE(BigInt(lba), 8 + i * 16);
      list.writeUInt32BE(blocks, 16 + i * 16);
    });
    const cdb = Buffer.alloc(10);
    cdb[0] = 0x42;
    cdb.writeUInt16BE(list.length, 7);
    await this.must('UNMAP', cdb, { write: list });
  }

  /** Full copy: EXTENDED COPY (LID1) sent to this disk. Throws Refused. */
  async extendedCopy(source: EsxiDisk, target: EsxiDisk, segments: readonly CopySegment[]): Promise<void> {
    const list = copyList([source, target], segments);
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x83;
    cdb.writeUInt32BE(list.length, 10);
    await this.must('EXTENDED COPY', cdb, { write: list });
  }
}

/** One session; commands follow each other. */
class Path {
  readonly session: Initiator;
  readonly #lun: number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(session: Initiator, lun: number) {
    this.session = session;
    this.#lun = lun;
  }

  send(cdb: Buffer, payload: Payload): Promise<ScsiAnswer> {
    const sent = this.#last.then(() => this.session.scsi(cdb, { lun: this.#lun, ...payload }));
    this.#last = sent.catch(() => undefined);
    return sent;
  }
}

interface Facts {
  readonly naa: Buffer;
  readonly model: string;
  readonly offersCopies: boolean;
  readonly blockSize: number;
  readonly blocks: number;
  readonly thin: boolean;
  readonly limits: CopyLimits | undefined;
}

async function factsOf(path: Path): Promise<Facts> {
  const ask = async (cdb: readonly number[], read: number): Promise<Buffer> => {
    for (let tries = 0; ; tries++) {
      const answer = await path.send(Buffer.from(cdb), { read });
      if (answer.status === GOOD) return answer.data;
      if (tries === TRIES || !mayPass(answer)) throw new Refused(`command ${(cdb[0] ?? 0).toString(16)}h`, answer);
    }
  };
  const inquiry = await ask([0x12, 0, 0, 0, 96, 0], 96);
  const identification = await ask([0x12, 1, 0x83, 2, 0, 0], 512);
  const capacity = await ask([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
  const parameters = await ask([0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 512).catch(() => undefined);
  return {
    naa: naaOf(identification),
    model: inquiry.toString('latin1', 8, 32),
    offersCopies: (inquiry.readUInt8(5) & 0x08) !== 0,
    blocks: Number(capacity.readBigUInt64BE(0)) + 1,
    blockSize: capacity.readUInt32BE(8),
    thin: (capacity.readUInt8(14) & 0x80) !== 0,
    limits: parameters && {
      cscds: parameters.readUInt16BE(8),
      segments: parameters.readUInt16BE(10),
      listBytes: parameters.readUInt32BE(12),
      segmentBytes: parameters.readUInt32BE(16),
      types: [...parameters.subarray(44, 44 + parameters.readUInt8(43))],
    },
  };
}

/** The NAA 6 designator of the logical unit in VPD page 83h: what ESXi knows disks by. */
function naaOf(page: Buffer): Buffer {
  for (let at = 4; at + 4 <= 4 + page.readUInt16BE(2); at += 4 + page.readUInt8(at + 3)) {
    if ((page.readUInt8(at + 1) & 0x3f) !== 0x03) continue;
    const naa = page.subarray(at + 4, at + 4 + page.readUInt8(at + 3));
    if (naa.length === 16 && naa.readUInt8(0) >> 4 === 6) return Buffer.from(naa);
  }
  throw new Error('the disk has no NAA 6 designator');
}

/** Worth another try: too much to do, a unit attention, becoming ready, aborted for a reason of the target. */
function mayPass({ status, senseCode }: ScsiAnswer): boolean {
  if (status === BUSY || status === TASK_SET_FULL) return true;
  if (status !== CHECK_CONDITION) return false;
  const code = senseCode.toLowerCase();
  // 0Bh with 55h: there is not enough of something, and asking again changes nothing.
  return code.startsWith('06/') || code.startsWith('02/04/') || (code.startsWith('0b/') && !code.startsWith('0b/55/'));
}

function cdb16(opcode: number, lba: number, blocks: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  cdb.writeBigUInt64BE(BigInt(lba), 2);
  cdb.writeUInt32BE(blocks, 10);
  return cdb;
}

/** SPC-4 6.5: two E4h descriptors, and segments of type 02h from the first to the second. DC=0, CAT=0. */
export function copyList(
  ends: readonly Pick<EsxiDisk, 'naa' | 'blockSize'>[],
  segments: readonly CopySegment[],
  listId = 0,
): Buffer {
  const list = Buffer.alloc(16 + ends.length * 32 + segments.length * 28);
  list[0] = listId;
  // LIST ID USAGE 11b when there is none.
  list[1] = listId === 0 ? 0x18 : 0x10;
  list.writeUInt16BE(ends.length * 32, 2);
  list.writeUInt32BE(segments.length * 28, 8);
  ends.forEach(({ naa, blockSize }, i) => {
    const at = 16 + i * 32;
    Buffer.from([0xe4, 0, 0, 0, 0x01, 0x03, 0, naa.length]).copy(list, at);
    naa.copy(list, at + 8);
    list.writeUIntBE(blockSize, at + 29, 3);
  });
  segments.forEach(({ from, to, blocks }, i) => {
    const at = 16 + ends.length * 32 + i * 28;
    Buffer.from([0x02, 0, 0, 0x18, 0, 0, 0, 1]).copy(list, at);
    list.writeUInt16BE(blocks, at + 10);
    list.writeBigUInt64BE(BigInt(from), at + 12);
    list.writeBigUInt64BE(BigInt(to), at + 20);
  });
  return list;
}

// ---- cloning

export interface CloneOptions {
  /** DataMover.MaxHWTransferSize, bytes: 4 MiB by default, 16 MiB at most. */
  readonly step?: number;
  /** Blocks of the disks. */
  readonly from?: number;
  readonly to?: number;
  readonly blocks?: number;
  /** EXTENDED COPYs under way at once. */
  readonly depth?: number;
}

/** How a clone was made. Bytes. */
export interface CloneResult {
  offloaded: number;
  /** Read and written by the host. */
  copied: number;
  /** Why the first copy that was not carried out was not; undefined: all were. */
  refusal: string | undefined;
}

/** Why ESXi does not even ask for a copy between these disks; undefined: it does. */
export function reasonNotToAsk(source: EsxiDisk, target: EsxiDisk, step: number): string | undefined {
  if (!source.offersCopies || !target.offersCopies) return 'one of the disks does not offer copies';
  if (source.model !== target.model) return 'the disks are not of one model';
  if (source.blockSize !== target.blockSize) return 'the blocks are not of one size';
  const { limits } = target;
  if (limits === undefined) return 'no RECEIVE COPY OPERATING PARAMETERS';
  if (limits.cscds < 2 || limits.segments < 1 || limits.listBytes < 92) return 'the limits are too low';
  if (!limits.types.includes(0x02) || !limits.types.includes(0xe4)) return 'not the descriptors that are needed';
  return limits.segmentBytes < step ? 'the segments are too short' : undefined;
}

/**
 * A disk, or a range of it, to another: steps by EXTENDED COPY until one is refused; that one and all behind it are read and
 * written by the host. Throws Refused when the target has no space.
 */
export async function clone(source: EsxiDisk, target: EsxiDisk, options: CloneOptions = {}): Promise<CloneResult> {
  const { step = 4 * MIB, from = 0, to = 0, depth = 4 } = options;
  const total = options.blocks ?? source.blocks - from;
  const perStep = step / source.blockSize;
  const reason = reasonNotToAsk(source, target, step);
  const result: CloneResult = { offloaded: 0, copied: 0, refusal: reason };
  let next = 0;
  const one = async (): Promise<void> => {
    for (let at = next; at < total; at = next) {
      const blocks = Math.min(perStep, total - at);
      next = at + blocks;
      if (result.refusal === undefined && (await offload({ from: from + at, to: to + at, blocks }))) continue;
      for (let done = 0; done < blocks;) {
        const count = Math.min(MIB / source.blockSize, blocks - done);
        await target.write(to + at + done, await source.read(from + at + done, count));
        done += count;
      }
      result.copied += blocks * source.blockSize;
    }
  };
  const offload = async (segment: CopySegment): Promise<boolean> => {
    try {
      await target.extendedCopy(source, target, [segment]);
      result.offloaded += segment.blocks * source.blockSize;
      return true;
    } catch (error) {
      if (!(error instanceof Refused) || error.answer.senseCode.startsWith('07/27/')) throw error;
      result.refusal ??= error.message;
      return false;
    }
  };
  await Promise.all(Array.from({ length: depth }, one));
  return result;
}

/** A heartbeat in a block of a disk, as VMFS has one: each beat must find the one before. */
export class Heartbeat {
  beats = 0;
  /** Milliseconds of the slowest. */
  slowest = 0;
  readonly #disk: EsxiDisk;
  readonly #lba: number;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(disk: EsxiDisk, lba: number, interval = 20) {
    this.#disk = disk;
    this.#lba = lba;
    this.#running = this.#run(interval);
    this.#running.catch(() => undefined);
  }

  async #run(interval: number): Promise<void> {
    let old = await this.#disk.read(this.#lba, 1);
    while (!this.#stopped) {
      const fresh = Buffer.alloc(old.length, 0x48);
      fresh.writeUInt32BE(++this.beats, 0);
      const begun = performance.now();
      assert.ok(await this.#disk.testAndSet(this.#lba, old, fresh), 'the heartbeat was not what had been written');
      this.slowest = Math.max(this.slowest, performance.now() - begun);
      old = fresh;
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  }

  /** Rejects when a beat failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }
}
