// The copy of a volume at a node that does not own it: does what the owner it has promised to follow says, in the order it
// says it, and nothing anybody else says.
import { ProtocolError } from '../base/errors.ts';
import { MAX_PEER_PAYLOAD, MAX_UNIT_STATE, WIDE_OPERATION } from '../base/limits.ts';
import { Durability, VolumeError, WriteNow } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import { digests } from './digest.ts';
import { PeerRefusal } from './link/peer-link.ts';
import type { LateAnswer, PeerAnswer } from './link/peer-link.ts';
import { Operation, checkedRanges, json, parseVolumeMessage } from './messages.ts';
import type { OperationHeader, VolumeMessage } from './messages.ts';
import type { CopyPoints } from './points.ts';
import type { Promised, RegionLog } from './region-log.ts';
import { Kept } from './wire/kept.ts';

export interface ReplicaOptions {
  readonly node: string;
  readonly backing: Volume;
  readonly regions: RegionLog;
  readonly durability: Durability;
  /** Of the volume, this one counted. */
  readonly replicas: () => number;
  /** The copy of another volume on this node, where it can be shared from. */
  readonly sourceOf: (volume: string) => Volume | undefined;
  /** Where points in time of the copy are kept; undefined: nowhere. */
  readonly points: CopyPoints | undefined;
  /** True when the record says that nothing will come of our own attempt to become owner, and who is. */
  readonly isOver: (attempt: Promised, owner: string, epoch: number) => Promise<boolean>;
  /** What this node began as an owner does not touch the blocks any more when it resolves. */
  readonly drainOwner: () => Promise<void>;
  /** What was in memory at the last stop may be lost. */
  readonly lostMemory: boolean;
}

/** A write that was taken, and who is told when it is stable. */
interface Taken {
  readonly from: string;
  readonly header: OperationHeader;
  readonly tell: (answer: PeerAnswer | Error) => void;
}

const EMPTY = Buffer.alloc(0);
const OK: PeerAnswer = { header: EMPTY };
/** The data has been copied, or is on the disk. */
const DONE: PeerAnswer = { header: EMPTY, isFree: true };

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #regions: RegionLog;
  #lostMemory: boolean;
  /** Number of the operation that comes next in the session. */
  #next = 1;
  /** A promise is being made: what comes behind it waits. */
  #settling: Promise<void> | undefined;
  #running = 0;
  /** Of the volume, as the owner has told before the record says so. */
  #replicas = 0;
  #drained: (() => void)[] = [];
  /** Writes of which it is still to be asked when they are stable. */
  #taken: Taken[] = [];
  readonly #kept = new Kept();
  /** What the owner said last, for people. */
  joining = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#regions = options.regions;
    this.#lostMemory = options.lostMemory;
    this.joining = options.regions.facts.joining;
  }

  /** What is here may be taken over from: it is what some in-sync replica had. */
  get isWhole(): boolean {
    return !this.#regions.isLost && !this.#regions.facts.joining && !this.#lostMemory;
  }

  /** Follows `from` in a new session: what older ones still send is refused from this turn on. */
  promise(from: string, header: Buffer): Promise<PeerAnswer> {
    const message = parseVolumeMessage(header);
    const before = this.#settling ?? Promise.resolve();
    const settling = before.then(() => this.#promise(from, message, message['member'] === true));
    // The queue behind it goes on whatever becomes of it.
    const settled = settling.then(
      () => undefined,
      () => undefined,
    );
    this.#settling = settled;
    void settled.then(() => {
      if (this.#settling === settled) this.#settling = undefined;
    });
    return settling;
  }

  async #promise(from: string, { epoch, session }: VolumeMessage, member: boolean): Promise<PeerAnswer> {
    const regions = this.#regions;
    const now = regions.promised;
    const isNewer = epoch > now.epoch || (epoch === now.epoch && session > now.session && from === now.owner);
    const isOver = !isNewer && now.owner === this.#options.node && (await this.#options.isOver(now, from, epoch));
    if (!isNewer && !isOver) throw stale(now);
    if (member && !this.isWhole) throw new PeerRefusal('not-in-sync', 'this copy has not everything');
    const promised = { epoch, session, owner: from, revision: 0 };
    this.#next = 1;
    this.joining = !member;
    // In memory at once; then what runs ends; then it is kept. Nothing older can touch the blocks after the answer.
    const kept = regions.update({ promised, joining: !member, clean: false });
    await this.drain();
    await this.#options.drainOwner();
    await kept;
    regions.termOver();
    const stamps = regions.isLost || this.#lostMemory ? [] : regions.facts.stamps;
    const intents = regions.intents(this.#options.backing.info.size);
    return { header: json({ stamps, size: this.#options.backing.info.size }), pieces: [json(intents)] };
  }

  /** Whether what was promised still holds. */
  async confirm(from: string, header: Buffer): Promise<PeerAnswer> {
    const message = parseVolumeMessage(header);
    await this.#settling;
    this.#check(from, message);
    if (typeof message['replicas'] === 'number') this.#replicas = message['replicas'];
    return OK;
  }

  /** Everything is here: the copy gets its mark. */
  async admit(from: string, header: Buffer): Promise<PeerAnswer> {
    const message = parseVolumeMessage(header);
    await this.#settling;
    this.#check(from, message);
    const [last] = this.#regions.facts.stamps;
    const stamp = message['stamp'];
    if (typeof stamp !== 'string') throw new ProtocolError('an admission without a mark');
    // Operations of this session may still be on their way to other replicas: those stay noted.
    this.#regions.coolEarlier();
    // Until the record says which, either mark may be the one it has.
    await this.#regions.update({
      stamps: last === undefined || last === stamp ? [stamp] : [stamp, last],
      joining: false,
    });
    this.#regions.found();
    this.#lostMemory = false;
    this.joining = false;
    this.#check(from, message);
    return OK;
  }

  /** Does an operation of the owner. Throws, or is answered with, what is told to it. Data is lent (PeerLink.handleLent). */
  operation(from: string, header: OperationHeader, data: Buffer): Promise<PeerAnswer> | PeerAnswer | LateAnswer {
    if (this.#settling !== undefined) {
      const kept = this.#kept.keep(data);
      return this.#settling.then(() => {
        this.#count(from, header);
        return this.#operation(from, header, kept);
      });
    }
    this.#count(from, header);
    const isPlain = header.operation === Operation.write && !header.fua;
    const answer = isPlain ? this.#writeNow(from, header, data) : undefined;
    return answer ?? this.#operation(from, header, this.#kept.keep(data));
  }

  /** It is the next one of whom this copy follows. */
  #count(from: string, header: OperationHeader): void {
    this.#check(from, header);
    if (header.sequence !== this.#next)
      throw new PeerRefusal('gap', `operation ${String(header.sequence)} instead of ${String(this.#next)}`);
    this.#next++;
  }

  async #operation(from: string, header: OperationHeader, data: Buffer): Promise<PeerAnswer> {
    this.#running++;
    try {
      await this.#apply(header, data);
    } catch (error) {
      throw asRefusal(error);
    } finally {
      this.#ran(1);
    }
    // Somebody newer may have been promised meanwhile: then this must not be counted on.
    this.#check(from, header);
    return DONE;
  }

  /** A write that is taken in the turn in which it comes, as nearly all are. Undefined: nothing has happened. */
  #writeNow(from: string, header: OperationHeader, data: Buffer): PeerAnswer | LateAnswer | undefined {
    const { backing, durability } = this.#options;
    const { position, length } = header;
    if (position + length > backing.info.size || data.length !== length) return undefined;
    if (this.#notes && (length >= WIDE_OPERATION || !this.#regions.isHot(position, length))) return undefined;
    let taken: WriteNow;
    try {
      taken = backing.writeNow(position, data, 0, length);
    } catch (error) {
      throw asRefusal(error);
    }
    if (taken === WriteNow.refused) return undefined;
    if (this.#notes) this.#used(position, length);
    if (taken === WriteNow.done || durability === Durability.mirroredRam) return DONE;
    this.#running++;
    return (tell) => {
      // All that came in one piece become stable together.
      if (this.#taken.push({ from, header, tell }) > 1) return;
      void Promise.resolve().then(() => {
        this.#whenStable(this.#taken.splice(0));
      });
    };
  }

  #whenStable(taken: readonly Taken[]): void {
    this.#options.backing.whenStable({
      stable: (error) => {
        this.#ran(taken.length);
        for (const { from, header, tell } of taken) {
          // Somebody newer may have been promised meanwhile: then this must not be counted on.
          const isFollowed = this.#follows(from, header);
          tell(error !== undefined ? asRefusal(error) : isFollowed ? DONE : stale(this.#regions.promised));
        }
      },
    });
  }

  #ran(operations: number): void {
    this.#running -= operations;
    if (this.#running === 0) for (const each of this.#drained.splice(0)) each();
  }

  /** Checksums of ranges, behind everything that was said before. */
  async digest(from: string, header: Buffer): Promise<PeerAnswer> {
    const message = parseVolumeMessage(header);
    await this.#settling;
    this.#check(from, message);
    // The owner keeps the range locked: nothing in it is under way.
    const ranges = checkedRanges(message['ranges'], this.#options.backing.info.size);
    return { header: EMPTY, pieces: [await digests(this.#options.backing, ranges)] };
  }

  /** Blocks, for an owner that cannot read its own. */
  async read(from: string, header: Buffer): Promise<PeerAnswer> {
    const message = parseVolumeMessage(header);
    await this.#settling;
    this.#check(from, message);
    const [range] = checkedRanges(message['ranges'], this.#options.backing.info.size);
    if (range === undefined || range[1] > MAX_PEER_PAYLOAD) throw new ProtocolError('nothing to read');
    const data = Buffer.allocUnsafe(range[1]);
    await this.#options.backing.read(range[0], range[1], data, 0);
    this.#check(from, message);
    return { header: EMPTY, pieces: [data] };
  }

  /** Nothing touches the blocks any more when it resolves, but what begins later. */
  async drain(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #check(from: string, message: VolumeMessage): void {
    if (!this.#follows(from, message)) throw stale(this.#regions.promised);
  }

  #follows(from: string, { epoch, session }: VolumeMessage): boolean {
    const now = this.#regions.promised;
    return epoch === now.epoch && session === now.session && from === now.owner;
  }

  async #apply(header: OperationHeader, data: Buffer): Promise<void> {
    const { operation, position, length } = header;
    const { backing } = this.#options;
    if (position + length > backing.info.size && operation !== Operation.resize && operation !== Operation.unitState) {
      throw new ProtocolError('an operation beyond the end of the volume');
    }
    switch (operation) {
      case Operation.write:
      case Operation.atomic: {
        if (data.length !== length) throw new ProtocolError('a write without its data');
        return this.#noted(position, length, () => this.#write(header, data));
      }
      case Operation.zero:
        return this.#noted(position, length, () => backing.zero(position, length));
      case Operation.unmap:
        return this.#noted(position, length, () => backing.unmap(position, length));
      case Operation.share:
        return this.#noted(position, length, () => this.#share(header));
      case Operation.snapshot:
        return this.#point(header, (points, id, created) => points.make(id, created));
      case Operation.rollback:
        return this.#noted(position, length, () => this.#point(header, (points, id) => points.rollback(id)));
      case Operation.flush:
        return backing.flush();
      case Operation.resize:
        return backing.info.size === length ? undefined : backing.resize(length);
      case Operation.unitState: {
        if (data.length > MAX_UNIT_STATE) throw new ProtocolError('too much state');
        return this.#regions.update({ unitState: data.length === 0 ? undefined : data.toString('base64') });
      }
      case Operation.cold: {
        const ranges: unknown = JSON.parse(data.toString());
        if (!Array.isArray(ranges) || !ranges.every(Number.isSafeInteger))
          throw new ProtocolError('regions that are none');
        this.#regions.cool(ranges as number[]);
      }
    }
  }

  /**
   * With three replicas, one that takes over cannot know what the third one has got and it has not: then each notes where it
   * is writing. With two, whoever is not the new owner has been the old one, and has noted everything.
   */
  async #noted(position: number, length: number, work: () => Promise<void>): Promise<void> {
    if (this.#notes) {
      if (length >= WIDE_OPERATION) await this.#regions.noteWide(position, length);
      else {
        while (!this.#regions.isHot(position, length)) await this.#regions.heat(position, length);
        this.#used(position, length);
      }
    }
    await work();
  }

  /** Of what is noted, that is forgotten first which was not written to for longest. */
  #used(position: number, length: number): void {
    this.#regions.begin(position, length);
    this.#regions.end(position, length);
  }

  get #notes(): boolean {
    return Math.max(this.#options.replicas(), this.#replicas) > 2;
  }

  async #write({ operation, position, length, fua }: OperationHeader, data: Buffer): Promise<void> {
    const { backing, durability } = this.#options;
    if (operation === Operation.atomic && backing.writeAtomic !== undefined) {
      return backing.writeAtomic(position, data, 0, length, fua);
    }
    if (fua) return backing.write(position, data, 0, length, true);
    const taken = backing.writeNow(position, data, 0, length);
    if (taken === WriteNow.refused) return backing.write(position, data, 0, length, false);
    if (taken === WriteNow.done || durability === Durability.mirroredRam) return;
    await new Promise<void>((resolve, reject) => {
      backing.whenStable({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }

  async #point(
    { source }: OperationHeader,
    work: (points: CopyPoints, id: string, created: number) => Promise<void>,
  ): Promise<void> {
    const { points } = this.#options;
    if (points === undefined || source === undefined) throw new PeerRefusal('no-points', 'this copy has no snapshots');
    await work(points, source.volume, source.position);
  }

  async #share({ source, position, length }: OperationHeader): Promise<void> {
    const { backing, sourceOf } = this.#options;
    const from = source === undefined ? undefined : sourceOf(source.volume);
    if (source === undefined || from === undefined || backing.shareFrom === undefined) {
      throw new PeerRefusal('cannot-share', 'the source of this copy is not here');
    }
    if (!(await backing.shareFrom(from, source.position, position, length))) {
      throw new PeerRefusal('cannot-share', 'these copies cannot share blocks');
    }
  }
}

function asRefusal(error: unknown): Error {
  if (error instanceof VolumeError) return new PeerRefusal(error.fault, error.message);
  return error instanceof Error ? error : new Error(String(error));
}

function stale({ epoch, session, owner }: Promised): PeerRefusal {
  return new PeerRefusal(
    'stale',
    `this copy follows ${owner === '' ? 'nobody' : owner} in epoch ${String(epoch)}, session ${String(session)}`,
  );
}
