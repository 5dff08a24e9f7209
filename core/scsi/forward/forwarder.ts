// The forwarding side: sends the commands of this node's nexuses to one other node, which owns their logical units.
import {
  FORWARD_CLOCK_AGE,
  FORWARD_END_PATIENCE,
  FORWARD_PATIENCE,
  FORWARD_SLACK,
  MAX_CLOCK_DRIFT,
} from '../../base/limits.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Clock } from '../../base/world.ts';
import type { DispatchTask } from '../dispatch.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { SENSE } from '../sense.ts';
import type { TaskResult } from '../task.ts';
import type { ForwardLink, ForwardMessage, ForwardReply } from './link.ts';
import { ForwardType, Outcome, decodeAnswer, decodePair, encodeNexus, encodePair, encodeTask } from './messages.ts';
import type { AnswerImage } from './messages.ts';
import type { ForwardOutcome, RemoteRun, RemoteUnit, UnitFunction } from './remote-unit.ts';

const NOTHING = Buffer.alloc(0);
const ELSEWHERE: ForwardOutcome = { kind: 'elsewhere' };

/** Numbers of the nexuses of a node are never used again, whichever owner they were told to. */
export class NexusNumbers {
  #last = 0;

  next(): number {
    return ++this.#last;
  }
}

/** A nexus the owner has been told of over the connection there is. */
interface OpenNexus {
  readonly number: number;
  /** False: it is not the owner. */
  readonly accepted: Promise<boolean>;
  /** Tasks sent so far. */
  tasks: number;
  /** The owner has accepted it. */
  known: boolean;
  /** Its logical unit has another owner now. */
  released: boolean;
}

/** The connection to one node, as the logical units it owns are reached through it. */
export class Forwarder implements RemoteUnit {
  readonly #link: ForwardLink;
  readonly #clock: Clock;
  readonly #numbers: NexusNumbers;
  readonly #log: Log;
  #open = new Map<LunNexus, OpenNexus>();
  readonly #byNumber = new Map<number, LunNexus>();
  /** What the owner's clock said at least, and when ours was read: after its answer had come. */
  #ownerClock = 0;
  #clockAt = -Infinity;
  #asking: Promise<void> | undefined;
  /** When the last command was sent, and until when the owner may begin what has been sent. */
  #sentAt = -Infinity;
  #sentUntil = -Infinity;
  /** When the link went down the last time; before it was ever up, when it was made. */
  #brokenAt: number;

  constructor(link: ForwardLink, clock: Clock, numbers: NexusNumbers, log: Log) {
    this.#link = link;
    this.#log = log;
    this.#clock = clock;
    this.#numbers = numbers;
    this.#brokenAt = clock.now();
    link.onDown(() => {
      this.#broken();
    });
    link.handle(ForwardType.endUnstarted, (header) => this.#endUnstarted(header));
  }

  get node(): string {
    return this.#link.node;
  }

  get up(): boolean {
    return this.#link.up;
  }

  get lostAt(): number {
    return this.#brokenAt;
  }

  watch(fn: () => void): void {
    this.#link.onUp(fn);
    this.#link.onDown(fn);
  }

  execute(task: DispatchTask, until: number): RemoteRun {
    const nexus = this.#opened(task.nexus);
    const run: Run = { task: ++nexus.tasks, until, sent: false, dropped: false, over: false };
    const outcome = this.#execute(nexus, task, run);
    return {
      outcome,
      abort: async () => {
        run.dropped = true;
        if (!run.sent || run.over) return;
        await this.#confirmed(ForwardType.abort, encodePair(nexus.number, run.task));
      },
    };
  }

  async #execute(nexus: OpenNexus, task: DispatchTask, run: Run): Promise<ForwardOutcome> {
    try {
      if (this.#clock.now() - this.#clockAt > FORWARD_CLOCK_AGE) await this.#askClock();
      if (isOff(run, nexus) || !this.up) return ELSEWHERE;
      const header = encodeTask({
        number: nexus.number,
        task: run.task,
        attribute: task.attribute,
        expectedDataOut: task.expectedDataOut,
        expectedDataIn: task.expectedDataIn ?? 0,
        deadline: this.#atOwner(run.until),
        cdb: task.cdb,
      });
      run.sent = true;
      this.#sentAt = this.#clock.now();
      this.#sentUntil = Math.max(this.#sentUntil, run.until);
      const pieces = task.data.length === 0 ? [] : [task.data];
      const reply = await this.#link.request(ForwardType.execute, header, pieces, FORWARD_PATIENCE);
      const answer = this.#answer(reply);
      if (answer.outcome === Outcome.nexusUnknown) this.#unknown(task.nexus, nexus);
      const outcome = outcomeOf(answer, reply.data);
      // What is left of a nexus that has moved on ends with it, but nobody's task management asked for that.
      return outcome.kind === 'ended' && nexus.released ? { kind: 'lost', until: 0 } : outcome;
    } catch (error) {
      // A link that breaks has said so itself; anything else is a defect of one of us.
      if (this.up) {
        this.#log.warn(
          { node: this.node, error: messageOf(error) },
          'a forwarded command had no answer; please report',
        );
      }
      return run.sent ? { kind: 'lost', until: run.until + FORWARD_SLACK } : ELSEWHERE;
    } finally {
      run.over = true;
    }
  }

  async manage(nexus: LunNexus, what: UnitFunction): Promise<boolean> {
    try {
      const { number } = this.#opened(nexus);
      return await this.#ask(ForwardType.manage, encodePair(number, what));
    } catch {
      return false;
    }
  }

  forget(nexus: LunNexus): Promise<void> | undefined {
    const open = this.#open.get(nexus);
    if (open !== undefined) {
      this.#close(nexus, open);
      return this.#confirmed(ForwardType.close, encodePair(open.number, 0));
    }
    // The link broke a moment ago, and what was sent before may still be on its way.
    const harmless = this.#clock.now() >= this.#sentUntil + FORWARD_SLACK;
    return this.#sentAt > this.#brokenAt || harmless ? undefined : this.#harmless();
  }

  release(lu: LogicalUnit): void {
    for (const [nexus, open] of [...this.#open]) {
      if (nexus.lu !== lu) continue;
      open.released = true;
      this.#close(nexus, open);
      if (this.up) this.#confirmed(ForwardType.close, encodePair(open.number, 0)).catch(() => undefined);
    }
  }

  #close(nexus: LunNexus, { number }: OpenNexus): void {
    this.#open.delete(nexus);
    this.#byNumber.delete(number);
  }

  /** Sends it and waits for the answer; when there is none, until the owner no longer begins what has been sent before. */
  async #confirmed(type: number, header: Buffer): Promise<void> {
    try {
      await this.#ask(type, header);
    } catch {
      await this.#harmless();
    }
  }

  /** Until the owner begins nothing any more of what has been sent up to now. */
  async #harmless(): Promise<void> {
    const wait = this.#sentUntil + FORWARD_SLACK - this.#clock.now();
    if (wait > 0) await new Promise<void>((resolve) => this.#clock.after(wait, resolve));
  }

  async #ask(type: number, header: Buffer): Promise<boolean> {
    const reply = await this.#link.request(type, header, [], FORWARD_END_PATIENCE);
    return this.#answer(reply).outcome === Outcome.done;
  }

  /** The nexus, which the owner is told of before its first command. */
  #opened(nexus: LunNexus): OpenNexus {
    const known = this.#open.get(nexus);
    if (known !== undefined) return known;
    const number = this.#numbers.next();
    const { lu, lun, initiator, target, readOnly, owner } = nexus;
    const image = { number, unit: lu.identity.id, lun, readOnly, local: owner.visitor.local, initiator, target };
    const accepted = this.#ask(ForwardType.open, encodeNexus(image)).catch(() => false);
    const open: OpenNexus = { number, accepted, tasks: 0, known: false, released: false };
    this.#open.set(nexus, open);
    this.#byNumber.set(number, nexus);
    // Not the owner, or no longer there: the next command introduces the nexus anew.
    void accepted.then((yes) => {
      open.known = yes;
      if (!yes && this.#open.get(nexus) === open) this.#close(nexus, open);
    });
    return open;
  }

  /**
   * The owner's clock when ours says `until`. It is not behind what is reckoned here: its reading was taken before ours, and its
   * rate may be a little lower.
   */
  #atOwner(until: number): number {
    return this.#ownerClock + (until - this.#clockAt) * (1 - MAX_CLOCK_DRIFT);
  }

  #askClock(): Promise<void> {
    this.#asking ??= this.#ask(ForwardType.clock, NOTHING).then(
      () => {
        this.#asking = undefined;
      },
      (error: unknown) => {
        this.#asking = undefined;
        throw error;
      },
    );
    return this.#asking;
  }

  #answer(reply: ForwardReply): AnswerImage {
    const answer = decodeAnswer(reply.header);
    this.#ownerClock = answer.clock;
    this.#clockAt = this.#clock.now();
    return answer;
  }

  /** The owner does not know a nexus of ours any more. */
  #unknown(nexus: LunNexus, open: OpenNexus): void {
    if (this.#open.get(nexus) !== open) return;
    this.#close(nexus, open);
    if (open.known) nexus.attention(SENSE.nexusLoss);
  }

  /** The owner has lost our nexuses, and with them what it had to tell them (SAM-5 6.3.4). */
  #broken(): void {
    const open = this.#open;
    this.#brokenAt = this.#clock.now();
    this.#open = new Map();
    this.#byNumber.clear();
    this.#clockAt = -Infinity;
    for (const nexus of open.keys()) nexus.attention(SENSE.nexusLoss);
  }

  async #endUnstarted(header: Buffer): Promise<ForwardMessage> {
    const [number, tell] = decodePair(header);
    const nexus = this.#byNumber.get(number);
    const some = nexus !== undefined && (await nexus.owner.abortUnstarted(nexus, tell !== 0));
    return { header: encodePair(number, some ? 1 : 0), pieces: [] };
  }
}

/** Looked at anew after every wait. */
const isOff = (run: Run, nexus: OpenNexus): boolean => run.dropped || nexus.released;

interface Run {
  readonly task: number;
  readonly until: number;
  sent: boolean;
  /** It is not to be sent any more. */
  dropped: boolean;
  over: boolean;
}

function outcomeOf(answer: AnswerImage, data: Buffer): ForwardOutcome {
  switch (answer.outcome) {
    case Outcome.elsewhere:
    case Outcome.nexusUnknown:
      return ELSEWHERE;
    case Outcome.ended:
      return { kind: 'ended', tell: false };
    case Outcome.endedTold:
      return { kind: 'ended', tell: true };
    case Outcome.done: {
      const { status, sense } = answer;
      const result: TaskResult = {
        status,
        ...(data.length === 0 ? {} : { dataIn: [data] }),
        ...(sense === undefined ? {} : { sense }),
      };
      return { kind: 'done', result };
    }
  }
}
