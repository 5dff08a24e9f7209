// The owner's side: carries out the commands that another node forwards, as if their initiators were logged in here.
import {
  FORWARD_END_PATIENCE,
  FORWARD_READ_NOW,
  FORWARD_READ_SLAB,
  MAX_FORWARDED_BYTES,
  MAX_FORWARDED_NEXUSES,
  MAX_FORWARDED_TASKS,
  MAX_TRANSFER,
  TASK_MANAGEMENT_PATIENCE,
} from '../../base/limits.ts';
import { ProtocolError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Clock } from '../../base/world.ts';
import { foreground } from '../../base/pace.ts';
import { FastKind } from '../command-table.ts';
import { Nexus, ScsiDevice } from '../device.ts';
import { checkCondition, commandOf, execute } from '../dispatch.ts';
import { clearTaskSet, resetUnit } from '../end-tasks.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { LunNexus } from '../lun-nexus.ts';
import { plainPosition } from '../sbc/plain.ts';
import { Status, TaskAttribute } from '../task.ts';
import type { TaskResult } from '../task.ts';
import { ForwardedTask } from './forwarded-task.ts';
import type { ForwardLink, ForwardMessage } from './link.ts';
import { ForwardType, Outcome, decodeNexus, decodePair, decodeTask, encodeAnswer, encodePair } from './messages.ts';
import type { NexusImage, TaskImage } from './messages.ts';
import { UnitFunction } from './remote-unit.ts';

/** What the owner needs to know of the rest of its node. */
export interface OwnerOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The logical unit with this id (LuIdentity.id), whether this node owns it or not. */
  readonly unit: (id: string) => LogicalUnit | undefined;
  /** All target devices, for commands that reach other logical units. */
  readonly devices: () => Iterable<ScsiDevice>;
}

/** A nexus of the peer. */
interface Entered {
  readonly nexus: LunNexus;
  readonly tasks: Map<number, ForwardedTask>;
}

const FULL: TaskResult = { status: Status.taskSetFull };

/** All that one peer forwards. */
export class OwnerEntry {
  readonly #link: ForwardLink;
  readonly #options: OwnerOptions;
  #nexuses = new Map<number, Entered>();
  /** Of the peer: commands, and bytes of their data. */
  #tasks = 0;
  #bytes = 0;
  /** Memory for the data of reads that are answered at once, and how much of it is taken. */
  #slab: Buffer = Buffer.alloc(0);
  #slabAt = 0;

  constructor(link: ForwardLink, options: OwnerOptions) {
    this.#link = link;
    this.#options = options;
    link.handle(ForwardType.open, (header) => Promise.resolve(this.#open(decodeNexus(header))));
    link.handle(ForwardType.execute, (header, data) => this.#execute(header, data));
    link.handle(ForwardType.abort, (header) => this.#abort(...decodePair(header)));
    link.handle(ForwardType.manage, (header) => this.#manage(...decodePair(header)));
    link.handle(ForwardType.close, (header) => this.#close(decodePair(header)[0]));
    link.handle(ForwardType.clock, () => Promise.resolve(this.#answer(Outcome.done)));
    link.onLeft(() => {
      this.#broken();
    });
    // We could not ask it to end anything either.
    link.onDown(() => {
      this.#broken();
    });
  }

  #answer(outcome: Outcome, result?: TaskResult): ForwardMessage {
    const clock = this.#options.clock.now();
    const header = encodeAnswer({ outcome, clock, status: result?.status ?? Status.good, sense: result?.sense });
    return { header, pieces: result?.dataIn ?? [] };
  }

  #open(image: NexusImage): ForwardMessage {
    const lu = this.#options.unit(image.unit);
    if (lu?.role.here !== true) return this.#answer(Outcome.elsewhere);
    if (this.#nexuses.size >= MAX_FORWARDED_NEXUSES || this.#nexuses.has(image.number)) {
      throw new ProtocolError('too many forwarded nexuses');
    }
    const nexus = this.#enter(lu, image);
    // The same ports in an older session: RFC 7143 §6.3.5, its tasks are over.
    for (const [number, each] of this.#nexuses)
      if (each.nexus.lu === lu && each.nexus.key === nexus.key) void this.#drop(number);
    this.#nexuses.set(image.number, { nexus, tasks: new Map() });
    lu.addNexus(nexus);
    // What there is to say to a new nexus its own node says.
    nexus.attentions.clear();
    lu.reservations.greet(nexus);
    lu.refresh(nexus);
    return this.#answer(Outcome.done);
  }

  #enter(lu: LogicalUnit, image: NexusImage): LunNexus {
    const { devices } = this.#options;
    const known = [...devices()].find((each) => each.name === image.target.name);
    const device = known ?? new ScsiDevice(image.target.name, [image.target]);
    const owner = new Nexus(device, { initiator: image.initiator, local: image.local }, image.target);
    owner.forwardedBy = this.#link.node;
    owner.devices = devices;
    owner.abortUnstarted = (_, tell) => this.#endUnstarted(image.number, tell);
    return new LunNexus(owner, lu, image.lun, image.readOnly);
  }

  #execute(header: Buffer, data: Buffer): Promise<ForwardMessage> | ForwardMessage {
    const image = decodeTask(header);
    const entered = this.#nexuses.get(image.number);
    const now = this.#options.clock.now();
    // The unit of a nexus may have been opened anew.
    if (entered?.nexus.lu.retired === true) void this.#drop(image.number);
    if (entered === undefined || entered.nexus.lu.retired) return this.#answer(Outcome.nexusUnknown);
    // It may have been on its way for so long that the initiator has sent it anew on another path, and more after it.
    if (!entered.nexus.lu.role.here || now > image.deadline) return this.#answer(Outcome.elsewhere);
    const read = this.#readNow(entered.nexus, image, data, now);
    return read === undefined ? this.#run(entered, image, data) : this.#answer(Outcome.done, read);
  }

  /** A plain READ of what is in memory is answered in the turn in which it came, as those of sessions of this node are. */
  #readNow(nexus: LunNexus, image: TaskImage, data: Buffer, now: number): TaskResult | undefined {
    const { lu } = nexus;
    const { cdb, expectedDataIn: length } = image;
    if (!nexus.readOk || lu.commands.fastKind[cdb[0] as number] !== FastKind.read || length > FORWARD_READ_NOW) {
      return undefined;
    }
    if (image.attribute > TaskAttribute.simple || image.expectedDataOut > 0 || data.length > 0) return undefined;
    const position = plainPosition(lu, cdb, 0, length);
    if (position < 0 || (!lu.locks.idle && lu.locks.blocks(position, length, false))) return undefined;
    if (this.#slabAt + length > this.#slab.length) {
      // Parts of the one before are being sent; it goes with the last of them.
      this.#slab = Buffer.allocUnsafeSlow(FORWARD_READ_SLAB);
      this.#slabAt = 0;
    }
    const at = this.#slabAt;
    if (!lu.volume.readNow(position, length, this.#slab, at)) return undefined;
    this.#slabAt += length;
    const { counters } = lu;
    counters.reads++;
    counters.readBytes += length;
    counters.readLatency.add(1, (this.#options.clock.now() - now) * 1000);
    foreground.add(1, now);
    return { status: Status.good, dataIn: [this.#slab.subarray(at, at + length)] };
  }

  async #run({ nexus, tasks }: Entered, image: TaskImage, data: Buffer): Promise<ForwardMessage> {
    const { clock } = this.#options;
    const bytes = data.length + Math.min(image.expectedDataIn, MAX_TRANSFER);
    if (this.#tasks >= MAX_FORWARDED_TASKS || this.#bytes + bytes > MAX_FORWARDED_BYTES) {
      return this.#answer(Outcome.done, FULL);
    }
    let task: ForwardedTask;
    try {
      const { spec } = commandOf(nexus, image.cdb);
      task = new ForwardedTask(nexus, spec, image, data);
    } catch (error) {
      return this.#answer(Outcome.done, checkCondition(nexus, error));
    }
    if (tasks.has(image.task)) throw new ProtocolError('a forwarded command came twice');
    tasks.set(image.task, task);
    this.#tasks++;
    this.#bytes += bytes;
    const started = clock.now();
    const result = await execute(task);
    this.#tasks--;
    this.#bytes -= bytes;
    tasks.delete(image.task);
    task.finish();
    if (task.aborted) return this.#answer(task.tell ? Outcome.endedTold : Outcome.ended);
    count(task, result, clock.now() - started);
    return this.#answer(Outcome.done, result);
  }

  async #abort(number: number, id: number): Promise<ForwardMessage> {
    const task = this.#nexuses.get(number)?.tasks.get(id);
    if (task !== undefined) {
      task.abort(false);
      await this.#patience(task.over, TASK_MANAGEMENT_PATIENCE);
    }
    return this.#answer(Outcome.done);
  }

  async #manage(number: number, what: number): Promise<ForwardMessage> {
    const nexus = this.#nexuses.get(number)?.nexus;
    if (nexus?.lu.role.here !== true) return this.#answer(Outcome.elsewhere);
    if (what !== UnitFunction.clearTaskSet && what !== UnitFunction.logicalUnitReset) {
      throw new ProtocolError('an unknown function for a logical unit');
    }
    const ending = what === UnitFunction.clearTaskSet ? clearTaskSet(nexus.lu, nexus) : resetUnit(nexus.lu);
    await ending.told;
    await this.#patience(ending.over, TASK_MANAGEMENT_PATIENCE);
    return this.#answer(Outcome.done);
  }

  async #close(number: number): Promise<ForwardMessage> {
    await this.#patience(this.#drop(number), TASK_MANAGEMENT_PATIENCE);
    return this.#answer(Outcome.done);
  }

  /** The nexus is over; resolves when its tasks are. */
  #drop(number: number): Promise<unknown> {
    const entered = this.#nexuses.get(number);
    if (entered === undefined) return Promise.resolve();
    this.#nexuses.delete(number);
    const { nexus, tasks } = entered;
    const over = Promise.all([...tasks.values()].map((task) => task.over));
    for (const task of tasks.values()) task.abort(false);
    void nexus.lu.dropNexus(nexus);
    return over;
  }

  /** Nothing can be told to the peer's initiators any more: their nexuses are lost (SAM-5 6.3.4). */
  #broken(): void {
    const count = this.#nexuses.size;
    for (const number of [...this.#nexuses.keys()]) void this.#drop(number);
    if (count > 0)
      this.#options.log.warn({ node: this.#link.node, nexuses: count }, 'the node that forwards commands is lost');
  }

  /**
   * The forwarding node ends what it has not sent yet; true when there was something. If it does not answer, nothing is taken
   * from this nexus any more.
   */
  async #endUnstarted(number: number, tell: boolean): Promise<boolean> {
    try {
      const header = encodePair(number, tell ? 1 : 0);
      const reply = await this.#link.request(ForwardType.endUnstarted, header, [], FORWARD_END_PATIENCE);
      return decodePair(reply.header)[1] !== 0;
    } catch {
      void this.#drop(number);
      return true;
    }
  }

  /** Waits for running I/O to end, but not for ever: what still runs holds its blocks until it ends. */
  #patience(over: Promise<unknown>, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, resolve);
      void over.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** Media commands count where they are carried out, whichever node they came by. */
function count({ spec, lu, data }: ForwardedTask, result: TaskResult, ms: number): void {
  const { counters } = lu;
  if (result.status === Status.reservationConflict) counters.conflicts++;
  if (spec.fast === undefined || result.status !== Status.good) {
    counters.others++;
  } else if (spec.fast === 'read') {
    counters.reads++;
    counters.readBytes += result.dataIn?.reduce((sum, each) => sum + each.length, 0) ?? 0;
    counters.readLatency.add(1, ms * 1000);
  } else {
    counters.writes++;
    counters.writtenBytes += data.length;
    counters.writeLatency.add(1, ms * 1000);
  }
}
