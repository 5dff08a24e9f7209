// Copy operations of a logical unit: those under way, and those that are over and can still be asked about (SPC-4 5.17.4.3).
// Each is known by its list identifier to the I_T nexus that began it, and to nobody else.
import { store32 } from '../base/bytes-at.ts';
import { MAX_COPY_OPERATIONS } from '../base/limits.ts';
import type { LunNexus } from './lun-nexus.ts';
import { SENSE, ScsiError } from './sense.ts';
import { Status } from './task.ts';

/** COPY OPERATION STATUS (SPC-4 6.24). */
export const CopyStatus = {
  done: 0x01,
  failed: 0x02,
  /** Only a part of it: TRANSFER COUNT says how much (SBC-4 5.25.2, 5.25.3). */
  partial: 0x03,
  foreground: 0x11,
  background: 0x12,
  terminated: 0x60,
} as const;
export type CopyStatus = (typeof CopyStatus)[keyof typeof CopyStatus];

/** TRANSFER COUNT UNITS (SPC-4 table 251): blocks of the copy destination, and kibibytes. */
export const COUNT_IN_BLOCKS = 0xf1;
export const COUNT_IN_KIB = 0x01;

export class CopyOperation {
  readonly nexus: LunNexus;
  readonly listId: number;
  /** Service action of THIRD-PARTY COPY OUT that began it. */
  readonly action: number;
  status: CopyStatus;
  /** OPERATION COUNTER: steps done. */
  counter = 0;
  /** TRANSFER COUNT: what has been transferred in order, without a gap. */
  transferred = 0;
  /** TRANSFER COUNT UNITS (SPC-4 table 251). */
  units = COUNT_IN_BLOCKS;
  /** SEGMENTS PROCESSED: segment descriptors, with the one that is being processed (SPC-4 6.24). */
  segments = 0;
  /** SCSI status, and sense data in fixed format, with which it ended. */
  completion = 0;
  sense: Buffer = Buffer.alloc(0);
  /** What it made. */
  token: Buffer | undefined;
  /** It is to end as soon as possible. */
  aborted = false;
  /** What RECEIVE COPY STATUS (LID1) tells of an operation that is over has been told (SPC-4 6.25). */
  statusTold = false;
  /** The same for the failed segment details (SPC-4 6.23). */
  detailsTold = false;
  /** Resolves when it is over. */
  readonly over: Promise<void>;
  #finish: () => void = () => undefined;

  constructor(nexus: LunNexus, listId: number, action: number, background: boolean) {
    this.nexus = nexus;
    this.listId = listId;
    this.action = action;
    this.status = background ? CopyStatus.background : CopyStatus.foreground;
    this.over = new Promise((resolve) => (this.#finish = resolve));
  }

  get isOver(): boolean {
    return this.status !== CopyStatus.foreground && this.status !== CopyStatus.background;
  }

  end(status: CopyStatus): void {
    this.status = status;
    this.#finish();
  }
}

/** ESTIMATED STATUS UPDATE DELAY, milliseconds, of what is under way; and of what is over (SPC-4 6.24). */
const DELAY = 100;
const NOTHING_TO_WAIT_FOR = 0xffff_fffe;

/**
 * What 84h/05h, 84h/06h and 84h/07h have in common (SPC-4 6.24, 6.20, 6.26); AVAILABLE DATA is left 0. `padded`: the field of
 * the sense data is a multiple of four bytes, as SPC-4 wants it; Windows takes no more than 18 of them with a token.
 */
export function stateOf(operation: CopyOperation, padded: boolean): Buffer {
  const { action, status, counter, transferred, units, segments, isOver } = operation;
  // SPC-4 6.24: a terminated operation is told as one, without sense data.
  const terminated = status === CopyStatus.terminated;
  const completion = terminated ? Status.taskAborted : operation.completion;
  const sense = terminated ? Buffer.alloc(0) : operation.sense;
  const head = Buffer.alloc(32);
  head[4] = action;
  head[5] = status;
  head.writeUInt16BE(counter & 0xffff, 6);
  store32(head, 8, isOver ? NOTHING_TO_WAIT_FOR : DELAY);
  head[12] = completion;
  const padding = Buffer.alloc(padded ? (4 - (sense.length % 4)) % 4 : 0);
  head[13] = sense.length + padding.length;
  head[14] = sense.length;
  head[15] = units;
  head.writeBigUInt64BE(BigInt(transferred), 16);
  head.writeUInt16BE(segments, 24);
  return Buffer.concat([head, sense, padding]);
}

export class CopyOperations {
  /** In the order in which they began. */
  readonly #all = new Set<CopyOperation>();

  /**
   * A new operation; what is known of an earlier one with this list identifier is forgotten. Throws 05/00/16 when that one is
   * still under way, 0B/55/03 when too many are.
   */
  begin(nexus: LunNexus, listId: number, action: number, background: boolean): CopyOperation {
    const earlier = this.find(nexus, listId);
    if (earlier?.isOver === false) throw new ScsiError(SENSE.operationInProgress);
    if (earlier !== undefined) this.#all.delete(earlier);
    for (const old of this.#all) {
      if (this.#all.size < MAX_COPY_OPERATIONS) break;
      if (old.isOver) this.#all.delete(old);
    }
    if (this.#all.size >= MAX_COPY_OPERATIONS) throw new ScsiError(SENSE.insufficientCopyResources);
    const operation = new CopyOperation(nexus, listId, action, background);
    this.#all.add(operation);
    return operation;
  }

  find(nexus: LunNexus, listId: number): CopyOperation | undefined {
    for (const each of this.#all) if (each.nexus === nexus && each.listId === listId) return each;
    return undefined;
  }

  /** Nobody will ask about it any more. */
  drop(operation: CopyOperation): void {
    this.#all.delete(operation);
  }

  /** LOGICAL UNIT RESET and the like: all are to end, and what is kept of those that are over goes (SPC-4 6.23 to 6.26). */
  abortAll(): void {
    for (const each of this.#all) {
      each.aborted = true;
      if (each.isOver) this.#all.delete(each);
    }
  }

  /** The nexus is gone, and what it began with it. */
  forget(nexus: LunNexus): void {
    for (const each of this.#all) {
      if (each.nexus !== nexus) continue;
      each.aborted = true;
      this.#all.delete(each);
    }
  }
}
