// The memory of the read and write cache, shared by all volumes: frames of one grain (64 KiB), each with a bit per 4 KiB
// block for "holds what the volume holds" and for "the storage below does not have it yet".
import { addressOf, intoLargePages, largeMemory } from '../base/memory-address.ts';
import { viewGuard } from '../base/view-guard.ts';
import { BLOCK, GRAIN, blockMask } from '../volume/grain.ts';
import { Eviction } from './eviction.ts';

/** Bytes of a frame: it holds one grain. */
export const FRAME = GRAIN;
/** Frames that are allocated together: 64 MiB, of which the system gives only what is written. */
const SLAB_FRAMES = 1024;
/** Volumes × grains: keys stay exact in a double. */
const KEY_STEP = 4_294_967_296;

/** Who owns frames. */
export interface FrameOwner {
  /** Distinguishes owners; small. */
  readonly cacheId: number;
  /** The frame of this grain is used for something else from now on. */
  frameLost(grain: number): void;
}

export interface CacheFacts {
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly dirtyBytes: number;
  readonly dirtyLimitBytes: number;
}

export class L1Cache {
  readonly frames: number;
  /** Frames that may be dirty at once, over all volumes. */
  readonly dirtyLimit: number;
  readonly frameBytes = FRAME;
  /** Bit n: block n of the frame is valid, or dirty. */
  readonly valid: Uint16Array;
  readonly dirty: Uint16Array;
  /** Running I/O of the storage below from or to the frame: it neither goes nor moves. */
  readonly pins: Uint16Array;
  /** Blocks that are being read into the frame from below: nobody else writes there, and the frame neither goes nor moves. */
  readonly filling: Uint16Array;
  /** 1: it was filled just now for somebody who has not looked at it yet. */
  readonly fresh: Uint8Array;
  /** Epoch of the last view (ViewGuard). */
  readonly viewed: Float64Array;
  /** Value of `now` when the frame became dirty. */
  readonly dirtySince: Float64Array;
  dirtyFrames = 0;
  /** Clock time, milliseconds, as the last round of writing back saw it. */
  now = 0;
  #nextId = 1;
  #allocated = 0;
  readonly #slabs: Buffer[] = [];
  readonly #addresses: (number | undefined)[] = [];
  readonly #owners: (FrameOwner | undefined)[] = [];
  readonly #grains: Float64Array;
  readonly #eviction: Eviction;
  readonly #mayGo = (frame: number): boolean =>
    this.dirty[frame] === 0 &&
    this.pins[frame] === 0 &&
    this.filling[frame] === 0 &&
    !viewGuard.protects(this.viewed[frame] as number);
  readonly #keyOf = (frame: number): number => {
    const owner = this.#owners[frame];
    return (owner === undefined ? 0 : owner.cacheId) * KEY_STEP + (this.#grains[frame] as number);
  };

  /** `budget` and `dirtyBudget` in bytes. */
  constructor(budget: number, dirtyBudget: number) {
    this.frames = Math.max(16, Math.floor(budget / FRAME));
    this.dirtyLimit = Math.max(4, Math.min(this.frames >> 1, Math.floor(dirtyBudget / FRAME)));
    this.valid = new Uint16Array(this.frames);
    this.dirty = new Uint16Array(this.frames);
    this.pins = new Uint16Array(this.frames);
    this.filling = new Uint16Array(this.frames);
    this.fresh = new Uint8Array(this.frames);
    this.viewed = new Float64Array(this.frames);
    this.dirtySince = new Float64Array(this.frames);
    this.#grains = new Float64Array(this.frames);
    this.#eviction = new Eviction(this.frames);
  }

  /** An id for a new owner. */
  nextId(): number {
    return this.#nextId++;
  }

  /** Memory of the frame: `slab(frame)` from `offset(frame)` on. */
  slab(frame: number): Buffer {
    return this.#slabs[Math.floor(frame / SLAB_FRAMES)] as Buffer;
  }

  /** Address of the first byte of that memory; undefined: nobody can tell. */
  address(frame: number): number | undefined {
    return this.#addresses[Math.floor(frame / SLAB_FRAMES)];
  }

  offset(frame: number): number {
    return (frame % SLAB_FRAMES) * FRAME;
  }

  used(frame: number): void {
    this.#eviction.used(frame);
  }

  /** An empty frame for this grain, or -1 when none can be had now. The owner keeps the number. */
  take(owner: FrameOwner, grain: number): number {
    let frame = this.#allocated;
    if (frame < this.frames) {
      if (frame % SLAB_FRAMES === 0) {
        const count = Math.min(SLAB_FRAMES, this.frames - frame);
        const full = this.#slabs.at(-1);
        if (full !== undefined) intoLargePages(full);
        const slab = largeMemory(count * FRAME);
        this.#slabs.push(slab);
        this.#addresses.push(addressOf(slab));
      }
      this.#allocated++;
    } else {
      frame = this.#eviction.victim(this.#mayGo, this.#keyOf);
      if (frame < 0) return -1;
      this.#owners[frame]?.frameLost(this.#grains[frame] as number);
    }
    this.#owners[frame] = owner;
    this.#grains[frame] = grain;
    this.valid[frame] = 0;
    this.dirty[frame] = 0;
    this.fresh[frame] = 0;
    this.viewed[frame] = 0;
    this.#eviction.add(frame, this.#keyOf(frame));
    return frame;
  }

  /** The frame holds nothing of anybody any more; it is used again when its turn comes. */
  abandon(frame: number): void {
    this.#owners[frame] = undefined;
    this.valid[frame] = 0;
    this.dirty[frame] = 0;
  }

  facts(): CacheFacts {
    return {
      capacityBytes: this.frames * FRAME,
      usedBytes: this.#allocated * FRAME,
      dirtyBytes: this.dirtyFrames * FRAME,
      dirtyLimitBytes: this.dirtyLimit * FRAME,
    };
  }
}

/** Bits of the blocks that bytes [from, to) of a frame touch. */
export function touchedBlocks(from: number, to: number): number {
  const first = from >> 12;
  const end = (to + BLOCK - 1) >> 12;
  return blockMask(first, end);
}

/** Bits of the blocks that bytes [from, to) of a frame cover completely; `end` is where the volume ends in this frame. */
export function coveredBlocks(from: number, to: number, end: number): number {
  const first = (from + BLOCK - 1) >> 12;
  const last = to >= end ? (to + BLOCK - 1) >> 12 : to >> 12;
  return last <= first ? 0 : blockMask(first, last);
}
