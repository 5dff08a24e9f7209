// Which parts of a file are surely in the page cache, so that reading them synchronously cannot stop the event loop. The
// operating system does not tell; what was read or written recently is known to be there. A direct-mapped table: a page
// that is not used for long is pushed out by others that fall on its slot.

/** Bytes of a page. */
const PAGE = 4096;

export class HotMap {
  /** Page numbers plus one; 0 is empty. */
  readonly #slots: Float64Array;

  /** Remembers at most `budget` bytes of the file. */
  constructor(budget: number) {
    this.#slots = new Float64Array(Math.max(1, Math.floor(budget / PAGE)));
  }

  /** True when every page of the range is hot. Bytes. Allocation-free. */
  isHot(position: number, length: number): boolean {
    const slots = this.#slots;
    const last = Math.floor((position + length - 1) / PAGE);
    for (let page = Math.floor(position / PAGE); page <= last; page++) {
      if (slots[page % slots.length] !== page + 1) return false;
    }
    return true;
  }

  /** Pages that the range touches have been read, or written completely. Bytes. Allocation-free. */
  heat(position: number, length: number): void {
    const slots = this.#slots;
    const last = Math.floor((position + length - 1) / PAGE);
    for (let page = Math.floor(position / PAGE); page <= last; page++) slots[page % slots.length] = page + 1;
  }
}
