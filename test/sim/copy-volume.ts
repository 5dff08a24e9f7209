// One machine's copy of a volume on its simulated disk: durable when a call says so, torn between blocks by a crash. It keeps
// the rules of Volume and nothing else, so that what is wrong with a run is wrong with the mirror.
import { Durability, VolumeError, VolumeFault, WriteNow } from '../../core/volume/volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from '../../core/volume/volume.ts';
import type { DiskQueue } from './disk.ts';

export const BLOCK = 4096;

/** What a copy holds: blocks that are not there read as zeros. */
export type Blocks = Map<number, Buffer>;

export class CopyVolume implements Volume {
  info: VolumeInfo;
  readonly #queue: DiskQueue;
  readonly #blocks: Blocks;
  /** Resolves when everything placed so far is on stable media. */
  #placed: Promise<void> = Promise.resolve();
  /** What is in memory only, and how it is lost, oldest first. Empty unless `keepsInMemory`. */
  #inMemory: (() => void)[] = [];
  readonly #keepsInMemory: boolean;
  /** Who wants to know what the copies to a position that begin now will have put there, in the moment in which they do. */
  readonly onShared = new Map<number, (content: readonly (Buffer | undefined)[]) => void>();

  /** `keepsInMemory`: what is not written through is lost in a crash, until it is flushed. */
  constructor(queue: DiskQueue, blocks: Blocks, size: number, keepsInMemory: boolean) {
    this.#keepsInMemory = keepsInMemory;
    if (keepsInMemory) {
      queue.boot.onEnd(() => {
        for (const lose of this.#inMemory.reverse()) if (queue.platters.chance.happens(0.7)) lose();
      });
    }
    this.#queue = queue;
    this.#blocks = blocks;
    this.info = {
      ...{ size, blockSize: BLOCK, durability: Durability.durable, readOnly: false },
      ...{ thin: true, unmapGranularity: BLOCK },
    };
  }

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    // In memory, or not: nobody can know.
    if (this.#queue.platters.chance.happens(0.5) || this.#queue.platters.mood.hung) return false;
    this.#load(position, length, target, at);
    return true;
  }
  viewNow(): boolean {
    return false;
  }
  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    return this.#queue.operation(() => {
      this.#load(position, length, target, at);
    });
  }

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (this.#queue.platters.chance.happens(0.3)) return WriteNow.refused;
    const data = Buffer.from(source.subarray(at, at + length));
    // Readable at once, on stable media later: a crash may take it away again, block by block.
    const undo: (() => void)[] = [];
    for (let done = 0; done < length; done += BLOCK) {
      const number = (position + done) / BLOCK;
      const [before, mine] = [this.#blocks.get(number), data.subarray(done, done + BLOCK)];
      this.#blocks.set(number, mine);
      undo.push(() => {
        if (this.#blocks.get(number) !== mine) return;
        if (before === undefined) this.#blocks.delete(number);
        else this.#blocks.set(number, before);
      });
    }
    const lose = (): void => {
      for (const each of undo) if (this.#queue.platters.chance.happens(0.5)) each();
    };
    // In order: whatever was placed before is stable when this is.
    const earlier = this.#placed;
    this.#placed = this.#queue.operation(() => undefined, lose).then(() => earlier);
    return WriteNow.placed;
  }

  whenStable(waiter: StableWaiter): void {
    void this.#placed.then(() => {
      waiter.stable(undefined);
    });
  }

  write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    // The caller may not change it before we are done, but a network stack might: take what is there now.
    const data = Buffer.from(source.subarray(at, at + length));
    return this.#change(position, length, (number, done) => {
      const [before, mine] = [this.#blocks.get(number), data.subarray(done, done + BLOCK)];
      this.#blocks.set(number, mine);
      if (!this.#keepsInMemory || fua) return;
      this.#inMemory.push(() => {
        if (this.#blocks.get(number) !== mine) return;
        if (before === undefined) this.#blocks.delete(number);
        else this.#blocks.set(number, before);
      });
    });
  }
  zero(position: number, length: number): Promise<void> {
    return this.#change(position, length, (number) => this.#blocks.delete(number));
  }
  unmap(position: number, length: number): Promise<void> {
    return this.zero(position, length);
  }

  async flush(): Promise<void> {
    const covered = this.#inMemory.length;
    await this.#placed;
    await this.#queue.operation(() => {
      this.#inMemory.splice(0, covered);
    });
  }

  extents(position: number, length: number, limit: number): Promise<Extent[]> {
    return this.#queue.operation(() => {
      const found: Extent[] = [];
      for (let at = position; at < position + length; at += BLOCK) {
        const mapped = this.#blocks.has(at / BLOCK);
        const last = found[found.length - 1];
        if (last?.mapped === mapped) found[found.length - 1] = { ...last, length: last.length + BLOCK };
        else if (found.length === limit) break;
        else found.push({ position: at, length: BLOCK, mapped });
      }
      return found;
    });
  }
  sharesWith(source: Volume): boolean {
    return source instanceof CopyVolume && source.#queue === this.#queue;
  }

  /** As the pool does it: at one moment, all of it or nothing. */
  shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    if (!(source instanceof CopyVolume) || !this.sharesWith(source)) return Promise.resolve(false);
    // Of who asks now: a slow disk may do it when somebody else has asked again.
    const tell = this.onShared.get(to);
    const share = (): void => {
      const content = Array.from({ length: length / BLOCK }, (_, index) => source.#blocks.get(from / BLOCK + index));
      tell?.(content);
      for (const [index, held] of content.entries()) {
        const number = to / BLOCK + index;
        const before = this.#blocks.get(number);
        // Memory of its own: what is lost of the source later is not lost here.
        const mine = held === undefined ? undefined : Buffer.from(held);
        if (mine === undefined) this.#blocks.delete(number);
        else this.#blocks.set(number, mine);
        if (!this.#keepsInMemory) continue;
        this.#inMemory.push(() => {
          if (this.#blocks.get(number) !== mine) return;
          if (before === undefined) this.#blocks.delete(number);
          else this.#blocks.set(number, before);
        });
      }
    };
    return this.#queue.operation(
      () => {
        this.#queue.mayFail();
        share();
        return true;
      },
      () => {
        if (this.#queue.platters.chance.happens(0.5)) share();
      },
    );
  }

  allocatedBytes(): number {
    return this.#blocks.size * BLOCK;
  }
  resize(size: number): Promise<void> {
    this.info = { ...this.info, size };
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  #change(position: number, length: number, one: (number: number, done: number) => void): Promise<void> {
    return this.#queue.operation(
      () => {
        try {
          this.#queue.mayFail();
        } catch (error) {
          throw new VolumeError(VolumeFault.writeError, 'the disk fails', position, { cause: error });
        }
        for (let done = 0; done < length; done += BLOCK) one((position + done) / BLOCK, done);
      },
      () => {
        for (let done = 0; done < length; done += BLOCK) {
          if (this.#queue.platters.chance.happens(0.5)) one((position + done) / BLOCK, done);
        }
      },
    );
  }

  #load(position: number, length: number, target: Buffer, at: number): void {
    for (let done = 0; done < length; done += BLOCK) {
      const block = this.#blocks.get((position + done) / BLOCK);
      if (block === undefined) target.fill(0, at + done, at + done + BLOCK);
      else block.copy(target, at + done);
    }
  }
}
