// Everything that changes, as it happens, for event streams. A change is told by what the record looks like when it has come
// to rest for a moment: ten changes of one record in that time are one event.
import { LIVE_REST, LIVE_RING_BYTES, LIVE_RING_EVENTS, LIVE_TICK } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { messageOf } from '../../base/errors.ts';
import type { Clock, RandomSource, Timer } from '../../base/world.ts';
import type { Catalog } from '../catalog.ts';
import { EventRing } from './ring.ts';
import { Told } from './told.ts';
import type { Changed } from './told.ts';
import type { StatsInterval, Topic } from './topics.ts';

/** What the outside sees of a record; undefined: it is not there (any more). */
export type LiveViews = { readonly [T in Topic]?: (id: string) => unknown };

export interface LiveOptions {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Log;
  /** Topics without a view are told without the item. */
  readonly views: LiveViews;
  /** By topic: something cheap to compare, by id, for what changes without a record. Looked at every LIVE_TICK. */
  readonly looks: { readonly [T in Topic]?: () => ReadonlyMap<string, string> };
  /** Statistics of what has moved since the last call for this interval. */
  readonly stats: (interval: StatsInterval) => unknown;
}

/** Somebody who wants the events. */
export interface LiveListener {
  /** New events are in the ring. */
  wake(): void;
  /** Statistics of this interval, ready to be sent. */
  stats(interval: StatsInterval, bytes: Buffer): void;
  /** A tick has passed. */
  tick(): void;
  /** The daemon ends. */
  end(): void;
}

export class Live {
  readonly #options: LiveOptions;
  readonly #listeners = new Set<LiveListener>();
  readonly #unwatch: () => void;
  /** Changed records that have not been told yet, by topic and id. */
  readonly #changed = new Map<string, Changed>();
  readonly #seen = new Map<Topic, ReadonlyMap<string, string>>();
  readonly #intervals = new Map<StatsInterval, number>();
  #ring = new EventRing(LIVE_RING_EVENTS, LIVE_RING_BYTES);
  /** Tells the events of this process from those of the one before. */
  #epoch: string;
  #rest: Timer | undefined;
  #ticking: Timer | undefined;
  #ticks = 0;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#epoch = options.random.bytes(4).toString('hex');
    const told = new Told(options.catalog);
    this.#unwatch = options.catalog.watch((change) => {
      for (const each of told.of(change)) this.#change(each);
    });
  }

  get ring(): EventRing {
    return this.#ring;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** The id of the newest event. */
  get position(): string {
    return this.#idOf(this.#ring.last);
  }

  /** Number of the event with this id, when everything behind it is still here. */
  numberOf(id: string): number | undefined {
    const [, epoch, digits = ''] = /^([\da-f]{8})-(\d{1,15})$/.exec(id) ?? [];
    const number = Number(digits);
    return epoch === this.#epoch && this.#ring.reaches(number) ? number : undefined;
  }

  /** Calls `listener` from now on; `interval`: seconds between the statistics it wants. Returns the function that ends it. */
  listen(listener: LiveListener, interval: StatsInterval | undefined): () => void {
    // What has happened while nobody looked is told to those who come back, as changes between then and now.
    if (this.#listeners.size === 0) this.#look(this.#seen.size > 0);
    this.#listeners.add(listener);
    if (interval !== undefined) this.#intervals.set(interval, (this.#intervals.get(interval) ?? 0) + 1);
    this.#ticking ??= this.#options.clock.after(LIVE_TICK, () => {
      this.#tick();
    });
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#listeners.delete(listener);
      if (interval !== undefined) this.#intervals.set(interval, (this.#intervals.get(interval) ?? 1) - 1);
      if (this.#listeners.size > 0) return;
      this.#ticking?.cancel();
      this.#ticking = undefined;
    };
  }

  /** Ends all streams. */
  close(): void {
    this.#unwatch();
    this.#rest?.cancel();
    this.#ticking?.cancel();
    this.#ticking = undefined;
    for (const listener of [...this.#listeners]) listener.end();
  }

  #change(change: Changed): void {
    this.#changed.set(`${change.topic}/${change.kind}/${change.id}`, change);
    this.#rest ??= this.#options.clock.after(LIVE_REST, () => {
      this.#rest = undefined;
      this.#tell();
    });
  }

  /** Puts what has changed into the ring, and wakes the streams. */
  #tell(): void {
    const changes = [...this.#changed.values()];
    this.#changed.clear();
    for (const { topic, kind, id, gone, revision } of changes) {
      const item = gone ? undefined : this.#view(topic, kind, id);
      const data = { topic, kind, id, change: gone ? 'deleted' : 'changed', revision, item: item ?? null };
      const text = JSON.stringify(data);
      this.#ring.push(topic, (number) => Buffer.from(`id: ${this.#idOf(number)}\nevent: ${topic}\ndata: ${text}\n\n`));
    }
    for (const listener of [...this.#listeners]) listener.wake();
  }

  #view(topic: Topic, kind: string, id: string): unknown {
    // Groups of hosts are told among the hosts, without a view of their own.
    if (kind === 'host-groups') return undefined;
    try {
      return this.#options.views[topic]?.(id);
    } catch (error) {
      this.#options.log.error({ topic, id, error: messageOf(error) }, 'a change could not be shown');
      return undefined;
    }
  }

  /** Compares what changes without a record with what it was; `tell`: the differences are events. */
  #look(tell: boolean): void {
    for (const [name, look] of Object.entries(this.#options.looks)) {
      const topic = name as Topic;
      const now = look();
      const before = this.#seen.get(topic);
      this.#seen.set(topic, now);
      if (!tell || before === undefined) continue;
      for (const [id, text] of now)
        if (before.get(id) !== text) this.#change({ topic, kind: topic, id, gone: false, revision: null });
      for (const id of before.keys())
        if (!now.has(id)) this.#change({ topic, kind: topic, id, gone: true, revision: null });
    }
  }

  #tick(): void {
    this.#ticking = this.#options.clock.after(LIVE_TICK, () => {
      this.#tick();
    });
    this.#ticks++;
    this.#look(true);
    for (const [interval, wanted] of this.#intervals) {
      if (wanted <= 0 || this.#ticks % interval !== 0) continue;
      const text = JSON.stringify(this.#options.stats(interval));
      // Without an id: who has missed one gets the next, which counts from the same beginning.
      const bytes = Buffer.from(`event: stats\ndata: ${text}\n\n`);
      for (const listener of [...this.#listeners]) listener.stats(interval, bytes);
    }
    for (const listener of [...this.#listeners]) listener.tick();
  }

  #idOf(number: number): string {
    return `${this.#epoch}-${String(number)}`;
  }
}
