import { foreground } from '../base/pace.ts';
import type { StableWaiter } from '../scsi/volume-face.ts';
import { checkCondition } from '../scsi/dispatch.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { Status } from '../scsi/task.ts';
import type { CommandPath } from './command-path.ts';
import type { Pending } from './pending.ts';

/** Waiters kept for reuse per session. */
const MAX_SPARE = 512;

/** Writes of one session that wait for the group commit. The objects are reused: a durable write allocates nothing. */
export class PlacedWrites {
  readonly #path: CommandPath;
  readonly #spare: PlacedWrite[] = [];

  constructor(path: CommandPath) {
    this.#path = path;
  }

  /** The `length` bytes of task `itt` have been placed; answers when they are stable. `startedAt`: clock milliseconds. */
  add(itt: number, nexus: LunNexus, length: number, startedAt: number): void {
    const write = this.#spare.pop() ?? new PlacedWrite(this);
    write.itt = itt;
    write.nexus_ = nexus;
    write.length = length;
    write.startedAt = startedAt;
    write.answer = 'status';
    write.abandoned = false;
    const path = this.#path;
    path.checkTag(itt);
    path.pending.set(itt, write);
    path.session.active++;
    nexus.lu.volume.whenStable(write);
  }

  finished(write: PlacedWrite, error: Error | undefined): void {
    const path = this.#path;
    const { itt, answer, nexus } = write;
    path.forget(write);
    const lu = nexus.lu;
    if (answer === 'nothing') path.endedSilently();
    else if (!path.closed) {
      const answers = path.connection.answers;
      if (answer === 'aborted') {
        answers.scsiResponse(itt, Status.taskAborted, 0, undefined, 0);
      } else if (error === undefined) {
        answers.scsiResponse(itt, Status.good, 0, undefined, 0);
        lu.counters.writes++;
        lu.counters.writtenBytes += write.length;
        path.session.counters.writtenBytes += write.length;
        const now = lu.clock.now();
        const micros = (now - write.startedAt) * 1000;
        lu.counters.writeLatency.add(1, micros);
        path.session.counters.writeLatency.add(1, micros);
        foreground.add(1, now);
      } else {
        lu.counters.errors++;
        const { status, sense } = checkCondition(nexus, error);
        answers.scsiResponse(itt, status, 0, sense, 0);
      }
      path.connection.planFlush();
    }
    write.release();
    if (this.#spare.length < MAX_SPARE) this.#spare.push(write);
  }
}

class PlacedWrite implements StableWaiter, Pending {
  readonly #owner: PlacedWrites;
  itt = 0;
  nexus_: LunNexus | undefined;
  length = 0;
  startedAt = 0;
  answer: 'status' | 'aborted' | 'nothing' = 'status';
  abandoned = false;
  #settle: (() => void)[] = [];

  constructor(owner: PlacedWrites) {
    this.#owner = owner;
  }

  get nexus(): LunNexus {
    if (this.nexus_ === undefined) throw new Error('a released write is in use');
    return this.nexus_;
  }

  get settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settle.push(resolve);
    });
  }

  get aborted(): boolean {
    return this.answer !== 'status';
  }

  stable(error: Error | undefined): void {
    this.#owner.finished(this, error);
  }

  abort(tell: boolean): void {
    this.answer = tell ? 'aborted' : 'nothing';
    this.nexus.lu.counters.aborted++;
  }

  release(): void {
    for (const each of this.#settle) each();
    if (this.#settle.length > 0) this.#settle = [];
    this.nexus_ = undefined;
  }
}
