// One term of an owner: from the change of the record that made it the owner until it stands down or is deposed. What was
// begun in a term ends in it: nothing of it is acknowledged later, whatever becomes of the volume.
import {
  HOLD_PATIENCE,
  MIRROR_CONTROL_PATIENCE,
  MIRROR_PATIENCE,
  OWNER_PATIENCE,
  SLOW_REPLICA_MS,
  SLOW_REPLICA_WRITES,
} from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import { RangeLocks } from '../volume/range-locks.ts';
import type { RangeLock } from '../volume/range-locks.ts';
import { Durability, VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import { readRecord } from './config-record.ts';
import type { KnownRecord, MirrorRecord, RecordKeeper } from './config-record.ts';
import type { ConfigStore } from '../cluster/config-store.ts';
import type { Leases } from './lease.ts';
import { PeerRefusal } from './link/peer-link.ts';
import type { NodeLink } from './link/peers.ts';
import { olderVersion, versionOfOperation } from './link/versions.ts';
import { Member } from './member.ts';
import { MirrorMessage, Operation, json, operationHeader } from './messages.ts';
import type { OperationHeader, PromiseMessage, VolumeMessage } from './messages.ts';
import type { RegionLog } from './region-log.ts';
import { WriteTimes } from './resync-pace.ts';
import { Sent } from './sent.ts';
import { isShared } from './shared.ts';

export interface TermOptions {
  readonly volume: string;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: ConfigStore;
  readonly keeper: RecordKeeper;
  readonly leases: Leases;
  readonly linkTo: (node: string) => NodeLink | undefined;
  readonly backing: Volume;
  readonly regions: RegionLog;
  readonly durability: Durability;
  /** The term is over, and not because we wanted it. */
  readonly onDeposed: (why: string) => void;
  /** The disk of this node has failed a write that others have got: somebody else should go on. */
  readonly onMediaError: (why: string) => void;
  /** Something people see has changed. */
  readonly onChange: () => void;
}

/** What an operation is, besides who it is for. */
export type Order = Pick<OperationHeader, 'operation' | 'fua' | 'position' | 'length'> & {
  readonly source?: OperationHeader['source'];
  readonly data?: Buffer;
};

const NOTHING: readonly Buffer[] = [];

export const moved = (why: string): VolumeError => new VolumeError(VolumeFault.moved, why);

export class Term {
  readonly options: TermOptions;
  readonly epoch: number;
  readonly locks = new RangeLocks();
  readonly members = new Map<string, Member>();
  known: KnownRecord;
  /** The highest session given to a replica. */
  #session: number;
  #over: string | undefined;
  #fenced = false;
  /** How commands that wait are told that the term is over, or that they have waited long enough. */
  readonly held = new Set<(error: Error) => void>();
  #changing: Promise<unknown> = Promise.resolve();
  /** When a host asked for something last. */
  busyAt = Number.NEGATIVE_INFINITY;
  readonly times = new WriteTimes();

  constructor(options: TermOptions, known: KnownRecord) {
    this.options = options;
    this.known = known;
    this.epoch = known.record.epoch;
    this.#session = known.record.session;
    for (const node of known.record.replicas) if (node !== options.node) this.members.set(node, new Member(node));
  }

  /** The data is in one place for all nodes: only what the SCSI side keeps has to cross. */
  get isShared(): boolean {
    return isShared(this.options.backing);
  }
  get isOver(): boolean {
    return this.#over !== undefined;
  }
  /** Nobody else counts: nobody else may take over, and everything has to be safe here. */
  get isAlone(): boolean {
    for (const each of this.members.values()) if (each.counts) return false;
    return true;
  }
  /** Writes go to stable media before they are acknowledged, whatever the policy. */
  get writesThrough(): boolean {
    if (this.options.durability !== Durability.mirroredRam) return false;
    for (const each of this.members.values()) if (each.state === 'sync') return false;
    return true;
  }

  /** Takes along the replicas that are in sync already: after a hand-over, in which nothing was under way. */
  begin(): void {
    for (const node of this.known.record.inSync) {
      const member = this.members.get(node);
      if (member === undefined) continue;
      member.counts = true;
      member.state = 'sync';
      member.session = this.nextSession();
      const generation = this.options.leases.generation(node);
      const message = this.#message(member);
      const promise: PromiseMessage = {
        ...message,
        member: true,
        size: this.options.backing.info.size,
        inSync: this.known.record.inSync,
      };
      this.#ask(member, MirrorMessage.promise, promise).then(
        () => {
          if (this.options.leases.generation(node) === generation) member.generation = generation;
          member.settled();
        },
        (error: unknown) => void this.eject(member, messageOf(error)),
      );
    }
  }

  /** Ends the term at once: nothing is served, nothing acknowledged any more. */
  end(why: string): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    for (const fail of [...this.held]) fail(moved(why));
    this.held.clear();
  }

  /** The record says, or may say, that somebody else owns the volume. */
  depose(why: string): void {
    if (this.#over !== undefined) return;
    this.end(why);
    this.options.onDeposed(why);
  }

  /** Throws when the term is over: asked after every wait. */
  check(): void {
    if (this.#over !== undefined) throw moved(this.#over);
  }

  nextSession(): number {
    return ++this.#session;
  }

  /** What is read now is what was acknowledged last: no other node can have taken over. */
  get mayServe(): boolean {
    return this.mayServeAt(this.options.clock.now());
  }

  /** The same, when it is `now` by the clock. */
  mayServeAt(now: number): boolean {
    if (this.#over !== undefined || this.#fenced) return false;
    for (const each of this.members.values()) {
      if (each.counts && !this.options.leases.isHeldAt(each.node, each.generation, now)) return false;
    }
    return true;
  }

  /** Resolves when mayServe is true. Rejects when it does not become so in time. */
  async untilServing(): Promise<void> {
    const { clock } = this.options;
    const end = clock.now() + OWNER_PATIENCE;
    while (!this.mayServe) {
      this.check();
      if (clock.now() >= end) throw moved('no lease from the other node');
      await new Promise<void>((resolve) => clock.after(5, resolve));
    }
  }

  /** This node did not run for a while: the record is read before anything is served. */
  fence(): void {
    this.#fenced = true;
    void this.verify().then(() => {
      this.#fenced = false;
    });
  }

  /** Reads the record until there is an answer; ends the term when it is not ours any more. */
  async verify(): Promise<void> {
    const { store, volume, clock } = this.options;
    while (!this.isOver) {
      try {
        this.learn(await readRecord(store, volume));
        return;
      } catch {
        await new Promise<void>((resolve) => clock.after(100, resolve));
      }
    }
  }

  /** The record as somebody has read it. */
  learn(found: KnownRecord | undefined): void {
    if (this.isOver) return;
    const { record } = found ?? {};
    if (found === undefined || record?.epoch !== this.epoch || record.owner !== this.options.node) {
      this.depose(
        record === undefined ? 'the volume is gone' : `${record.owner} owns it in epoch ${String(record.epoch)}`,
      );
    } else if (found.revision > this.known.revision) {
      this.known = found;
      for (const node of record.replicas) {
        if (node !== this.options.node && !this.members.has(node)) this.members.set(node, new Member(node));
      }
    }
  }

  // ---- members

  /** A link has as much to carry as it may: writes wait before they begin. */
  get isCongested(): boolean {
    for (const { node, state } of this.members.values()) {
      if ((state === 'sync' || state === 'joining') && this.options.linkTo(node)?.data.isBusy === true) return true;
    }
    return false;
  }

  /** Called at every beat: leases that began anew are made good for this volume. */
  beat(): void {
    if (this.isOver) return;
    const { leases } = this.options;
    for (const member of this.members.values()) {
      const generation = leases.generation(member.node);
      if (member.state !== 'sync' || member.isAsking || generation === member.generation) continue;
      member.isAsking = true;
      this.#ask(member, MirrorMessage.confirm, this.#message(member))
        .then(
          () => {
            // Only if there was no gap since the question was sent.
            if (leases.generation(member.node) === generation) member.generation = generation;
          },
          async (error: unknown) => {
            if (error instanceof PeerRefusal) await this.verify();
            if (!this.isOver) await this.eject(member, messageOf(error));
          },
        )
        .finally(() => {
          member.isAsking = false;
        });
    }
  }

  /** Tells a replica how many there will be: with three, each notes where it is writing. Rejects when it does not answer. */
  async tellReplicas(member: Member, replicas: number): Promise<void> {
    await this.#ask(member, MirrorMessage.confirm, { ...this.#message(member), replicas });
  }

  /** The link to a node broke. */
  linkDown(node: string): void {
    const member = this.members.get(node);
    if (member !== undefined && !this.isOver) void this.eject(member, 'the link broke');
  }

  /**
   * Takes a replica out, which has failed: what it lacks is noted, the record says so, and only then what waits for it is
   * acknowledged. Resolves when that is so, or the term is over.
   */
  eject(member: Member, why: string): Promise<void> {
    if (this.isOver || member.state === 'leaving' || member.state === 'out') return member.gone;
    member.state = 'leaving';
    member.why = why;
    member.doubtful.clear();
    member.postpone(this.options.clock.now());
    this.options.log.warn({ volume: this.options.volume, peer: member.node, why }, 'a replica is left out');
    member.gone = this.#eject(member).catch((error: unknown) => {
      this.depose(`what ${member.node} lacks cannot be kept: ${messageOf(error)}`);
    });
    this.#limitHold(member.gone);
    this.options.onChange();
    return member.gone;
  }

  async #eject(member: Member): Promise<void> {
    const { node } = member;
    const { regions, backing, durability } = this.options;
    const lacking = [...member.pending].map(({ position, length }) => [position, Math.max(length, 1)] as const);
    await regions.markDirty([node], lacking);
    if (member.counts) {
      await this.#track(node);
      const left = (record: MirrorRecord): string[] => record.inSync.filter((each) => each !== node);
      const done = await this.changeRecord((record) => ({ ...record, inSync: left(record) }));
      if (!done) return;
      await this.#track(node);
      member.counts = false;
      // Whoever is the last one has nobody who would remember what is in its memory.
      if (durability === Durability.mirroredRam && this.isAlone) await backing.flush();
    }
    if (this.isOver) return;
    member.state = 'out';
    const pending = [...member.pending];
    member.pending.clear();
    for (const each of pending) each.done();
    this.options.onChange();
  }

  /** What a replica lacks is noted from now on, since its last admission. */
  async #track(node: string): Promise<void> {
    const { regions } = this.options;
    const stamp = this.known.record.joined[node];
    if (stamp === undefined || regions.facts.tracks[node] === stamp) return;
    await regions.update({ tracks: { ...regions.facts.tracks, [node]: stamp } });
  }

  /** Changes the record. False: it is not ours any more, and the term is over. Waits as long as that takes. */
  changeRecord(make: (record: MirrorRecord) => MirrorRecord): Promise<boolean> {
    const result = this.#changing.then(async () => {
      while (!this.isOver) {
        const next = { ...make(this.known.record), session: this.#session };
        const outcome = await this.options.keeper.swap(next, this.known.revision, () => !this.isOver);
        if (outcome.done) {
          this.known = outcome.known;
          this.options.onChange();
          return true;
        }
        this.learn(outcome.found);
      }
      return false;
    });
    this.#changing = result.catch(() => undefined);
    return result;
  }

  /** Commands do not wait for `until` for ever. */
  #limitHold(until: Promise<void>): void {
    const timer = this.options.clock.after(HOLD_PATIENCE, () => {
      for (const fail of [...this.held])
        fail(new VolumeError(VolumeFault.moved, 'the configuration store does not answer'));
    });
    void until.then(() => {
      timer.cancel();
    });
  }

  /** The result of `work`, unless the term ends, or the record cannot be changed for too long. */
  bounded<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.held.add(reject);
      if (this.#over !== undefined) reject(moved(this.#over));
      work
        .finally(() => this.held.delete(reject))
        .then(resolve, (error: unknown) => {
          reject(error instanceof Error ? error : new Error(String(error)));
        });
    });
  }

  /** A lock of a range, bounded as `bounded` says: one that is granted when nobody waits for it any more is given back. */
  async lock(position: number, length: number, exclusive: boolean): Promise<RangeLock> {
    this.check();
    const free = this.locks.tryAcquire(position, length, exclusive);
    if (free !== undefined) return free;
    const wanted = this.locks.acquire(position, length, exclusive);
    try {
      return await this.bounded(wanted);
    } catch (error) {
      wanted.then(
        (lock) => {
          lock.release();
        },
        () => undefined,
      );
      throw error;
    }
  }

  // ---- operations

  /** Throws a VolumeError when a replica that gets all operations runs a version that does not know this one. */
  requireKnown(operation: Operation): void {
    const old = this.olderThan(versionOfOperation(operation));
    if (old !== undefined) throw new VolumeError(VolumeFault.notReady, olderVersion(old));
  }

  /** A node that gets operations, or `besides`, and speaks only versions below `since`. */
  olderThan(since: number, besides?: string): string | undefined {
    const nodes = [...this.members.values()].flatMap(({ node, state }) =>
      state === 'sync' || state === 'joining' ? [node] : [],
    );
    return [...nodes, ...(besides === undefined ? [] : [besides])].find((node) => {
      const link = this.options.linkTo(node);
      return link?.up === true && link.version < since;
    });
  }

  /** Who does not get what is written to the range; whoever does not, must have it noted before the acknowledgement. */
  isSkipped(member: Member, position: number, length: number): boolean {
    if (member.state === 'sync') return false;
    if (member.state !== 'joining') return true;
    const { regions } = this.options;
    const [first, last] = [regions.first(position), regions.last(position, length)];
    const dirty = regions.dirty(member.node);
    for (let region = first; region <= last; region++) {
      if (!dirty.has(region) && !member.doubtful.has(region)) return false;
    }
    return true;
  }

  /** Sends an operation to one replica. Resolves when it has it, or does not count any more. Never rejects. */
  send(member: Member, order: Order, patience = MIRROR_PATIENCE): Promise<void> {
    return new Promise((resolve) => {
      this.sendTold(member, order, resolve, patience);
    });
  }

  /** The same without a promise: `done` is called once, maybe before this returns. */
  sendTold(member: Member, order: Order, done: () => void, patience = MIRROR_PATIENCE): void {
    if (this.isShared && order.operation !== Operation.unitState && order.operation !== Operation.resize) {
      done();
      return;
    }
    if (member.state === 'leaving' || member.state === 'out') {
      // It has failed while something else was waited for.
      this.#lacks(member, order).then(done, (error: unknown) => {
        this.depose(`what ${member.node} lacks cannot be kept: ${messageOf(error)}`);
      });
      return;
    }
    const link = this.options.linkTo(member.node);
    const { operation, fua, position, length, source, data } = order;
    const [volume, epoch, session, sequence] = [this.options.volume, this.epoch, member.session, ++member.sequence];
    const header = operationHeader({ volume, epoch, session, sequence, operation, fua, position, length, source });
    const sent = new Sent(this, member, order, done);
    member.pending.add(sent);
    if (link === undefined) {
      void this.eject(member, 'there is no such node');
      return;
    }
    link.ask(MirrorMessage.operation, header, data === undefined ? NOTHING : [data], patience, sent);
  }

  /** Noted, and the record does not name it any more, when it resolves. */
  async #lacks(member: Member, { position, length }: Order): Promise<void> {
    await this.options.regions.markDirty([member.node], [[position, Math.max(length, 1)]]);
    await member.gone;
  }

  /** A replica that answers, but takes long every time, holds up everybody. */
  judge(member: Member, milliseconds: number): void {
    member.slow = milliseconds > SLOW_REPLICA_MS ? member.slow + 1 : 0;
    if (member.slow >= SLOW_REPLICA_WRITES && member.state === 'sync') {
      void this.eject(member, `it is slow: more than ${String(SLOW_REPLICA_MS)} ms for each write`);
    }
  }

  /** Asks a replica something about this volume. */
  #ask(member: Member, type: number, message: unknown): Promise<unknown> {
    const link = this.options.linkTo(member.node);
    if (link === undefined) return Promise.reject(new Error('there is no such node'));
    return link.request(type, json(message), [], MIRROR_CONTROL_PATIENCE);
  }

  #message(member: Member): VolumeMessage {
    return { volume: this.options.volume, epoch: this.epoch, session: member.session };
  }
}
