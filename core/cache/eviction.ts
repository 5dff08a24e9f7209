// Which frame goes when the cache is full: S3-FIFO (Yang et al., SOSP 2023). What comes in passes through a small queue
// first and stays only if it was used again meanwhile, so that one long scan pushes out nothing but itself. What was
// thrown out of the small queue and is wanted soon again goes to the main queue at once.

/** Share of the frames the small queue may hold: one in ten. */
const SMALL_SHARE = 10;
const MAX_USES = 3;
/** Frames looked at for one victim. When none of them can go, the caller does without a frame. */
const MAX_LOOKS = 256;

class Ring {
  readonly #slots: Int32Array;
  #first = 0;
  length = 0;

  constructor(size: number) {
    this.#slots = new Int32Array(size);
  }

  push(frame: number): void {
    this.#slots[(this.#first + this.length) % this.#slots.length] = frame;
    this.length++;
  }

  shift(): number {
    const frame = this.#slots[this.#first] as number;
    this.#first = (this.#first + 1) % this.#slots.length;
    this.length--;
    return frame;
  }
}

export class Eviction {
  readonly #uses: Uint8Array;
  readonly #small: Ring;
  readonly #main: Ring;
  readonly #frames: number;
  /** Keys thrown out of the small queue lately, oldest first. */
  readonly #ghosts = new Set<number>();

  constructor(frames: number) {
    this.#frames = frames;
    this.#uses = new Uint8Array(frames);
    this.#small = new Ring(frames);
    this.#main = new Ring(frames);
  }

  /** The frame was used. Allocation-free. */
  used(frame: number): void {
    const uses = this.#uses[frame] as number;
    if (uses < MAX_USES) this.#uses[frame] = uses + 1;
  }

  /** The frame, which is in no queue, holds `key` from now on. */
  add(frame: number, key: number): void {
    this.#uses[frame] = 0;
    if (this.#ghosts.delete(key)) this.#main.push(frame);
    else this.#small.push(frame);
  }

  /** Takes a frame out of its queue, or -1. `mayGo` says whether this one can be had; `keyOf` what it holds. */
  victim(mayGo: (frame: number) => boolean, keyOf: (frame: number) => number): number {
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const fromSmall = this.#small.length * SMALL_SHARE >= this.#frames || this.#main.length === 0;
      if (fromSmall && this.#small.length === 0) return -1;
      const queue = fromSmall ? this.#small : this.#main;
      const frame = queue.shift();
      const uses = this.#uses[frame] as number;
      if (!mayGo(frame)) {
        this.#main.push(frame);
      } else if (uses > 0) {
        this.#uses[frame] = fromSmall ? 0 : uses - 1;
        this.#main.push(frame);
      } else {
        if (fromSmall) this.#remember(keyOf(frame));
        return frame;
      }
    }
    return -1;
  }

  #remember(key: number): void {
    this.#ghosts.add(key);
    if (this.#ghosts.size <= this.#frames) return;
    for (const oldest of this.#ghosts) {
      this.#ghosts.delete(oldest);
      return;
    }
  }
}
