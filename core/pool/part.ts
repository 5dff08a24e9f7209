// A part of a block device as if it were a file of its own.
import { bytesOf } from '../base/bytes-of.ts';
import type { DiskFile } from '../base/world.ts';

/** Bytes [base, base+length) of `file`. `syncWrites`: every write is made stable. Closing a part leaves the device open. */
export class PartFile implements DiskFile {
  readonly path: string;
  readonly inMemory: boolean;
  readonly isDevice = true;
  readonly #file: DiskFile;
  readonly #base: number;
  readonly #length: number;
  readonly #syncWrites: boolean;

  constructor(file: DiskFile, base: number, length: number, syncWrites: boolean) {
    this.path = file.path;
    this.inMemory = file.inMemory;
    this.#file = file;
    this.#base = base;
    this.#length = length;
    this.#syncWrites = syncWrites;
  }

  size(): number {
    return this.#length;
  }

  readSync(into: Buffer, at: number, length: number, position: number): boolean {
    return this.#file.readSync(into, at, length, this.#at(position, length));
  }

  writeSync(from: Buffer, at: number, length: number, position: number): void {
    this.#file.writeSync(from, at, length, this.#at(position, length));
  }

  read(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.#file.read(into, at, length, this.#at(position, length));
  }

  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.#file.readSmall(into, at, length, this.#at(position, length));
  }

  readSoon(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean {
    return this.#file.readSoon?.(into, at, length, this.#at(position, length), done) === true;
  }

  readLarge(into: readonly Buffer[], position: number): Promise<void> {
    return this.#file.readLarge(into, this.#at(position, bytesOf(into)));
  }

  readLargeSoon(into: readonly Buffer[], position: number, done: (whole: boolean) => void): boolean {
    return this.#file.readLargeSoon?.(into, this.#at(position, bytesOf(into)), done) === true;
  }

  async write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    await this.#file.write(from, at, length, this.#at(position, length));
    if (this.#syncWrites) await this.#file.dataSync();
  }

  async writeLarge(from: Buffer, at: number, length: number, position: number): Promise<void> {
    const to = this.#at(position, length);
    await (this.#file.writeLarge?.(from, at, length, to) ?? this.#file.write(from, at, length, to));
    if (this.#syncWrites) await this.#file.dataSync();
  }

  dataSync(): Promise<void> {
    return this.#file.dataSync();
  }

  punch(position: number, length: number): Promise<boolean> {
    return this.#file.punch(this.#at(position, length), length);
  }

  allocatedBytes(): number {
    return this.#length;
  }

  changeStamp(): bigint {
    return this.#file.changeStamp();
  }

  truncate(size: number): Promise<void> {
    return size <= this.#length ? Promise.resolve() : Promise.reject(new RangeError('a part of a device cannot grow'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #at(position: number, length: number): number {
    if (position < 0 || position + length > this.#length) throw new RangeError('outside this part of the device');
    return this.#base + position;
  }
}
