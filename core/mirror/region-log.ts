// What a node knows of its own copy of a volume, durable: whom it has promised to follow, where writes may be under way
// (intents), which regions every other replica lacks (dirty), and what the SCSI side keeps with the volume.
import {
  HOT_FORGET,
  HOT_REGIONS,
  HOT_RUN,
  HOT_RUN_SHARE,
  MAX_REGIONS,
  MAX_WIDE_NOTES,
  REGION_BYTES,
} from '../base/limits.ts';
import type { World } from '../base/world.ts';
import { FIRST_STAMP } from './config-record.ts';
import type { ByteRange } from './messages.ts';
import { RegionFile } from './region-file.ts';
import { RegionSet, gapsOf, runsOf } from './region-set.ts';

/** Whom the copy follows. Lower ones, by epoch and then by session, are refused. */
export interface Promised {
  readonly epoch: number;
  readonly session: number;
  readonly owner: string;
  /** Of the record the attempt to become owner was made against; 0: it follows somebody else. */
  readonly revision: number;
}

const NOBODY: Promised = { epoch: 0, session: 0, owner: '', revision: 0 };

/** Facts that are kept whole; a change replaces those it names. */
export interface Facts {
  readonly promised: Promised;
  /** Marks of the admissions this copy may carry. */
  readonly stamps: readonly string[];
  /** It is being brought up to date: of no use by itself. */
  readonly joining: boolean;
  /** Per other replica: the mark of the admission since which the dirty regions are complete. */
  readonly tracks: Readonly<Record<string, string>>;
  /** base64. */
  readonly unitState: string | undefined;
  /** The node was stopped in order, and what was in its memory is on stable media. */
  readonly clean: boolean;
}

interface Change {
  hot?: number[];
  cold?: number[];
  wide?: ByteRange[];
  narrow?: ByteRange[];
  dirty?: Record<string, ByteRange[]>;
  copied?: Record<string, ByteRange[]>;
  forget?: string[];
  facts?: Partial<Facts>;
}

interface Whole {
  readonly regionBytes: number;
  readonly hot: readonly number[];
  readonly wide: readonly ByteRange[];
  readonly dirty: Readonly<Record<string, Record<string, string>>>;
  readonly facts: Facts;
}

interface Hot {
  inFlight: number;
  used: number;
}

const isSame = (a: ByteRange, b: ByteRange): boolean => a[0] === b[0] && a[1] === b[1];

export class RegionLog {
  readonly regionBytes: number;
  /** The data is in one place for all nodes: there are facts to keep, and no regions. */
  readonly #shared: boolean;
  facts: Facts;
  /** The files were missing or damaged: the copy is of unknown content. */
  isLost: boolean;
  readonly #file: RegionFile;
  readonly #hot = new Map<number, Hot>();
  readonly #wide: ByteRange[] = [];
  /** Of these, the ones of operations that run. */
  readonly #running: ByteRange[] = [];
  /** Regions that are noted together, so that writes all over the volume seldom wait for a note. */
  readonly #run: number;
  readonly #dirty = new Map<string, RegionSet>();
  /** Dirty because a former life may have been writing there, and not written to since: they may be the same, and are compared. */
  readonly unsettled = new RegionSet();
  #uses = 0;
  /** What was used up to here belongs to a term, or a session, that is over. */
  #earlier = 0;
  #pending: Change = {};
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #writing = false;

  private constructor(
    file: RegionFile,
    regionBytes: number,
    facts: Facts,
    isLost: boolean,
    { size, shared = false }: { size: number; shared?: boolean },
  ) {
    this.#file = file;
    this.#shared = shared;
    this.regionBytes = regionBytes;
    this.#run = Math.max(1, Math.min(HOT_RUN, Math.floor(size / regionBytes / HOT_RUN_SHARE)));
    this.facts = facts;
    this.isLost = isLost;
  }

  /**
   * Opens what `path` names. `fresh`: the volume is being made, and its copy is empty; else, where nothing is found, the copy
   * is of unknown content. `size`: bytes of the volume. `shared`: all nodes have the same data. Rejects with a ServiceError.
   */
  static async open(world: World, path: string, size: number, fresh: boolean, shared = false): Promise<RegionLog> {
    if (fresh) await RegionFile.remove(world, path);
    const { file, stored } = await RegionFile.open(world, path);
    const whole = stored.state as Whole | undefined;
    const isLost = !fresh && (whole === undefined || stored.damaged);
    const stamps = fresh ? [FIRST_STAMP] : [];
    // What is of unknown content stays so over any number of starts, until it has been made whole.
    const joining = isLost;
    const about = { size, shared };
    const none: Facts = { promised: NOBODY, stamps, joining, tracks: {}, unitState: undefined, clean: fresh };
    if (whole === undefined || isLost) {
      // The promise survives where it can: a lost bitmap is no reason to follow somebody of the past.
      const promised = whole?.facts.promised ?? NOBODY;
      const log = new RegionLog(file, whole?.regionBytes ?? regionBytesFor(size), { ...none, promised }, isLost, about);
      await file.checkpoint(log.#whole());
      return log;
    }
    const log = new RegionLog(file, whole.regionBytes, whole.facts, false, about);
    for (const region of whole.hot) log.#hot.set(region, { inFlight: 0, used: 0 });
    log.#wide.push(...whole.wide);
    for (const [node, pages] of Object.entries(whole.dirty)) log.#dirty.set(node, RegionSet.fromJson(pages));
    for (const change of stored.changes) log.#apply(change as Change);
    return log;
  }

  /**
   * Begins the notes of a copy that is there already, and whole: no other one is known yet. `size`: bytes of the volume.
   * `unitState`: what the SCSI side goes on with.
   */
  static async begin(world: World, path: string, size: number, unitState: Buffer | undefined): Promise<void> {
    const log = await RegionLog.open(world, path, size, true);
    if (unitState !== undefined) await log.update({ unitState: unitState.toString('base64') });
    await log.close();
  }

  /** The files are gone when it resolves: the volume is deleted. */
  static remove(world: World, path: string): Promise<void> {
    return RegionFile.remove(world, path);
  }

  get promised(): Promised {
    return this.facts.promised;
  }

  /** The copy has been made whole again. */
  found(): void {
    this.isLost = false;
  }

  get unitState(): Buffer | undefined {
    const text = this.facts.unitState;
    return text === undefined ? undefined : Buffer.from(text, 'base64');
  }

  first(position: number): number {
    return Math.floor(position / this.regionBytes);
  }
  last(position: number, length: number): number {
    return Math.floor((position + length - 1) / this.regionBytes);
  }

  /** True when writing to the range needs no note. */
  isHot(position: number, length: number): boolean {
    if (this.#shared) return true;
    const last = this.last(position, length);
    for (let region = this.first(position); region <= last; region++) if (!this.#hot.has(region)) return false;
    return true;
  }

  /** The range is noted as being written to, durably, when it resolves. Rejects when it cannot be. */
  heat(position: number, length: number): Promise<void> {
    if (this.isHot(position, length)) return Promise.resolve();
    const fresh: number[] = [];
    const first = this.first(position);
    const end = this.last(position, length) + 1;
    // Those beside it as well, even beyond the end of the volume, where a note says nothing.
    const from = first - (first % this.#run);
    const to = Math.ceil(end / this.#run) * this.#run;
    for (let region = from; region < to; region++) if (!this.#hot.has(region)) fresh.push(region);
    const cold = this.#hot.size + fresh.length > HOT_REGIONS ? this.#coldest() : [];
    // Regions count as hot when they are noted, and only then.
    return this.#change({ hot: fresh, cold });
  }

  /** Writing begins in the range, which is hot. */
  begin(position: number, length: number): void {
    if (this.#shared) return;
    const last = this.last(position, length);
    for (let region = this.first(position); region <= last; region++) {
      const hot = this.#hot.get(region);
      if (hot === undefined) this.#hot.set(region, { inFlight: 1, used: ++this.#uses });
      else {
        hot.inFlight++;
        hot.used = ++this.#uses;
      }
    }
  }

  /** What began is in every copy that counts, or noted as missing. */
  end(position: number, length: number): void {
    if (this.#shared) return;
    const last = this.last(position, length);
    for (let region = this.first(position); region <= last; region++) {
      const hot = this.#hot.get(region);
      if (hot !== undefined && hot.inFlight > 0) hot.inFlight--;
    }
  }

  /** The same as heat and begin for an operation on a large range, which is noted as such. */
  async beginWide(position: number, length: number): Promise<void> {
    if (this.#shared) return;
    const range: ByteRange = [position, length];
    this.#running.push(range);
    await this.#change({ wide: [range] });
  }
  /**
   * As beginWide, of what nobody says the end of: until termOver() it may be under way to others. Of very many, the oldest are
   * forgotten: they have ended long ago.
   */
  async noteWide(position: number, length: number): Promise<void> {
    if (this.#shared) return;
    const range: ByteRange = [position, length];
    const isThere = (each: ByteRange): boolean => isSame(each, range);
    const at = this.#running.findIndex(isThere);
    if (at >= 0) this.#running.splice(at, 1);
    this.#running.push(range);
    if (at >= 0 && this.#wide.some(isThere)) return;
    const oldest = this.#running.length > MAX_WIDE_NOTES ? this.#running.shift() : undefined;
    await this.#change({ wide: [range], narrow: oldest === undefined ? [] : [oldest] });
  }
  /** It is over. The note goes with the next record. */
  endWide(position: number, length: number): void {
    if (this.#shared) return;
    const range: ByteRange = [position, length];
    const at = this.#running.findIndex((each) => isSame(each, range));
    // It was begun in a term that is over, and nobody waits for it any more (termOver).
    if (at < 0) return;
    this.#running.splice(at, 1);
    this.#remember({ narrow: [range] });
  }

  /** Where writes may have been under way; merged, in order. Bytes. */
  intents(size: number): ByteRange[] {
    const set = new RegionSet();
    for (const region of this.#hot.keys()) set.add(region);
    const ranges: ByteRange[] = [];
    for (let at = set.next(0); at !== undefined;) {
      const count = set.runFrom(at, MAX_REGIONS);
      const position = at * this.regionBytes;
      if (position < size) ranges.push([position, Math.min(count * this.regionBytes, size - position)]);
      at = set.next(at + count);
    }
    for (const [position, length] of this.#wide) {
      if (position < size) ranges.push([position, Math.min(length, size - position)]);
    }
    return ranges;
  }

  /** Regions a replica lacks. */
  dirty(node: string): RegionSet {
    let set = this.#dirty.get(node);
    if (set === undefined) this.#dirty.set(node, (set = new RegionSet()));
    return set;
  }

  isDirty(node: string, position: number, length: number): boolean {
    if (this.#shared) return true;
    return this.#dirty.get(node)?.hasAll(this.first(position), this.last(position, length)) === true;
  }

  /** It is noted that the replica lacks what is written to the range from now on. */
  isNoted(node: string, position: number, length: number): boolean {
    return (
      this.isDirty(node, position, length) && !this.unsettled.hasAny(this.first(position), this.last(position, length))
    );
  }

  /** The replicas lack these ranges: durable when it resolves. Rejects when it cannot be. */
  markDirty(nodes: readonly string[], ranges: readonly ByteRange[]): Promise<void> {
    if (!this.unsettled.isEmpty)
      for (const range of ranges) this.unsettled.removeRun(this.first(range[0]), this.last(...range));
    const missing: Record<string, ByteRange[]> = {};
    for (const node of nodes) {
      const lacking = ranges.filter(([position, length]) => !this.isDirty(node, position, length));
      if (lacking.length > 0) missing[node] = lacking;
    }
    return Object.keys(missing).length === 0 ? Promise.resolve() : this.#change({ dirty: missing });
  }

  /** As markDirty, of ranges where this node, in a life before, may have been writing: nobody knows whether they differ. */
  async markUnsettled(nodes: readonly string[], ranges: readonly ByteRange[]): Promise<void> {
    await this.markDirty(nodes, ranges);
    this.unsettled.clear();
    for (const range of ranges) this.unsettled.addRun(this.first(range[0]), this.last(...range));
  }

  /**
   * As markDirty, of a range of which it turns out later whether they lack it. The function that comes takes back what this has
   * noted; nothing else may be noted of the range until then. Rejects as markDirty does.
   */
  async markForNow(nodes: readonly string[], position: number, length: number): Promise<() => void> {
    const [first, last] = [this.first(position), this.last(position, length)];
    const added = nodes.map((node) => [node, gapsOf(this.dirty(node), first, last)] as const);
    const unsettled = runsOf(this.unsettled, first, last);
    await this.markDirty(nodes, [[position, length]]);
    return () => {
      for (const [from, to] of unsettled) this.unsettled.addRun(from, to);
      for (const [node, gaps] of added)
        for (const [from, to] of gaps) this.copied(node, from * this.regionBytes, (to - from + 1) * this.regionBytes);
    };
  }

  /** The replica has this range. Forgotten at once, on disk with the next record. */
  copied(node: string, position: number, length: number): void {
    const change: Change = { copied: { [node]: [[position, length]] } };
    this.#apply(change);
    this.#remember(change);
  }

  /** What was noted of the replica is of no use: a new note begins. */
  forgetDirty(node: string): void {
    this.#apply({ forget: [node] });
    this.#remember({ forget: [node] });
  }

  /** Changes facts, durably. What was noted before is on stable media, too. */
  update(facts: Partial<Facts>): Promise<void> {
    this.facts = { ...this.facts, ...facts };
    return this.#change({ facts });
  }

  /** These regions are the same in all copies: no note of them is needed any more. */
  cool(regions: readonly number[]): void {
    this.#remember({ cold: [...regions] });
    this.#apply({ cold: [...regions] });
  }

  /** No operation of ours is under way: what has begun, and has never come to its end, belongs to a term that is over. */
  termOver(): void {
    for (const hot of this.#hot.values()) hot.inFlight = 0;
    this.#running.length = 0;
    this.#earlier = this.#uses;
  }

  /** Everything noted as being written to is the same in all copies. */
  coolAll(): void {
    this.#coolUpTo(this.#uses);
  }

  /** What was noted before the last termOver() is; what is noted since may be on its way to some of them. */
  coolEarlier(): void {
    this.#coolUpTo(this.#earlier);
  }

  #coolUpTo(last: number): void {
    const idle = [...this.#hot].filter(([, { inFlight, used }]) => inFlight === 0 && used <= last);
    this.cool(idle.map(([region]) => region));
    this.coolWide();
  }

  /** Of that, the large ranges. */
  coolWide(): void {
    const narrow = this.#wide.filter((range) => !this.#running.some((each) => isSame(each, range)));
    this.#remember({ narrow });
    this.#apply({ narrow });
  }

  async close(): Promise<void> {
    await this.#change({});
    await this.#file.close();
  }

  /** The least lately used regions nobody is writing to. Of an earlier term nothing is forgotten before it has been compared. */
  #coldest(): number[] {
    const kept = this.facts.joining ? this.#earlier : -1;
    const idle = [...this.#hot].filter(([, { inFlight, used }]) => inFlight === 0 && used > kept);
    idle.sort(([, a], [, b]) => a.used - b.used);
    return idle.slice(0, HOT_FORGET).map(([region]) => region);
  }

  #remember(change: Change): void {
    this.#pending = merged(this.#pending, change);
  }

  /** Notes a change; it takes effect, and the promise resolves, when it is on stable media. */
  #change(change: Change): Promise<void> {
    this.#remember(change);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      const change = this.#pending;
      this.#pending = {};
      // What is being written to again meanwhile stays noted.
      if (change.cold !== undefined)
        change.cold = change.cold.filter((region) => (this.#hot.get(region)?.inFlight ?? 0) === 0);
      for (const region of change.cold ?? []) this.#hot.delete(region);
      try {
        // Whatever a failed append has left behind: it belongs to a generation that counts no more.
        if (this.#file.isBroken) await this.#file.checkpoint(this.#whole());
        await this.#file.append(change);
        this.#apply(change);
        if (this.#file.isFull) await this.#file.checkpoint(this.#whole());
        for (const each of waiting) each.resolve();
      } catch (error) {
        for (const each of waiting) each.reject(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#writing = false;
  }

  #apply(change: Change): void {
    for (const region of change.cold ?? []) {
      const hot = this.#hot.get(region);
      if (hot === undefined || hot.inFlight === 0) this.#hot.delete(region);
    }
    for (const region of change.hot ?? []) {
      if (!this.#hot.has(region)) this.#hot.set(region, { inFlight: 0, used: ++this.#uses });
    }
    // Before those that are new: the same range may be written to once more.
    for (const range of change.narrow ?? []) {
      const at = this.#wide.findIndex((each) => isSame(each, range));
      if (at >= 0) this.#wide.splice(at, 1);
    }
    this.#wide.push(...(change.wide ?? []));
    for (const node of change.forget ?? []) this.#dirty.delete(node);
    this.#mark(change.copied, false);
    this.#mark(change.dirty, true);
    if (change.facts !== undefined) this.facts = { ...this.facts, ...change.facts };
  }

  #mark(ranges: Record<string, ByteRange[]> | undefined, dirty: boolean): void {
    for (const [node, each] of Object.entries(ranges ?? {})) {
      const set = this.dirty(node);
      for (const [position, length] of each) {
        if (dirty) set.addRun(this.first(position), this.last(position, length));
        else set.removeRun(this.first(position), this.last(position, length));
      }
    }
  }

  #whole(): Whole {
    const dirty = Object.fromEntries([...this.#dirty].map(([node, set]) => [node, set.toJson()]));
    return { regionBytes: this.regionBytes, hot: [...this.#hot.keys()], wide: this.#wide, dirty, facts: this.facts };
  }
}

/** Bytes of a region of a volume of `size` bytes. */
export function regionBytesFor(size: number): number {
  let bytes = REGION_BYTES;
  while (size / bytes > MAX_REGIONS) bytes *= 2;
  return bytes;
}

/** Both changes, the second one after the first. */
function merged(a: Change, b: Change): Change {
  const result: Change = { ...a };
  if (b.hot !== undefined) result.hot = [...(a.hot ?? []), ...b.hot];
  if (b.cold !== undefined) result.cold = [...(a.cold ?? []), ...b.cold];
  if (b.wide !== undefined) result.wide = [...(a.wide ?? []), ...b.wide];
  if (b.narrow !== undefined) result.narrow = [...(a.narrow ?? []), ...b.narrow];
  if (b.forget !== undefined) result.forget = [...(a.forget ?? []), ...b.forget];
  // A range that was copied and is lacking again, or the other way round, counts as lacking: it is copied once more.
  if (b.dirty !== undefined) result.dirty = mergedRanges(a.dirty, b.dirty);
  if (b.copied !== undefined) result.copied = mergedRanges(a.copied, b.copied);
  if (b.facts !== undefined) result.facts = { ...a.facts, ...b.facts };
  return result;
}

function mergedRanges(
  a: Record<string, ByteRange[]> | undefined,
  b: Record<string, ByteRange[]>,
): Record<string, ByteRange[]> {
  const result = { ...a };
  for (const [node, ranges] of Object.entries(b)) result[node] = [...(result[node] ?? []), ...ranges];
  return result;
}
