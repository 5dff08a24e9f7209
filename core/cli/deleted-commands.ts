// `volume restore`, `purge`, `deleted` and `keep-deleted`, beside the other commands of the noun.
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize } from '../base/sizes.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import type { DeletedDisk, Disk } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { throughJob } from './job-commands.ts';
import { table } from './output.ts';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Until when the data of a disk that has just been deleted is kept; undefined: it is not. */
export async function keptUntil(client: ApiClient, name: string): Promise<string | undefined> {
  const all = (await client.list(`/deleted-volumes?sort=-deleted&name=${segment(name)}`)) as DeletedDisk[];
  const latest = all[0];
  // One that was deleted long before has nothing to do with this one.
  return latest !== undefined && Date.parse(latest.deleted) > Date.now() - 60_000 ? latest.until : undefined;
}

/** Milliseconds. Throws ServiceError bad-request unless it looks like 24h, 7d, 30m or 0. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (text === '0') return 0;
  if (count !== undefined && unit !== undefined) return Number(count) * (UNITS[unit] ?? 0);
  throw new ServiceError('bad-request', `'${text.slice(0, 40)}' is not a time like 24h, 7d, 30m or 0`);
}

/** The reverse of parseDuration. */
export function durationText(ms: number): string {
  for (const unit of ['d', 'h', 'm']) {
    const size = UNITS[unit] ?? 1;
    if (ms > 0 && ms % size === 0) return `${String(ms / size)}${unit}`;
  }
  return `${String(ms / 1000)}s`;
}

export function addDeletedCommands(volume: Command, context: CliContext): void {
  volume
    .command('deleted')
    .description('list deleted disks whose data is kept')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/deleted-volumes?sort=-deleted')) as DeletedDisk[];
      show(context, command, all, (found) => deletedTable(found, context.width));
    });
  volume
    .command('restore <name>')
    .description('serve a deleted disk again (by its name, or its id)')
    .option('--as <name>', 'under another name')
    .action(async (name: string, options: { as?: string }, command: Command) => {
      const path = `/deleted-volumes/${segment(name)}/restore`;
      const disk = (await context.client(command).call('POST', path, { name: options.as })) as Disk;
      show(context, command, disk, (each) => `${each.name} is back\n  ${each.url}`);
    });
  volume
    .command('purge <name>')
    .description('give the space of a deleted disk back now, for good')
    .option('--wait', 'until its space is free, with progress')
    .action(async (name: string, options: { wait?: boolean }, command: Command) => {
      const client = context.client(command);
      if (options.wait === true) await throughJob(context, client, 'volume-purge', { volume: name });
      else await client.call('DELETE', `/deleted-volumes/${segment(name)}`);
      show(context, command, { purged: name }, () => `Purged ${name}`);
    });
  volume
    .command('keep-deleted [time]')
    .description('how long deleted disks are kept; 24h, 7d, 30m or 0 changes it')
    .action(async (time: string | undefined, _options: unknown, command: Command) => {
      const client = context.client(command);
      const answer =
        time === undefined
          ? await client.call('GET', '/retention')
          : await client.call('PUT', '/retention', { deletedVolumesMs: parseDuration(time) });
      show(context, command, answer as { deletedVolumesMs: number }, ({ deletedVolumesMs: ms }) =>
        ms === 0 ? 'Deleted disks are not kept' : `Deleted disks are kept for ${durationText(ms)}`,
      );
    });
}

function deletedTable(disks: readonly DeletedDisk[], width: number | undefined): string {
  if (disks.length === 0) return 'No deleted disks are kept.';
  const columns = [
    { title: 'NAME', value: (each: DeletedDisk) => each.name, shrink: 1 },
    { title: 'SIZE', value: (each: DeletedDisk) => formatSize(each.size), right: true },
    { title: 'POOL', value: (each: DeletedDisk) => each.pool ?? '-', shrink: 2, spare: 1 },
    { title: 'SNAPSHOTS', value: (each: DeletedDisk) => String(each.snapshots), right: true, spare: 2 },
    { title: 'KEPT UNTIL', value: (each: DeletedDisk) => each.until },
    { title: 'ID', value: (each: DeletedDisk) => each.id, spare: 3 },
  ];
  return table(disks, columns, width);
}
