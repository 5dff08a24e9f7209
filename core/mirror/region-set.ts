// A set of regions of a volume: one bit each, with a count, in pages so that an empty part costs nothing.

const PAGE_BYTES = 4096;
const PAGE_BITS = PAGE_BYTES * 8;

export class RegionSet {
  readonly #pages = new Map<number, Uint8Array>();
  #count = 0;

  get count(): number {
    return this.#count;
  }
  get isEmpty(): boolean {
    return this.#count === 0;
  }

  has(region: number): boolean {
    const page = this.#pages.get(Math.floor(region / PAGE_BITS));
    if (page === undefined) return false;
    const bit = region % PAGE_BITS;
    return ((page[bit >> 3] as number) & (1 << (bit & 7))) !== 0;
  }

  /** Every one of [first, last]. */
  hasAll(first: number, last: number): boolean {
    for (let region = first; region <= last; region++) if (!this.has(region)) return false;
    return true;
  }

  hasAny(first: number, last: number): boolean {
    if (this.#count === 0) return false;
    const next = this.next(first);
    return next !== undefined && next <= last;
  }

  add(region: number): void {
    const index = Math.floor(region / PAGE_BITS);
    let page = this.#pages.get(index);
    if (page === undefined) this.#pages.set(index, (page = new Uint8Array(PAGE_BYTES)));
    const bit = region % PAGE_BITS;
    const mask = 1 << (bit & 7);
    const byte = page[bit >> 3] as number;
    if ((byte & mask) !== 0) return;
    page[bit >> 3] = byte | mask;
    this.#count++;
  }

  addRun(first: number, last: number): void {
    for (let region = first; region <= last; region++) this.add(region);
  }

  remove(region: number): void {
    const page = this.#pages.get(Math.floor(region / PAGE_BITS));
    if (page === undefined) return;
    const bit = region % PAGE_BITS;
    const mask = 1 << (bit & 7);
    const byte = page[bit >> 3] as number;
    if ((byte & mask) === 0) return;
    page[bit >> 3] = byte & ~mask;
    this.#count--;
  }

  removeRun(first: number, last: number): void {
    for (let region = first; region <= last; region++) this.remove(region);
  }

  clear(): void {
    this.#pages.clear();
    this.#count = 0;
  }

  /** The first region of the set from `from` on. */
  next(from: number): number | undefined {
    if (this.#count === 0) return undefined;
    const start = Math.floor(from / PAGE_BITS);
    const indexes = [...this.#pages.keys()].filter((index) => index >= start).sort((a, b) => a - b);
    for (const index of indexes) {
      const page = this.#pages.get(index) as Uint8Array;
      const first = index === start ? from % PAGE_BITS : 0;
      for (let byte = first >> 3; byte < PAGE_BYTES; byte++) {
        const bits = (page[byte] as number) & (byte === first >> 3 ? 0xff << (first & 7) : 0xff);
        if (bits !== 0) return index * PAGE_BITS + byte * 8 + (31 - Math.clz32(bits & -bits));
      }
    }
    return undefined;
  }

  /** How many from `from` on, at most `limit`, are in the set without a gap. */
  runFrom(from: number, limit: number): number {
    let length = 0;
    while (length < limit && this.has(from + length)) length++;
    return length;
  }

  /** The pages that are not empty, for keeping. */
  toJson(): Record<string, string> {
    const pages: Record<string, string> = {};
    for (const [index, page] of this.#pages) {
      if (page.some((byte) => byte !== 0)) pages[index] = Buffer.from(page).toString('base64');
    }
    return pages;
  }

  /** Throws when `value` is not from toJson. */
  static fromJson(value: Record<string, string>): RegionSet {
    const set = new RegionSet();
    for (const [index, text] of Object.entries(value)) {
      const page = Buffer.from(text, 'base64');
      if (page.length !== PAGE_BYTES || !/^\d{1,9}$/.test(index)) throw new Error('a page of a region set is damaged');
      set.#pages.set(Number(index), new Uint8Array(page));
      for (const byte of page) set.#count += BITS[byte] as number;
    }
    return set;
  }
}

const BITS = Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);

type Run = readonly [first: number, last: number];

/** What of [first, last] is in the set. */
export function runsOf(set: RegionSet, first: number, last: number): Run[] {
  const runs: Run[] = [];
  for (let at = set.next(first); at !== undefined && at <= last;) {
    const count = set.runFrom(at, last - at + 1);
    runs.push([at, at + count - 1]);
    at = set.next(at + count);
  }
  return runs;
}

/** What of [first, last] is not. */
export function gapsOf(set: RegionSet, first: number, last: number): Run[] {
  const gaps: Run[] = [];
  let from = first;
  for (const [at, to] of runsOf(set, first, last)) {
    if (at > from) gaps.push([from, at - 1]);
    from = to + 1;
  }
  if (from <= last) gaps.push([from, last]);
  return gaps;
}
