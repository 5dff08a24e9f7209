// Which parts of a file are surely in the page cache, so that reading them synchronously cannot stop the event loop. The
// operating system does not tell; what was read or written recently is known to be there. A direct-mapped table with a
// second chance: a page that was used since it was last challenged stays, so one long scan does not push out what is
// used again and again.
import { HOT_DOUBT_BYTES } from '../base/limits.ts';

/** Bytes of a page. */
const PAGE = 4096;

export class HotMap {
  /** Page numbers plus one; 0 is empty. */
  readonly #slots: Float64Array;
  /** 1 for a slot whose page was asked for since another one wanted the slot. */
  readonly #used: Uint8Array;

  /** Remembers at most `budget` bytes of the file. */
  constructor(budget: number) {
    const slots = Math.max(1, Math.ceil(budget / PAGE));
    this.#slots = new Float64Array(slots);
    this.#used = new Uint8Array(slots);
  }

  /** True when every page of the range is hot. Bytes. Allocation-free. */
  isHot(position: number, length: number): boolean {
    const slots = this.#slots;
    const last = Math.floor((position + length - 1) / PAGE);
    for (let page = Math.floor(position / PAGE); page <= last; page++) {
      const slot = page % slots.length;
      if (slots[slot] !== page + 1) return false;
      this.#used[slot] = 1;
    }
    return true;
  }

  /** What was taken for hot at `position` was not: nothing around it is any more, until it is used again. */
  doubt(position: number): void {
    const slots = this.#slots;
    const pages = HOT_DOUBT_BYTES / PAGE;
    const first = Math.floor(position / HOT_DOUBT_BYTES) * pages;
    for (let page = first; page < first + pages; page++) {
      const slot = page % slots.length;
      if (slots[slot] === page + 1) slots[slot] = this.#used[slot] = 0;
    }
  }

  /** Pages that the range touches have been read, or written completely. Bytes. Allocation-free. */
  heat(position: number, length: number): void {
    const slots = this.#slots;
    const last = Math.floor((position + length - 1) / PAGE);
    for (let page = Math.floor(position / PAGE); page <= last; page++) {
      const slot = page % slots.length;
      if (this.#used[slot] === 1 && slots[slot] !== page + 1) this.#used[slot] = 0;
      else slots[slot] = page + 1;
    }
  }
}
