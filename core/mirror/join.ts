// How a replica comes back: it promises to follow, says where its copy may differ, gets those regions and the ones it is
// known to lack while hosts go on, and is admitted when there are none left.
import {
  MIRROR_CONTROL_PATIENCE,
  RESYNC_BUSY_PARALLEL,
  RESYNC_BUSY_RUN,
  RESYNC_PARALLEL,
  RESYNC_RUN,
} from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import { DIGEST_BYTES, digests, readOnce } from './digest.ts';
import type { NodeLink } from './link/peers.ts';
import type { Member } from './member.ts';
import { MirrorMessage, Operation, checkedRanges, json } from './messages.ts';
import type { ByteRange, PromiseMessage, PromiseReply, RangeMessage, VolumeMessage } from './messages.ts';
import { ResyncPace } from './resync-pace.ts';
import type { Order, Term } from './term.ts';

/** How far a resync is. Bytes. */
export interface ResyncProgress {
  readonly left: number;
  readonly total: number;
  /** Of what was sent; the rest was the same already, or empty. */
  readonly copied: number;
  /** Bytes a second that are dealt with. */
  readonly rate: number;
  /** Undefined: not known yet. */
  readonly secondsLeft: number | undefined;
}

export interface JoinOptions {
  /** Bytes a second while hosts are busy. */
  readonly busyRate: () => number;
  /** What the SCSI side keeps. */
  readonly unitState: () => Buffer | undefined;
  /** Where it only might have differed it does. Bytes. */
  readonly differs: (range: ByteRange) => void;
}

export class Join {
  readonly #term: Term;
  readonly #member: Member;
  readonly #link: NodeLink;
  readonly #options: JoinOptions;
  #total = 0;
  #copied = 0;
  #startedAt: number;
  /** Regions somebody copies. */
  readonly #taken = new Set<number>();
  readonly #pace: ResyncPace;
  /** What differs is of interest, also where the copy here is empty: a person, or a blackout, has decided between them. */
  #reports = false;

  constructor(term: Term, member: Member, link: NodeLink, options: JoinOptions) {
    this.#term = term;
    this.#member = member;
    this.#link = link;
    this.#options = options;
    this.#startedAt = term.options.clock.now();
    const { times } = term;
    this.#pace = new ResyncPace({
      ...{ clock: term.options.clock, times, busyAt: () => term.busyAt, ceiling: options.busyRate },
    });
  }

  get progress(): ResyncProgress {
    const left = this.#left * this.#term.options.regions.regionBytes;
    const seconds = (this.#term.options.clock.now() - this.#startedAt) / 1000;
    const rate = seconds > 0 ? Math.max(0, this.#total - left) / seconds : 0;
    const secondsLeft = rate > 0 ? left / rate : undefined;
    return { left, total: this.#total, copied: this.#copied, rate, secondsLeft };
  }

  /** Runs until the replica is in sync, or has failed, or the term is over. Never rejects. */
  async run(): Promise<void> {
    const member = this.#member;
    const { times } = this.#term;
    times.joining++;
    try {
      await this.#begin();
      await Promise.all(Array.from({ length: RESYNC_PARALLEL }, (_, i) => this.#copyAll(i)));
      await this.#admit();
    } catch (error) {
      if (this.#term.isOver) return;
      member.why = messageOf(error);
      if (member.state === 'out') member.postpone(this.#term.options.clock.now());
      else await this.#term.eject(member, messageOf(error));
    } finally {
      times.joining--;
    }
  }

  get #left(): number {
    const { regions } = this.#term.options;
    return regions.dirty(this.#member.node).count + this.#member.doubtful.count;
  }

  get #address(): VolumeMessage {
    return { volume: this.#term.options.volume, epoch: this.#term.epoch, session: this.#member.session };
  }

  async #begin(): Promise<void> {
    const term = this.#term;
    const member = this.#member;
    const { regions, backing } = term.options;
    // A session of its own: what was sent in an earlier one and comes late is refused.
    const session = term.nextSession();
    const { inSync } = term.known.record;
    const message: PromiseMessage = {
      ...{ volume: term.options.volume, epoch: term.epoch, session },
      ...{ member: false, size: backing.info.size, inSync },
    };
    const reply = await this.#link.request(MirrorMessage.promise, json(message), [], MIRROR_CONTROL_PATIENCE);
    term.check();
    const { stamps, size } = JSON.parse(reply.header.toString()) as PromiseReply;
    const intents = checkedRanges(JSON.parse(reply.data.toString()), size);
    const stamp = term.known.record.joined[member.node];
    const isKnown = stamp !== undefined && stamps.includes(stamp) && regions.facts.tracks[member.node] === stamp;
    this.#reports = isKnown || term.known.record.forcedBy !== undefined;
    member.doubtful.clear();
    const last = regions.last(0, backing.info.size);
    // Where all have the same data, a node that was away lacks nothing of it.
    const unsure = term.isShared ? [] : isKnown ? intents : [[0, backing.info.size] as const];
    for (const [position, length] of unsure) {
      if (position < backing.info.size) {
        member.doubtful.addRun(regions.first(position), Math.min(last, regions.last(position, length)));
      }
    }
    // It has become smaller, as an owner, maybe, that died over that: it has nothing of what lies behind its end.
    if (isKnown && size < backing.info.size && !term.isShared) await this.#doubtBehind(size);
    term.check();
    if (!isKnown) {
      // Everything is compared: no note from before means anything, until it is admitted.
      const tracks = Object.fromEntries(Object.entries(regions.facts.tracks).filter(([node]) => node !== member.node));
      if (regions.facts.tracks[member.node] !== undefined) await regions.update({ tracks });
      term.check();
    }
    member.session = session;
    member.sequence = 0;
    member.state = 'joining';
    this.#startedAt = term.options.clock.now();
    this.#total = this.#left * regions.regionBytes;
    term.options.log.info(
      { volume: term.options.volume, peer: member.node, bytes: this.#total, known: isKnown },
      'a replica is brought up to date',
    );
    term.options.onChange();
    if (size !== backing.info.size)
      await this.#send({ operation: Operation.resize, position: 0, length: backing.info.size });
    const state = this.#options.unitState() ?? Buffer.alloc(0);
    await this.#send({ operation: Operation.unitState, position: 0, length: state.length, data: state });
  }

  /** What holds data from `end` on may differ. */
  async #doubtBehind(end: number): Promise<void> {
    const { regions, backing } = this.#term.options;
    for (let at = end; at < backing.info.size;) {
      const [extent] = await backing.extents(at, backing.info.size - at, 1);
      if (extent === undefined) return;
      const { position, length, mapped } = extent;
      if (mapped) this.#member.doubtful.addRun(regions.first(position), regions.last(position, length));
      at = position + length;
    }
  }

  /** Copies what nobody else copies until there is nothing left, as one of several. */
  async #copyAll(number: number): Promise<void> {
    const { regionBytes } = this.#term.options.regions;
    let memory: Buffer | undefined;
    for (;;) {
      this.#check();
      const isBusy = this.#pace.isBusy;
      if (isBusy && number >= RESYNC_BUSY_PARALLEL && this.#left > 0) {
        await this.#pause(20);
        continue;
      }
      // A host that wants something of what is being copied waits for it.
      const run = this.#take(isBusy ? RESYNC_BUSY_RUN : RESYNC_RUN);
      if (run === undefined) {
        if (this.#left === 0 && this.#member.skipping === 0) return;
        // Somebody copies the last ones, or a write that began before is being noted.
        await this.#pause(5);
        continue;
      }
      try {
        await this.#throttle(run[1]);
        await this.#copy(run, (memory ??= Buffer.allocUnsafeSlow(Math.max(RESYNC_RUN, regionBytes))));
      } finally {
        const { regions } = this.#term.options;
        const last = regions.last(...run);
        for (let region = regions.first(run[0]); region <= last; region++) this.#taken.delete(region);
      }
    }
  }

  /** The next run of regions it lacks or may lack; bytes. */
  #take(bytes: number): ByteRange | undefined {
    const { regions, backing } = this.#term.options;
    const { size } = backing.info;
    const most = Math.max(1, Math.floor(bytes / regions.regionBytes));
    for (const set of [regions.dirty(this.#member.node), this.#member.doubtful]) {
      for (let at = set.next(0); at !== undefined; at = set.next(at + 1)) {
        if (this.#taken.has(at)) continue;
        let count = 0;
        while (count < most && set.has(at + count) && !this.#taken.has(at + count)) this.#taken.add(at + count++);
        const position = at * regions.regionBytes;
        if (position < size) return [position, Math.min(count * regions.regionBytes, size - position)];
        // The volume has become smaller: there is nothing to copy.
        this.#has(position, count * regions.regionBytes);
        for (let each = 0; each < count; each++) this.#taken.delete(at + each);
      }
    }
    return undefined;
  }

  /** `memory`: room for all of it; what is in it is sent when this resolves. */
  async #copy([position, length]: ByteRange, memory: Buffer): Promise<void> {
    const term = this.#term;
    const { regions, backing } = term.options;
    const lock = await term.locks.acquire(position, length, true);
    try {
      this.#check();
      const [extent] = await backing.extents(position, length, 1);
      if (extent?.mapped === false && extent.length >= Math.min(length, regions.regionBytes)) {
        const whole = extent.length >= length ? length : extent.length - (extent.length % regions.regionBytes);
        if (this.#reports) await this.#different(position, whole);
        this.#check();
        await this.#send({ operation: Operation.unmap, position, length: whole });
        this.#has(position, whole);
        return;
      }
      const wanted = await this.#different(position, length);
      for (const [at, bytes] of wanted) {
        const data = memory.subarray(0, bytes);
        await readOnce(backing, at, bytes, data);
        this.#check();
        await this.#send({ operation: Operation.write, position: at, length: bytes, data });
        this.#copied += bytes;
      }
      this.#has(position, length);
    } finally {
      lock.release();
    }
  }

  /** What of the range is different there, as far as that is known: regions that only may be are compared. */
  async #different(position: number, length: number): Promise<ByteRange[]> {
    const { regions, backing } = this.#term.options;
    const dirty = regions.dirty(this.#member.node);
    const ranges: ByteRange[] = [];
    const doubtful: ByteRange[] = [];
    const last = regions.last(position, length);
    for (let region = regions.first(position); region <= last; region++) {
      const at = region * regions.regionBytes;
      const range: ByteRange = [at, Math.min(regions.regionBytes, position + length - at)];
      (dirty.has(region) && !regions.unsettled.has(region) ? ranges : doubtful).push(range);
    }
    if (doubtful.length === 0) return [[position, length]];
    const message: RangeMessage = { ...this.#address, ranges: doubtful };
    const [theirs, ours] = await Promise.all([
      this.#link.request(MirrorMessage.digest, json(message), [], MIRROR_CONTROL_PATIENCE),
      digests(backing, doubtful),
    ]);
    this.#check();
    for (const [index, range] of doubtful.entries()) {
      const at = index * DIGEST_BYTES;
      const isSame = theirs.data.subarray(at, at + DIGEST_BYTES).equals(ours.subarray(at, at + DIGEST_BYTES));
      if (isSame) continue;
      ranges.push(range);
      this.#options.differs(range);
    }
    return joined(ranges);
  }

  /** The replica has the range, on stable media. */
  #has(position: number, length: number): void {
    const { regions } = this.#term.options;
    const [first, last] = [regions.first(position), regions.last(position, length)];
    this.#member.doubtful.removeRun(first, last);
    if (regions.dirty(this.#member.node).hasAny(first, last)) regions.copied(this.#member.node, position, length);
  }

  /** It has everything: it counts from now on, then the record says so. */
  async #admit(): Promise<void> {
    const term = this.#term;
    const member = this.#member;
    const { leases, clock, node, volume, log, regions } = term.options;
    // Before the record may name it, nothing is served without its lease.
    let generation = leases.generation(member.node);
    while (!leases.isHeld(member.node, generation)) {
      this.#check();
      await this.#pause(20);
      generation = leases.generation(member.node);
    }
    this.#check();
    if (this.#left > 0 || member.skipping > 0) throw new Error('a write went past the replica');
    // Nothing was waited for since there was nothing left to copy but leases: writes went to it all the time.
    member.state = 'sync';
    member.counts = true;
    const stamp = `${String(term.epoch)}.${String(member.session)}`;
    await this.#link.request(MirrorMessage.admit, json({ ...this.#address, stamp }), [], MIRROR_CONTROL_PATIENCE);
    this.#check();
    if (leases.generation(member.node) === generation) member.generation = generation;
    const done = await term.changeRecord((record) => {
      // It may have failed meanwhile, and the record is about to say so.
      if (!isInSync(member)) return record;
      const inSync = record.replicas.filter(
        (each) => each === node || each === member.node || record.inSync.includes(each),
      );
      return { ...record, inSync, joined: { ...record.joined, [member.node]: stamp } };
    });
    if (!done || !isInSync(member)) return;
    member.settled();
    // What an earlier term has left half done is the same everywhere by now.
    if ([...term.members.values()].every(isInSync)) regions.coolWide();
    const seconds = Math.round((clock.now() - this.#startedAt) / 100) / 10;
    log.info({ volume, peer: member.node, copied: this.#copied, seconds }, 'a replica is in sync again');
    term.options.onChange();
  }

  #check(): void {
    this.#term.check();
    if (this.#member.state !== 'joining' && this.#member.state !== 'sync') throw new Error(this.#member.why);
  }

  async #send(order: Omit<Order, 'fua'>): Promise<void> {
    await this.#term.send(this.#member, { ...order, fua: true }, MIRROR_CONTROL_PATIENCE);
    this.#check();
  }

  /** While hosts are busy, copies keep to a rate that leaves them room. */
  async #throttle(bytes: number): Promise<void> {
    for (let wait = this.#pace.take(bytes); wait > 0 && this.#pace.isBusy; wait -= 20) {
      this.#check();
      await this.#pause(Math.min(20, Math.max(1, wait)));
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#term.options.clock.after(ms, resolve));
  }
}

const isInSync = ({ state }: Member): boolean => state === 'sync';

/** The same ranges, those that touch as one. */
function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const result: ByteRange[] = [];
  for (const [position, length] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = result.at(-1);
    if (last !== undefined && last[0] + last[1] === position) result[result.length - 1] = [last[0], last[1] + length];
    else result.push([position, length]);
  }
  return result;
}
