// The messages between a node that forwards SCSI commands and the one that carries them out. Fixed fields, most significant
// byte first, as in CDBs. Whoever reads one that is too short or names too much throws ProtocolError: the peer has a defect.
import { MAX_FORWARDED_CDB, MAX_FORWARDED_NAME, MAX_LUNS, MAX_SENSE } from '../../base/limits.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { InitiatorPort, TargetPort } from '../lun-nexus.ts';
import type { Status } from '../task.ts';

/** Message types, within what the link leaves to us. */
export const ForwardType = {
  /** A nexus of the sender: commands of it follow. */
  open: 0x40,
  execute: 0x41,
  abort: 0x42,
  /** CLEAR TASK SET or LOGICAL UNIT RESET, asked for by a nexus of the sender. */
  manage: 0x43,
  /** The nexus is gone. */
  close: 0x44,
  /** From the owner: ends what the forwarding node has not sent yet. */
  endUnstarted: 0x45,
  /** What does your clock say? */
  clock: 0x46,
} as const;

export const Outcome = {
  done: 0,
  /** The volume is not served by this node, or the command came too late: it has not been carried out and will not be. */
  elsewhere: 1,
  /** Ended by task management of somebody else, silently or with TASK ABORTED. */
  ended: 2,
  endedTold: 3,
  /** There is no nexus of this number, or no longer: nothing has been carried out. */
  nexusUnknown: 4,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** A nexus as the owner gets to know it. */
export interface NexusImage {
  /** Its number, never used again by the forwarding node: the generation of the nexus. */
  readonly number: number;
  /** Id of the logical unit (32 hexadecimal digits). */
  readonly unit: string;
  readonly lun: number;
  readonly readOnly: boolean;
  /** The initiator connects from the forwarding node itself. */
  readonly local: boolean;
  readonly initiator: InitiatorPort;
  readonly target: TargetPort;
}

/** A command as the owner gets it; its data-out comes behind. */
export interface TaskImage {
  /** Of the nexus; and one of the task, which is unique in the nexus. */
  readonly number: number;
  readonly task: number;
  readonly attribute: number;
  /** Bytes the initiator announced, and expects. */
  readonly expectedDataOut: number;
  readonly expectedDataIn: number;
  /** Clock of the owner, milliseconds, after which it does not begin any more. */
  readonly deadline: number;
  readonly cdb: Buffer;
}

/** What a command ended with; data-in comes behind. */
export interface AnswerImage {
  readonly outcome: Outcome;
  /** Clock of the owner, milliseconds. */
  readonly clock: number;
  readonly status: Status;
  readonly sense: Buffer | undefined;
}

/** Reads fields one after the other. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new ProtocolError('a forwarded message ends too early');
    this.#at += length;
    return at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  bytes(most: number): Buffer {
    const length = this.u16();
    if (length > most) throw new ProtocolError('a field of a forwarded message is too long');
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  text(): string {
    return this.bytes(MAX_FORWARDED_NAME).toString('utf8');
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new ProtocolError('a forwarded message is too long');
  }
}

const FLAG_READ_ONLY = 1;
const FLAG_LOCAL = 2;

export function encodeNexus(nexus: NexusImage): Buffer {
  const texts = [nexus.unit, nexus.target.name, nexus.initiator.name, nexus.initiator.isid].map((each) =>
    Buffer.from(each),
  );
  const out = Buffer.alloc(12 + texts.reduce((sum, each) => sum + 2 + each.length, 0));
  out.writeUInt32BE(nexus.number, 0);
  out[4] = (nexus.readOnly ? FLAG_READ_ONLY : 0) | (nexus.local ? FLAG_LOCAL : 0);
  out[5] = nexus.lun;
  out.writeUInt16BE(nexus.target.relativeId, 6);
  out.writeUInt16BE(nexus.target.portalGroup, 8);
  out.writeUInt16BE(nexus.target.group ?? 0, 10);
  let at = 12;
  for (const each of texts) {
    at = out.writeUInt16BE(each.length, at);
    at += each.copy(out, at);
  }
  return out;
}

export function decodeNexus(header: Buffer): NexusImage {
  const from = new Reader(header);
  const number = from.u32();
  const flags = from.u8();
  const lun = from.u8();
  const relativeId = from.u16();
  const portalGroup = from.u16();
  const group = from.u16();
  const unit = from.text();
  const name = from.text();
  const initiator = { name: from.text(), isid: from.text() };
  from.end();
  if (
    lun >= MAX_LUNS ||
    relativeId === 0 ||
    !/^[0-9a-f]{25,32}$/.test(unit) ||
    !/^[0-9a-f]{12}$/.test(initiator.isid)
  ) {
    throw new ProtocolError('a forwarded nexus that cannot be');
  }
  const target = { name, portalGroup, relativeId, ...(group === 0 ? {} : { group }) };
  const readOnly = (flags & FLAG_READ_ONLY) !== 0;
  return { number, unit, lun, readOnly, local: (flags & FLAG_LOCAL) !== 0, initiator, target };
}

/** Bytes of an encoded task before its CDB. */
const TASK_FIXED = 27;

export function encodeTask(task: TaskImage): Buffer {
  const out = Buffer.allocUnsafe(TASK_FIXED + task.cdb.length);
  out.writeUInt32BE(task.number, 0);
  out.writeUInt32BE(task.task, 4);
  out[8] = task.attribute;
  out.writeUInt32BE(task.expectedDataOut, 9);
  out.writeUInt32BE(task.expectedDataIn, 13);
  out.writeDoubleBE(task.deadline, 17);
  out.writeUInt16BE(task.cdb.length, 25);
  task.cdb.copy(out, TASK_FIXED);
  return out;
}

export function decodeTask(header: Buffer): TaskImage {
  const from = new Reader(header);
  const number = from.u32();
  const task = from.u32();
  const attribute = from.u8();
  const expectedDataOut = from.u32();
  const expectedDataIn = from.u32();
  const deadline = from.f64();
  // The link may use its memory again while the command waits for its turn.
  const cdb = Buffer.from(from.bytes(MAX_FORWARDED_CDB));
  from.end();
  if (cdb.length < 16 || attribute > 7 || Number.isNaN(deadline))
    throw new ProtocolError('a forwarded command that cannot be');
  return { number, task, attribute, expectedDataOut, expectedDataIn, deadline, cdb };
}

/** Bytes of an encoded answer before its sense data. */
const ANSWER_FIXED = 12;

export function encodeAnswer(answer: AnswerImage): Buffer {
  const sense = answer.sense?.length ?? 0;
  const out = Buffer.allocUnsafe(ANSWER_FIXED + sense);
  out[0] = answer.outcome;
  out[1] = answer.status;
  out.writeDoubleBE(answer.clock, 2);
  out.writeUInt16BE(sense, 10);
  answer.sense?.copy(out, ANSWER_FIXED);
  return out;
}

const OUTCOMES: ReadonlySet<number> = new Set(Object.values(Outcome));

export function decodeAnswer(header: Buffer): AnswerImage {
  const from = new Reader(header);
  const outcome = from.u8();
  const status = from.u8();
  const clock = from.f64();
  const sense = from.bytes(MAX_SENSE);
  from.end();
  if (!OUTCOMES.has(outcome)) throw new ProtocolError('an answer that cannot be');
  return {
    outcome: outcome as Outcome,
    clock,
    status: status as Status,
    sense: sense.length === 0 ? undefined : Buffer.from(sense),
  };
}

/** Two numbers: of a nexus, and of its task or the function asked for. */
export function encodePair(first: number, second: number): Buffer {
  const out = Buffer.allocUnsafe(8);
  out.writeUInt32BE(first, 0);
  out.writeUInt32BE(second, 4);
  return out;
}

export function decodePair(header: Buffer): readonly [number, number] {
  const from = new Reader(header);
  const pair = [from.u32(), from.u32()] as const;
  from.end();
  return pair;
}
