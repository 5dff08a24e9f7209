// A volume in one sparse file, or on a block device. Plain and honest: no snapshots, no checksums; the pool brings those.
import type { Disk, DiskFile } from '../base/world.ts';
import { AllocationMap } from './allocation-map.ts';
import { GroupCommit } from './group-commit.ts';
import { HotMap } from './hot-map.ts';
import { loadMap, saveMap } from './map-file.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from './volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from './volume.ts';

/** A write that covers whole pages needs nothing from the disk; others would read the rest of the page first. */
const PAGE = 4096;
/** Written bytes that may wait in the page cache of a volatile volume before they are made stable in the background. */
const SYNC_AFTER = 268_435_456;
/** And above which writes are no longer taken at once, so that the kernel never stops the event loop to write back. */
const REFUSE_ABOVE = 1_073_741_824;
/** Largest piece of zeros written at once where space cannot be freed. */
const ZERO_PIECE = 1_048_576;
/** Ranges up to this length are zeroed by writing; freeing them costs more than it gives. */
const WRITE_ZEROS_UP_TO = 65_536;
/** Bytes of a file that are remembered as being in the page cache. */
const HOT_BYTES = 2_147_483_648;
const ZEROS = Buffer.alloc(ZERO_PIECE);

export interface FileVolumeOptions {
  readonly path: string;
  readonly blockSize: number;
  readonly durability: Durability;
  readonly readOnly: boolean;
  /** False: space is never given back, and UNMAP is not offered. */
  readonly thin: boolean;
}

export class FileVolume implements Volume {
  info: VolumeInfo;
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #map: AllocationMap;
  readonly #hot: HotMap | undefined;
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
    this.#hot = file.inMemory ? undefined : new HotMap(HOT_BYTES);
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
      await disk.remove(options.path);
      throw asVolumeError(error, VolumeFault.writeError, 0);
    }
    const map = new AllocationMap(size, options.blockSize, !options.thin);
    return new FileVolume(disk, file, options, map);
  }

  /** Opens an existing file or device. Rejects with a ServiceError. */
  static async open(disk: Disk, options: FileVolumeOptions): Promise<FileVolume> {
    const file = await disk.open(options.path, { readOnly: options.readOnly });
    const map = await loadMap(disk, file, options.blockSize);
    return new FileVolume(disk, file, options, map);
  }

  // ---- reading

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    if (this.#hot !== undefined && !this.#hot.isHot(position, length)) {
      if (!this.#map.noneMapped(position, length)) return false;
      target.fill(0, at, at + length);
      return true;
    }
    try {
      this.#file.readSync(target, at, length, position);
    } catch (error) {
      throw asVolumeError(error, VolumeFault.readError, position);
    }
    return true;
  }

  viewNow(): undefined {
    return undefined;
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    this.#begin();
    try {
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
    if (this.#unsynced > REFUSE_ABOVE) return WriteNow.refused;
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
      await this.#file.write(source, at, length, position);
      this.#wrote(position, length);
      if (this.#durable || fua || this.#unsynced > REFUSE_ABOVE) await this.#commit.stable();
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, position);
    } finally {
      this.#end();
    }
  }

  async flush(): Promise<void> {
    this.#begin();
    try {
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
        const punch = length > WRITE_ZEROS_UP_TO || (!mapped && length >= PAGE);
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
      await this.#file.truncate(size);
      this.#map.resize(size);
      this.info = { ...this.info, size };
      await this.#file.dataSync();
    } catch (error) {
      throw asVolumeError(error, VolumeFault.writeError, undefined);
    } finally {
      this.#end();
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
    if (this.#closed) throw new VolumeError(VolumeFault.notReady, 'the volume is closed');
    if (this.#commit.poison !== undefined) throw this.#commit.poison;
  }

  #wrote(position: number, length: number): void {
    if (!this.#map.allMapped(position, length)) this.#map.mark(position, length, true);
    this.#hot?.heat(position, length);
    if (this.#durable || this.#hot === undefined) return;
    this.#unsynced += length;
    if (this.#unsynced >= SYNC_AFTER && this.#unsynced - length < SYNC_AFTER) this.#syncInBackground();
  }

  #syncInBackground(): void {
    const before = this.#unsynced;
    this.#commit.wait({
      stable: (error) => {
        // A failure is kept by the group commit and fails the next write.
        if (error === undefined) this.#unsynced = Math.max(0, this.#unsynced - before);
        if (error === undefined && this.#unsynced >= SYNC_AFTER) this.#syncInBackground();
      },
    });
  }

  #begin(): void {
    if (this.#closed) throw new VolumeError(VolumeFault.notReady, 'the volume is closed');
    this.#running++;
  }

  #end(): void {
    this.#running--;
    if (this.#running === 0) this.#idle?.();
  }
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
  const code = (error as NodeJS.ErrnoException).code;
  const kind =
    code === 'ENOSPC' || code === 'EDQUOT' ? VolumeFault.noSpace : code === 'EROFS' ? VolumeFault.readOnly : fault;
  return new VolumeError(kind, `${kind}: ${error instanceof Error ? error.message : String(error)}`, position, {
    cause: error,
  });
}
