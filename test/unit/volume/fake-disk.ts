// A disk in memory that counts what is asked of it and fails when told.
import type { Disk, DiskFile } from '../../../core/base/world.ts';

export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

export class FakeFile implements DiskFile {
  readonly path = '/fake/disk.raw';
  inMemory = false;
  isDevice = false;
  bytes: Buffer;
  allocated = 0;
  stamp = 1n;
  canPunch = true;
  /** Reads in this turn of the event loop say that they waited for a device. */
  slow = false;
  closed = false;
  /** Called before each operation; may throw. */
  before: (operation: string, position: number, length: number) => void = () => undefined;
  /** Set: the next dataSync waits for it. */
  syncGate: Promise<void> | undefined;
  readonly calls: string[] = [];

  constructor(size: number) {
    this.bytes = Buffer.alloc(size);
  }

  count(operation: string): number {
    return this.calls.filter((each) => each === operation).length;
  }

  #enter(operation: string, position = 0, length = 0): void {
    this.calls.push(operation);
    this.before(operation, position, length);
  }

  size(): number {
    return this.bytes.length;
  }
  readSync(into: Buffer, at: number, length: number, position: number): boolean {
    this.#enter('readSync', position, length);
    this.bytes.copy(into, at, position, position + length);
    return !this.slow;
  }
  writeSync(from: Buffer, at: number, length: number, position: number): void {
    this.#enter('writeSync', position, length);
    from.copy(this.bytes, position, at, at + length);
    this.stamp++;
  }
  async read(into: Buffer, at: number, length: number, position: number): Promise<void> {
    await Promise.resolve();
    this.#enter('read', position, length);
    this.bytes.copy(into, at, position, position + length);
  }
  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return this.read(into, at, length, position);
  }
  async readLarge(into: readonly Buffer[], position: number): Promise<void> {
    const whole = Buffer.alloc(into.reduce((sum, { length }) => sum + length, 0));
    await this.read(whole, 0, whole.length, position);
    for (let i = 0, at = 0; i < into.length; i++) at += whole.copy(into[i] as Buffer, 0, at);
  }
  async write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    await Promise.resolve();
    this.#enter('write', position, length);
    from.copy(this.bytes, position, at, at + length);
    this.stamp++;
  }
  async dataSync(): Promise<void> {
    await (this.syncGate ?? Promise.resolve());
    this.#enter('dataSync');
  }
  async punch(position: number, length: number): Promise<boolean> {
    await Promise.resolve();
    this.#enter('punch', position, length);
    if (this.canPunch) this.bytes.fill(0, position, position + length);
    return this.canPunch;
  }
  allocatedBytes(): number {
    return this.allocated;
  }
  changeStamp(): bigint {
    return this.stamp;
  }
  truncate(size: number): Promise<void> {
    this.#enter('truncate', size);
    const next = Buffer.alloc(size);
    this.bytes.copy(next);
    this.bytes = next;
    this.stamp++;
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** Small files in a map; the one large file is `file`. */
export class FakeDisk implements Disk {
  readonly file: FakeFile;
  readonly small = new Map<string, Buffer>();

  constructor(file: FakeFile) {
    this.file = file;
  }
  open(): Promise<DiskFile> {
    this.file.closed = false;
    return Promise.resolve(this.file);
  }
  exists(path: string): Promise<boolean> {
    return Promise.resolve(this.small.has(path));
  }
  remove(path: string): Promise<void> {
    this.small.delete(path);
    return Promise.resolve();
  }
  makeFolder(): Promise<void> {
    return Promise.resolve();
  }
  readFile(path: string): Promise<Buffer | undefined> {
    return Promise.resolve(this.small.get(path));
  }
  replaceFile(path: string, content: Buffer): Promise<void> {
    this.small.set(path, Buffer.from(content));
    return Promise.resolve();
  }
}
