// SCSI commands of one session. A plain READ or WRITE that can be served at once is answered right here, in the event
// that brought it, without creating an object; everything else becomes a task.
import {
  COMMAND_WINDOW,
  DATA_OUT_TIMEOUT,
  MAX_IMMEDIATE_TASKS,
  SEND_QUEUE_LOW,
  SESSION_WRITE_MEMORY,
} from '../base/limits.ts';
import { load24, load32 } from '../base/bytes-at.ts';
import { ProtocolError } from '../base/errors.ts';
import { FastKind } from '../scsi/command-table.ts';
import { plainPosition } from '../scsi/sbc/plain.ts';
import { checkCondition } from '../scsi/dispatch.ts';
import { SENSE, ScsiError } from '../scsi/sense.ts';
import type { Nexus } from '../scsi/device.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { Status } from '../scsi/task.ts';
import { ColdReads } from './cold-reads.ts';
import type { Connection } from './connection.ts';
import { IscsiTask } from './iscsi-task.ts';
import { confirmationOf } from './pending.ts';
import type { Aborting, Pending } from './pending.ts';
import { PlacedWrites } from './placed-writes.ts';
import { serialAfter, serialNext } from './serial.ts';
import type { Session } from './session.ts';
import { TaskFunction } from './task-management.ts';
import { StreamWrite } from './stream-write.ts';
import { EarlyPdus, tagOf } from './early-pdus.ts';
import { ReadGate } from './read-gate.ts';
import { Transfer } from './transfer.ts';
import type { TransferSink } from './transfer.ts';
import { lunOf } from './lun.ts';
import { BHS_LENGTH, Opcode, RESERVED_TAG, RejectReason } from './wire/constants.ts';
import { answerAbsentLun } from './absent-lun.ts';

/** Flags of a SCSI Command PDU (RFC 7143 §11.3.1). */
const FINAL = 0x80;
const READS = 0x40;
const WRITES = 0x20;
const IMMEDIATE = 0x40;
export class CommandPath {
  readonly connection: Connection;
  readonly session: Session;
  /** By initiator task tag. */
  readonly pending = new Map<number, Pending>();
  readonly transfers = new Map<number, Transfer>();
  readonly #luns: readonly (LunNexus | undefined)[];
  readonly nexus: Nexus;
  readonly #placed: PlacedWrites;
  readonly #cold: ColdReads;
  readonly reads: ReadGate;
  /** Bytes held for write data that has not come yet, see tryAwait. */
  awaited = 0;
  /** Carries out a PDU other than a command that came before its turn. */
  deferred: (pdu: Buffer, dataAt: number, dataLength: number) => void = () => undefined;
  /** Answers the PDU at `at` with a Reject. */
  reject: (bytes: Buffer, at: number, reason: number) => void = () => undefined;
  /** Of a closed path: resolves when other nodes have ended its tasks; undefined: they had none. */
  ending: Promise<void> | undefined;
  readonly #early: EarlyPdus;
  readonly #firstBurst: number;
  readonly #immediateData: boolean;
  /** Reads and writes answered in this batch on #batchLu, for the latency histograms. */
  #batchLu: LogicalUnit | undefined;
  #batchReads = 0;
  #batchWrites = 0;
  #batchStart = 0;
  #closed = false;

  constructor(connection: Connection, session: Session, nexus: Nexus) {
    this.connection = connection;
    this.session = session;
    this.nexus = nexus;
    nexus.abortUnstarted = (each, tell) => {
      const { chosen } = this.abort((pending) => pending.nexus === each, tell);
      return Promise.resolve(chosen.length > 0);
    };
    nexus.end = (reason) => {
      connection.terminate(reason);
    };
    this.#luns = nexus.luns;
    this.#placed = new PlacedWrites(this);
    this.#cold = new ColdReads(this);
    this.#early = new EarlyPdus(connection.context.memory);
    this.reads = new ReadGate(connection.send, connection.context.answers, connection.context.courtesy);
    this.#firstBurst = session.parameters.firstBurst;
    this.#immediateData = session.parameters.immediateData;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** A SCSI Command PDU lies at `at`, its immediate data at `dataAt` (RFC 7143 §11.3). */
  command(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const session = this.session;
    if (((bytes[at] as number) & IMMEDIATE) === 0) {
      const cmdSN = load32(bytes, at + 24);
      if (cmdSN !== session.expCmdSN || session.full) {
        this.#outOfOrder(cmdSN, bytes, at, dataAt, dataLength);
        return;
      }
      session.expCmdSN = serialNext(cmdSN);
    } else if (session.active >= COMMAND_WINDOW + MAX_IMMEDIATE_TASKS) {
      this.connection.answers.scsiResponse(load32(bytes, at + 16), Status.taskSetFull, 0, undefined, 0);
      return;
    }
    this.#execute(bytes, at, dataAt, dataLength);
    if (this.#early.size > 0) this.catchUp();
  }

  /** A Data-Out PDU (RFC 7143 §11.7). Data for tasks that are gone (aborted, refused) is dropped. */
  dataOut(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const transfer = this.transfers.get(load32(bytes, at + 16));
    if (transfer === undefined) return;
    try {
      transfer.dataOut(bytes, at, dataAt, dataLength);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.connection.log.warn(
        { reason: error.message },
        'wrong write data: the command fails; update or check this initiator',
      );
      this.failTransfer(load32(bytes, at + 16), new ScsiError(SENSE.dataPhaseError));
    }
  }

  /**
   * The data of this task is damaged or out of order. Without error recovery (ErrorRecoveryLevel 0) the task ends with
   * CHECK CONDITION (RFC 7143 §7.8, §7.9); what still comes for it is dropped. False: there is no such transfer.
   */
  failTransfer(itt: number, error: Error): boolean {
    const transfer = this.transfers.get(itt);
    if (transfer === undefined) return false;
    this.transfers.delete(itt);
    transfer.fail(error);
    this.connection.planFlush();
    return true;
  }

  /** Ends the writes whose data has not come for too long; what still comes for them is dropped. */
  expire(now: number): void {
    for (const [itt, transfer] of this.transfers) {
      if (now - transfer.heardAt <= DATA_OUT_TIMEOUT) continue;
      this.connection.log.warn({ tag: itt }, 'an initiator has not sent the data of its write: the command fails');
      this.failTransfer(itt, new ScsiError(SENSE.initiatorResponseTimeout));
    }
  }

  /**
   * A non-immediate PDU other than a command takes its number too (RFC 7143 §4.2.2.1). False: it is not its turn; it is
   * kept, or outside the window and ignored.
   */
  takeNumber(bytes: Buffer, at: number, dataAt: number, dataLength: number): boolean {
    const cmdSN = load32(bytes, at + 24);
    if (cmdSN !== this.session.expCmdSN || this.session.full) {
      this.#outOfOrder(cmdSN, bytes, at, dataAt, dataLength);
      return false;
    }
    this.session.expCmdSN = serialNext(cmdSN);
    return true;
  }

  /**
   * Takes memory for `bytes` of write data that has not come yet; whoever took it lowers `awaited` and gives it back.
   * False: an initiator that announces data and never sends it must not keep the memory of all others.
   */
  tryAwait(bytes: number): boolean {
    if (this.awaited + bytes > SESSION_WRITE_MEMORY || !this.connection.context.memory.tryGather(bytes)) return false;
    this.awaited += bytes;
    return true;
  }

  beginBatch(now: number): void {
    this.#batchStart = now;
  }

  /** The answers of the batch have been handed to the network. */
  endBatch(): void {
    const lu = this.#batchLu;
    if (lu === undefined) return;
    const micros = (this.connection.context.world.clock.now() - this.#batchStart) * 1000;
    const { counters } = this.session;
    if (this.#batchReads > 0) {
      lu.counters.readLatency.add(this.#batchReads, micros);
      counters.readLatency.add(this.#batchReads, micros);
    }
    if (this.#batchWrites > 0) {
      lu.counters.writeLatency.add(this.#batchWrites, micros);
      counters.writeLatency.add(this.#batchWrites, micros);
    }
    this.reads.served(this.#batchReads + this.#batchWrites, this.#batchStart);
    this.#batchReads = this.#batchWrites = 0;
    this.#batchLu = undefined;
  }

  /** Aborts what `which` picks; resolves when the picked ones have settled. */
  abort(which: (each: Pending) => boolean, tell: boolean): Aborting {
    const chosen = [...this.pending.values()].filter(which);
    const settled = Promise.all(chosen.map((each) => each.settled)).then(() => undefined);
    for (const each of chosen) {
      this.transfers.delete(each.itt);
      each.abort(tell);
    }
    return { chosen, settled, confirmed: confirmationOf(chosen) };
  }

  /**
   * The abort of these is about to be answered, and the initiator may use their tags anew (RFC 7143 §11.5.1); what still
   * runs of them ends later and answers nothing.
   */
  abandon(chosen: readonly Pending[]): void {
    for (const each of chosen) {
      if (!each.aborted || this.pending.get(each.itt) !== each) continue;
      this.#remove(each.itt);
      each.abandoned = true;
    }
  }

  /** Aborts commands to this LUN, or the one with this tag, that wait for their turn before `cmdSN`; says how many. */
  abortEarly(nexus: LunNexus, cmdSN: number, tag?: number): number {
    return this.#early.drop(cmdSN, (pdu) => {
      if (((pdu[0] as number) & 0x3f) !== Opcode.scsiCommand || (tag !== undefined && tagOf(pdu) !== tag)) return false;
      const lun = lunOf(pdu, 8);
      return lun !== undefined && this.#luns[lun] === nexus;
    });
  }

  /** RFC 7143 §11.5.1: a command that was aborted before it came counts as received. False: its number is none such. */
  abortUnseen(refCmdSN: number, cmdSN: number): boolean {
    if (!this.session.inWindow(refCmdSN) || !serialAfter(cmdSN, refCmdSN)) return false;
    if (!this.#early.has(refCmdSN)) this.#early.skip(refCmdSN);
    return true;
  }

  /** RFC 7143 §11.5.1: after a TARGET COLD RESET all connections to the target are closed. */
  afterTaskManagement(request: Buffer): void {
    if (((request[1] as number) & 0x7f) !== TaskFunction.targetColdReset) return;
    for (const other of this.connection.context.connections) {
      if (other.session?.nexus?.device === this.nexus.device) other.end();
    }
  }

  /** The connection is gone: nothing is answered any more, what runs may finish. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const pending = [...this.pending.values()];
    for (const each of pending) each.abort(false);
    this.ending = confirmationOf(pending);
    this.transfers.clear();
    this.#early.clear();
    this.reads.close();
  }

  /** A pending entry is over. */
  forget(entry: Pending): void {
    this.session.active--;
    if (!entry.abandoned) this.#remove(entry.itt);
  }

  #remove(itt: number): void {
    this.pending.delete(itt);
    this.transfers.delete(itt);
  }

  /**
   * Something ended without an answer. If that opens a closed window, nothing but a NOP-In can tell (RFC 7143 §11.19: no
   * tags, so that none is sent back).
   */
  endedSilently(): void {
    if (this.#closed || !this.session.full) return;
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.nopIn;
    header[1] = FINAL;
    header.writeUInt32BE(RESERVED_TAG, 16);
    header.writeUInt32BE(RESERVED_TAG, 20);
    this.connection.answers.other(header, Buffer.alloc(0), false);
    this.connection.planFlush();
  }

  /** RFC 7143 §11.2.1.8: a tag in use is not to be used again; two tasks of one name could not be told apart. */
  checkTag(itt: number): void {
    if (this.pending.has(itt)) throw new ProtocolError(`task tag ${itt.toString(16)} is still in use`);
  }

  // ---- the fast path

  #execute(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const session = this.session;
    session.counters.commands++;
    const nexus = bytes[at + 8] === 0 && bytes[at + 4] === 0 ? this.#luns[bytes[at + 9] as number] : undefined;
    if (nexus !== undefined) {
      const opcode = bytes[at + 32] as number;
      const kind = nexus.lu.commands.fastKind[opcode] as number;
      if (kind !== FastKind.none) {
        const flags = bytes[at + 1] as number;
        if (kind === FastKind.read) {
          if ((flags & 0xe6) === (FINAL | READS) && nexus.readOk && this.#read(nexus, bytes, at)) return;
        } else if ((flags & 0x66) === WRITES && nexus.writeOk && this.#write(nexus, bytes, at, dataAt, dataLength)) {
          return;
        }
      }
    }
    this.#slow(bytes, at, dataAt, dataLength);
  }

  #read(nexus: LunNexus, bytes: Buffer, at: number): boolean {
    const lu = nexus.lu;
    const length = load32(bytes, at + 20);
    const position = plainPosition(lu, bytes, at + 32, length);
    if (position < 0) return false;
    if (!lu.locks.idle && lu.locks.blocks(position, length, false)) return false;
    const answers = this.connection.answers;
    const itt = load32(bytes, at + 16);
    if (itt === RESERVED_TAG) return false;
    if (length > SEND_QUEUE_LOW && !this.#roomFor(length)) return false;
    const volume = lu.volume;
    if (answers.dataInGathered(itt, volume, position, length)) {
      this.#countRead(lu, length);
      return true;
    }
    if (!answers.sendsViews(length) || !answers.dataInViews(itt, volume, position, length)) {
      if (!answers.fits(length)) return false;
      if (!answers.dataInFrom(itt, volume, position, length)) {
        return this.#cold.begin(itt, nexus, position, length, this.#batchStart);
      }
    }
    this.#countRead(lu, length);
    return true;
  }

  /** A large read takes memory of all connections: without room for it, it waits at the ReadGate. */
  #roomFor(length: number): boolean {
    const { send, context } = this.connection;
    return context.answers.admits(send.waiting, length);
  }

  #write(nexus: LunNexus, bytes: Buffer, at: number, dataAt: number, dataLength: number): boolean {
    const lu = nexus.lu;
    const length = load32(bytes, at + 20);
    const position = plainPosition(lu, bytes, at + 32, length);
    const itt = load32(bytes, at + 16);
    if (position < 0 || itt === RESERVED_TAG) return false;
    if (dataLength !== length || !this.#immediateData || dataLength > this.#firstBurst) {
      return this.#streamWrite(nexus, position, length, bytes, at, dataAt, dataLength);
    }
    if (!lu.locks.idle && lu.locks.blocks(position, length, true)) return false;
    let outcome: number;
    try {
      outcome = lu.volume.writeNow(position, bytes, dataAt, length);
    } catch (error) {
      const { status, sense } = checkCondition(nexus, error);
      lu.counters.errors++;
      this.connection.answers.scsiResponse(itt, status, 0, sense, 0);
      return true;
    }
    if (outcome === 0) return false;
    if (outcome === 1) {
      this.#countWrite(lu, length);
      this.connection.answers.scsiResponse(itt, 0, 0, undefined, 0);
    } else {
      this.#placed.add(itt, nexus, length, this.#batchStart);
    }
    return true;
  }

  #countRead(lu: LogicalUnit, length: number): void {
    if (lu !== this.#batchLu) this.#switchLu(lu);
    this.#batchReads++;
    lu.counters.reads++;
    lu.counters.readBytes += length;
    this.session.counters.readBytes += length;
  }

  #countWrite(lu: LogicalUnit, length: number): void {
    if (lu !== this.#batchLu) this.#switchLu(lu);
    this.#batchWrites++;
    lu.counters.writes++;
    lu.counters.writtenBytes += length;
    this.session.counters.writtenBytes += length;
  }

  #switchLu(lu: LogicalUnit): void {
    this.endBatch();
    this.#batchLu = lu;
  }

  // ---- everything else

  /** A plain WRITE whose data comes in several PDUs: written as it arrives. False: not for this way. */
  #streamWrite(
    nexus: LunNexus,
    position: number,
    length: number,
    bytes: Buffer,
    at: number,
    dataAt: number,
    dataLength: number,
  ): boolean {
    const itt = load32(bytes, at + 16);
    this.checkTag(itt);
    const write = new StreamWrite(this, nexus, itt, position, length, this.#batchStart);
    if (!write.begin()) return false;
    this.admit(write);
    this.#collect(bytes, at, dataAt, dataLength, length, write);
    return true;
  }

  #slow(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const itt = load32(bytes, at + 16);
    if (itt === RESERVED_TAG) {
      this.#rejectTag(bytes, at);
      return;
    }
    this.checkTag(itt);
    const lun = lunOf(bytes, at + 8);
    const nexus = lun === undefined ? undefined : this.#luns[lun];
    if (nexus === undefined) {
      answerAbsentLun(this, this.nexus, bytes, at);
      return;
    }
    const task = IscsiTask.create(this, nexus, bytes, at, this.#batchStart);
    if (task === undefined) return;
    this.admit(task);
    const flags = bytes[at + 1] as number;
    if ((flags & WRITES) !== 0 && task.collects > 0) this.#collect(bytes, at, dataAt, dataLength, task.collects, task);
    else task.complete();
  }

  /**
   * RFC 7143 §11.2.1.8: this tag names no task, so nothing could be answered to it. The number of a command that is
   * rejected before it becomes a task does not count as received (§11.17.1).
   */
  #rejectTag(bytes: Buffer, at: number): void {
    if (((bytes[at] as number) & IMMEDIATE) === 0) this.session.expCmdSN = load32(bytes, at + 24);
    this.reject(bytes, at, RejectReason.invalidPduField);
  }

  /** Takes up something that is answered later. */
  admit(pending: Pending): void {
    this.pending.set(pending.itt, pending);
    this.session.active++;
  }

  /** Starts to gather `wanted` bytes of data-out for `sink`, beginning with what came in the command PDU. */
  #collect(bytes: Buffer, at: number, dataAt: number, dataLength: number, wanted: number, sink: TransferSink): void {
    const final = ((bytes[at + 1] as number) & FINAL) !== 0;
    const itt = load32(bytes, at + 16);
    const transfer = new Transfer(
      this,
      Buffer.from(bytes.subarray(at + 8, at + 16)),
      itt,
      load32(bytes, at + 20),
      wanted,
      sink,
    );
    this.transfers.set(itt, transfer);
    transfer.start(final, bytes, dataAt, dataLength);
  }

  /** RFC 7143 §4.2.2.1: outside the window ignored; inside, kept until the numbers before it have come. */
  #outOfOrder(cmdSN: number, bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    if (!this.session.inWindow(cmdSN) || this.#early.has(cmdSN)) return;
    this.#early.keep(cmdSN, bytes, at, dataAt, dataLength);
  }

  /** Carries out what was kept and whose turn has come. */
  catchUp(): void {
    while (!this.connection.ended) {
      const cmdSN = this.session.expCmdSN;
      const copy = this.#early.take(cmdSN);
      if (copy === undefined) return;
      this.session.expCmdSN = serialNext(cmdSN);
      if (copy.length === 0) continue;
      const headers = 48 + (copy[4] as number) * 4;
      if (((copy[0] as number) & 0x3f) === Opcode.scsiCommand) this.#execute(copy, 0, headers, load24(copy, 5));
      else this.deferred(copy, headers, load24(copy, 5));
    }
  }
}
