// Plain READs for which a disk has to be waited for, one read of it each. They do what an IscsiTask does for such a command, in
// the same order, but with one object that is used again and without promises: under random reads from a fast disk it is the
// processor that has too little time. Whatever is out of the ordinary becomes an IscsiTask, or goes the long way here.
import { foreground } from '../base/pace.ts';
import { failure } from '../scsi/dispatch.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { Status, TaskAttribute } from '../scsi/task.ts';
import type { TaskResult } from '../scsi/task.ts';
import type { SetTask } from '../scsi/task-set.ts';
import type { RangeLock } from '../scsi/volume-face.ts';
import type { CommandPath } from './command-path.ts';
import type { Pending } from './pending.ts';

/** Objects kept for reuse per session. */
const MAX_SPARE = 256;
const GOOD: TaskResult = { status: Status.good };
const ABORTED: TaskResult = { status: Status.taskAborted };

/** The cold reads of one session. */
export class ColdReads {
  readonly #path: CommandPath;
  readonly #spare: ColdRead[] = [];

  constructor(path: CommandPath) {
    this.#path = path;
  }

  /**
   * Takes up the READ of task `itt` of a SIMPLE or untagged command that has passed all checks (LunNexus.readOk). Bytes;
   * `startedAt`: clock milliseconds. False: something has to be waited for before the disk, so this is not the way.
   */
  begin(itt: number, nexus: LunNexus, position: number, length: number, startedAt: number): boolean {
    const path = this.#path;
    const { volume, tasks, locks } = nexus.lu;
    if (volume.bringSoon === undefined || !tasks.open || path.closed || !path.reads.admits(length)) return false;
    path.checkTag(itt);
    const { memory } = path.connection.context;
    if (!memory.tryTake(length)) return false;
    const lock = locks.tryAcquire(position, length, false);
    const read = this.#spare.pop() ?? new ColdRead(this);
    if (lock === undefined || !volume.bringSoon(position, length, read.brought)) {
      lock?.release();
      this.#spare.push(read);
      memory.giveBack(length);
      return false;
    }
    path.reads.begin(length);
    read.begin(itt, nexus, position, length, startedAt, lock);
    // The set is open, so this begins at once.
    void tasks.enter(read, false);
    path.admit(read);
    return true;
  }

  /** The range of the read is in memory, or has to be read the long way. */
  brought(read: ColdRead, there: boolean): void {
    if (read.aborted || this.#path.closed) this.#finish(read, ABORTED, false);
    else if (there && this.#send(read)) this.#finish(read, GOOD, true);
    else
      void this.#readLong(read).then((result) => {
        this.#finish(read, result, false);
      });
  }

  /** Queues the answer, whose data is in memory. False: not all of it is, any more. */
  #send({ itt, nexus, position, length }: ColdRead): boolean {
    const { answers } = this.#path.connection;
    const { session } = this.#path;
    const { volume } = nexus.lu;
    // The window that the answer tells does not count this command any more; forget() counts it off for good.
    session.active--;
    const sent =
      (answers.sendsViews(length) && answers.dataInViews(itt, volume, position, length)) ||
      answers.dataInFrom(itt, volume, position, length);
    session.active++;
    return sent;
  }

  async #readLong(read: ColdRead): Promise<TaskResult> {
    const { position, length } = read;
    const { volume } = read.nexus.lu;
    try {
      const data = Buffer.allocUnsafe(length);
      if (!volume.readNow(position, length, data, 0)) await volume.read(position, length, data, 0);
      return { status: Status.good, dataIn: [data] };
    } catch (error) {
      return failure(read, 'READ', error);
    }
  }

  #finish(read: ColdRead, result: TaskResult, sent: boolean): void {
    const path = this.#path;
    const { nexus, length } = read;
    read.leave();
    nexus.lu.tasks.leave(read);
    path.forget(read);
    path.connection.context.memory.giveBack(length);
    if (read.aborted && !read.tells && !sent) path.endedSilently();
    else if (!path.closed) {
      if (!sent) this.#answer(read, read.aborted ? ABORTED : result);
      path.connection.planFlush();
    }
    this.#count(read, result);
    path.reads.leave(length, true);
    // Whoever aborted it may still look at it.
    if (!read.aborted && this.#spare.length < MAX_SPARE) this.#spare.push(read);
    read.end();
  }

  #answer({ itt, length }: ColdRead, { status, sense, dataIn }: TaskResult): void {
    const { answers } = this.#path.connection;
    const [data] = dataIn ?? [];
    if (status !== Status.good || data === undefined) answers.scsiResponse(itt, status, -length, sense, 0);
    else answers.dataIn(itt, data, length, 0, status);
  }

  #count({ nexus, length, startedAt }: ColdRead, { status }: TaskResult): void {
    const { counters, clock } = nexus.lu;
    if (status !== Status.good) {
      counters.others++;
      return;
    }
    const now = clock.now();
    foreground.add(1, now);
    counters.reads++;
    counters.readBytes += length;
    const micros = (now - startedAt) * 1000;
    counters.readLatency.add(1, micros);
    const session = this.#path.session.counters;
    session.readBytes += length;
    session.readLatency.add(1, micros);
  }
}

class ColdRead implements Pending, SetTask {
  readonly attribute = TaskAttribute.simple;
  /** Told by the volume: see Volume.bringSoon. */
  readonly brought: (there: boolean) => void;
  itt = 0;
  position = 0;
  length = 0;
  startedAt = 0;
  aborted = false;
  /** Its abort is told by a status. */
  tells = false;
  abandoned = false;
  #nexus: LunNexus | undefined;
  #lock: RangeLock | undefined;
  #settle: (() => void)[] = [];

  constructor(owner: ColdReads) {
    this.brought = (there) => {
      owner.brought(this, there);
    };
  }

  begin(itt: number, nexus: LunNexus, position: number, length: number, startedAt: number, lock: RangeLock): void {
    this.itt = itt;
    this.#nexus = nexus;
    this.position = position;
    this.length = length;
    this.startedAt = startedAt;
    this.#lock = lock;
  }

  get nexus(): LunNexus {
    if (this.#nexus === undefined) throw new Error('a read that has ended is in use');
    return this.#nexus;
  }

  get settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settle.push(resolve);
    });
  }

  abort(tell: boolean): void {
    if (this.aborted) return;
    this.aborted = true;
    this.tells = tell;
    this.nexus.lu.counters.aborted++;
    // As with any task that runs: whoever wants these blocks has to wait until it has ended.
    this.#lock?.makeExclusive();
  }

  /** Gives the range free. */
  leave(): void {
    this.#lock?.release();
    this.#lock = undefined;
  }

  /** Nothing of it runs any more. */
  end(): void {
    for (const each of this.#settle) each();
    if (this.#settle.length > 0) this.#settle = [];
    this.#nexus = undefined;
  }
}
