// A volume in RAM: for tests, for labs, and as the measure of what the layers above cost.
import { viewGuard } from '../base/view-guard.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from './volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from './volume.ts';
import { AllocationMap } from './allocation-map.ts';

/** Bytes of one piece of memory. */
const CHUNK = 1_048_576;

export class MemoryVolume implements Volume {
  info: VolumeInfo;
  #chunks: (Buffer | undefined)[];
  readonly #map: AllocationMap;
  /** Epoch of the last view of each chunk. */
  #viewed: Float64Array;

  /** `size` in bytes, a multiple of `blockSize`. */
  constructor(size: number, blockSize = 512, options: { readOnly?: boolean; thin?: boolean } = {}) {
    this.#viewed = new Float64Array(Math.ceil(size / CHUNK));
    this.info = {
      size,
      blockSize,
      durability: Durability.volatile,
      readOnly: options.readOnly ?? false,
      thin: options.thin ?? true,
      unmapGranularity: blockSize,
    };
    this.#chunks = new Array<Buffer | undefined>(Math.ceil(size / CHUNK)).fill(undefined);
    this.#map = new AllocationMap(size, blockSize, !this.info.thin);
  }

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    for (let done = 0; done < length;) {
      const from = (position + done) % CHUNK;
      const size = Math.min(length - done, CHUNK - from);
      const chunk = this.#chunks[Math.floor((position + done) / CHUNK)];
      if (chunk === undefined) target.fill(0, at + done, at + done + size);
      else chunk.copy(target, at + done, from, from + size);
      done += size;
    }
    return true;
  }

  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    const end = position + length;
    const first = Math.floor(position / CHUNK);
    const last = Math.floor((end - 1) / CHUNK);
    for (let index = first; index <= last; index++) if (this.#chunks[index] === undefined) return false;
    for (let index = first; index <= last; index++) {
      const base = index * CHUNK;
      const chunk = this.#chunks[index] as Buffer;
      this.#viewed[index] = viewGuard.epoch;
      pieces.push(chunk.subarray(Math.max(position - base, 0), Math.min(end - base, CHUNK)));
    }
    return true;
  }

  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    this.readNow(position, length, target, at);
    return Promise.resolve();
  }

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    this.#map.mark(position, length, true);
    for (let done = 0; done < length;) {
      const index = Math.floor((position + done) / CHUNK);
      const to = (position + done) % CHUNK;
      const size = Math.min(length - done, CHUNK - to);
      const chunk = this.#writable(index);
      source.copy(chunk, to, at + done, at + done + size);
      done += size;
    }
    return WriteNow.done;
  }

  whenStable(waiter: StableWaiter): void {
    void Promise.resolve().then(() => {
      waiter.stable(undefined);
    });
  }

  async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    await Promise.resolve();
    this.writeNow(position, source, at, length);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  async zero(position: number, length: number): Promise<void> {
    await this.#clear(position, length);
    this.#map.mark(position, length, true);
  }

  async unmap(position: number, length: number): Promise<void> {
    await this.#clear(position, length);
    if (!this.info.thin) return;
    this.#map.mark(position, length, false);
    const last = Math.floor((position + length - 1) / CHUNK);
    for (let index = Math.floor(position / CHUNK); index <= last; index++) {
      const from = index * CHUNK;
      if (this.#map.noneMapped(from, Math.min(CHUNK, this.info.size - from))) this.#chunks[index] = undefined;
    }
  }

  extents(position: number, length: number, limit: number): Promise<Extent[]> {
    return Promise.resolve(this.#map.extents(position, length, limit));
  }

  allocatedBytes(): number {
    return this.#map.mappedBytes;
  }

  /** The chunk, made if there is none; a copy of it if somebody still sends what is in it. */
  #writable(index: number): Buffer {
    const present = this.#chunks[index];
    if (present === undefined) {
      return (this.#chunks[index] = Buffer.alloc(Math.min(CHUNK, this.info.size - index * CHUNK)));
    }
    if (!viewGuard.protects(this.#viewed[index] as number)) return present;
    this.#viewed[index] = 0;
    return (this.#chunks[index] = Buffer.from(present));
  }

  resize(size: number): Promise<void> {
    // The last piece is only as long as the volume; what grows or shrinks in it needs memory of the right length.
    const tail = Math.floor(Math.min(size, this.info.size) / CHUNK);
    const chunk = this.#chunks[tail];
    this.#map.resize(size);
    this.#chunks = Array.from({ length: Math.ceil(size / CHUNK) }, (_, index) => this.#chunks[index]);
    if (chunk !== undefined && tail < this.#chunks.length) {
      const next = Buffer.alloc(Math.min(CHUNK, size - tail * CHUNK));
      chunk.copy(next, 0, 0, next.length);
      this.#chunks[tail] = next;
    }
    const viewed = new Float64Array(this.#chunks.length);
    viewed.set(this.#viewed.subarray(0, viewed.length));
    this.#viewed = viewed;
    this.info = { ...this.info, size };
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#chunks.fill(undefined);
    return Promise.resolve();
  }

  async #clear(position: number, length: number): Promise<void> {
    await Promise.resolve();
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the volume is read-only');
    for (let done = 0; done < length;) {
      const index = Math.floor((position + done) / CHUNK);
      const to = (position + done) % CHUNK;
      const size = Math.min(length - done, CHUNK - to);
      if (size === CHUNK) this.#chunks[index] = undefined;
      else if (this.#chunks[index] !== undefined) this.#writable(index).fill(0, to, to + size);
      done += size;
    }
  }
}
