import type { Command } from 'commander';
import { formatSize } from '../base/sizes.ts';
import type { Session, Status, VolumeStats } from './answers.ts';
import { show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

export function addStatusCommands(program: Command, context: CliContext): void {
  program
    .command('status')
    .description('the daemon in a few lines')
    .action(async (_options: unknown, command: Command) => {
      show(context, command, (await context.client(command).call('GET', '/status')) as Status, statusText);
    });
  program
    .command('sessions')
    .description('initiators that are logged in')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/sessions')) as Session[];
      show(context, command, all, (sessions) => sessionTable(sessions, context.width));
    });
  program
    .command('stats')
    .description('counters and latencies of the disks')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/stats')) as VolumeStats[];
      show(context, command, all, (stats) => statsTable(stats, context.width));
    });
}

function statusText(status: Status): string {
  const { total, failed } = status.volumes;
  const hours = Math.floor(status.uptimeSeconds / 3600);
  const minutes = Math.floor((status.uptimeSeconds % 3600) / 60);
  return facts([
    ['Version', status.version],
    ['Node', status.node],
    ['Up', `${String(hours)} h ${String(minutes)} min`],
    ['Portals', status.portals.join(', ')],
    ['Disks', failed === 0 ? String(total) : `${String(total)}, ${String(failed)} failed (gemel volume list)`],
    ['Sessions', String(status.sessions)],
    ['Provisioned', formatSize(status.provisionedBytes)],
    ['Used', formatSize(status.allocatedBytes)],
  ]);
}

function sessionTable(sessions: readonly Session[], width: number | undefined): string {
  if (sessions.length === 0) return 'No initiator is logged in.';
  const digests = (each: Session): string =>
    [each.headerDigest ? 'header' : '', each.dataDigest ? 'data' : ''].filter((one) => one !== '').join('+') || '-';
  const columns = [
    { title: 'INITIATOR', value: (each: Session) => each.initiator, shrink: 2, keepEnd: true },
    { title: 'FROM', value: (each: Session) => each.peer, spare: 2 },
    { title: 'TARGET', value: (each: Session) => each.target ?? '(discovery)', shrink: 3, keepEnd: true },
    { title: 'PORTAL', value: (each: Session) => each.portal, spare: 3 },
    { title: 'DIGESTS', value: digests, spare: 4 },
    { title: 'ACTIVE', value: (each: Session) => String(each.activeTasks), right: true },
    { title: 'COMMANDS', value: (each: Session) => String(each.commands), right: true },
    { title: 'READ', value: (each: Session) => formatSize(each.readBytes), right: true },
    { title: 'WRITTEN', value: (each: Session) => formatSize(each.writtenBytes), right: true },
  ];
  return table(sessions, columns, width);
}

function statsTable(stats: readonly VolumeStats[], width: number | undefined): string {
  if (stats.length === 0) return 'No disks are served.';
  const micros = (value: number, of: number): string =>
    of === 0 ? '-' : value < 1000 ? `${value.toFixed(0)} us` : `${(value / 1000).toFixed(1)} ms`;
  const columns = [
    { title: 'NAME', value: (each: VolumeStats) => each.name, shrink: 1 },
    { title: 'READS', value: (each: VolumeStats) => String(each.reads), right: true },
    { title: 'READ', value: (each: VolumeStats) => formatSize(each.readBytes), right: true },
    { title: 'P50', value: (each: VolumeStats) => micros(each.readLatency.p50, each.reads), right: true },
    { title: 'P99', value: (each: VolumeStats) => micros(each.readLatency.p99, each.reads), right: true },
    { title: 'WRITES', value: (each: VolumeStats) => String(each.writes), right: true },
    { title: 'WRITTEN', value: (each: VolumeStats) => formatSize(each.writtenBytes), right: true },
    { title: 'P50', value: (each: VolumeStats) => micros(each.writeLatency.p50, each.writes), right: true },
    { title: 'P99', value: (each: VolumeStats) => micros(each.writeLatency.p99, each.writes), right: true },
    { title: 'ERRORS', value: (each: VolumeStats) => String(each.errors), right: true },
  ];
  return table(stats, columns, width);
}
