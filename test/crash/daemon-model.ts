// What the disks of a daemon that is killed may hold. Every write has a number of its own for the whole run; every sector
// carries the disk it was written to, its LBA and that number, so that data in a wrong place is recognized.
import assert from 'node:assert/strict';
import { SECTOR } from './record.ts';

/** Instead of an LBA: written by WRITE SAME, which has one block for all. */
const ANY_LBA = 0xffff_ffff;
const MAGIC = 0x6b63_6d67;
const ZEROS = Buffer.alloc(SECTOR);

/** Counts whatever is observed: a command sent, an answer received. */
export class Order {
  #now = 0;
  next(): number {
    return ++this.#now;
  }
  get now(): number {
    return this.#now;
  }
}

/** One command that changes sectors; `serial` 0: to zeros. */
export interface Write {
  readonly serial: number;
  /** Number of the disk it was sent to. */
  readonly owner: number;
  readonly same: boolean;
  readonly sent: number;
  /** When its answer came; Infinity: not yet. */
  ended: number;
  /** Its answer was GOOD: nothing from before it may be seen any more. */
  good: boolean;
}

/** A write as one sector sees it. */
export interface Entry {
  readonly write: Write;
  /** When the answer of a write that was sent after this one had ended came. */
  replacedAt: number;
  /** A write like that is stable: not even a crash brings this one back. */
  gone: boolean;
}

export const NOTHING: Write = { serial: 0, owner: 0, same: false, sent: 0, ended: 0, good: true };

const UNTOUCHED: Entry = { write: NOTHING, replacedAt: Infinity, gone: false };

/** All the writes of a run by their serial. */
export class Writes {
  readonly order = new Order();
  readonly #bySerial: Write[] = [NOTHING];

  begin(owner: number, zeros: boolean, same: boolean): Write {
    const serial = zeros ? 0 : this.#bySerial.length;
    const write = { serial, owner, same, sent: this.order.next(), ended: Infinity, good: false };
    if (!zeros) this.#bySerial.push(write);
    return write;
  }

  get(serial: number): Write | undefined {
    return this.#bySerial[serial];
  }
}

/** The content of one sector of the write, into `target`. */
export function stampSector(write: Write, lba: number, target: Buffer, at: number): void {
  if (write.serial === 0) {
    target.fill(0, at, at + SECTOR);
    return;
  }
  target.writeUInt32LE(MAGIC, at);
  target.writeUInt32LE(write.owner, at + 4);
  target.writeUInt32LE(write.same ? ANY_LBA : lba, at + 8);
  target.writeUInt32LE(write.serial, at + 12);
  for (let done = 16; done < SECTOR; done *= 2) target.copy(target, at + done, at, at + done);
}

/** What a sector is, for a failure message. */
function describe(sector: Buffer, writes: Writes): string {
  if (sector.equals(ZEROS)) return 'zeros';
  if (sector.readUInt32LE(0) !== MAGIC) return `rubbish (${sector.subarray(0, 16).toString('hex')} …)`;
  const [owner, lba, serial] = [4, 8, 12].map((at) => sector.readUInt32LE(at)) as [number, number, number];
  const write = writes.get(serial);
  const where = lba === ANY_LBA ? 'WRITE SAME' : `LBA ${String(lba)}`;
  const found = `write ${String(serial)} to disk ${String(owner)}, ${where}`;
  if (write === undefined) return `${found}, which nobody has sent`;
  const expected = Buffer.alloc(SECTOR);
  stampSector(write, lba, expected, 0);
  const torn = sector.equals(expected) ? '' : ', torn';
  return `${found}${torn} (${timeOf(write)})`;
}

const timeOf = (write: Write): string => `sent ${String(write.sent)}, ended ${String(write.ended)}`;

/** What each sector may hold: candidates, by sector number. Where there is none, zeros. */
export type Content = ReadonlyMap<number, readonly Entry[]>;

/** The rule for `Disk.capture`: what somebody who looks may see, or what may be left after a crash. */
export type Rule = 'live' | 'crash';

/** Wrong sectors that a message lists. */
const SHOWN = 10;
const scratch = Buffer.alloc(SECTOR);

/** The candidate with this serial. Zeros of several commands look the same: together they were there all the time between. */
function matching(candidates: readonly Entry[], serial: number): Entry | undefined {
  const found = candidates.filter(({ write }) => write.serial === serial);
  const [first] = found;
  if (first === undefined || found.length === 1) return first;
  const write = { ...first.write, sent: Math.min(...found.map((each) => each.write.sent)) };
  return { write, replacedAt: Math.max(...found.map((each) => each.replacedAt)), gone: false };
}

/**
 * The write that each sector of `bytes` shows. Throws when it is none of `allowed` (by sector; undefined: zeros only) or
 * when anything but the number is different.
 */
export function seen(
  writes: Writes,
  bytes: Buffer,
  first: number,
  allowed: (sector: number) => readonly Entry[] | 'anything' | undefined,
  what: string,
): (Entry | undefined)[] {
  const found: (Entry | undefined)[] = [];
  const wrong: string[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const sector = first + at / SECTOR;
    const candidates = allowed(sector);
    if (candidates === 'anything') {
      found.push(undefined);
      continue;
    }
    const serial = bytes.readUInt32LE(at) === MAGIC ? bytes.readUInt32LE(at + 12) : 0;
    const entry = candidates === undefined ? undefined : matching(candidates, serial);
    const write = candidates === undefined ? NOTHING : entry?.write;
    if (write !== undefined) {
      stampSector(write, sector, scratch, 0);
      if (bytes.compare(scratch, 0, SECTOR, at, at + SECTOR) === 0) {
        found.push(entry);
        continue;
      }
    }
    const list = candidates?.map((each) => `${String(each.write.serial)} (${timeOf(each.write)})`).join(', ') ?? '0';
    const is = describe(bytes.subarray(at, at + SECTOR), writes);
    wrong.push(`LBA ${String(sector)}: ${is}; allowed: ${list}`);
  }
  const more = wrong.length > SHOWN ? `\n… and ${String(wrong.length - SHOWN)} more` : '';
  assert.equal(wrong.length, 0, `${what}:\n${wrong.slice(0, SHOWN).join('\n')}${more}`);
  return found;
}

interface Range {
  readonly first: number;
  readonly count: number;
}

/**
 * A copy of sectors to the same sectors of another disk. There they show what was written to the source: each of those writes
 * is, for the target, a write of this copy.
 */
export class Copied {
  /** The copy itself. */
  readonly write: Write;
  readonly range: Range;
  readonly #target: DiskModel;
  readonly #writes = new Map<string, Write>();

  constructor(write: Write, range: Range, target: DiskModel) {
    this.write = write;
    this.range = range;
    this.#target = target;
  }

  /** The sector of the target may show what this write wrote to the source. */
  add(sector: number, { serial, owner, same }: Write): void {
    const key = serial === 0 ? '0' : `${String(owner)}/${String(serial)}`;
    let write = this.#writes.get(key);
    if (write === undefined) {
      const { sent, ended } = this.write;
      this.#writes.set(key, (write = { serial, owner, same, sent, ended, good: false }));
    }
    this.#target.mayShow(sector, write);
  }

  /** `good`: all of it was copied; else nobody knows how much. */
  end(good: boolean): void {
    const { write, range } = this;
    const target = this.#target;
    if (good) target.good(write, [range], false);
    else target.bad(write, [range], true);
    for (const each of this.#writes.values()) each.ended = write.ended;
  }
}

/** What one disk may hold. */
export class DiskModel {
  readonly name: string;
  readonly number: number;
  /** Only what was flushed or written with FUA survives a crash. */
  readonly volatile: boolean;
  /** In sectors. */
  sectors: number;
  readonly #writes: Writes;
  #content: Map<number, Entry[]>;
  /** Looks that have not ended: when they began. What was replaced after that must not be forgotten. */
  readonly #looks = new Set<{ readonly since: number }>();
  /** Copies that read this disk just now. */
  readonly #copies = new Set<Copied>();
  /** GOOD, but not stable. */
  #unstable = new Map<Write, { first: number; count: number }[]>();

  constructor(writes: Writes, name: string, number: number, sectors: number, isVolatile: boolean, content?: Content) {
    this.#writes = writes;
    this.name = name;
    this.number = number;
    this.sectors = sectors;
    this.volatile = isVolatile;
    this.#content = settle(content ?? new Map<number, Entry[]>(), writes.order.now);
  }

  // ---- writing

  /** The ranges (in sectors) are being written. */
  begin(write: Write, ranges: readonly { first: number; count: number }[]): void {
    for (const { first, count } of ranges) {
      for (let sector = first; sector < first + count; sector++) this.mayShow(sector, write);
    }
  }

  /** The sector may show this write from now on, and so may what is copied from it. */
  mayShow(sector: number, write: Write): void {
    const entry = { write, replacedAt: Infinity, gone: false };
    const entries = this.#content.get(sector);
    if (entries?.some((each) => each.write === write) === true) return;
    if (entries === undefined)
      this.#content.set(sector, [{ write: NOTHING, replacedAt: Infinity, gone: false }, entry]);
    else entries.push(entry);
    for (const copied of this.#copies) {
      const { first, count } = copied.range;
      if (sector >= first && sector < first + count) copied.add(sector, write);
    }
  }

  // ---- copying

  /** A copy of the range to `target` begins; `over` is called when no more of it is read. */
  copyTo(target: DiskModel, range: Range): { readonly copied: Copied; readonly over: () => void } {
    const copied = new Copied(this.#writes.begin(target.number, true, false), range, target);
    for (let sector = range.first; sector < range.first + range.count; sector++) {
      for (const entry of this.#content.get(sector) ?? [UNTOUCHED]) {
        if (entry.replacedAt === Infinity) copied.add(sector, entry.write);
      }
    }
    this.#copies.add(copied);
    return { copied, over: () => void this.#copies.delete(copied) };
  }

  /** What was caught earlier is copied to the range of this disk. */
  copyFrom(content: Content, range: Range): Copied {
    const copied = new Copied(this.#writes.begin(this.number, true, false), range, this);
    for (let sector = range.first; sector < range.first + range.count; sector++) {
      for (const { write } of content.get(sector) ?? [UNTOUCHED]) copied.add(sector, write);
    }
    return copied;
  }

  /** Somebody copies from it. */
  get isCopied(): boolean {
    return this.#copies.size > 0;
  }

  /** It was answered with GOOD; `stable`: the answer says that it survives. */
  good(write: Write, ranges: readonly { first: number; count: number }[], stable: boolean): void {
    write.ended = this.#writes.order.next();
    write.good = true;
    const isStable = stable || !this.volatile;
    if (!isStable) this.#unstable.set(write, [...ranges]);
    this.#eachEntry(ranges, write, (entry) => {
      if (entry.replacedAt === Infinity) entry.replacedAt = write.ended;
      if (isStable) entry.gone = true;
    });
  }

  /** It was not executed, or nobody knows how much of it was. */
  bad(write: Write, ranges: readonly { first: number; count: number }[], executed: boolean): void {
    write.ended = this.#writes.order.next();
    if (executed) return;
    for (const { first, count } of ranges) {
      for (let sector = first; sector < first + count; sector++) {
        const entries = this.#content.get(sector);
        const at = entries?.findIndex((entry) => entry.write === write) ?? -1;
        if (at >= 0) entries?.splice(at, 1);
      }
    }
  }

  /** A SYNCHRONIZE CACHE that was sent at `sent` was answered with GOOD. */
  flushed(sent: number): void {
    for (const [write, ranges] of [...this.#unstable]) {
      if (write.ended >= sent) continue;
      this.#unstable.delete(write);
      this.#eachEntry(ranges, write, (entry) => (entry.gone = true));
    }
  }

  /** Calls `work` for what is older than `write`, then forgets what nobody needs any more. */
  #eachEntry(ranges: readonly { first: number; count: number }[], write: Write, work: (entry: Entry) => void): void {
    let floor = this.#writes.order.now;
    for (const { since } of this.#looks) floor = Math.min(floor, since);
    for (const { first, count } of ranges) {
      for (let sector = first; sector < first + count; sector++) {
        const entries = this.#content.get(sector) ?? [];
        for (const entry of entries) if (entry.write.ended < write.sent) work(entry);
        if (entries.some((entry) => entry.gone && entry.replacedAt <= floor)) {
          this.#content.set(
            sector,
            entries.filter((entry) => !entry.gone || entry.replacedAt > floor),
          );
        }
      }
    }
  }

  // ---- looking

  /** Something looks at the disk from now on; `end` tells what it may have seen in a sector. */
  look(): { readonly since: number; allowed: (sector: number) => Entry[] | undefined; end: () => void } {
    const look = { since: this.#writes.order.now };
    this.#looks.add(look);
    return {
      since: look.since,
      allowed: (sector) => this.#content.get(sector)?.filter((entry) => entry.replacedAt > look.since),
      end: () => void this.#looks.delete(look),
    };
  }

  /** What somebody may see who looked at an instant between `since` and now. */
  capture(since: number, within?: Range): Content {
    const captured = new Map<number, Entry[]>();
    for (const [sector, entries] of this.#content) {
      if (within !== undefined && (sector < within.first || sector >= within.first + within.count)) continue;
      // Later this may be replaced; that is not about this look.
      const may = entries.filter((entry) => entry.replacedAt > since).map((entry) => ({ ...entry }));
      captured.set(sector, may);
    }
    return captured;
  }

  /** What may be there after a crash, or after an orderly stop (`live`). */
  allowed(sector: number, rule: Rule): readonly Entry[] | undefined {
    const entries = this.#content.get(sector);
    return entries?.filter((entry) => (rule === 'crash' ? !entry.gone : entry.replacedAt === Infinity));
  }

  /** The content is one of these, too. */
  mayBe(other: Content): void {
    for (const sector of new Set([...other.keys(), ...this.#content.keys()])) {
      const zeros = (): Entry[] => [{ write: NOTHING, replacedAt: Infinity, gone: false }];
      const more = (other.get(sector) ?? zeros()).map((entry) => ({ ...entry, replacedAt: Infinity, gone: false }));
      this.#content.set(sector, [...(this.#content.get(sector) ?? zeros()), ...more]);
    }
  }

  /** The content is this. */
  is(content: Content): void {
    this.#content = settle(content, this.#writes.order.next());
    this.#unstable = new Map();
    this.#looks.clear();
  }
}

/** Candidates that were all written before `now`. */
function settle(content: Content, now: number): Map<number, Entry[]> {
  const settled = new Map<number, Entry[]>();
  for (const [sector, entries] of content) {
    settled.set(
      sector,
      entries.map(({ write }) => ({
        write: { ...write, sent: 0, ended: now, good: true },
        replacedAt: Infinity,
        gone: false,
      })),
    );
  }
  return settled;
}

/** What was seen at one instant: fails when there was no such instant. */
export class Instant {
  #after = 0;
  #before = Infinity;
  #newest = '';
  #oldest = '';

  /** `entry` was seen in `sector` of a disk. */
  add(entry: Entry, what: string): void {
    if (entry.write.sent > this.#after) {
      this.#after = entry.write.sent;
      this.#newest = `${what}: write ${String(entry.write.serial)}`;
    }
    if (entry.replacedAt < this.#before) {
      this.#before = entry.replacedAt;
      this.#oldest = `${what}: write ${String(entry.write.serial)}`;
    }
  }

  check(what: string): void {
    assert.ok(
      this.#after < this.#before,
      `${what} is not of one instant: ${this.#newest} was sent at ${String(this.#after)}, when ${this.#oldest} had been replaced at ${String(this.#before)}`,
    );
  }
}
