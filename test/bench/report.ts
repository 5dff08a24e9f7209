// From samples to a table: medians of per-repetition ratios with their spread, and whether the goal is reached.
import type { Case } from './cases.ts';

/** One line of the load generator. */
export interface Sample {
  readonly iops: number;
  readonly mbs: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly srv_cores: number;
  readonly cli_cores: number;
  readonly iops_per_core: number;
  /** Commands that were refused with these statuses and sent again. */
  readonly busy: number;
  readonly task_set_full: number;
}

interface Measured {
  readonly case: string;
  readonly rep: number;
  readonly server: string;
  readonly sample: Sample;
}

export interface Ratio {
  readonly peer: string;
  readonly median: number;
  readonly from: number;
  readonly to: number;
  readonly goal: number | undefined;
  readonly reached: boolean | undefined;
}

export interface Row {
  readonly title: string;
  readonly iops: number;
  readonly mbs: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly cores: number;
  readonly perCore: number | undefined;
  readonly perCoreGoal: number | undefined;
  readonly ratios: readonly Ratio[];
  /** Of the 99th percentile, where latency is what counts; the goals are those of the median. */
  readonly p99Ratios: readonly Ratio[];
  /** C reference/tgt: what this machine lets a server reach that does nothing but the socket calls; undefined: not measured. */
  readonly ceiling: Spread | undefined;
  /** The same for the work of one core. */
  readonly ceilingPerCore: Spread | undefined;
  /** The same for the 99th percentile, where latency is what counts. */
  readonly ceilingP99: Spread | undefined;
}

export interface Spread {
  readonly median: number;
  readonly from: number;
  readonly to: number;
}

const PEERS = ['tgt', 'istgt', 'reference'] as const;

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? NaN)) / 2;
}

/** server/peer of each repetition. */
function ratios(
  samples: readonly Measured[],
  peer: string,
  of: (sample: Sample) => number,
  server = 'gemel',
): number[] {
  return samples.flatMap((ours) => {
    if (ours.server !== server) return [];
    const theirs = samples.find((each) => each.server === peer && each.rep === ours.rep);
    return theirs === undefined ? [] : [of(ours.sample) / of(theirs.sample)];
  });
}

export function summarize(cases: readonly Case[], samples: readonly Measured[]): Row[] {
  return cases.map((each) => {
    const own = samples.filter((sample) => sample.case === each.name);
    const ours = own.filter((sample) => sample.server === 'gemel').map(({ sample }) => sample);
    const value = each.latency === true ? (sample: Sample) => sample.p50us : (sample: Sample) => sample.iops;
    const perCore = each.goalPerCore === undefined ? [] : ratios(own, 'tgt', (sample) => sample.iops_per_core);
    return {
      title: each.title,
      iops: median(ours.map((sample) => sample.iops)),
      mbs: median(ours.map((sample) => sample.mbs)),
      p50us: median(ours.map((sample) => sample.p50us)),
      p99us: median(ours.map((sample) => sample.p99us)),
      cores: median(ours.map((sample) => sample.srv_cores)),
      perCore: perCore.length === 0 ? undefined : median(perCore),
      perCoreGoal: each.goalPerCore,
      ratios: PEERS.flatMap((peer) => ratioOf(each, peer, ratios(own, peer, value))),
      p99Ratios:
        each.latency === true
          ? PEERS.flatMap((peer) =>
              ratioOf(
                each,
                peer,
                ratios(own, peer, (sample) => sample.p99us),
              ),
            )
          : [],
      ceiling: spread(ratios(own, 'tgt', value, 'reference')),
      ceilingPerCore: spread(
        perCore.length === 0 ? [] : ratios(own, 'tgt', (sample) => sample.iops_per_core, 'reference'),
      ),
      ceilingP99: spread(each.latency === true ? ratios(own, 'tgt', (sample) => sample.p99us, 'reference') : []),
    };
  });
}

function ratioOf(each: Case, peer: (typeof PEERS)[number], all: readonly number[]): Ratio[] {
  if (all.length === 0) return [];
  const goal = each.goals[peer];
  const middle = median(all);
  const reached = goal === undefined ? undefined : each.latency === true ? middle <= goal : middle >= goal;
  return [{ peer, median: middle, from: Math.min(...all), to: Math.max(...all), goal, reached }];
}

function spread(all: readonly number[]): Spread | undefined {
  return all.length === 0 ? undefined : { median: median(all), from: Math.min(...all), to: Math.max(...all) };
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));

function cell(row: Row, peer: string): string {
  const p99 = ratioCell(row.p99Ratios, peer);
  return `${ratioCell(row.ratios, peer) ?? '–'}${p99 === undefined ? '' : `; p99 ${p99}`}`;
}

function ratioCell(ratios: readonly Ratio[], peer: string): string | undefined {
  const ratio = ratios.find((each) => each.peer === peer);
  if (ratio === undefined) return undefined;
  const goal = ratio.goal === undefined ? '' : ` ${ratio.reached === true ? '✔' : '✘'} ${String(ratio.goal)}`;
  return `${short(ratio.median)} (${short(ratio.from)}–${short(ratio.to)})${goal}`;
}

const ranged = ({ median, from, to }: Spread): string => `${short(median)} (${short(from)}–${short(to)})`;

function ceilingCell({ ceiling, ceilingPerCore, ceilingP99 }: Row): string {
  if (ceiling === undefined) return '–';
  const perCore = ceilingPerCore === undefined ? '' : `, per core ${short(ceilingPerCore.median)}`;
  return `${ranged(ceiling)}${perCore}${ceilingP99 === undefined ? '' : `; p99 ${ranged(ceilingP99)}`}`;
}

export function markdown(facts: Readonly<Record<string, string | number>>, rows: readonly Row[]): string {
  const lines = [
    Object.entries(facts)
      .map(([name, value]) => `${name}: ${String(value)}`)
      .join(' · '),
    '',
    'Ratios are Gemel/peer (median of the repetitions, smallest–largest, goal); for latency rows, medians first, smaller is better. The last',
    'column says what the C reference, which does nothing but the socket calls, reaches against tgt on this machine.',
    '',
    '| case | IOPS | MB/s | p50/p99 µs | cores | / tgt | per core / tgt | / istgt | / C reference | C reference / tgt |',
    '|---|---|---|---|---|---|---|---|---|---|',
  ];
  for (const row of rows) {
    const perCore =
      row.perCore === undefined || row.perCoreGoal === undefined
        ? '–'
        : `${short(row.perCore)} ${row.perCore >= row.perCoreGoal ? '✔' : '✘'} ${String(row.perCoreGoal)}`;
    const cells = [
      row.title,
      Math.round(row.iops).toLocaleString('en'),
      Math.round(row.mbs).toLocaleString('en'),
      `${short(row.p50us)}/${short(row.p99us)}`,
      row.cores.toFixed(2),
      cell(row, 'tgt'),
      perCore,
      cell(row, 'istgt'),
      cell(row, 'reference'),
      ceilingCell(row),
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}
