// Where the grains of a volume lie in the pool. A map is a list of leaves; leaves are shared between a volume and its
// snapshots and clones until one of them changes something in them, so that copying a map costs one number per 64 MiB.
import { ALL_BLOCKS, BLOCKS, countBlocks } from '../volume/grain.ts';
import { LEAF_GRAINS } from './format.ts';
import { Places, countPlaced, isNowhere } from './places.ts';

/** What owns places in the pool counts references to them. */
export interface PlaceCounts {
  retain(place: number): void;
  /** The same for each of these, which are grains of the pool plus one; 0: none. */
  retainAll(places: Uint32Array): void;
  release(place: number): void;
  /** A reference that somebody had in hand is in a map now. */
  landed(place: number): void;
  /** References in hand to those `after` are in a map now, in place of those to the ones `before`, which are given back. */
  exchange(before: Uint32Array, after: Uint32Array): void;
  /** One of several users is gone, whose references were counted as one. */
  part(place: number): void;
}

/** Bytes of a leaf as it is kept: 1024 places of 4 bytes, then 1024 masks of 2. */
export const LEAF_BYTES = LEAF_GRAINS * 6;

export class Leaf {
  readonly id: number;
  /** Maps that contain this leaf. */
  refs = 1;
  /** Differs from what the metadata store has. */
  dirty = false;
  /** Nobody knows what it names: the metadata store has it damaged. It stands for it until nobody needs it. */
  lost = false;
  /** Grain of the pool plus one; 0: no block of this grain holds data. */
  readonly places: Uint32Array;
  /** Which blocks of the grain hold data; the others read as zeros. Changed by put() only. */
  readonly valid: Uint16Array;
  /** Blocks that hold data. Kept, because a thousand snapshots of a large volume ask for it when a pool is opened. */
  blocks = 0;

  constructor(id: number) {
    const bytes = new ArrayBuffer(LEAF_BYTES);
    this.id = id;
    this.places = new Uint32Array(bytes, 0, LEAF_GRAINS);
    this.valid = new Uint16Array(bytes, LEAF_GRAINS * 4, LEAF_GRAINS);
  }

  /** The same for the grains from `at` on. */
  putAll(at: number, places: Uint32Array, valid: Uint16Array): number {
    const kept = this.blocks;
    for (let i = 0; i < valid.length; i++) {
      const [now, before] = [valid[i] as number, this.valid[at + i] as number];
      // As a rule whole grains come to where there was nothing.
      if (now !== before) this.blocks += (now === ALL_BLOCKS ? BLOCKS : countBlocks(now)) - countBlocks(before);
    }
    this.places.set(places, at);
    this.valid.set(valid, at);
    return this.blocks - kept;
  }

  /** As it is kept; the numbers are big-endian. */
  encode(): Buffer {
    const bytes = Buffer.allocUnsafeSlow(LEAF_BYTES);
    const split = LEAF_GRAINS * 4;
    bytes.set(new Uint8Array(this.places.buffer));
    bytes.subarray(0, split).swap32();
    bytes.subarray(split).swap16();
    return bytes;
  }

  /** Throws RangeError when the bytes are not a leaf. */
  static decode(id: number, bytes: Uint8Array): Leaf {
    if (bytes.length !== LEAF_BYTES) throw new RangeError(`leaf ${String(id)} has ${String(bytes.length)} bytes`);
    const leaf = new Leaf(id);
    const { buffer } = leaf.places;
    Buffer.from(buffer).set(bytes);
    Buffer.from(buffer, 0, LEAF_GRAINS * 4).swap32();
    Buffer.from(buffer, LEAF_GRAINS * 4).swap16();
    for (let i = 0; i < LEAF_GRAINS; i++) leaf.blocks += countBlocks(leaf.valid[i] as number);
    return leaf;
  }

  /** Grain `at` of the leaf lies there from now on; by how many blocks the leaf holds more. */
  put(at: number, place: number, valid: number): number {
    const more = countBlocks(valid) - countBlocks(this.valid[at] as number);
    this.places[at] = place;
    this.valid[at] = valid;
    this.blocks += more;
    return more;
  }
}

/** All leaves of a pool: their numbers, and which of them the metadata store has to learn of. */
export class Leaves {
  readonly #counts: PlaceCounts;
  readonly #changed = new Set<Leaf>();
  /** Numbers of leaves that are gone. */
  #gone: number[] = [];
  #nextId: number;

  constructor(counts: PlaceCounts, nextId: number) {
    this.#counts = counts;
    this.#nextId = nextId;
  }

  get nextId(): number {
    return this.#nextId;
  }

  create(): Leaf {
    const leaf = new Leaf(this.#nextId++);
    this.touch(leaf);
    return leaf;
  }

  touch(leaf: Leaf): void {
    if (leaf.dirty) return;
    leaf.dirty = true;
    this.#changed.add(leaf);
  }

  /** A leaf like this one that nobody else has; everything it names has one more user. */
  copy(leaf: Leaf): Leaf {
    const copy = this.copyUncounted(leaf);
    this.#counts.retainAll(copy.places);
    return copy;
  }

  /** The same while references are not counted yet. */
  copyUncounted(leaf: Leaf): Leaf {
    const copy = this.create();
    copy.places.set(leaf.places);
    copy.valid.set(leaf.valid);
    copy.blocks = leaf.blocks;
    leaf.refs--;
    return copy;
  }

  /** One map less contains the leaf. The last one takes what it names with it. */
  drop(leaf: Leaf): void {
    if (--leaf.refs > 0) {
      if (leaf.refs === 1) for (const place of leaf.places) if (place !== 0) this.#counts.part(place - 1);
      return;
    }
    for (const place of leaf.places) if (place !== 0) this.#counts.release(place - 1);
    this.#changed.delete(leaf);
    this.#gone.push(leaf.id);
  }

  /** The same for a map that the metadata on disk has never known: who is left may write in place at once. */
  dropUnknown(leaf: Leaf): void {
    if (leaf.refs > 1) leaf.refs--;
    else this.drop(leaf);
  }

  /** Puts back what takeChanges gave out: the store has not learned of it. */
  returnChanges(changes: readonly (readonly [number, Buffer | undefined])[], leaves: readonly Leaf[]): void {
    for (const [id, bytes] of changes) if (bytes === undefined) this.#gone.push(id);
    // One that is gone by now is among those that are gone.
    for (const leaf of leaves) if (leaf.refs > 0) this.touch(leaf);
  }

  /** Those that takeChanges would give out with their content. */
  get changed(): readonly Leaf[] {
    return [...this.#changed];
  }

  /** What has changed since the last call, for the metadata store: the content of leaves, undefined for those gone. */
  takeChanges(): [number, Buffer | undefined][] {
    const changes: [number, Buffer | undefined][] = this.#gone.map((id) => [id, undefined]);
    for (const leaf of this.#changed) {
      changes.push([leaf.id, leaf.encode()]);
      leaf.dirty = false;
    }
    this.#changed.clear();
    this.#gone = [];
    return changes;
  }
}

/** As many grains as a leaf has that lie nowhere. */
const NOWHERE = new Places(LEAF_GRAINS);

/** For each leaf with grains of [first, end): its number, the first of them in it, how many, and how many are before them. */
function eachLeaf(
  first: number,
  end: number,
  work: (index: number, at: number, count: number, done: number) => void,
): void {
  for (let grain = first; grain < end;) {
    const at = grain % LEAF_GRAINS;
    const count = Math.min(end - grain, LEAF_GRAINS - at);
    work(Math.floor(grain / LEAF_GRAINS), at, count, grain - first);
    grain += count;
  }
}

/** The map of one volume. Grains are counted from the start of the volume. */
export class VolumeMap {
  readonly leaves: (Leaf | undefined)[];
  readonly #all: Leaves;
  readonly #counts: PlaceCounts;
  /** The list of leaves differs from what the metadata store has. */
  changed = false;
  /** Blocks that hold data, shared or not. */
  blocks = 0;

  constructor(all: Leaves, counts: PlaceCounts, leaves: (Leaf | undefined)[] = []) {
    this.#all = all;
    this.#counts = counts;
    this.leaves = leaves;
    for (const leaf of leaves) this.blocks += leaf?.blocks ?? 0;
  }

  /** Grain of the pool plus one, or 0. */
  place(grain: number): number {
    return this.leaves[Math.floor(grain / LEAF_GRAINS)]?.places[grain % LEAF_GRAINS] ?? 0;
  }

  valid(grain: number): number {
    return this.leaves[Math.floor(grain / LEAF_GRAINS)]?.valid[grain % LEAF_GRAINS] ?? 0;
  }

  /** True when no grain of the leaf that this grain belongs to is anywhere. */
  leafMissing(grain: number): boolean {
    return this.leaves[Math.floor(grain / LEAF_GRAINS)] === undefined;
  }

  /** The last grain of the leaf that this grain belongs to. */
  lastOfLeaf(grain: number): number {
    return (Math.floor(grain / LEAF_GRAINS) + 1) * LEAF_GRAINS - 1;
  }

  /** The first grain behind this one, up to `end`, not all of whose blocks hold data; no further than the leaf goes. */
  fullUpTo(grain: number, end: number): number {
    const leaf = this.leaves[Math.floor(grain / LEAF_GRAINS)];
    const base = grain - (grain % LEAF_GRAINS);
    const last = Math.min(end - base, LEAF_GRAINS);
    let at = grain - base + 1;
    // A leaf all of whose blocks hold data need not be looked at.
    if (leaf?.blocks === LEAF_GRAINS * BLOCKS) return base + last;
    while (at < last && leaf?.valid[at] === ALL_BLOCKS) at++;
    return base + at;
  }

  /** True when no other map names this leaf. */
  ownsLeaf(grain: number): boolean {
    return (this.leaves[Math.floor(grain / LEAF_GRAINS)]?.refs ?? 1) === 1;
  }

  /**
   * The grain lies at `place` (pool grain plus one) from now on, or nowhere (0). The caller hands over one reference to
   * the new place; the reference to the old one is given back.
   */
  set(grain: number, place: number, valid: number): void {
    const index = Math.floor(grain / LEAF_GRAINS);
    const at = grain % LEAF_GRAINS;
    let leaf = this.leaves[index];
    if (leaf === undefined) {
      if (place === 0) return;
      leaf = this.#put(index, this.#all.create());
    } else if (leaf.refs > 1) {
      leaf = this.#put(index, this.#all.copy(leaf));
    }
    const before = leaf.places[at] as number;
    if (before !== place) {
      if (place !== 0) this.#counts.landed(place - 1);
      if (before !== 0) this.#counts.release(before - 1);
    }
    this.blocks += leaf.put(at, place, place === 0 ? 0 : valid);
    this.#all.touch(leaf);
  }

  /** The grains from `first` on, as with set(). */
  setAll(first: number, places: Places): void {
    eachLeaf(first, first + places.count, (index, at, length, done) => {
      this.#setInLeaf(index, at, places.part(done, done + length));
    });
  }

  #setInLeaf(index: number, at: number, { places, valid }: Pick<Places, 'places' | 'valid'>): void {
    let leaf = this.leaves[index];
    if (leaf === undefined) {
      if (isNowhere(places)) return;
      leaf = this.#put(index, this.#all.create());
    } else if (leaf.refs > 1) {
      leaf = this.#put(index, this.#all.copy(leaf));
    }
    this.#counts.exchange(leaf.places.subarray(at, at + places.length), places);
    this.blocks += leaf.putAll(at, places, valid);
    this.#all.touch(leaf);
  }

  /** `count` grains from `first` on, as they are now; one of whose blocks none holds data counts as one that lies nowhere. */
  read(first: number, count: number): Places {
    const found = new Places(count);
    const { places, valid } = found;
    eachLeaf(first, first + count, (index, at, length, done) => {
      const leaf = this.leaves[index];
      if (leaf === undefined) return;
      places.set(leaf.places.subarray(at, at + length), done);
      valid.set(leaf.valid.subarray(at, at + length), done);
    });
    for (let i = 0; i < count; i++) if (valid[i] === 0) places[i] = 0;
    return found;
  }

  /** The same before references are counted (while a pool is being opened). */
  load(grain: number, place: number, valid: number): void {
    const index = Math.floor(grain / LEAF_GRAINS);
    let leaf = this.leaves[index];
    if (leaf === undefined) leaf = this.#put(index, this.#all.create());
    else if (leaf.refs > 1) leaf = this.#put(index, this.#all.copyUncounted(leaf));
    this.blocks += leaf.put(grain % LEAF_GRAINS, place, valid);
    this.#all.touch(leaf);
  }

  #put(index: number, leaf: Leaf): Leaf {
    while (this.leaves.length < index) this.leaves.push(undefined);
    this.leaves[index] = leaf;
    this.changed = true;
    return leaf;
  }

  /** Another map with the same content. */
  share(): VolumeMap {
    for (const leaf of this.leaves) if (leaf !== undefined) leaf.refs++;
    const map = new VolumeMap(this.#all, this.#counts, this.leaves.slice());
    map.changed = true;
    return map;
  }

  /** Takes share() back; this map must not have been committed. It is used up. */
  unshare(): void {
    for (const leaf of this.leaves) if (leaf !== undefined) this.#all.dropUnknown(leaf);
  }

  /** A map with what this one was; this one is empty then. */
  detach(): VolumeMap {
    const map = new VolumeMap(this.#all, this.#counts, this.leaves.splice(0));
    this.blocks = 0;
    this.changed = true;
    return map;
  }

  /** Numbers of the leaves that no other map names. */
  ownLeaves(): number[] {
    return this.leaves.filter((leaf) => leaf?.refs === 1).map((leaf) => (leaf as Leaf).id);
  }

  /** Becomes what `other` is, which is used up. This map must be empty. */
  take(other: VolumeMap): void {
    // A large map has more leaves than a call may have arguments.
    for (const leaf of other.leaves) this.leaves.push(leaf);
    this.blocks = other.blocks;
    this.changed = true;
  }

  /** Grains that lie somewhere. */
  grains(): number {
    return this.placed(0, this.leaves.length * LEAF_GRAINS);
  }

  /** The same of those from `first` up to and without `end`. */
  placed(first: number, end: number): number {
    let count = 0;
    eachLeaf(first, Math.min(end, this.leaves.length * LEAF_GRAINS), (index, at, length) => {
      const places = this.leaves[index]?.places;
      if (places !== undefined) count += countPlaced(places.subarray(at, at + length));
    });
    return count;
  }

  /** The grains from `first` up to and without `end` lie nowhere from now on. */
  clear(first: number, end: number): void {
    eachLeaf(first, Math.min(end, this.leaves.length * LEAF_GRAINS), (index, at, length) => {
      if (length === LEAF_GRAINS) this.dropLeaves(index, index + 1);
      else if (this.leaves[index] !== undefined) this.#setInLeaf(index, at, NOWHERE.part(0, length));
    });
  }

  /** The grains from `first` up to and without `end` that lie somewhere. */
  *mapped(first: number, end: number): Generator<number> {
    for (let grain = first; grain < Math.min(end, this.leaves.length * LEAF_GRAINS); grain++) {
      if (this.leafMissing(grain)) grain = this.lastOfLeaf(grain);
      else if (this.place(grain) !== 0) yield grain;
    }
  }

  /** Forgets the leaves from `from` up to and without `to`. */
  dropLeaves(from: number, to: number): void {
    for (let index = from; index < Math.min(to, this.leaves.length); index++) {
      const leaf = this.leaves[index];
      if (leaf === undefined) continue;
      this.leaves[index] = undefined;
      this.changed = true;
      this.blocks -= leaf.blocks;
      this.#all.drop(leaf);
    }
    while (this.leaves.length > 0 && this.leaves.at(-1) === undefined) this.leaves.pop();
  }

  /** Numbers of the leaves, 0 where there is none. */
  leafIds(): number[] {
    return this.leaves.map((leaf) => leaf?.id ?? 0);
  }
}
