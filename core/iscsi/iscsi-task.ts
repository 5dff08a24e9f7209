// A SCSI command that is not served on the fast path: it gathers its data, runs through dispatch, and answers.
import { MAX_TRANSFER } from '../base/limits.ts';
import { load32 } from '../base/bytes-at.ts';
import { foreground } from '../base/pace.ts';
import { checkCondition, commandOf, execute } from '../scsi/dispatch.ts';
import type { DispatchTask, HeldRange } from '../scsi/dispatch.ts';
import type { CommandSpec } from '../scsi/command-spec.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { noteFull } from '../scsi/offload-meter.ts';
import { Status } from '../scsi/task.ts';
import type { TaskResult } from '../scsi/task.ts';
import type { CommandPath } from './command-path.ts';
import type { Pending } from './pending.ts';
import type { TransferSink } from './transfer.ts';

const READS = 0x40;
const WRITES = 0x20;
const NO_DATA = Buffer.alloc(0);

/** What the command PDU said about the data. */
interface Expectation {
  /** Bytes the initiator expects to receive, and to send. */
  readonly dataIn: number;
  readonly dataOut: number;
  /** Data-out bytes by the CDB. */
  readonly byCdb: number;
}

export class IscsiTask implements DispatchTask, Pending, TransferSink {
  readonly itt: number;
  readonly nexus: LunNexus;
  readonly lu: LogicalUnit;
  readonly spec: CommandSpec;
  readonly cdb: Buffer;
  readonly attribute: number;
  readonly expectedDataOut: number;
  /** Bytes of data-out to gather before the command runs. */
  readonly collects: number;
  readonly settled: Promise<void>;
  data: Buffer = NO_DATA;
  aborted = false;
  abandoned = false;
  held: HeldRange | undefined;
  elsewhere: { abort(): Promise<void> } | undefined;
  confirmed: Promise<void> | undefined;
  #tell = false;
  #over = false;
  /** The data has been handed to the answers already; bytes. */
  #sent = 0;
  #settle: () => void = () => undefined;
  readonly #path: CommandPath;
  readonly #expectation: Expectation;
  /** The data goes out, by the CDB or by the initiator's flag. */
  readonly #writes: boolean;
  readonly #startedAt: number;
  /** Bytes of DataMemory this task holds beside what it `collects`. */
  #memory = 0;

  private constructor(
    path: CommandPath,
    nexus: LunNexus,
    spec: CommandSpec,
    bytes: Buffer,
    at: number,
    byCdb: number,
    startedAt: number,
  ) {
    const flags = bytes[at + 1] as number;
    const edtl = load32(bytes, at + 20);
    this.#path = path;
    this.nexus = nexus;
    this.lu = nexus.lu;
    this.spec = spec;
    this.itt = load32(bytes, at + 16);
    this.attribute = flags & 0x07;
    this.cdb = Buffer.from(bytes.subarray(at + 32, at + 48));
    const dataOut = (flags & WRITES) === 0 ? 0 : edtl;
    this.#expectation = { dataIn: (flags & READS) === 0 ? 0 : edtl, dataOut, byCdb };
    this.#writes = byCdb > 0 || (flags & WRITES) !== 0;
    this.expectedDataOut = dataOut;
    this.collects = Math.min(byCdb, dataOut);
    this.#startedAt = startedAt;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /**
   * A task for the command at `at`, with memory for its data-out. undefined: it has been answered already (unknown
   * command, too much data, no memory).
   */
  static create(
    path: CommandPath,
    nexus: LunNexus,
    bytes: Buffer,
    at: number,
    startedAt: number,
  ): IscsiTask | undefined {
    const answers = path.connection.answers;
    const itt = load32(bytes, at + 16);
    const lu = nexus.lu;
    if (lu.role.here) lu.counters.others++;
    const cdb = bytes.subarray(at + 32, at + 48);
    let task: IscsiTask;
    try {
      const { spec, byCdb } = commandOf(nexus, cdb);
      task = new IscsiTask(path, nexus, spec, bytes, at, byCdb, startedAt);
    } catch (error) {
      const { status, sense } = checkCondition(nexus, error);
      answers.scsiResponse(itt, status, underflow(bytes, at), sense, 0);
      return undefined;
    }
    const { collects } = task;
    if (collects > MAX_TRANSFER || !path.tryAwait(collects)) {
      noteFull(nexus, cdb);
      answers.scsiResponse(itt, Status.taskSetFull, underflow(bytes, at), undefined, 0);
      return undefined;
    }
    // Every byte is stored before the command sees it: Transfer delivers all of `collects`, in order.
    if (task.collects > 0) task.data = Buffer.allocUnsafe(task.collects);
    return task;
  }

  deliver(offset: number, bytes: Buffer, at: number, length: number): void {
    bytes.copy(this.data, offset, at, at + length);
  }

  /** All data-out is there (or there is none): the command runs. */
  complete(): void {
    void this.#run();
  }

  fail(error: Error): void {
    this.lu.counters.errors++;
    this.#finish(checkCondition(this.nexus, error));
  }

  abort(tell: boolean): void {
    if (this.aborted) return;
    this.aborted = true;
    this.#tell = tell;
    this.lu.counters.aborted++;
    // What runs may take effect as late as it ends: whoever wants these blocks has to wait until then.
    this.held?.makeExclusive();
    this.confirmed = this.elsewhere?.abort();
    // A task that still waits for its data will never run: it is over now.
    if (!this.#running) this.#finish({ status: Status.taskAborted });
  }

  get expectedDataIn(): number {
    return this.#expectation.dataIn;
  }

  #running = false;

  async #run(): Promise<void> {
    this.#running = true;
    const memory = this.#path.connection.context.memory;
    const dataIn = Math.min(this.#expectation.dataIn, MAX_TRANSFER);
    // A READ out of memory has been answered without a task; one that another node carries out costs no disk of ours.
    const fromDisk = this.spec.fast === 'read' && this.lu.role.here;
    if (dataIn > 0) {
      const gate = this.#path.reads.enter(dataIn, fromDisk);
      if (gate !== undefined) await gate;
      const turn = memory.take(dataIn);
      if (turn !== undefined) await turn;
      this.#memory = dataIn;
    }
    const result = await execute(this);
    this.#finish(result);
    if (dataIn > 0) this.#path.reads.leave(dataIn, fromDisk);
  }

  sendNow(position: number, length: number): boolean {
    const path = this.#path;
    const { dataIn } = this.#expectation;
    if (this.aborted || this.#over || path.closed || this.#writes || dataIn !== length) return false;
    const { answers } = path.connection;
    const { volume } = this.lu;
    // The window that the answer tells does not count this command any more; forget() counts it off for good.
    path.session.active--;
    const sent =
      (answers.sendsViews(length) && answers.dataInViews(this.itt, volume, position, length)) ||
      (answers.fits(length) && answers.dataInFrom(this.itt, volume, position, length));
    path.session.active++;
    if (sent) this.#sent = length;
    return sent;
  }

  #finish(result: TaskResult): void {
    const path = this.#path;
    if (this.#over) return;
    this.#over = true;
    path.forget(this);
    path.awaited -= this.collects;
    const { memory } = path.connection.context;
    memory.giveBackGathered(this.collects);
    memory.giveBack(this.#memory);
    if (this.#sent > 0) {
      this.#count(result);
      path.connection.planFlush();
    } else if (this.aborted && !this.#tell) path.endedSilently();
    else if (!path.closed) {
      this.#answer(this.aborted ? { status: Status.taskAborted } : result);
      path.connection.planFlush();
    }
    this.#settle();
  }

  #answer(result: TaskResult): void {
    const answers = this.#path.connection.answers;
    const { dataIn, dataOut, byCdb } = this.#expectation;
    this.#count(result);
    const produced = result.dataIn === undefined ? 0 : result.dataIn.reduce((sum, part) => sum + part.length, 0);
    // RFC 7143 §11.4.5: what the CDB moves, against what the initiator expected to move.
    const residual = this.#writes ? byCdb - dataOut : produced - dataIn;
    const sent = Math.min(produced, dataIn);
    if (sent === 0 || result.status === Status.checkCondition) {
      const byError = result.status === Status.checkCondition && !this.#writes ? -dataIn : residual;
      answers.scsiResponse(this.itt, result.status, byError, result.sense, 0);
      return;
    }
    const parts = result.dataIn ?? [];
    const data = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    answers.dataIn(this.itt, data, sent, residual, result.status);
  }

  /** Media commands count as reads and writes, whichever way they were served. */
  #count(result: TaskResult): void {
    const { counters, clock } = this.lu;
    const { counters: session } = this.#path.session;
    const good = this.spec.fast !== undefined && result.status === Status.good;
    const reads = good && this.spec.fast === 'read';
    const read = this.#sent > 0 ? this.#sent : Math.min(this.#expectation.dataIn, result.dataIn?.[0]?.length ?? 0);
    const now = clock.now();
    const micros = (now - this.#startedAt) * 1000;
    if (reads) {
      session.readBytes += read;
      session.readLatency.add(1, micros);
    } else if (good) {
      session.writtenBytes += this.data.length;
      session.writeLatency.add(1, micros);
    }
    // The node that carries a command out counts it.
    if (!this.lu.role.here) return;
    if (result.status === Status.reservationConflict) counters.conflicts++;
    if (!good) return;
    counters.others--;
    foreground.add(1, now);
    if (reads) {
      counters.reads++;
      counters.readBytes += read;
      counters.readLatency.add(1, micros);
    } else {
      counters.writes++;
      counters.writtenBytes += this.data.length;
      counters.writeLatency.add(1, micros);
    }
  }
}

/** Residual of a command that moved nothing: all of what was expected. */
export function underflow(bytes: Buffer, at: number): number {
  const flags = bytes[at + 1] as number;
  return (flags & (READS | WRITES)) === 0 ? 0 : -load32(bytes, at + 20);
}
