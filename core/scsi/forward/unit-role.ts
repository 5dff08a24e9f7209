// Who carries out the commands of a logical unit: this node, another one, or, while that changes, nobody. Without a cluster it is
// this node for ever.
import { FORWARD_BEGIN, FORWARD_HOLD, FORWARD_RETRY, FORWARD_STALL, FORWARD_STRANDED } from '../../base/limits.ts';
import type { Timer } from '../../base/world.ts';
import { messageOf } from '../../base/errors.ts';
import type { DispatchTask } from '../dispatch.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { SENSE, ScsiError, isSense } from '../sense.ts';
import { Status } from '../task.ts';
import type { TaskResult } from '../task.ts';
import type { ForwardOutcome, RemoteUnit, UnitFunction } from './remote-unit.ts';

type Place = 'here' | 'changing' | RemoteUnit;

const ABORTED: TaskResult = { status: Status.taskAborted };

export class UnitRole {
  readonly #lu: LogicalUnit;
  #place: Place = 'here';
  /** True when this node carries commands out. */
  here = true;
  /** When this node was seen to run last, by its clock. */
  runsAt: () => number = () => Infinity;
  /** This node could become the owner if the one there is stays away. */
  #isHeir = true;
  /** Who waits for a node to carry out commands, in their order. */
  #waiting = new Set<() => void>();
  /** Rises with every change of the owner. */
  #term = 0;
  /** When the last one was, milliseconds. */
  #changed = -Infinity;
  /** Connections that wake us when they come up. */
  readonly #watched = new WeakSet<RemoteUnit>();

  constructor(lu: LogicalUnit) {
    this.#lu = lu;
  }

  /** The node commands are forwarded to. */
  get remote(): RemoteUnit | undefined {
    return typeof this.#place === 'string' ? undefined : this.#place;
  }

  /** Nobody is known to carry out commands: they wait, and after FORWARD_HOLD end with 02/04/0A. */
  change(): void {
    this.#set('changing');
  }

  /** This node carries them out from now on, with the state its predecessor left. */
  takeOver(): void {
    if (!this.here) this.#lu.inherit();
    this.#set('here');
  }

  /**
   * Makes ready for another owner: commands wait, what runs ends, and what is left is passed on. False: not within `ms`
   * milliseconds, or it could not be; this node goes on.
   */
  async handOver(ms: number): Promise<boolean> {
    this.change();
    try {
      if (await this.quiet(ms)) {
        await this.#lu.reservations.leave();
        return true;
      }
    } catch (error) {
      this.#lu.log.warn({ error: messageOf(error) }, 'the state of a volume could not be handed over');
    }
    this.#set('here');
    return false;
  }

  /** Another node carries them out from now on. `isHeir`: this one could, if that one stays away. */
  forwardTo(remote: RemoteUnit, isHeir = true): void {
    this.#isHeir = isHeir;
    this.#set(remote);
    if (this.#watched.has(remote)) return;
    this.#watched.add(remote);
    remote.watch(() => {
      if (this.#place === remote) this.#wake();
    });
  }

  #set(place: Place): void {
    const before = this.#place;
    if (before === place) {
      this.#wake();
      return;
    }
    this.#place = place;
    this.here = place === 'here';
    this.#term++;
    this.#changed = this.#lu.clock.now();
    this.#lu.refreshAll();
    if (typeof before !== 'string') before.release(this.#lu);
    this.#wake();
  }

  /** Resolves with true when nothing runs on the logical unit any more, with false after `ms` milliseconds. */
  quiet(ms: number): Promise<boolean> {
    const { tasks, clock } = this.#lu;
    const end = clock.now() + ms;
    return new Promise((resolve) => {
      const look = (): void => {
        if (tasks.running === 0 && tasks.waiting === 0) resolve(true);
        else if (clock.now() >= end) resolve(false);
        else clock.after(1, look);
      };
      look();
    });
  }

  /** Carries out a command that is not for this node to answer; `runHere` does when it has become so. Throws ScsiError. */
  async pass(task: DispatchTask, runHere: (task: DispatchTask) => Promise<TaskResult>): Promise<TaskResult> {
    const { clock } = this.#lu;
    let until = clock.now() + FORWARD_HOLD;
    // SPC-4 5.15.2.5: whoever asks whether the unit is ready is told as soon as it counts as being in transition. Not before:
    // who opens a disk in the moment of a hand-over, and has one path only, would take it for broken.
    if (this.#place === 'changing' && task.spec.opcode === 0x00) until = Math.min(until, this.#changed + FORWARD_HOLD);
    for (;;) {
      const place = this.#place;
      if (place === 'here') return runHere(task);
      // What waited here, or in the network, while this node stood still may be older than what its host has sent elsewhere since.
      if (clock.now() - this.runsAt() > FORWARD_STALL) throw new ScsiError(SENSE.asymmetricAccessTransition);
      if (place === 'changing' || !place.up) {
        const end = Math.min(until, this.strandedAt ?? until);
        if (clock.now() >= end) throw this.#unreachable();
        await this.#wait(task, end);
      } else {
        const term = this.#term;
        const outcome = await this.#send(task, place, Math.min(until, clock.now() + FORWARD_BEGIN));
        if (task.aborted) return ABORTED;
        if (outcome.kind === 'done') {
          if (!lostOwner(task, outcome.result)) return outcome.result;
          if (!repeatable(task)) return this.#lost(task, term, 0);
        }
        if (outcome.kind === 'ended') {
          task.abort(outcome.tell);
          return ABORTED;
        }
        if (outcome.kind === 'lost') {
          if (!repeatable(task)) return this.#lost(task, term, outcome.until);
          // It may have run there for long.
          until = Math.max(until, clock.now() + FORWARD_STRANDED);
        } else if (clock.now() >= until) throw this.#unreachable();
        else if (this.#place === place) await this.#wait(task, Math.min(until, clock.now() + FORWARD_RETRY));
      }
      if (task.aborted) return ABORTED;
    }
  }

  /** Task management of the whole logical unit, at its owner. False: nobody could be asked in FORWARD_HOLD. */
  async manage(nexus: LunNexus, what: UnitFunction): Promise<boolean | 'here'> {
    const { clock } = this.#lu;
    const until = clock.now() + FORWARD_HOLD;
    for (;;) {
      const place = this.#place;
      if (place === 'here') return 'here';
      if (place !== 'changing' && place.up && (await place.manage(nexus, what))) return true;
      if (clock.now() >= until) return false;
      await this.#wait(undefined, Math.min(until, clock.now() + FORWARD_RETRY));
    }
  }

  async #send(task: DispatchTask, remote: RemoteUnit, until: number): Promise<ForwardOutcome> {
    const run = remote.execute(task, until);
    task.elsewhere = run;
    try {
      return await run.outcome;
    } finally {
      task.elsewhere = undefined;
    }
  }

  /**
   * A command that changes something may have done so, and doing it again could undo what others did after it: the initiator is
   * told to repeat it, if it wants to, by a unit attention (SAM-5 6.3.4: its nexus to the owner is lost), because that is repeated
   * by initiators with one path, too. Not before nothing of the lost one can reach the medium any more; a new owner does not let it.
   */
  async #lost(task: DispatchTask, term: number, until: number): Promise<TaskResult> {
    const over = this.#harmless(term, until);
    task.elsewhere = { abort: () => over };
    await over;
    task.elsewhere = undefined;
    if (task.aborted) return ABORTED;
    throw this.strandedAt === undefined ? new ScsiError(SENSE.nexusLoss) : this.#unreachable();
  }

  /**
   * When commands wait no longer for the owner, which cannot be reached: nobody else can become owner, least of all this node.
   * Undefined: it can, or the owner can be reached.
   */
  get strandedAt(): number | undefined {
    const place = this.#place;
    if (typeof place === 'string' || place.up || this.#isHeir) return undefined;
    return place.lostAt + FORWARD_STRANDED;
  }

  /** What a command ends with that nobody carries out: another path may be better, and is if there is an owner. */
  #unreachable(): ScsiError {
    return new ScsiError(this.strandedAt === undefined ? SENSE.asymmetricAccessTransition : SENSE.unavailable);
  }

  /** Until the clock says `until`, or the owner is another one than in `term`. */
  async #harmless(term: number, until: number): Promise<void> {
    while (this.#term === term && this.#lu.clock.now() < until) await this.#wait(undefined, until);
  }

  /** Until something changes, the task is aborted, or the clock says `until`. */
  #wait(task: DispatchTask | undefined, until: number): Promise<void> {
    const { clock } = this.#lu;
    return new Promise((resolve) => {
      let timer: Timer | undefined = undefined;
      const go = (): void => {
        timer?.cancel();
        this.#waiting.delete(go);
        if (task !== undefined) task.elsewhere = undefined;
        resolve();
      };
      timer = clock.after(Math.max(0, until - clock.now()), go);
      this.#waiting.add(go);
      if (task === undefined) return;
      task.elsewhere = {
        abort: () => {
          go();
          return Promise.resolve();
        },
      };
    });
  }

  #wake(): void {
    for (const go of [...this.#waiting]) go();
  }
}

/** Its owner has ceased to be one while it carried this out; what asks whether the unit is ready is told so. */
function lostOwner({ spec }: DispatchTask, { sense }: TaskResult): boolean {
  return sense !== undefined && spec.opcode !== 0x00 && isSense(sense, SENSE.asymmetricAccessTransition);
}

/** Doing it twice is like doing it once. */
function repeatable({ spec }: DispatchTask): boolean {
  return spec.access === 'read' || spec.access === 'none';
}
