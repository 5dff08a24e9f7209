// The last events, each as the bytes that are sent to everybody: a stream that was interrupted goes on where it was, and one
// that is slow needs no buffer of its own.

export interface LiveEvent {
  readonly number: number;
  readonly topic: string;
  readonly bytes: Buffer;
}

export class EventRing {
  readonly #maxEvents: number;
  readonly #maxBytes: number;
  #events: LiveEvent[] = [];
  /** Index of the oldest; what is before it is let go from time to time. */
  #start = 0;
  #bytes = 0;
  #last = 0;

  constructor(maxEvents: number, maxBytes: number) {
    this.#maxEvents = maxEvents;
    this.#maxBytes = maxBytes;
  }

  /** Number of the newest event; 0: there was none yet. */
  get last(): number {
    return this.#last;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps an event; `bytesOf` gets its number, which is one more than that of the one before. */
  push(topic: string, bytesOf: (number: number) => Buffer): void {
    const number = ++this.#last;
    const bytes = bytesOf(number);
    this.#events.push({ number, topic, bytes });
    this.#bytes += bytes.length;
    while (this.#events.length - this.#start > this.#maxEvents || this.#bytes > this.#maxBytes) {
      const oldest = this.#events[this.#start];
      if (oldest === undefined) break;
      this.#bytes -= oldest.bytes.length;
      this.#start++;
    }
    if (this.#start > this.#maxEvents) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
  }

  /** True when everything behind event `number` is still here. */
  reaches(number: number): boolean {
    const count = this.#events.length - this.#start;
    return number <= this.#last && number >= this.#last - count;
  }

  /**
   * Events behind `number` whose topic is in `topics`, up to `maxBytes` together but at least one; `upTo` is the number of the
   * last one that was looked at. Only when reaches(number).
   */
  after(number: number, topics: ReadonlySet<string>, maxBytes: number): { parts: Buffer[]; upTo: number } {
    const parts: Buffer[] = [];
    let bytes = 0;
    let upTo = number;
    for (let i = this.#events.length - (this.#last - number); i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event === undefined) break;
      if (topics.has(event.topic)) {
        if (bytes > 0 && bytes + event.bytes.length > maxBytes) break;
        parts.push(event.bytes);
        bytes += event.bytes.length;
      }
      upTo = event.number;
    }
    return { parts, upTo };
  }
}
