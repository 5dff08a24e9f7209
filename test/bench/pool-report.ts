// The table of `npm run bench -- pool`: one line a comparison, each a number with a goal.

/** What `npm run bench -- pool` and `-- copy` are told. */
export interface DiskBenchOptions {
  /** Empty, on the disk that is measured. */
  readonly folder: string;
  /** The load generator. */
  readonly tool: string;
  readonly reps: number;
  readonly seconds: number;
  /** Of each reading from the disk: longer, because a disk has to settle. */
  readonly coldSeconds: number;
  /** MiB of the volume that is read, written or copied. */
  readonly size: number;
  readonly parts: readonly string[] | undefined;
  readonly json: string;
  readonly markdown: string | undefined;
}

/** What was measured, and what it is measured against. */
export interface PoolRow {
  readonly title: string;
  readonly unit: string;
  readonly ours: number;
  /** undefined: the goal is about `ours` itself. */
  readonly theirs: number | undefined;
  /** Smallest and largest ratio of the repetitions. */
  readonly spread: readonly [number, number] | undefined;
  /** `ours`, or ours/theirs, is at least or at most this; undefined: nothing is promised. */
  readonly goal: { readonly atLeast: number } | { readonly atMost: number } | undefined;
  readonly note: string;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? NaN)) / 2;
}

/** What repetition n gave on our side over what it gave on theirs. */
export function compared(
  title: string,
  unit: string,
  ours: readonly number[],
  theirs: readonly number[],
  goal: PoolRow['goal'],
  note = '',
): PoolRow {
  const ratios = ours.map((each, i) => each / (theirs[i] ?? NaN));
  const spread = [Math.min(...ratios), Math.max(...ratios)] as const;
  // The row shows medians; the ratio is that of the repetitions, each of which saw the same disk in the same minute.
  return { title, unit, ours: median(ours), theirs: median(ours) / median(ratios), spread, goal, note };
}

export function absolute(title: string, unit: string, ours: number, goal: PoolRow['goal'], note = ''): PoolRow {
  return { title, unit, ours, theirs: undefined, spread: undefined, goal, note };
}

/** undefined: there is no goal. */
export function reached(row: PoolRow): boolean | undefined {
  const value = row.theirs === undefined ? row.ours : row.ours / row.theirs;
  if (row.goal === undefined) return undefined;
  return 'atLeast' in row.goal ? value >= row.goal.atLeast : value <= row.goal.atMost;
}

function short(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

export function poolMarkdown(facts: Readonly<Record<string, string | number>>, rows: readonly PoolRow[]): string {
  const lines = [
    Object.entries(facts)
      .map(([name, value]) => `${name}: ${String(value)}`)
      .join(' · '),
    '',
    '| what | Gemel | compared with | ratio | goal | |',
    '|---|---|---|---|---|---|',
  ];
  for (const row of rows) {
    const { unit, ours, theirs, spread, goal } = row;
    const ratio = theirs === undefined ? '–' : short(ours / theirs);
    const range = spread === undefined ? '' : ` (${short(spread[0])}–${short(spread[1])})`;
    const mark = reached(row) === undefined ? '' : reached(row) === true ? '✔ ' : '✘ ';
    const wanted =
      goal === undefined ? '–' : 'atLeast' in goal ? `≥ ${String(goal.atLeast)}` : `≤ ${String(goal.atMost)}`;
    const other = theirs === undefined ? '–' : `${short(theirs)} ${unit}`;
    lines.push(
      `| ${row.title} | ${short(ours)} ${unit} | ${other} | ${ratio}${range} | ${mark}${wanted} | ${row.note} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}
