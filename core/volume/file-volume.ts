// A volume in one sparse file, or on a block device. Plain and honest: no snapshots, no checksums; the pool brings those.
import { ServiceError, messageOf } from '../base/errors.ts';
import { HOT_BYTES, VOLATILE_SYNC_AFTER, VOLATILE_WAIT_ABOVE } from '../base/limits.ts';
import type { Disk, DiskFile } from '../base/world.ts';
import { AllocationMap } from './allocation-map.ts';
import { GroupCommit } from './group-commit.ts';
import { HotMap } from './hot-map.ts';
import { loadMap, saveMap } from './map-file.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from './volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from './volume.ts';

/** A write that covers whole pages needs nothing from the disk; others would read the rest of the page first. */
const PAGE = 4096;
/** Largest piece of zeros written at once where space cannot be freed. */
const ZERO_PIECE = 1_048_576;
/** Ranges up to this length are zeroed by writing; freeing them costs more than it gives. */
const WRITE_ZEROS_UP_TO = 65_536;
const ZEROS = Buffer.alloc(ZERO_PIECE);

export interface FileVolumeOptions {
  readonly path: string;
  readonly blockSize: number;
  readonly durability: Durability;
  readonly readOnly: boolean;
  /** False: space is never given back, and UNMAP is not offered. */
  readonly thin: boolean;
  /** Bytes of the file that are taken for being in the page cache after they were used; default HOT_BYTES. */
  readonly hotBytes?: number;
}

export class FileVolume implements Volume {
  info: VolumeInfo;
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #map: AllocationMap;
  /** Undefined when the whole file is in memory. */
  #hot: HotMap | undefined;
  readonly #hotBytes: number;
  readonly #commit: GroupCommit;
  readonly #durable: boolean;
  /** Bytes written since the last sync began (volatile only). */
  #unsynced = 0;
  /** Asynchronous calls that have not settled; close waits for them. */
  #running = 0;
  #idle: (() => void) | undefined;
  #closed = false;

  private constructor(disk: Disk, file: DiskFile, options: FileVolumeOptions, map: AllocationMap) {
    this.#disk = disk;
    this.#file = file;
    this.#map = map;
    this.#hotBytes = options.hotBytes ?? HOT_BYTES;
    this.#hot = this.#newHotMap(file.size());
    this.#commit = new GroupCommit(() => file.dataSync());
    this.#durable = options.durability === Durability.durable;
    this.info = {
      size: file.size(),
      blockSize: options.blockSize,
      durability: options.durability,
      readOnly: options.readOnly,
      thin: options.thin && !file.isDevice,
      unmapGranularity: Math.max(PAGE, options.blockSize),
    };
  }

  /** Creates the file (it must not exist) with `size` bytes. Thick volumes are written with zeros. Rejects with a ServiceError. */
  static async create(disk: Disk, options: FileVolumeOptions, size: number): Promise<FileVolume> {
    const file = await disk.open(options.path, { create: true, exclusive: true });
    try {
      await file.truncate(size);
      if (!options.thin) await writeZeros(file, 0, size);
      await file.dataSync();
    } catch (error) {
      await file.close();
      await disk.remove(options.path).catch(() => undefined);
      throw new ServiceError(isFull(error) ? 'no-space' : 'io-error', `${options.path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const map = new AllocationMap(size, options.blockSize, !options.thin);
    return new FileVolume(disk, file, options, map);
  }

  /** Opens an existing file or device. Rejects with a ServiceError. */
  static async open(disk: Disk, options: FileVolumeOptions): Promise<FileVolume> {
    const file = await disk.open(options.path, { readOnly: options.readOnly });
    try {
      const map = await loadMap(disk, file, options.blockSize, options.readOnly);
      return new FileVolume(disk, file, options, map);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  #newHotMap(size: number): HotMap | undefined {
    return this.#file.inMemory ? undefined : new HotMap(Math.min(this.#hotBytes, size));
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    // The number of a closed descriptor may belong to another file by now.
    if (this.#closed) return false;
    if (this.#map.noneMapped(position, length)) {
      target.fill(0, at, at + length);
      return true;
    }
    if (this.#hot?.isHot(position, length) === false) return false;
    try {
      // The operating system may have given up what we take for being in its memory.
      if (!this.#file.readSync(target, at, length, position)) this.#hot?.doubt(position);
    } catch {
      // read() meets the same error and reports it.
      return false;
    }
    return true;
  }

  viewNow(): boolean {
    return false;
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    this.#begin();
    try {
      if (this.#map.noneMapped(position, length)) {
        target.fill(0, at, at + length);
        return;
      }
      await this.#file.read(target, at, length, position);
      this.#hot?.heat(position, length);
    } catch (error) {
      throw asVolumeError(error, VolumeFault.readError, position);
    } finally {
      this.#end();
    }
  }

  // ---- writing

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    this.#mayWrite();
    if (this.#hot !== undefined && ((position | length) & (PAGE - 1)) !== 0 && !this.#hot.isHot(position, length)) {
      return WriteNow.refused;
    }
    if (this.#unsynced > VOLATILE_WAIT_ABOVE) return WriteNow.refused;
    this.#willWrite(position, length);
    try {
      this.#file.writeSync(source, at, length, position);
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, position);
    }
    this.#wrote(position, length);
    return this.#durable ? WriteNow.placed : WriteNow.done;
  }

  whenStable(waiter: StableWaiter): void {
    this.#commit.wait(waiter);
  }

  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    this.#begin();
    try {
      this.#mayWrite();
      this.#willWrite(position, length);
      await this.#file.write(source, at, length, position);
      this.#wrote(position, length);
      if (this.#durable || fua || this.#unsynced > VOLATILE_WAIT_ABOVE) await this.#commit.stable();
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, position);
    } finally {
      this.#end();
    }
  }

  async flush(): Promise<void> {
    this.#begin();
    try {
      // A read-only volume has nothing that could be lost.
      if (this.info.readOnly) return;
      this.#mayWrite();
      this.#unsynced = 0;
      await this.#commit.stable();
    } finally {
      this.#end();
    }
  }

  async zero(position: number, length: number): Promise<void> {
    await this.#clear(position, length, true);
  }

  async unmap(position: number, length: number): Promise<void> {
    await this.#clear(position, length, !this.info.thin);
  }

  async #clear(position: number, length: number, mapped: boolean): Promise<void> {
    this.#begin();
    try {
      this.#mayWrite();
      // A range that is a hole already needs no work, whatever its size.
      if (!this.#map.noneMapped(position, length)) {
        // A volume that is not thin keeps its space; for a device it is the device that clears.
        const mayPunch = this.info.thin || this.#file.isDevice;
        const punch = mayPunch && (length > WRITE_ZEROS_UP_TO || (!mapped && length >= PAGE));
        if (!punch || !(await this.#file.punch(position, length))) await writeZeros(this.#file, position, length);
      }
      this.#map.mark(position, length, mapped);
      if (this.#durable) await this.#commit.stable();
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, position);
    } finally {
      this.#end();
    }
  }

  // ---- the rest

  extents(position: number, length: number, limit: number): Promise<Extent[]> {
    return Promise.resolve(this.#map.extents(position, length, limit));
  }

  allocatedBytes(): number {
    return this.#file.allocatedBytes();
  }

  async resize(size: number): Promise<void> {
    if (this.#file.isDevice) throw new VolumeError(VolumeFault.writeError, 'a block device has the size it has');
    this.#begin();
    try {
      this.#mayWrite();
      await this.#file.truncate(size);
      if (size > this.info.size && !this.info.thin) await this.#fillUp(size);
      this.#map.resize(size);
      if (!this.info.thin) this.#map.mark(0, size, true);
      this.info = { ...this.info, size };
      this.#hot = this.#newHotMap(size);
      await this.#commit.stable();
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, undefined);
    } finally {
      this.#end();
    }
  }

  /** Space for what a volume that is not thin has grown by. Without it the file is as before. */
  async #fillUp(size: number): Promise<void> {
    const before = this.info.size;
    try {
      await writeZeros(this.#file, before, size - before);
    } catch (error) {
      await this.#file.truncate(before).catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    try {
      if (!this.info.readOnly && this.#commit.poison === undefined) {
        await this.#commit.stable();
        await saveMap(this.#disk, this.#file, this.#map);
      }
    } finally {
      await this.#file.close();
    }
  }

  #mayWrite(): void {
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    if (this.#closed) throw closedError();
    if (this.#commit.poison !== undefined) throw this.#commit.poison;
  }

  /** Before the write: if it fails half way, what it left must not pass for a hole. */
  #willWrite(position: number, length: number): void {
    if (!this.#map.allMapped(position, length)) this.#map.mark(position, length, true);
  }

  #wrote(position: number, length: number): void {
    this.#hot?.heat(position, length);
    if (this.#durable || this.#hot === undefined) return;
    this.#unsynced += length;
    if (this.#unsynced >= VOLATILE_SYNC_AFTER && this.#unsynced - length < VOLATILE_SYNC_AFTER)
      this.#syncInBackground();
  }

  #syncInBackground(): void {
    const before = this.#unsynced;
    this.#commit.wait({
      stable: (error) => {
        // A failure is kept by the group commit and fails the next write.
        if (error === undefined) this.#unsynced = Math.max(0, this.#unsynced - before);
        if (error === undefined && this.#unsynced >= VOLATILE_SYNC_AFTER) this.#syncInBackground();
      },
    });
  }

  #begin(): void {
    if (this.#closed) throw closedError();
    this.#running++;
  }

  #end(): void {
    this.#running--;
    if (this.#running === 0) this.#idle?.();
  }
}

function closedError(): VolumeError {
  return new VolumeError(VolumeFault.notReady, 'the volume is closed');
}

async function writeZeros(file: DiskFile, position: number, length: number): Promise<void> {
  for (let done = 0; done < length;) {
    const size = Math.min(ZERO_PIECE, length - done);
    await file.write(ZEROS, 0, size, position + done);
    done += size;
  }
}

/** Errors of the operating system as what they mean for a volume. */
function asVolumeError(error: unknown, fault: VolumeFault, position: number | undefined): Error {
  if (error instanceof VolumeError) return error;
  const readOnly = (error as NodeJS.ErrnoException).code === 'EROFS';
  const kind = isFull(error) ? VolumeFault.noSpace : readOnly ? VolumeFault.readOnly : fault;
  return new VolumeError(kind, `${kind}: ${messageOf(error)}`, position, { cause: error });
}

function isFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
