// `replication drill` and `replication report`: what a failover would be like, and what one has left behind.
import type { Command } from 'commander';
import { formatSize } from '../base/sizes.ts';
import type { Cluster, DivergenceReport, DrillReport } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { nameIn } from './replication-commands.ts';

/** Ranges that are printed of one copy; all are in --json. */
const SOME_RANGES = 8;

export function addDrillCommands(replication: Command, context: CliContext): void {
  replication
    .command('drill <volume>')
    .description('let another node serve a disk and give it back, and measure the pause hosts have seen')
    .option('--hard', 'its owner plays dead instead of handing over: a pause of some seconds')
    .action(async (volume: string, options: { hard?: boolean }, command: Command) => {
      const client = context.client(command);
      const body = { hard: options.hard === true };
      const report = (await client.call('POST', `/volumes/${segment(volume)}/replication/drill`, body)) as DrillReport;
      const cluster = (await client.call('GET', '/cluster')) as Cluster;
      show(context, command, report, (each) => drillText(each, cluster));
    });
  replication
    .command('report [volume]')
    .description('what copies had differently after a blackout or a promotion, and by what was chosen')
    .action(async (volume: string | undefined, _options: unknown, command: Command) => {
      const client = context.client(command);
      const all = (await client.call('GET', '/replication/reports')) as DivergenceReport[];
      const cluster = (await client.call('GET', '/cluster')) as Cluster;
      const wanted = all.filter((each) => volume === undefined || each.volume === volume);
      show(context, command, wanted, (found) =>
        found.length === 0
          ? 'Nobody had to choose between two states of a disk.'
          : found.map((each) => reportText(each, cluster)).join('\n\n'),
      );
    });
}

export function drillText({ volume, hard, paths, steps }: DrillReport, cluster: Cluster): string {
  const lines = steps.map(({ from, to, pauseMs, longestCommandMs }, i) => {
    const how = hard && i === 0 ? 'took over from' : 'got it from';
    const seen =
      longestCommandMs === null
        ? 'no command of a host was under way'
        : `the longest command of a host took ${longestCommandMs.toFixed(0)} ms`;
    return `  ${nameIn(cluster, to)} ${how} ${nameIn(cluster, from)}: nobody served it for ${pauseMs.toFixed(0)} ms; ${seen}`;
  });
  const who = `${String(paths)} path${paths === 1 ? '' : 's'} of hosts`;
  return [`Drill of ${volume} (${who}) is over, it is where it was:`, ...lines].join('\n');
}

export function reportText(report: DivergenceReport, cluster: Cluster): string {
  const { volume, cause, time, by, owner, epoch, before, blockSize, copies } = report;
  const name = (id: string): string => (id === '' ? 'nobody' : nameIn(cluster, id));
  const what =
    cause === 'promoted'
      ? `${by ?? 'somebody'} made the copy of ${name(owner)} the one that counts (epoch ${String(epoch)})`
      : `all copies were down; ${name(owner)}, its last owner, began anew (epoch ${String(epoch)})`;
  const evidence = `by the record then: owner ${name(before.owner)}, epoch ${String(before.epoch)}, session ${String(before.session)}, in step ${before.inSync.map(name).join(', ') || 'nobody'}`;
  const lines = copies.map(({ node, complete, bytes, ranges }) => {
    const so = complete ? '' : ' so far (not all is compared)';
    if (bytes === 0) return `  ${name(node)}: nothing was different${so}`;
    const shown = ranges.slice(0, SOME_RANGES).map(([first = 0, count = 0]) => `${String(first)}+${String(count)}`);
    const more = ranges.length > SOME_RANGES ? `, and ${String(ranges.length - SOME_RANGES)} more` : '';
    return `  ${name(node)}: ${formatSize(bytes)} were different${so}; LBA+blocks of ${String(blockSize)} bytes: ${shown.join(', ')}${more}`;
  });
  return [`${volume}, ${time}: ${what}`, `  ${evidence}`, ...lines].join('\n');
}
