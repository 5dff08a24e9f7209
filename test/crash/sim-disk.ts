// A disk that forgets: what was written and not made stable may be gone after a crash, or half of it may be, in any
// combination. A crash happens at the n-th operation that changes something; from then on nothing comes back.
import { ServiceError } from '../../core/base/errors.ts';
import type { Disk, DiskFile, OpenOptions } from '../../core/base/world.ts';

const PAGE = 4096;
/** What a disk writes in one piece. */
const SECTOR = 512;

export type Random = () => number;

/** Content of one file: pages that are not there are zeros. */
type Pages = Map<number, Buffer>;

interface Pending {
  readonly position: number;
  readonly data: Buffer;
}

interface StoredFile {
  readonly pages: Pages;
  size: number;
  /** Written, not stable: in order. */
  pending: Pending[];
}

/** Files that outlive a crash. */
export class SimStorage {
  readonly files = new Map<string, StoredFile>();

  /** The same files, to go on from in another way. */
  copy(): SimStorage {
    const copy = new SimStorage();
    for (const [path, { pages, size }] of this.files) {
      const same = [...pages].map(([number, page]): [number, Buffer] => [number, Buffer.from(page)]);
      copy.files.set(path, { pages: new Map(same), size, pending: [] });
    }
    return copy;
  }

  /** The power is gone: of what was not stable some survives, whole or in sectors. */
  crash(random: Random): void {
    for (const file of this.files.values()) {
      const fate = random();
      for (const { position, data } of file.pending) {
        const kept = fate < 0.25 ? 0 : fate > 0.75 ? 1 : random();
        for (let at = 0; at < data.length; at += SECTOR) {
          if (random() < kept) store(file.pages, position + at, data.subarray(at, at + SECTOR));
        }
      }
      file.pending = [];
    }
  }
}

/** Counts what changes something, and stops everything at a chosen point. */
export class Power {
  operations = 0;
  /** Number of the operation during which the power fails. */
  failAt = Number.POSITIVE_INFINITY;
  failed: Promise<void>;
  #fail: () => void = () => undefined;
  off = false;

  constructor() {
    this.failed = new Promise((resolve) => (this.#fail = resolve));
  }

  /** Off, as if it had failed. */
  stop(): void {
    this.failAt = this.operations;
    this.off = true;
    this.#fail();
  }

  /** One more operation. True: it does not happen any more. */
  tick(): boolean {
    if (this.off) return true;
    if (++this.operations < this.failAt) return false;
    this.off = true;
    this.#fail();
    return true;
  }
}

/** Never settles: whoever waits for it died with the machine. */
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

export class SimDisk implements Disk {
  readonly #storage: SimStorage;
  readonly power: Power;
  readonly #random: Random;
  /** Operations whose name it returns an error for fail with it. */
  fault: (operation: string, path: string, position: number) => Error | undefined = () => undefined;

  constructor(storage: SimStorage, power: Power, random: Random) {
    this.#storage = storage;
    this.power = power;
    this.#random = random;
  }

  /** Turns of the event loop by which writes of a file are late. */
  late: (path: string) => number = () => 0;

  /** The order in which things happen is any. */
  async wait(late = 0): Promise<void> {
    // Now and then something takes much longer than what came after it.
    const most = this.#random() < 0.06 ? 24 : 3;
    for (let turns = late + Math.floor(this.#random() * most); turns >= 0; turns--) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    if (this.power.off) await never();
  }

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    await this.wait();
    let file = this.#storage.files.get(path);
    if (file === undefined) {
      if (options.create !== true) throw new ServiceError('not-found', `${path} does not exist`);
      file = { pages: new Map<number, Buffer>(), size: 0, pending: [] };
      this.#storage.files.set(path, file);
    }
    return new SimFile(this, path, file, options.syncWrites === true);
  }

  exists(path: string): Promise<boolean> {
    return Promise.resolve(this.#storage.files.has(path));
  }
  remove(path: string): Promise<void> {
    this.#storage.files.delete(path);
    return Promise.resolve();
  }
  makeFolder(): Promise<void> {
    return Promise.resolve();
  }
  readFile(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
  replaceFile(): Promise<void> {
    throw new Error('not used');
  }
}

class SimFile implements DiskFile {
  readonly inMemory = false;
  readonly isDevice = false;
  readonly path: string;
  readonly #disk: SimDisk;
  readonly #file: StoredFile;
  readonly #syncWrites: boolean;

  constructor(disk: SimDisk, path: string, file: StoredFile, syncWrites: boolean) {
    this.#disk = disk;
    this.path = path;
    this.#file = file;
    this.#syncWrites = syncWrites;
  }

  size(): number {
    return this.#file.size;
  }
  readSync(into: Buffer, at: number, length: number, position: number): boolean {
    load(this.#file, into, at, length, position);
    return true;
  }
  writeSync(): void {
    throw new Error('not used');
  }

  async read(into: Buffer, at: number, length: number, position: number): Promise<void> {
    await this.#disk.wait();
    this.#check('read', position);
    if (position + length > this.#file.size) throw Object.assign(new Error('the file ends'), { code: 'EIO' });
    load(this.#file, into, at, length, position);
    await this.#disk.wait();
  }

  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.read(into, at, length, position);
  }

  readSoon(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean {
    this.read(into, at, length, position).then(
      () => {
        done(true);
      },
      () => {
        done(false);
      },
    );
    return true;
  }

  readLargeSoon(into: readonly Buffer[], position: number, done: (whole: boolean) => void): boolean {
    this.readLarge(into, position).then(
      () => {
        done(true);
      },
      () => {
        done(false);
      },
    );
    return true;
  }

  async readLarge(into: readonly Buffer[], position: number): Promise<void> {
    const whole = Buffer.alloc(into.reduce((sum, { length }) => sum + length, 0));
    await this.read(whole, 0, whole.length, position);
    for (let i = 0, at = 0; i < into.length; i++) at += whole.copy(into[i] as Buffer, 0, at);
  }

  async write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    await this.#disk.wait(this.#disk.late(this.path));
    this.#check('write', position);
    const mine = { position, data: Buffer.from(from.subarray(at, at + length)) };
    this.#file.pending.push(mine);
    this.#file.size = Math.max(this.#file.size, position + length);
    if (this.#disk.power.tick()) await never();
    await this.#disk.wait();
    if (!this.#syncWrites) return;
    // What was begun later may be stable already.
    if (this.#disk.power.tick()) await never();
    store(this.#file.pages, position, mine.data);
    this.#file.pending = this.#file.pending.filter((each) => each !== mine);
  }

  async dataSync(): Promise<void> {
    const covered = this.#file.pending.length;
    await this.#disk.wait();
    this.#check('sync', 0);
    if (this.#disk.power.tick()) await never();
    this.#settle(covered);
    await this.#disk.wait();
  }

  /** The oldest `count` writes are stable. */
  #settle(count: number): void {
    for (const { position, data } of this.#file.pending.splice(0, count)) store(this.#file.pages, position, data);
  }

  #check(operation: string, position: number): void {
    const error = this.#disk.fault(operation, this.path, position);
    if (error !== undefined) throw error;
  }

  /** Reads as zeros at once; what of it is stable, and when, is like with a write. */
  async punch(position: number, length: number): Promise<boolean> {
    await this.#disk.wait();
    if (this.#disk.fault('punch', this.path, position) !== undefined) return false;
    this.#file.pending.push({ position, data: Buffer.alloc(length) });
    if (this.#disk.power.tick()) await never();
    await this.#disk.wait();
    return true;
  }
  allocatedBytes(): number {
    return this.#file.pages.size * PAGE;
  }
  changeStamp(): bigint {
    return 0n;
  }
  truncate(size: number): Promise<void> {
    this.#file.size = size;
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** `position` and the length are whole sectors. */
function store(pages: Pages, position: number, data: Buffer): void {
  for (let done = 0; done < data.length;) {
    const number = Math.floor((position + done) / PAGE);
    const from = (position + done) % PAGE;
    const length = Math.min(PAGE - from, data.length - done);
    let page = pages.get(number);
    if (page === undefined) {
      if (isZero(data, done, length)) {
        done += length;
        continue;
      }
      pages.set(number, (page = Buffer.alloc(PAGE)));
    }
    data.copy(page, from, done, done + length);
    done += length;
  }
}

const ZEROS = Buffer.alloc(PAGE);
const isZero = (data: Buffer, at: number, length: number): boolean =>
  ZEROS.compare(data, at, at + length, 0, length) === 0;

function load(file: StoredFile, into: Buffer, at: number, length: number, position: number): void {
  for (let done = 0; done < length;) {
    const from = (position + done) % PAGE;
    const size = Math.min(PAGE - from, length - done);
    const page = file.pages.get(Math.floor((position + done) / PAGE));
    if (page === undefined) into.fill(0, at + done, at + done + size);
    else page.copy(into, at + done, from, from + size);
    done += size;
  }
  for (const { position: start, data } of file.pending) {
    const from = Math.max(start, position);
    const to = Math.min(start + data.length, position + length);
    if (from < to) data.copy(into, at + from - position, from - start, to - start);
  }
}
