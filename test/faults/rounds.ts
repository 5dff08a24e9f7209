// Rounds of faults under a host that writes, and what there is to say of them afterwards.
import assert from 'node:assert/strict';
import type { FaultCluster } from '../support/fault-cluster.ts';
import type { FaultHost } from './fault-host.ts';
import type { Kind } from './kinds.ts';

export interface RoundReport {
  readonly kind: Kind;
  /** Milliseconds of the longest pause of the host: while it failed, and while it was put right. */
  readonly pause: number;
  readonly healing: number;
  /** Bytes of regions that might differ when replicas came back, and bytes that were copied. */
  readonly changed: number;
  readonly copied: number;
}

/** One round: the host goes on, all copies are in step again, and every block holds what was acknowledged last. */
export async function playRound(
  kind: Kind,
  cluster: FaultCluster,
  host: FaultHost,
  { coin, verify }: { readonly coin: boolean; readonly verify: boolean },
): Promise<RoundReport> {
  try {
    const owner = await cluster.owner();
    const marks = cluster.nodes.map(({ output }) => output.length);
    await host.progress();
    host.takePause();
    const heal = await kind.harm({ cluster, host, owner, coin });
    await host.progress();
    const pause = host.takePause();
    if (verify) await host.verify(false);
    await heal();
    await cluster.inSync();
    await host.progress();
    if (verify) await host.verify(true);
    const said = cluster.nodes.map(({ output }, i) => output.slice(marks[i])).join('\n');
    const sum = (message: string, field: string): number =>
      linesOf(said)
        .filter(({ msg }) => msg === message)
        .reduce((all, line) => all + Number(line[field] ?? 0), 0);
    return {
      ...{ kind, pause, healing: host.takePause() },
      changed: sum('a replica is brought up to date', 'bytes'),
      copied: sum('a replica is in sync again', 'copied'),
    };
  } catch (error) {
    if (error instanceof Error) error.message = `${kind.name}: ${error.message}\n${await cluster.describe()}`;
    throw error;
  }
}

/** The lines of a daemon's log. What it prints when it is ready has its token, and is left out. */
export function linesOf(text: string): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  for (const line of text.split('\n')) {
    try {
      const found = line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {};
      if (typeof found['msg'] === 'string') lines.push(found);
    } catch {
      // The last one has not come as a whole yet.
    }
  }
  return lines;
}

/** `kinds` mixed: each comes once before one comes again. */
export function mixed(kinds: readonly Kind[], count: number, random: () => number): Kind[] {
  assert.ok(kinds.length > 0);
  const rounds: Kind[] = [];
  while (rounds.length < count) {
    const deck = kinds.map((kind) => ({ kind, at: random() })).sort((a, b) => a.at - b.at);
    rounds.push(...deck.map(({ kind }) => kind));
  }
  return rounds.slice(0, count);
}

/** A row for each kind. */
export function tableOf(reports: readonly RoundReport[]): string {
  const kinds = [...new Set(reports.map(({ kind }) => kind))];
  const MIB = 1_048_576;
  const rows = kinds.map((kind) => {
    const own = reports.filter((each) => each.kind === kind);
    const most = (of: (report: RoundReport) => number): string => String(Math.max(...own.map(of)));
    const all = (of: (report: RoundReport) => number): string =>
      (own.reduce((sum, each) => sum + of(each), 0) / MIB).toFixed(1);
    return [
      ...[
        kind.name,
        String(own.length),
        most((each) => each.pause),
        String(kind.goal ?? '-'),
        most((each) => each.healing),
      ],
      ...[all((each) => each.copied), all((each) => each.changed)],
    ];
  });
  const head = ['fault', 'rounds', 'pause ms', 'goal ms', 'healing ms', 'copied MiB', 'changed MiB'];
  const lines = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? '').length)));
  return lines
    .map((line) =>
      line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}
