// The grains of a pool on its disks: slab files (or parts of a block device), each with the checksums of its grains in
// front. Reads are checked against the checksums; nothing that does not match is handed out.
import { POOL_SUM_PAGES } from '../base/limits.ts';
import type { DiskFile } from '../base/world.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN } from '../volume/grain.ts';
import { diskError } from './disk-error.ts';
import { GRAINS_OF_SUMS, SUMS_OF_GRAIN, sumsBytes } from './format.ts';

/** A slab: `grains` grains in `file`, whose checksum table begins at `position`. */
export interface Slab {
  readonly file: DiskFile;
  /** Bytes. */
  readonly position: number;
  readonly grains: number;
}

/** Checksums of 64 grains, as they lie in one block of a table. */
interface Page {
  readonly sums: Uint32Array;
  dirty: boolean;
}

interface Spot {
  readonly slab: Slab;
  /** Grain within the slab. */
  readonly index: number;
}

export class Slabs {
  readonly #slabs: Slab[] = [];
  readonly #firsts: number[] = [];
  #grains = 0;
  /** By page number over all slabs, least recently loaded first. */
  readonly #pages = new Map<number, Page>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly #unsynced = new Set<DiskFile>();
  /** What sync() is about to make stable. */
  #syncing: ReadonlySet<DiskFile> = new Set();

  /** Grains of all slabs. */
  get grains(): number {
    return this.#grains;
  }

  /** Adds room behind the last grain. A slab has a multiple of 64 grains, so that no two share a page of checksums. */
  add(slab: Slab): void {
    if (slab.grains % GRAINS_OF_SUMS !== 0) throw new RangeError('a slab has a multiple of 64 grains');
    this.#firsts.push(this.#grains);
    this.#slabs.push(slab);
    this.#grains += slab.grains;
  }

  #spot(grain: number): Spot {
    let low = 0;
    for (let high = this.#slabs.length - 1; low < high;) {
      const middle = (low + high + 1) >> 1;
      if ((this.#firsts[middle] as number) <= grain) low = middle;
      else high = middle - 1;
    }
    const slab = this.#slabs[low];
    const index = grain - (this.#firsts[low] ?? 0);
    if (slab === undefined || index >= slab.grains)
      throw new RangeError(`grain ${String(grain)} lies outside the pool`);
    return { slab, index };
  }

  /** The first grain behind those whose checksums are in one block with those of this one; behind its slab. */
  pageEnd(grain: number): number {
    return (Math.floor(grain / GRAINS_OF_SUMS) + 1) * GRAINS_OF_SUMS;
  }

  slabEnd(grain: number): number {
    const { slab, index } = this.#spot(grain);
    return grain - index + slab.grains;
  }

  /** Bytes [from, from+length) of a grain, unchecked. */
  readRaw(grain: number, from: number, length: number, target: Buffer, at: number): Promise<void> {
    const { slab, index } = this.#spot(grain);
    return slab.file.readSmall(target, at, length, slab.position + sumsBytes(slab.grains) + index * GRAIN + from);
  }

  /** The same without a promise; see DiskFile.readSoon. */
  readSoon(
    grain: number,
    from: number,
    length: number,
    target: Buffer,
    at: number,
    done: (whole: boolean) => void,
  ): boolean {
    const { slab, index } = this.#spot(grain);
    const position = slab.position + sumsBytes(slab.grains) + index * GRAIN + from;
    return slab.file.readSoon?.(target, at, length, position, done) === true;
  }

  /** The same for a large read, into several places. */
  readLarge(grain: number, from: number, into: readonly Buffer[]): Promise<void> {
    const { slab, index } = this.#spot(grain);
    return slab.file.readLarge(into, slab.position + sumsBytes(slab.grains) + index * GRAIN + from);
  }

  /** The same without a promise; see DiskFile.readLargeSoon. */
  readLargeSoon(grain: number, from: number, into: readonly Buffer[], done: (whole: boolean) => void): boolean {
    const { slab, index } = this.#spot(grain);
    return (
      slab.file.readLargeSoon?.(into, slab.position + sumsBytes(slab.grains) + index * GRAIN + from, done) === true
    );
  }

  /** Writes blocks of a grain and takes note of their checksums. `from` and `length` are multiples of BLOCK. */
  async write(
    grain: number,
    from: number,
    length: number,
    source: Buffer,
    at: number,
    sums: readonly number[],
  ): Promise<void> {
    const { slab, index } = this.#spot(grain);
    await slab.file.write(source, at, length, slab.position + sumsBytes(slab.grains) + index * GRAIN + from);
    this.#unsynced.add(slab.file);
    const page = await this.#page(grain);
    const first = (grain % GRAINS_OF_SUMS) * BLOCKS + from / BLOCK;
    for (let i = 0; i < sums.length; i++) page.sums[first + i] = sums[i] as number;
    page.dirty = true;
  }

  /** Writes whole grains that lie one behind the other; of `count` as many as are in one slab: how many. Sums as in write. */
  async writeRun(
    first: number,
    count: number,
    source: Buffer,
    at: number,
    sums: readonly Uint32Array[],
  ): Promise<number> {
    const { slab, index } = this.#spot(first);
    const grains = Math.min(count, slab.grains - index);
    const { file } = slab;
    const position = slab.position + sumsBytes(slab.grains) + index * GRAIN;
    await (file.writeLarge?.(source, at, grains * GRAIN, position) ?? file.write(source, at, grains * GRAIN, position));
    this.#unsynced.add(slab.file);
    for (let i = 0; i < grains; i++) await this.setSums(first + i, sums[i] as Uint32Array);
    return grains;
  }

  /** Frees the space of grains one behind the other in a slab, not that of their checksums. False: the disk cannot. */
  punch(first: number, count: number): Promise<boolean> {
    const { slab, index } = this.#spot(first);
    if (index + count > slab.grains) throw new RangeError('the grains are not all in one slab');
    return slab.file.punch(slab.position + sumsBytes(slab.grains) + index * GRAIN, count * GRAIN);
  }

  /** Slabs that are files: grains [first, end), and `bytes` of storage that their data takes now. */
  *files(): Generator<{ readonly first: number; readonly end: number; readonly bytes: () => number }> {
    for (const [i, { file, grains }] of this.#slabs.entries()) {
      const first = this.#firsts[i] as number;
      const bytes = (): number => file.allocatedBytes() - sumsBytes(grains);
      if (!file.isDevice) yield { first, end: first + grains, bytes };
    }
  }

  /** The folder, or the device, the slab of the grain is on. */
  disk(grain: number): string {
    const { path, isDevice } = this.#spot(grain).slab.file;
    return isDevice ? path : path.slice(0, path.lastIndexOf('/'));
  }

  /** What was written to the grains up to now is stable when it resolves; the checksums need not be. */
  async dataSync(): Promise<void> {
    await Promise.all([...new Set([...this.#unsynced, ...this.#syncing])].map((file) => file.dataSync()));
  }

  /**
   * Memory with the checksums of the grain, which begin at sumsAt(grain); undefined: they have to be read, see sums(). Valid
   * until the caller awaits something.
   */
  sumsNow(grain: number): Uint32Array | undefined {
    return this.#pages.get(Math.floor(grain / GRAINS_OF_SUMS))?.sums;
  }

  sumsAt(grain: number): number {
    return (grain % GRAINS_OF_SUMS) * BLOCKS;
  }

  /** Checksums of the 16 blocks of a grain. */
  async sums(grain: number): Promise<Uint32Array> {
    const page = await this.#page(grain);
    const at = (grain % GRAINS_OF_SUMS) * BLOCKS;
    return page.sums.slice(at, at + BLOCKS);
  }

  /** Sets the checksums of blocks of a grain (its data was written by somebody who summed it). */
  async setSums(grain: number, sums: Uint32Array, mask = ALL_BLOCKS): Promise<void> {
    const page = await this.#page(grain);
    const at = (grain % GRAINS_OF_SUMS) * BLOCKS;
    for (let block = 0; block < BLOCKS; block++) {
      if (((mask >> block) & 1) === 1) page.sums[at + block] = sums[block] as number;
    }
    page.dirty = true;
  }

  /** The page with the checksums of the grain. Valid until the caller awaits something. */
  async #page(grain: number): Promise<Page> {
    const number = Math.floor(grain / GRAINS_OF_SUMS);
    for (;;) {
      const present = this.#pages.get(number);
      if (present !== undefined) return present;
      let loading = this.#loading.get(number);
      if (loading === undefined) {
        loading = this.#load(number).finally(() => this.#loading.delete(number));
        this.#loading.set(number, loading);
      }
      await loading;
    }
  }

  async #load(number: number): Promise<void> {
    const { slab, index } = this.#spot(number * GRAINS_OF_SUMS);
    const bytes = Buffer.alloc(BLOCK);
    await slab.file.read(bytes, 0, BLOCK, slab.position + index * SUMS_OF_GRAIN);
    bytes.swap32();
    const page: Page = { sums: new Uint32Array(bytes.buffer, bytes.byteOffset, BLOCK / 4), dirty: false };
    this.#pages.set(number, page);
    this.#evict();
  }

  /** Keeps the number of pages in bounds; dirty ones stay until they are written. */
  #evict(): void {
    for (const [number, page] of this.#pages) {
      if (this.#pages.size <= POOL_SUM_PAGES) return;
      if (!page.dirty) this.#pages.delete(number);
    }
  }

  /**
   * Writes the checksums that changed up to now, then makes everything written up to now stable. One call at a time. Rejects
   * with VolumeError no-space when the checksums found no room: then it can be tried again.
   */
  async sync(): Promise<void> {
    const files = new Set(this.#unsynced);
    this.#unsynced.clear();
    this.#syncing = files;
    try {
      const writes: Promise<void>[] = [];
      for (const [number, page] of this.#pages) {
        if (!page.dirty) continue;
        page.dirty = false;
        writes.push(this.#writePage(number, page, files));
      }
      const written = await Promise.allSettled(writes);
      for (const each of written) if (each.status === 'rejected') throw each.reason;
      await Promise.all([...files].map((file) => file.dataSync()));
    } catch (error) {
      for (const file of files) this.#unsynced.add(file);
      throw error;
    } finally {
      this.#syncing = new Set();
    }
  }

  async #writePage(number: number, page: Page, files: Set<DiskFile>): Promise<void> {
    const { slab, index } = this.#spot(number * GRAINS_OF_SUMS);
    const bytes = Buffer.from(page.sums.buffer.slice(page.sums.byteOffset, page.sums.byteOffset + BLOCK));
    bytes.swap32();
    files.add(slab.file);
    try {
      await slab.file.write(bytes, 0, BLOCK, slab.position + index * SUMS_OF_GRAIN);
    } catch (error) {
      page.dirty = true;
      throw diskError(error);
    }
  }

  /** Bytes that were written and are not known to be stable. */
  get needsSync(): boolean {
    return this.#unsynced.size > 0;
  }

  async close(): Promise<void> {
    for (const file of new Set(this.#slabs.map((slab) => slab.file))) await file.close();
  }
}
