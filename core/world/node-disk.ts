// Files and block devices of Node.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { bytesOf } from '../base/bytes-of.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { HOT_READ_BYTE_MS, HOT_READ_MS } from '../base/limits.ts';
import type { Disk, DiskFile, OpenOptions } from '../base/world.ts';
import { deviceNumber, deviceUse } from './device-users.ts';
import { DirectReads } from './direct-reads.ts';
import { DirectWrites } from './direct-writes.ts';
import { HolePuncher } from './hole-puncher.ts';

/** File systems that live in memory, by statfs type. */
const TMPFS = 0x0102_1994;
const RAMFS = 0x8584_58f6;
/** Windows has no O_DSYNC: NodeFile makes a sync of its own after each write there. */
const NO_SYNC_FLAG = process.platform === 'win32';

export const nodeDisk: Disk = {
  open: openFile,
  async exists(name) {
    return (await stat(name)) !== undefined;
  },
  async remove(name) {
    if ((await stat(name)) === undefined) return;
    await fs.promises.rm(name, { force: true });
    await syncFolder(path.dirname(name));
  },
  async makeFolder(name) {
    await makeFolder(path.resolve(name)).catch((error: unknown) => {
      throw explain(error, name);
    });
  },
  async readFile(name) {
    try {
      return await fs.promises.readFile(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw explain(error, name);
    }
  },
  replaceFile,
};

/** With the folders above it. Node's own way of doing that never ends where nothing can be made (/proc). */
async function makeFolder(name: string): Promise<void> {
  const found = await stat(name);
  if (found?.isDirectory() === true) return;
  if (found !== undefined) throw new ServiceError('folder-unusable', `${name} is not a folder`);
  if (path.dirname(name) !== name) await makeFolder(path.dirname(name));
  await fs.promises.mkdir(name).catch(async (error: unknown) => {
    // Somebody else may have been faster.
    if ((await stat(name))?.isDirectory() !== true) throw error;
  });
}

async function stat(name: string): Promise<fs.Stats | undefined> {
  return fs.promises.stat(name).catch(() => undefined);
}

async function replaceFile(name: string, content: Buffer, mode = 0o600): Promise<void> {
  const temporary = `${name}.${randomBytes(6).toString('hex')}.new`;
  try {
    const handle = await fs.promises.open(temporary, 'wx', mode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.promises.rename(temporary, name);
    await syncFolder(path.dirname(name));
  } catch (error) {
    await fs.promises.rm(temporary, { force: true });
    throw explain(error, name);
  }
}

/** A new or renamed entry is durable only when its folder is. Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await fs.promises.open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}

async function openFile(name: string, options: OpenOptions = {}): Promise<DiskFile> {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DSYNC } = fs.constants;
  let flags = options.readOnly === true ? O_RDONLY : O_RDWR;
  if (options.create === true) flags |= O_CREAT;
  if (options.exclusive === true) flags |= O_EXCL;
  if (options.syncWrites === true && !NO_SYNC_FLAG) flags |= O_DSYNC;
  try {
    const found = await stat(name);
    // Opening alone has effects on some things below /dev; a block device has to be ours alone while we have it (open(2):
    // O_EXCL without O_CREAT), so neither a mounted one can be had, nor ours be mounted.
    if (found?.isBlockDevice() === true) flags |= O_EXCL;
    else if (found?.isFile() === false) throw notStorage(name);
    const isNew = options.create === true && found === undefined;
    const handle = await fs.promises.open(name, flags, 0o600);
    if (isNew) await syncFolder(path.dirname(name));
    return await NodeFile.from(handle, name, options.syncWrites === true);
  } catch (error) {
    throw explain(error, name);
  }
}

class NodeFile implements DiskFile {
  readonly path: string;
  readonly inMemory: boolean;
  readonly isDevice: boolean;
  readonly #handle: fs.promises.FileHandle;
  readonly #fd: number;
  readonly #deviceSize: number;
  readonly #puncher: HolePuncher;
  readonly #directReads: DirectReads;
  readonly #directWrites: DirectWrites;
  /** Each write is followed by a sync. */
  readonly #syncByHand: boolean;

  private constructor(
    handle: fs.promises.FileHandle,
    name: string,
    inMemory: boolean,
    deviceSize: number | undefined,
    syncWrites: boolean,
  ) {
    this.path = name;
    this.#syncByHand = syncWrites && NO_SYNC_FLAG;
    this.#handle = handle;
    this.#fd = handle.fd;
    this.inMemory = inMemory;
    this.isDevice = deviceSize !== undefined;
    this.#deviceSize = deviceSize ?? 0;
    this.#puncher = new HolePuncher(this.#fd);
    this.#directReads = new DirectReads(this.#fd);
    this.#directWrites = new DirectWrites(this.#fd, syncWrites);
    if (inMemory) {
      void this.#directReads.close();
      void this.#directWrites.close();
    }
  }

  /** Takes over `handle`: it is closed when this rejects. */
  static async from(handle: fs.promises.FileHandle, name: string, syncWrites: boolean): Promise<NodeFile> {
    try {
      const facts = await handle.stat();
      if (facts.isBlockDevice()) return new NodeFile(handle, name, false, deviceSize(facts), syncWrites);
      if (!facts.isFile()) throw notStorage(name);
      const { type } = await fs.promises.statfs(name);
      return new NodeFile(handle, name, type === TMPFS || type === RAMFS, undefined, syncWrites);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  size(): number {
    // A device may grow while it is open.
    return this.isDevice ? deviceSize(fs.fstatSync(this.#fd)) : fs.fstatSync(this.#fd).size;
  }

  readSync(into: Buffer, at: number, length: number, position: number): boolean {
    const begun = performance.now();
    for (let done = 0; done < length;) {
      const read = fs.readSync(this.#fd, into, at + done, length - done, position + done);
      if (read === 0) throw shortRead(position + done);
      done += read;
    }
    return performance.now() - begun <= HOT_READ_MS + length * HOT_READ_BYTE_MS;
  }

  writeSync(from: Buffer, at: number, length: number, position: number): void {
    for (let done = 0; done < length;) {
      done += fs.writeSync(this.#fd, from, at + done, length - done, position + done);
    }
  }

  read(into: Buffer, at: number, length: number, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (done: number): void => {
        fs.read(this.#fd, into, at + done, length - done, position + done, (error, read) => {
          if (error !== null) reject(error);
          else if (read === 0) reject(shortRead(position + done));
          else if (done + read === length) resolve();
          else next(done + read);
        });
      };
      if (length === 0) resolve();
      else next(0);
    });
  }

  readLarge(into: readonly Buffer[], position: number): Promise<void> {
    const direct = this.#directReads;
    const length = bytesOf(into);
    const begun = performance.now();
    if (!direct.wanted(into, length, position)) {
      return this.#readAll(into, length, position).then(() => {
        direct.through(performance.now() - begun, length);
      });
    }
    return new Promise((resolve, reject) => {
      direct.read(into, length, position, (whole) => {
        // An error of the disk is told by the other way, if it is one there too.
        if (whole) resolve();
        else this.#readAll(into, length, position).then(resolve, reject);
      });
    });
  }

  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void> {
    const direct = this.#directReads;
    return new Promise((resolve, reject) => {
      const ended = (): void => {
        direct.count(-1);
      };
      const done = (whole: boolean): void => {
        if (!whole) {
          this.read(into, at, length, position).finally(ended).then(resolve, reject);
          return;
        }
        ended();
        resolve();
      };
      direct.count(1);
      if (!direct.readSmall(into, at, length, position, done)) done(false);
    });
  }

  readSoon(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean {
    return this.#directReads.readSoon(into, at, length, position, done);
  }

  readLargeSoon(into: readonly Buffer[], position: number, done: (whole: boolean) => void): boolean {
    return this.#directReads.readLargeSoon(into, position, done);
  }

  async #readAll(into: readonly Buffer[], length: number, position: number): Promise<void> {
    const [only] = into;
    if (only !== undefined && into.length === 1) return this.read(only, 0, length, position);
    const read = await new Promise<number>((resolve, reject) => {
      fs.readv(this.#fd, into, position, (error, bytes) => {
        if (error === null) resolve(bytes);
        else reject(error);
      });
    });
    if (read === length) return;
    let done = 0;
    for (const each of into) {
      await this.read(each, 0, each.length, position + done);
      done += each.length;
    }
  }

  async write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    await this.#write(from, at, length, position);
    if (this.#syncByHand) await this.dataSync();
  }

  async writeLarge(from: Buffer, at: number, length: number, position: number): Promise<void> {
    const direct = this.#directWrites;
    // An error of the disk is told by the other way, if it is one there too.
    const written = direct.wanted(from, at, length, position) && (await direct.write(from, at, length, position));
    if (!written) await this.#write(from, at, length, position);
    if (this.#syncByHand) await this.dataSync();
  }

  #write(from: Buffer, at: number, length: number, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (done: number): void => {
        fs.write(this.#fd, from, at + done, length - done, position + done, (error, written) => {
          if (error !== null) reject(error);
          else if (done + written === length) resolve();
          else next(done + written);
        });
      };
      if (length === 0) resolve();
      else next(0);
    });
  }

  dataSync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#fd, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  punch(position: number, length: number): Promise<boolean> {
    return this.#puncher.punch(position, length);
  }

  allocatedBytes(): number {
    return this.isDevice ? this.#deviceSize : fs.fstatSync(this.#fd).blocks * 512;
  }

  changeStamp(): bigint {
    // The time of the last change of the inode: unlike that of the content nobody can set it back.
    return this.isDevice ? 0n : fs.fstatSync(this.#fd, { bigint: true }).ctimeNs;
  }

  async truncate(size: number): Promise<void> {
    await this.#handle.truncate(size);
  }

  async close(): Promise<void> {
    await this.#directReads.close();
    await this.#directWrites.close();
    await this.#puncher.close();
    await this.#handle.close();
  }
}

function shortRead(position: number): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`the file ends at ${String(position)}`);
  error.code = 'EIO';
  return error;
}

/** Size of a block device in bytes: Node has no ioctl, Linux tells it in sysfs in units of 512 bytes. */
function deviceSize(facts: fs.Stats): number {
  const text = fs.readFileSync(`/sys/dev/block/${deviceNumber(facts.rdev)}/size`, 'latin1');
  return Number(text) * 512;
}

function notStorage(name: string): ServiceError {
  return new ServiceError('bad-request', `${name} is neither a file nor a block device`);
}

/** Why `name` cannot be had, when it is a block device. */
function busy(name: string, cause: unknown): ServiceError {
  const facts = fs.statSync(name, { throwIfNoEntry: false });
  const why = facts === undefined ? 'it is gone' : deviceUse(deviceNumber(facts.rdev));
  return new ServiceError('device-in-use', `${name} is in use: ${why}`, { cause });
}

function explain(error: unknown, name: string): Error {
  if (error instanceof ServiceError) return error;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new ServiceError('not-found', `${name} does not exist`, { cause: error });
    case 'EEXIST':
      return new ServiceError('exists', `${name} exists already`, { cause: error });
    case 'ENOTDIR':
      return new ServiceError('folder-unusable', `${name}: a part of the path is not a folder`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ServiceError('folder-unusable', `${name} is not writable for this user`, { cause: error });
    case 'EBUSY':
      return busy(name, error);
    case 'ENOSPC':
      return new ServiceError('no-space', `no space left for ${name}`, { cause: error });
    default:
      return new ServiceError('io-error', `${name}: ${messageOf(error)}`, { cause: error });
  }
}
