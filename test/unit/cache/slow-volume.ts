// A volume whose asynchronous calls happen in pieces and in any order a seed says, and the clock that goes with it.
import type { Clock } from '../../../core/base/world.ts';
import { VolumeError, WriteNow } from '../../../core/volume/volume.ts';
import type { Durability, Extent, StableWaiter, Volume, VolumeFault, VolumeInfo } from '../../../core/volume/volume.ts';

export type Random = () => number;

/** Numbers from 0 to 1 that depend on the seed alone. */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Everything that has been begun and not finished; one randomly chosen step happens per turn. */
export class Scheduler {
  readonly random: Random;
  readonly #steps: (() => void)[] = [];
  #driving = false;

  constructor(random: Random) {
    this.random = random;
  }

  later(step: () => void): void {
    this.#steps.push(step);
    if (this.#driving) return;
    this.#driving = true;
    const turn = (): void => {
      const at = Math.floor(this.random() * this.#steps.length);
      const [chosen] = this.#steps.splice(at, 1);
      chosen?.();
      if (this.#steps.length > 0) setImmediate(turn);
      else this.#driving = false;
    };
    setImmediate(turn);
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.later(resolve);
    });
  }

  readonly clock: Clock = {
    now: () => 0,
    wall: () => 0,
    after: (_ms, fn) => {
      let cancelled = false;
      this.later(() => {
        if (!cancelled) fn();
      });
      return { cancel: () => (cancelled = true) };
    },
    soon: (fn) => {
      this.later(fn);
    },
  };
}

export class SlowVolume implements Volume {
  info: VolumeInfo;
  bytes: Buffer;
  /** Share of the synchronous calls that are refused. */
  refuses = 0.5;
  /** Set: every write fails with it. */
  failing: VolumeFault | undefined;
  readonly #scheduler: Scheduler;
  /** Ranges being written, to notice two writes at once. */
  readonly #writing = new Set<{ position: number; end: number }>();

  constructor(scheduler: Scheduler, size: number, durability: Durability) {
    this.#scheduler = scheduler;
    this.bytes = Buffer.alloc(size);
    this.info = { size, blockSize: 512, durability, readOnly: false, thin: true, unmapGranularity: 4096 };
  }

  #cold(): boolean {
    return this.#scheduler.random() < this.refuses;
  }

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    if (this.#cold()) return false;
    this.bytes.copy(target, at, position, position + length);
    return true;
  }

  viewNow(): boolean {
    return false;
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    const half = Math.floor((length * this.#scheduler.random()) / 512) * 512;
    await this.#scheduler.wait();
    this.bytes.copy(target, at, position, position + half);
    await this.#scheduler.wait();
    this.bytes.copy(target, at + half, position + half, position + length);
    await this.#scheduler.wait();
  }

  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (this.#cold()) return WriteNow.refused;
    source.copy(this.bytes, position, at, at + length);
    return WriteNow.done;
  }

  whenStable(waiter: StableWaiter): void {
    this.#scheduler.later(() => {
      waiter.stable(undefined);
    });
  }

  async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    if (this.failing !== undefined) throw new VolumeError(this.failing, 'told to fail', position);
    const mine = { position, end: position + length };
    for (const other of this.#writing) {
      if (other.position < mine.end && position < other.end) throw new Error('two writes of the same bytes at once');
    }
    this.#writing.add(mine);
    const half = Math.floor((length * this.#scheduler.random()) / 512) * 512;
    await this.#scheduler.wait();
    source.copy(this.bytes, position, at, at + half);
    await this.#scheduler.wait();
    source.copy(this.bytes, position + half, at + half, at + length);
    this.#writing.delete(mine);
    await this.#scheduler.wait();
  }

  async flush(): Promise<void> {
    await this.#scheduler.wait();
  }

  async zero(position: number, length: number): Promise<void> {
    await this.#scheduler.wait();
    this.bytes.fill(0, position, position + length);
    await this.#scheduler.wait();
  }

  unmap(position: number, length: number): Promise<void> {
    return this.zero(position, length);
  }

  extents(position: number, length: number): Promise<Extent[]> {
    return Promise.resolve([{ position, length, mapped: true }]);
  }

  allocatedBytes(): number {
    return this.bytes.length;
  }

  async resize(size: number): Promise<void> {
    await this.#scheduler.wait();
    const next = Buffer.alloc(size);
    this.bytes.copy(next);
    this.bytes = next;
    this.info = { ...this.info, size };
  }

  async close(): Promise<void> {
    await this.#scheduler.wait();
  }
}
