// Virtual time: events in order of their time, those of the same time in the order in which they were planned. One event is
// one turn: everything its promises lead to happens before the next.

interface Event {
  readonly at: number;
  readonly order: number;
  fn: (() => void) | undefined;
}

const earlier = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export class VirtualTime {
  /** Milliseconds since the simulation began. */
  now = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  /** Hash of what has happened, for comparing two runs (FNV-1a). */
  #trace = 0x811c9dc5;
  events = 0;
  /** What is told of each event when somebody wants to read the trace. */
  tell: (line: string) => void = () => undefined;

  get trace(): string {
    return this.#trace.toString(16).padStart(8, '0');
  }

  /** Plans `fn` in `delay` milliseconds. Returns the function that takes it back. */
  after(delay: number, fn: () => void): () => void {
    const event: Event = { at: this.now + Math.max(delay, 0), order: this.#order++, fn };
    this.#push(event);
    return () => (event.fn = undefined);
  }

  /** Makes it part of the trace. */
  note(what: string): void {
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
    this.#mix(Math.round(this.now * 1000));
    this.tell(`${this.now.toFixed(3).padStart(10)} ${what}`);
  }

  /** Lets time pass until `end`, or until `over` says that it is enough. */
  async run(end: number, over: () => boolean = () => false): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end || over()) break;
      this.#pop();
      if (next.fn === undefined) continue;
      this.now = next.at;
      this.events++;
      next.fn();
      // Everything the event leads to without waiting is over when the event loop comes round.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    if (!over()) this.now = Math.max(this.now, end);
  }

  #mix(value: number): void {
    this.#trace = Math.imul(this.#trace ^ (value & 0xffff), 0x01000193) >>> 0;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (earlier(heap[above] as Event, event)) break;
      heap[at] = heap[above] as Event;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && earlier(heap[below + 1] as Event, heap[below] as Event)) below++;
      if (earlier(last, heap[below] as Event)) break;
      heap[at] = heap[below] as Event;
      at = below;
    }
    heap[at] = last;
  }
}
