// The disks of a machine: small files (the log of regions), and the copies of volumes. Both outlive a crash; what was being
// written then is there, is not, or is there in part.
import { ServiceError } from '../../core/base/errors.ts';
import type { Disk, DiskFile, OpenOptions } from '../../core/base/world.ts';
import type { Boot } from './boot.ts';
import type { Chance } from './random.ts';

const SECTOR = 512;

/** How a disk behaves now. Milliseconds, probabilities. */
export interface DiskMood {
  /** Usual time of an operation. */
  usual: number;
  /** Probability and length of a very slow one. */
  tail: number;
  tailLength: number;
  /** Probability that a write fails. */
  failing: number;
  /** Nothing is answered. */
  hung: boolean;
}

export const calm = (): DiskMood => ({ usual: 0.2, tail: 0, tailLength: 0, failing: 0, hung: false });

/** What is on a disk, whoever runs on the machine. */
export class Platters {
  readonly files = new Map<string, Buffer>();
  readonly mood = calm();
  readonly chance: Chance;

  constructor(chance: Chance) {
    this.chance = chance;
  }

  delay(): number {
    const { usual, tail, tailLength } = this.mood;
    return usual * this.chance.between(0.3, 3) + (this.chance.happens(tail) ? this.chance.between(0, tailLength) : 0);
  }
}

/** An operation under way, which a crash may catch. */
export interface Underway {
  /** Does it as far as the crash has let it. */
  readonly tear: () => void;
}

/** What happens on the disk of a machine during one of its lives. */
export class DiskQueue {
  readonly platters: Platters;
  readonly boot: Boot;
  readonly #underway = new Set<Underway>();
  readonly #held: (() => void)[] = [];

  constructor(platters: Platters, boot: Boot) {
    this.platters = platters;
    this.boot = boot;
    boot.onEnd(() => {
      // In any order: a disk has its own.
      for (const each of this.#underway) if (platters.chance.happens(0.6)) each.tear();
      this.#underway.clear();
    });
  }

  /** Resolves after the time an operation takes; `does` happens at some moment in between, unless the machine crashes. */
  operation<T>(does: () => T, tear: () => void = () => undefined): Promise<T> {
    const underway: Underway = { tear };
    this.#underway.add(underway);
    const { platters, boot } = this;
    return new Promise((resolve, reject) => {
      const happen = (): void => {
        if (platters.mood.hung) {
          this.#held.push(happen);
          return;
        }
        // The disk works on while its machine is paused.
        if (!boot.alive) return;
        this.#underway.delete(underway);
        let outcome: () => void;
        try {
          const value = does();
          outcome = (): void => {
            resolve(value);
          };
        } catch (error) {
          outcome = (): void => {
            reject(error instanceof Error ? error : new Error(String(error)));
          };
        }
        boot.later(platters.delay() / 2, outcome);
      };
      boot.time.after(platters.delay() / 2, happen);
    });
  }

  /** What waited for a hung disk goes on. */
  recover(): void {
    for (const each of this.#held.splice(0)) this.boot.time.after(this.platters.delay(), each);
  }

  /** Throws, at times, what a failing disk says. */
  mayFail(): void {
    if (this.platters.chance.happens(this.platters.mood.failing)) {
      throw Object.assign(new Error('EIO: the disk fails'), { code: 'EIO' });
    }
  }
}

export class SimDisk implements Disk {
  readonly #queue: DiskQueue;

  constructor(queue: DiskQueue) {
    this.#queue = queue;
  }

  get #files(): Map<string, Buffer> {
    return this.#queue.platters.files;
  }

  open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    return this.#queue.operation(() => {
      if (!this.#files.has(path)) {
        if (options.create !== true) throw new ServiceError('not-found', `${path} does not exist`);
        this.#files.set(path, Buffer.alloc(0));
      }
      // Whoever writes here waits until it is stable: that is how the log of regions is opened.
      if (options.syncWrites !== true && options.readOnly !== true) throw new Error('only files with stable writes');
      return new SimFile(this.#queue, path);
    });
  }
  exists(path: string): Promise<boolean> {
    return this.#queue.operation(() => this.#files.has(path));
  }
  remove(path: string): Promise<void> {
    return this.#queue.operation(() => void this.#files.delete(path));
  }
  makeFolder(): Promise<void> {
    return Promise.resolve();
  }
  readFile(path: string): Promise<Buffer | undefined> {
    return this.#queue.operation(() => {
      const found = this.#files.get(path);
      return found === undefined ? undefined : Buffer.from(found);
    });
  }
  replaceFile(path: string, content: Buffer): Promise<void> {
    const mine = Buffer.from(content);
    const replace = (): void => void this.#files.set(path, mine);
    return this.#queue.operation(() => {
      this.#queue.mayFail();
      replace();
    }, replace);
  }
}

class SimFile implements DiskFile {
  readonly inMemory = false;
  readonly isDevice = false;
  readonly path: string;
  readonly #queue: DiskQueue;

  constructor(queue: DiskQueue, path: string) {
    this.#queue = queue;
    this.path = path;
  }

  get #content(): Buffer {
    return this.#queue.platters.files.get(this.path) ?? Buffer.alloc(0);
  }

  size(): number {
    return this.#content.length;
  }
  read(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.#queue.operation(() => {
      if (position + length > this.#content.length) throw new Error('the file ends');
      this.#content.copy(into, at, position, position + length);
    });
  }
  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.read(into, at, length, position);
  }
  write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    const data = Buffer.from(from.subarray(at, at + length));
    return this.#queue.operation(
      () => {
        this.#queue.mayFail();
        this.#put(data, position);
      },
      () => {
        // A torn write: some sectors of it.
        for (let done = 0; done < data.length; done += SECTOR) {
          if (this.#queue.platters.chance.happens(0.5)) this.#put(data.subarray(done, done + SECTOR), position + done);
        }
      },
    );
  }
  #put(data: Buffer, position: number): void {
    const { files } = this.#queue.platters;
    const before = this.#content;
    const next = Buffer.alloc(Math.max(before.length, position + data.length));
    before.copy(next);
    data.copy(next, position);
    files.set(this.path, next);
  }
  dataSync(): Promise<void> {
    return this.#queue.operation(() => undefined);
  }
  allocatedBytes(): number {
    return this.#content.length;
  }
  changeStamp(): bigint {
    return 0n;
  }
  truncate(size: number): Promise<void> {
    return this.#queue.operation(() => {
      const next = Buffer.alloc(size);
      this.#content.copy(next);
      this.#queue.platters.files.set(this.path, next);
    });
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
  readSync(): boolean {
    return false;
  }
  writeSync(): void {
    throw new Error('not part of the simulation');
  }
  readLarge(): Promise<void> {
    return Promise.reject(new Error('not part of the simulation'));
  }
  punch(): Promise<boolean> {
    return Promise.resolve(false);
  }
}
