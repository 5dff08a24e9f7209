// Rates and latencies over time, made from the counters of the volumes while the console is open.
import { data } from './data.ts';
import type { Stats } from './data.ts';

/** Points that are kept: ten minutes at one in two seconds. */
const KEPT = 300;

/** Of one volume or of all, for the time between two looks at the counters. */
export interface Point {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Bytes a second. */
  readonly read: number;
  readonly written: number;
  /** Commands a second. */
  readonly reads: number;
  readonly writes: number;
  /** Microseconds, of the commands of this time; undefined: there were none. */
  readonly readLatency: number | undefined;
  readonly writeLatency: number | undefined;
}

type Counters = Pick<Stats, 'reads' | 'readBytes' | 'writes' | 'writtenBytes'> & {
  readTime: number;
  writeTime: number;
};

const series = new Map<string, Point[]>();
let last: { at: number; counters: Map<string, Counters> } | undefined;
const TOTAL = '';

/** The points of a volume, or of all together. */
export function pointsOf(volume?: string): readonly Point[] {
  return series.get(volume ?? TOTAL) ?? [];
}

/** Keeps the points coming, wherever in the console somebody is. */
export function startSeries(): void {
  data.stats.subscribe(take);
}

export function stopSeries(): void {
  data.stats.unsubscribe(take);
  series.clear();
  last = undefined;
}

function take(): void {
  const stats = data.stats.value;
  if (stats === undefined || data.stats.problem !== undefined) return;
  const now = { at: Date.now(), counters: new Map(stats.map((each) => [each.name, countersOf(each)])) };
  const before = last;
  last = now;
  if (before === undefined) return;
  const seconds = (now.at - before.at) / 1000;
  if (seconds <= 0) return;
  const sum: Counters = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, readTime: 0, writeTime: 0 };
  for (const [name, counters] of now.counters) {
    const earlier = before.counters.get(name);
    // A volume that is new, or whose daemon has been started anew, has no rate yet.
    if (earlier === undefined || counters.reads < earlier.reads || counters.writes < earlier.writes) continue;
    const delta = { ...sum };
    for (const key of Object.keys(sum) as (keyof Counters)[]) {
      delta[key] = counters[key] - earlier[key];
      sum[key] += delta[key];
    }
    push(name, pointOf(now.at, seconds, delta));
  }
  push(TOTAL, pointOf(now.at, seconds, sum));
  for (const name of series.keys()) if (name !== TOTAL && !now.counters.has(name)) series.delete(name);
}

function push(name: string, point: Point): void {
  const points = series.get(name) ?? [];
  points.push(point);
  if (points.length > KEPT) points.shift();
  series.set(name, points);
}

function countersOf({ reads, readBytes, writes, writtenBytes, readLatency, writeLatency }: Stats): Counters {
  return { reads, readBytes, writes, writtenBytes, readTime: readLatency.total, writeTime: writeLatency.total };
}

function pointOf(at: number, seconds: number, delta: Counters): Point {
  return {
    at,
    read: delta.readBytes / seconds,
    written: delta.writtenBytes / seconds,
    reads: delta.reads / seconds,
    writes: delta.writes / seconds,
    readLatency: delta.reads > 0 ? delta.readTime / delta.reads : undefined,
    writeLatency: delta.writes > 0 ? delta.writeTime / delta.writes : undefined,
  };
}
