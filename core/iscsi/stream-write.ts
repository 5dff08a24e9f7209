// A plain WRITE whose data arrives in several PDUs and is written as it arrives, so that it needs no memory of its own.
// What cannot be placed at once is kept within DataMemory; when that is used up the command ends with TASK SET FULL.
// A command that fails or is aborted half way leaves what had arrived, which SBC-3 4.10 allows for non-atomic writes.
import { ServiceError } from '../base/errors.ts';
import { WriteNow } from '../scsi/volume-face.ts';
import type { StableWaiter } from '../scsi/volume-face.ts';
import { checkCondition } from '../scsi/dispatch.ts';
import type { HeldRange } from '../scsi/dispatch.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { Status, TaskAttribute } from '../scsi/task.ts';
import type { SetTask } from '../scsi/task-set.ts';
import type { CommandPath } from './command-path.ts';
import type { Pending } from './pending.ts';
import type { TransferSink } from './transfer.ts';

export class StreamWrite implements TransferSink, Pending, SetTask, StableWaiter {
  readonly itt: number;
  readonly nexus: LunNexus;
  readonly attribute = TaskAttribute.simple;
  readonly settled: Promise<void>;
  abandoned = false;
  #over = false;
  /** Ranges of the writes that run. */
  readonly #held = new Set<HeldRange>();
  #settle: () => void = () => undefined;
  readonly #path: CommandPath;
  readonly #position: number;
  readonly #length: number;
  readonly #startedAt: number;
  /** Writes that run asynchronously, and whether all data has arrived. */
  #running = 0;
  #arrived = false;
  #placed = false;
  #error: Error | undefined;
  #abort: 'no' | 'silent' | 'tell' = 'no';
  /** From the first PDU that does not end on a block boundary on, data is gathered here. */
  #tail: Buffer | undefined;
  #tailAt = 0;
  /** Bytes of DataMemory this write holds, and whether there were too few: then nothing more is taken. */
  #memory = 0;
  #noRoom = false;
  /** Of these, what was taken for data that had not come. */
  #awaited = 0;

  constructor(path: CommandPath, nexus: LunNexus, itt: number, position: number, length: number, startedAt: number) {
    this.#path = path;
    this.nexus = nexus;
    this.itt = itt;
    this.#position = position;
    this.#length = length;
    this.#startedAt = startedAt;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** Enters the task set. False: it has to wait there, so this is not the way. */
  begin(): boolean {
    const lu = this.nexus.lu;
    if (!lu.tasks.open) return false;
    // The set is open, so this begins at once.
    void lu.tasks.enter(this, false);
    return true;
  }

  deliver(offset: number, bytes: Buffer, at: number, length: number): void {
    if (this.#abort !== 'no' || this.#error !== undefined || this.#noRoom) return;
    const lu = this.nexus.lu;
    if (this.#tail === undefined && length % lu.blockSize !== 0 && !this.#startTail(offset)) return;
    if (this.#tail !== undefined) {
      bytes.copy(this.#tail, offset - this.#tailAt, at, at + length);
      return;
    }
    const position = this.#position + offset;
    try {
      if (lu.locks.idle || !lu.locks.blocks(position, length, true)) {
        const outcome = lu.volume.writeNow(position, bytes, at, length);
        if (outcome === WriteNow.placed) this.#placed = true;
        if (outcome !== WriteNow.refused) return;
      }
    } catch (error) {
      this.#error = asError(error);
      return;
    }
    if (this.#take(length)) this.#writeLater(position, this.#path.connection.context.memory.piece(bytes, at, length));
  }

  complete(): void {
    this.#arrived = true;
    if (this.#tail !== undefined && this.#error === undefined && this.#abort === 'no') {
      const tail = this.#tail;
      this.#tail = undefined;
      this.#writeLater(this.#position + this.#tailAt, tail);
    }
    this.#next();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#arrived = true;
    this.#next();
  }

  get aborted(): boolean {
    return this.#abort !== 'no';
  }

  abort(tell: boolean): void {
    if (this.#abort !== 'no') return;
    this.#abort = tell ? 'tell' : 'silent';
    // What runs may take effect as late as it ends: whoever wants these blocks has to wait until then.
    for (const each of this.#held) each.makeExclusive();
    this.nexus.lu.counters.aborted++;
    // No more data is delivered after an abort: what runs may finish.
    this.#arrived = true;
    this.#next();
  }

  stable(error: Error | undefined): void {
    this.#error ??= error;
    this.#finish();
  }

  /** False: no memory for it. */
  #startTail(offset: number): boolean {
    const rest = this.#length - offset;
    if (!this.#path.tryAwait(rest)) {
      this.#noRoom = true;
      return false;
    }
    this.#memory += rest;
    this.#awaited = rest;
    this.#tailAt = offset;
    this.#tail = Buffer.allocUnsafe(rest);
    return true;
  }

  #take(bytes: number): boolean {
    if (!this.#path.connection.context.memory.tryGather(bytes)) {
      this.#noRoom = true;
      return false;
    }
    this.#memory += bytes;
    return true;
  }

  #giveBack(bytes: number): void {
    this.#memory -= bytes;
    this.#path.connection.context.memory.giveBackGathered(bytes);
  }

  /** Writes data whose memory has been taken. */
  #writeLater(position: number, data: Buffer): void {
    this.#running++;
    void this.#writeLocked(position, data)
      .catch((error: unknown) => {
        this.#error ??= asError(error);
      })
      .finally(() => {
        this.#running--;
        this.#giveBack(data.length);
        this.#next();
      });
  }

  async #writeLocked(position: number, data: Buffer): Promise<void> {
    const lu = this.nexus.lu;
    const lock = await lu.locks.acquire(position, data.length, false);
    this.#held.add(lock);
    try {
      if (!this.aborted) await lu.volume.write(position, data, 0, data.length, false);
      // Not where it failed: nobody knows what still goes on below.
      if (lu.volume.letsGo === true) this.#path.connection.context.memory.pieceOver(data);
    } finally {
      this.#held.delete(lock);
      lock.release();
    }
  }

  #next(): void {
    if (!this.#arrived || this.#running > 0) return;
    if (this.#placed && this.#error === undefined && this.#abort === 'no') {
      this.#placed = false;
      this.nexus.lu.volume.whenStable(this);
    } else {
      this.#finish();
    }
  }

  #finish(): void {
    const { lu } = this.nexus;
    const path = this.#path;
    if (this.#over) return;
    this.#over = true;
    path.forget(this);
    path.awaited -= this.#awaited;
    this.#giveBack(this.#memory);
    lu.tasks.leave(this);
    if (this.#abort === 'silent') path.endedSilently();
    else if (!path.closed) this.#answer();
    this.#settle();
  }

  #answer(): void {
    const { lu } = this.nexus;
    const answers = this.#path.connection.answers;
    if (this.#abort === 'tell') {
      answers.scsiResponse(this.itt, Status.taskAborted, 0, undefined, 0);
    } else if (this.#noRoom && this.#error === undefined) {
      answers.scsiResponse(this.itt, Status.taskSetFull, 0, undefined, 0);
    } else if (this.#error === undefined) {
      lu.counters.writes++;
      lu.counters.writtenBytes += this.#length;
      const session = this.#path.session.counters;
      const micros = (lu.clock.now() - this.#startedAt) * 1000;
      session.writtenBytes += this.#length;
      session.writeLatency.add(1, micros);
      lu.counters.writeLatency.add(1, micros);
      answers.scsiResponse(this.itt, Status.good, 0, undefined, 0);
    } else {
      lu.counters.errors++;
      const { status, sense } = checkCondition(this.nexus, this.#error);
      answers.scsiResponse(this.itt, status, 0, sense, 0);
    }
    this.#path.connection.planFlush();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new ServiceError('internal', String(error));
}
