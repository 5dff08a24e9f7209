// Looks after one volume on one node: reads the record, follows the owner or becomes it, and never both.
import {
  LEASE_GRACE,
  MIRROR_CONTROL_PATIENCE,
  OWNER_PATIENCE,
  OWNER_UNFIT,
  RECORD_LOOK,
  RESYNC_BUSY_RATE,
} from '../base/limits.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { ConfigStore } from '../cluster/config-store.ts';
import { Durability } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import { RecordKeeper, readRecord } from './config-record.ts';
import type { KnownRecord, MirrorRecord } from './config-record.ts';
import { Join } from './join.ts';
import type { Leases } from './lease.ts';
import { PeerRefusal } from './link/peer-link.ts';
import type { NodeLink } from './link/peers.ts';
import type { Member } from './member.ts';
import { MirrorMessage, json } from './messages.ts';
import type { ByteRange, HandOverMessage } from './messages.ts';
import type { CopyPoints } from './points.ts';
import type { Promised, RegionLog } from './region-log.ts';
import type { Ownership, ReplicaStatus, Role } from './ownership.ts';
import { Replica } from './replica.ts';
import { acquireShared, releaseShared } from './shared.ts';
import { Term, moved } from './term.ts';
import { Writer } from './writer.ts';

export interface StewardOptions {
  readonly id: string;
  readonly node: string;
  readonly boot: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: ConfigStore;
  readonly leases: Leases;
  readonly linkTo: (node: string) => NodeLink | undefined;
  readonly backing: Volume;
  readonly regions: RegionLog;
  readonly durability: Durability;
  readonly sourceOf: (volume: string) => Volume | undefined;
  readonly points: CopyPoints | undefined;
  readonly onChange: () => void;
  readonly onDifference: (node: string, range: ByteRange) => void;
  /** Commands on the volume are over, or time is. Before a planned hand-over. */
  readonly quiesce: () => Promise<void>;
}

export class Steward {
  readonly options: StewardOptions;
  readonly replica: Replica;
  term: Term | undefined;
  writer: Writer | undefined;
  /** Bytes a second of a resync while hosts are busy. */
  resyncRate = RESYNC_BUSY_RATE;
  /** Until when this node leaves the volume to others, and until when it does nothing at all about it (a drill). */
  unfitUntil = Number.NEGATIVE_INFINITY;
  idleUntil = Number.NEGATIVE_INFINITY;
  readonly #keeper: RecordKeeper;
  readonly #joins = new Map<string, Join>();
  readonly #turn = new Turn();
  readonly #opened: number;
  #known: KnownRecord | undefined;
  #changing = false;
  #why = 'the record has not been read yet';
  #lookAt = 0;
  #looking = false;
  #closed = false;
  #waiting: (() => void)[] = [];

  constructor(options: StewardOptions) {
    this.options = options;
    const { store, clock, id, boot, regions, durability } = options;
    this.#opened = clock.now();
    this.#keeper = new RecordKeeper({ store, clock, volume: id, boot });
    this.replica = new Replica({
      node: options.node,
      ...{ backing: options.backing, regions, durability, sourceOf: options.sourceOf, points: options.points },
      replicas: () => this.#known?.record.replicas.length ?? 2,
      isOver: (attempt, owner, epoch) => this.#isOver(attempt, owner, epoch),
      drainOwner: () => this.#drainOwner(),
      lostMemory: durability === Durability.mirroredRam && !regions.facts.clean,
    });
  }

  get role(): Role {
    if (this.#changing) return 'changing';
    if (this.term?.isOver === false) return 'owner';
    const isMember = this.#known?.record.inSync.includes(this.options.node) === true;
    if (isMember) return this.replica.isWhole ? 'replica' : 'waiting';
    return this.replica.joining && this.options.regions.promised.session > 0 ? 'joining' : 'waiting';
  }

  get ownership(): Ownership {
    const record = (this.term?.isOver === false ? this.term.known : this.#known)?.record;
    const { epoch = 0, session = 0, owner = '', inSync = [], replicas = [], forcedBy } = record ?? {};
    return {
      ...{ volume: this.options.id, role: this.role, owner, epoch, session },
      ...{ inSync, replicas, forcedBy, why: this.#why },
    };
  }

  /** The other replicas; empty when this node is not the owner. */
  get replicas(): ReplicaStatus[] {
    const term = this.term;
    if (term?.isOver !== false) return [];
    return [...term.members.values()].map((member) => ({
      node: member.node,
      inSync: member.state === 'sync',
      state: member.state,
      why: member.why,
      lacks: this.options.regions.dirty(member.node).count * this.options.regions.regionBytes,
      resync: member.state === 'joining' ? this.#joins.get(member.node)?.progress : undefined,
    }));
  }

  // ---- what happens around it

  /** Called at every beat of the node. */
  beat(): void {
    if (this.#closed) return;
    const { clock, leases } = this.options;
    const term = this.term;
    if (term?.isOver === false) {
      term.beat();
      for (const member of term.members.values()) this.#mayJoin(term, member);
      if (clock.now() < this.#lookAt) return;
    } else {
      const owner = this.#known?.record.owner ?? '';
      const isOther = owner !== '' && owner !== this.options.node;
      if (clock.now() < this.#lookAt && (this.role !== 'replica' || !isOther || !leases.isSilent(owner))) return;
    }
    this.look();
  }

  /** Reads the record, soon, and acts on it. */
  look(): void {
    if (this.#looking || this.#closed || this.options.clock.now() < this.idleUntil) return;
    this.#looking = true;
    this.#lookAt = this.options.clock.now() + RECORD_LOOK;
    void this.#turn
      .run(() => this.#look())
      .catch((error: unknown) => {
        this.#why = messageOf(error);
      })
      .finally(() => {
        this.#looking = false;
      });
  }

  linkUp(node: string): void {
    const member = this.term?.members.get(node);
    if (member !== undefined) member.retryAt = 0;
  }
  linkDown(node: string): void {
    this.term?.linkDown(node);
  }
  stalled(): void {
    this.term?.fence();
  }

  /** Resolves with the writer of the running term; waits while the owner changes. Rejects with a VolumeError. */
  async serving(): Promise<Writer> {
    const { clock } = this.options;
    const end = clock.now() + OWNER_PATIENCE;
    for (;;) {
      if (this.term?.isOver === false && this.writer !== undefined && !this.#changing) return this.writer;
      if (!this.#changing || clock.now() >= end) throw moved(this.#why);
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        clock.after(100, resolve);
      });
    }
  }

  /** Ends the term, if there is one, without handing it over, and does nothing any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.term?.end('the volume is closed here');
    await releaseShared(this.options.backing);
    await this.#drainOwner();
    await this.replica.drain();
  }

  // ---- the record

  async #look(): Promise<void> {
    const { store, id } = this.options;
    let known: KnownRecord | undefined;
    try {
      known = await readRecord(store, id);
    } catch (error) {
      this.#explain(`the configuration store does not answer: ${messageOf(error)}`);
      return;
    }
    if (this.#closed) return;
    if (this.term?.isOver === false) {
      this.term.learn(known);
      return;
    }
    this.#known = known;
    if (known === undefined) this.#explain('the volume has no record');
    else await this.#decide(known);
    this.options.onChange();
  }

  async #decide(known: KnownRecord): Promise<void> {
    const { node, leases, clock, regions } = this.options;
    const { owner, inSync, replicas, joined } = known.record;
    const isOurs = regions.facts.stamps.includes(joined[node] ?? '');
    const others = inSync.filter((each) => each !== node);
    // Whose disk has just failed a write leaves the volume to others, as long as one of them is there.
    const leaves = clock.now() < this.unfitUntil && others.some((each) => !leases.isSilent(each));
    if (!replicas.includes(node)) {
      this.#explain('this node has no replica of it');
    } else if (!inSync.includes(node)) {
      this.#explain(`only ${inSync.join(', ')} has everything: this copy waits for it`);
    } else if (!this.replica.isWhole || !isOurs || leaves) {
      this.#explain('this copy cannot be used: it is lost, or what was in memory is, or its disk fails');
      if (owner === node) await this.#leaveTo(others, known.record.epoch, false);
    } else if (owner === '') {
      // Nobody has served it yet: the first one does; if it does not come, any other.
      if (inSync[0] === node || clock.now() >= this.#opened + LEASE_GRACE) await this.#takeOver(known, { clean: true });
      else this.#explain(`${inSync[0] ?? ''} is about to serve it`);
    } else {
      const promised = regions.promised.owner;
      const keepsOff = [...new Set([owner, promised])].filter(
        (each) => each !== '' && each !== node && !leases.isSilent(each),
      );
      // The volume was made for this node to serve, and nobody has.
      const isNew = owner === node && known.record.epoch === 1 && regions.promised.epoch === 0;
      if (keepsOff.length === 0) await this.#takeOver(known, { clean: isNew });
      else this.#explain(`${keepsOff.join(', ')} serves it`);
    }
  }

  #explain(why: string): void {
    if (why === this.#why) return;
    this.#why = why;
    this.options.onChange();
  }

  /** Nothing will come of our attempt: the record has moved on, and this node owns the volume in this epoch. */
  async #isOver(attempt: Promised, owner: string, epoch: number): Promise<boolean> {
    if (this.term?.isOver === false) return false;
    const known = await readRecord(this.options.store, this.options.id);
    return (
      known !== undefined &&
      known.revision > attempt.revision &&
      known.record.owner === owner &&
      known.record.epoch === epoch
    );
  }

  async #drainOwner(): Promise<void> {
    await this.writer?.drain();
  }

  // ---- becoming owner

  /** `clean`: all in-sync replicas are the same, and stay in sync. `forcedBy`: who takes the blame. */
  async #takeOver(
    known: KnownRecord,
    { clean = false, forcedBy }: { clean?: boolean; forcedBy?: string },
  ): Promise<boolean> {
    const { node, regions, log, id } = this.options;
    const { record, revision } = known;
    const before = regions.promised;
    this.#changing = true;
    this.#explain('this node is about to serve it');
    this.options.onChange();
    try {
      // Kept before it is tried: an attempt whose outcome we never hear of must not find us following somebody else.
      const promised = { epoch: record.epoch + 1, session: 0, owner: node, revision };
      await this.#prepare(record, promised, clean, forcedBy !== undefined);
      await this.replica.drain();
      await this.#drainOwner();
      const inSync = clean ? record.inSync : [node];
      // Before others are left out: if it cannot be done here, one of them may still serve.
      if (this.options.durability === Durability.mirroredRam && inSync.length === 1) await this.options.backing.flush();
      const next: MirrorRecord = {
        ...record,
        epoch: record.epoch + 1,
        session: record.session + 1,
        owner: node,
        inSync,
        forcedBy,
      };
      const outcome = await this.#keeper.swap(next, revision, () => !this.#closed && regions.promised.owner === node);
      if (!outcome.done) {
        // The record has moved on, so that nothing comes of the attempt later.
        if (outcome.found !== undefined && regions.promised.owner === node) await regions.update({ promised: before });
        this.#known = outcome.found ?? this.#known;
        this.#lookAt = 0;
        return false;
      }
      const isMine = (): boolean => regions.promised.owner === node && regions.promised.epoch === record.epoch + 1;
      if (!isMine()) return false; // promised to somebody with a higher epoch meanwhile: the record will say so
      const failed = await acquireShared(this.options, outcome.known.record, isMine);
      if (failed !== undefined) {
        this.#explain(failed);
        return false;
      }
      regions.termOver(); // what an earlier term of ours has left half done is noted as lacking everywhere else
      this.#start(outcome.known);
      const fields = { volume: id, epoch: record.epoch + 1, inSync: inSync.join(' '), from: record.owner, forcedBy };
      log.info(fields, 'this node serves the volume');
      return true;
    } finally {
      this.#changing = false;
      for (const each of this.#waiting.splice(0)) each();
      this.options.onChange();
    }
  }

  /** What others lack is noted from here on: what was under way anywhere, and what they lacked already where that is known. */
  async #prepare(record: MirrorRecord, promised: Promised, clean: boolean, forced: boolean): Promise<void> {
    const { node, regions, backing } = this.options;
    const others = record.replicas.filter((each) => each !== node);
    const tracks: Record<string, string> = {};
    for (const each of others) {
      const stamp = record.joined[each];
      const kept = regions.facts.tracks[each];
      if (forced) regions.forgetDirty(each);
      else if (record.inSync.includes(each)) {
        if (stamp !== undefined) tracks[each] = stamp;
        // What was noted before its last admission it has got since.
        if (kept !== stamp || clean) regions.forgetDirty(each);
      } else if (record.owner === node && kept !== undefined) tracks[each] = kept;
      else regions.forgetDirty(each);
    }
    await regions.update({ promised, tracks, clean: false });
    if (clean) {
      regions.termOver();
      regions.coolAll();
    } else await regions.markUnsettled(others, regions.intents(backing.info.size));
  }

  #start(known: KnownRecord): void {
    const { id, node, clock, log, store, leases, linkTo, backing, regions, durability, onChange } = this.options;
    this.#known = known;
    const term: Term = new Term(
      {
        ...{ volume: id, node, clock, log, store, leases, linkTo, backing, regions, durability, onChange },
        keeper: this.#keeper,
        onDeposed: (why) => {
          this.#ended(term, why);
        },
        onMediaError: (why) => {
          this.unfitUntil = clock.now() + OWNER_UNFIT;
          log.error({ volume: id, why }, 'the disk of this node has failed a write: another node is asked to go on');
          term.depose(`the disk here fails: ${why}`);
        },
      },
      known,
    );
    this.term = term;
    this.writer = new Writer(term);
    this.#joins.clear();
    this.#explain('');
    term.begin();
  }

  #ended(term: Term, why: string): void {
    if (this.term !== term) return;
    this.options.log.warn({ volume: this.options.id, why }, 'this node does not serve the volume any more');
    this.#explain(why);
    this.#lookAt = 0;
    void releaseShared(this.options.backing);
    this.options.onChange();
  }

  #mayJoin(term: Term, member: Member): void {
    const { clock, linkTo } = this.options;
    const link = linkTo(member.node);
    if (link?.up !== true || !member.mayJoin(clock.now())) return;
    member.isAsking = true;
    const join = new Join(term, member, link, {
      busyRate: () => this.resyncRate,
      unitState: () => this.options.regions.unitState,
      differs: this.options.onDifference.bind(undefined, member.node),
    });
    this.#joins.set(member.node, join);
    void join.run().finally(() => {
      member.isAsking = false;
    });
  }

  // ---- standing down

  /**
   * Hands the volume over to a replica that is in sync. Resolves with the milliseconds in which nobody served it; rejects
   * with a ServiceError, and this node goes on.
   */
  handOver(to: string): Promise<number> {
    return this.#turn.run(async () => {
      const { clock, quiesce, id, node, regions, durability, backing } = this.options;
      const term = this.term;
      const writer = this.writer;
      if (term?.isOver !== false || writer === undefined)
        throw new ServiceError('in-use', `${id} is not served by this node`);
      if (to === node) return 0;
      if (term.members.get(to)?.state !== 'sync')
        throw new ServiceError('in-use', `${to} does not have everything yet`);
      const start = clock.now();
      // Served meanwhile: what runs has to end, and the state of the unit is written to all copies.
      await quiesce();
      this.#changing = true;
      this.options.onChange();
      try {
        const reopen = await writer.close();
        try {
          if (durability === Durability.mirroredRam) await backing.flush();
          if (term.members.get(to)?.state !== 'sync') throw new ServiceError('in-use', `${to} has failed`);
        } catch (error) {
          reopen();
          throw error;
        }
        if (term.known.record.inSync.length === term.known.record.replicas.length) regions.coolAll();
        term.end(`${to} serves it`);
        reopen();
        await releaseShared(this.options.backing);
        const took = await this.#leaveTo([to], term.epoch, true);
        if (!took) throw new ServiceError('peer-unreachable', `${to} did not take it: this node goes on`);
        return clock.now() - start;
      } finally {
        this.#changing = false;
        this.#lookAt = 0;
        for (const each of this.#waiting.splice(0)) each();
        this.options.onChange();
        this.look();
      }
    });
  }

  /** Asks others, in order, to take over what this node does not serve any more. */
  async #leaveTo(nodes: readonly string[], epoch: number, clean: boolean): Promise<boolean> {
    const message: HandOverMessage = { volume: this.options.id, epoch, clean };
    for (const each of nodes) {
      const link = this.options.linkTo(each);
      if (link?.up !== true) continue;
      try {
        await link.request(MirrorMessage.handOver, json(message), [], MIRROR_CONTROL_PATIENCE);
        return true;
      } catch (error) {
        this.#why = `${each} did not take it: ${messageOf(error)}`;
      }
    }
    return false;
  }

  /** The owner has stood down in `epoch` and asks this node to go on. */
  asked(from: string, { epoch, clean }: HandOverMessage): Promise<void> {
    return this.#turn.run(async () => {
      const known = await readRecord(this.options.store, this.options.id);
      const { record } = known ?? {};
      if (known === undefined || record?.owner !== from || record.epoch !== epoch) {
        throw new PeerRefusal('stale', `${from} does not own it in epoch ${String(epoch)}`);
      }
      const { regions, node, leases, clock } = this.options;
      const promised = regions.promised.owner;
      const isFree = promised === '' || promised === from || promised === node || leases.isSilent(promised);
      if (!record.inSync.includes(node) || !this.replica.isWhole || !isFree || clock.now() < this.unfitUntil) {
        throw new PeerRefusal('not-in-sync', 'this copy has not everything');
      }
      if (!(await this.#takeOver(known, { clean }))) throw new PeerRefusal('lost', 'somebody else was faster');
    });
  }

  /**
   * A person says that the other nodes are off, and takes this copy for the one that counts, whatever others had written.
   * Rejects with a ServiceError while somebody serves the volume.
   */
  promote(by: string): Promise<void> {
    return this.#turn.run(async () => {
      const { node, store, id, leases, regions } = this.options;
      const known = await readRecord(store, id);
      if (known === undefined) throw new ServiceError('not-found', `there is no mirrored volume ${id}`);
      const { owner } = known.record;
      if (owner === node && this.term?.isOver === false) return;
      for (const each of [owner, regions.promised.owner]) {
        if (each !== '' && each !== node && !leases.isSilent(each))
          throw new ServiceError('in-use', `${each} is not off: it answers`);
      }
      if (regions.facts.joining) throw new ServiceError('in-use', 'this copy is half of one state and half of another');
      this.options.log.error(
        { volume: id, by, inSync: known.record.inSync.join(' ') },
        'this copy is made the one that counts',
      );
      if (!(await this.#takeOver(known, { forcedBy: by })))
        throw new ServiceError('in-use', 'somebody else was faster');
    });
  }
}
