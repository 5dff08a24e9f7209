// What happened, for people and for alerts: a bounded log in the catalog. Not the audit log (who did what) and not the log of
// the program (for those who look for a defect).
import { EVENT_REPEAT, MAX_EVENT_QUEUE, MAX_EVENT_TEXT, MAX_EVENTS, MAX_PURGE } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { printable } from './names.ts';

/** From "good to know" to "act now". */
export const SEVERITIES = ['info', 'warning', 'error', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What an event is about. */
export interface EventObject {
  /** In the singular: volume, snapshot, pool, host, host-group, job, schedule, target, initiator, node, certificate … */
  readonly kind: string;
  readonly name: string;
}

export interface EventRecord {
  /** Twelve digits; a larger number happened later. */
  readonly id: string;
  readonly severity: Severity;
  /** Stable, for rules and scripts: lower case words joined by `-`, like `job-failed`. */
  readonly code: string;
  readonly object?: EventObject;
  /** One sentence for people. Never a secret. */
  readonly text: string;
  /** Milliseconds since 1970: when it happened first. */
  readonly time: number;
  /** When it happened last, and how often, if more than once. */
  readonly last?: number;
  readonly count?: number;
}

export type NewEvent = Pick<EventRecord, 'severity' | 'code' | 'object' | 'text'>;

export interface EventFilter {
  /** This severity and worse. */
  readonly atLeast?: Severity | undefined;
  readonly code?: string | undefined;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  /** Only those with a smaller id: how a list goes on. */
  readonly before?: string | undefined;
  /** At most so many. */
  readonly limit?: number | undefined;
}

/** The bounded log of events. Whoever wants each new one watches the catalog (kind `events`). */
export class Events {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #log: Log;
  #next: number;
  /** The one with the largest id; kept here because sorting all of them for every new one takes its time. */
  #latest: EventRecord | undefined;
  /** Posted, not yet durable. */
  #queue: EventRecord[] = [];
  #writing: Promise<void> | undefined;
  #lost = 0;

  constructor(catalog: Catalog, clock: Clock, log: Log) {
    this.#catalog = catalog;
    this.#clock = clock;
    this.#log = log;
    this.#latest = catalog.events.values().at(-1);
    this.#next = Number(this.#latest?.id ?? 0) + 1;
  }

  /** Notes that something happened. Never fails and never waits; durable soon after (settled()). */
  post(event: NewEvent): void {
    const time = this.#clock.wall();
    const text = event.text.slice(0, MAX_EVENT_TEXT);
    const object = event.object && { kind: event.object.kind, name: printable(event.object.name) };
    const fields = { code: event.code, ...(object && { [object.kind]: object.name }) };
    if (event.severity === 'info') this.#log.info(fields, text);
    else if (event.severity === 'warning') this.#log.warn(fields, text);
    else this.#log.error(fields, text);
    // The same again and again is one event: a disk that fails does so a thousand times a second.
    const index = this.#queue.findIndex((queued) => isSame(queued, event, text));
    const before = this.#queue[index] ?? this.#recent(event, text, time);
    if (before !== undefined) {
      const again: EventRecord = { ...before, last: time, count: (before.count ?? 1) + 1 };
      if (index >= 0) this.#queue[index] = again;
      else this.#queue.push(again);
    } else if (this.#queue.length >= MAX_EVENT_QUEUE) {
      this.#lost += 1;
      return;
    } else {
      const id = String(this.#next++).padStart(12, '0');
      const { severity, code } = event;
      this.#queue.push({ id, severity, code, ...(object && { object }), text, time });
    }
    this.#writing ??= this.#write();
  }

  /** Newest first. */
  list(filter: EventFilter = {}): EventRecord[] {
    const least = SEVERITIES.indexOf(filter.atLeast ?? 'info');
    const fits = (event: EventRecord): boolean =>
      SEVERITIES.indexOf(event.severity) >= least &&
      (filter.code === undefined || event.code === filter.code) &&
      (filter.kind === undefined || event.object?.kind === filter.kind) &&
      (filter.name === undefined || event.object?.name === filter.name) &&
      (filter.before === undefined || event.id < filter.before);
    return this.#catalog.events
      .values()
      .reverse()
      .filter(fits)
      .slice(0, filter.limit ?? MAX_EVENTS);
  }

  /** Resolves when everything that has been posted is durable, or given up. */
  async settled(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** An equal one of the last minute. */
  #recent(event: NewEvent, text: string, time: number): EventRecord | undefined {
    const latest = this.#latest;
    if (latest === undefined || !isSame(latest, event, text)) return undefined;
    return time - (latest.last ?? latest.time) < EVENT_REPEAT ? latest : undefined;
  }

  async #write(): Promise<void> {
    // Those of one turn of the event loop together: each transaction is a write to stable media.
    await new Promise<void>((resolve) => {
      this.#clock.soon(resolve);
    });
    const events = this.#queue.splice(0, MAX_PURGE);
    const { events: kept } = this.#catalog;
    const excess = Math.max(0, kept.size + events.length - MAX_EVENTS);
    const oldest = excess === 0 ? [] : kept.values().slice(0, Math.min(excess, MAX_PURGE));
    const now = new Set(events.map((event) => event.id));
    try {
      await this.#catalog.apply(
        ...oldest.filter((each) => !now.has(each.id)).map((each) => kept.edit(each.id, undefined)),
        ...events.map((each) => kept.edit(each.id, each)),
      );
      this.#latest = events.at(-1) ?? this.#latest;
    } catch (error) {
      this.#log.error({ events: events.length, error: messageOf(error) }, 'events could not be kept');
    }
    const lost = this.#lost;
    this.#lost = 0;
    this.#writing = this.#queue.length > 0 ? this.#write() : undefined;
    if (lost > 0) {
      this.post({ severity: 'warning', code: 'events-lost', text: `${String(lost)} events came too fast to be kept` });
    }
  }
}

function isSame(event: EventRecord, other: NewEvent, text: string): boolean {
  const { severity, code, object } = other;
  const about = object === undefined ? undefined : printable(object.name);
  return (
    event.severity === severity &&
    event.code === code &&
    event.text === text &&
    event.object?.kind === object?.kind &&
    event.object?.name === about
  );
}
