import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize } from '../base/sizes.ts';
import type { Disk, Snapshot, Space } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { throughJob } from './job-commands.ts';
import { facts, table } from './output.ts';
import { createBody, describeDisk } from './volume-commands.ts';
import type { CreateOptions } from './volume-commands.ts';

export function addSnapshotCommands(program: Command, context: CliContext): void {
  const snapshot = program.command('snapshot').description('take, list, roll back to and delete snapshots');
  snapshot
    .command('create <volumes> <name>')
    .description('of a disk of a pool, or of several (a,b,c) at one instant')
    .action(async (volumes: string, name: string, _options: unknown, command: Command) => {
      const body = { volumes: volumes.split(','), name };
      const made = (await context.client(command).call('POST', '/snapshots', body)) as Snapshot[];
      show(context, command, made, (all) => `Created ${all.map(fullName).join(', ')}`);
    });
  snapshot
    .command('list [volume]')
    .description('list the snapshots of a disk, or all')
    .action(async (volume: string | undefined, _options: unknown, command: Command) => {
      const query = volume === undefined ? '' : `&volume=${segment(volume)}`;
      const all = (await context.client(command).list(`/snapshots?sort=created${query}`)) as Snapshot[];
      show(context, command, all, (found) => snapshotTable(found, context.width));
    });
  snapshot
    .command('delete <volume@name>')
    .description('delete a snapshot; its space comes back in the background')
    .option('--wait', 'until its space is free, with progress')
    .action(async (which: string, options: { wait?: boolean }, command: Command) => {
      const [volume, name] = split(which);
      const client = context.client(command);
      if (options.wait === true) await throughJob(context, client, 'snapshot-delete', { volume, snapshot: name });
      else await client.call('DELETE', `/volumes/${segment(volume)}/snapshots/${segment(name)}`);
      show(context, command, { deleted: which }, () => `Deleted ${which}`);
    });
  snapshot
    .command('rollback <volume@name>')
    .description('make a disk that nobody uses what it was')
    .action(async (which: string, _options: unknown, command: Command) => {
      const [volume, name] = split(which);
      const path = `/volumes/${segment(volume)}/snapshots/${segment(name)}/rollback`;
      const disk = (await context.client(command).call('POST', path)) as Disk;
      show(context, command, disk, (each) => `${each.name} is what ${which} is`);
    });
}

/** `volume clone` and `volume space`, beside the other commands of the noun. */
export function addCopyCommands(volume: Command, context: CliContext): void {
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  volume
    .command('clone <source> <name>')
    .description('a disk with the content of another (DISK) or of a snapshot (DISK@NAME)')
    .option('--map <who>', 'loopback, all, or an initiator name; repeatable', collect)
    .option('--map-read-only <who>', 'the same, without the right to write; repeatable', collect)
    .option('--read-only', 'initiators cannot write')
    .addOption(new Option('--durability <when>', 'default: as the source').choices(['durable', 'volatile']))
    .option('--target <name>', 'put it into this target beside other disks')
    .option('--lun <number>', 'LUN in the target (default: the lowest free one)')
    .action(async (source: string, name: string, options: CreateOptions, command: Command) => {
      const [from = '', snapshot] = source.split('@');
      const { readOnly, durability, target, lun, maps } = createBody(name, options);
      const body = { name, snapshot, readOnly, durability, target, lun, maps };
      const disk = (await context.client(command).call('POST', `/volumes/${segment(from)}/clone`, body)) as Disk;
      show(context, command, disk, (each) => `Cloned ${source} to ${describeDisk(each)}`);
    });
  volume
    .command('space <name>')
    .description('how much a disk of a pool and its snapshots take')
    .action(async (name: string, _options: unknown, command: Command) => {
      const space = (await context.client(command).call('GET', `/volumes/${segment(name)}/space`)) as Space;
      show(context, command, space, (each) => spaceText(each, context.width));
    });
}

const fullName = ({ volume, name }: Snapshot): string => `${volume}@${name}`;

/** Throws ServiceError bad-request. */
function split(which: string): [string, string] {
  const [volume = '', name = '', ...rest] = which.split('@');
  if (volume !== '' && name !== '' && rest.length === 0) return [volume, name];
  throw new ServiceError('bad-request', `'${which.slice(0, 80)}' is not a snapshot; it looks like DISK@NAME`);
}

function snapshotTable(snapshots: readonly Snapshot[], width: number | undefined): string {
  if (snapshots.length === 0) return 'No snapshots yet. Try: gemel snapshot create my-disk before-upgrade';
  const columns = [
    { title: 'SNAPSHOT', value: fullName, shrink: 1, keepEnd: true },
    { title: 'SIZE', value: (each: Snapshot) => formatSize(each.size), right: true },
    { title: 'CREATED', value: (each: Snapshot) => each.created },
    { title: 'POOL', value: (each: Snapshot) => each.pool, shrink: 2 },
    { title: 'GROUP', value: (each: Snapshot) => each.group?.slice(0, 8) ?? '-', spare: 1 },
  ];
  const isMissing = snapshots.some(({ missingOn = [] }) => missingOn.length > 0);
  const missing = { title: 'MISSING ON', value: (each: Snapshot) => each.missingOn?.join(', ') ?? '', shrink: 2 };
  return table(snapshots, isMissing ? [...columns, missing] : columns, width);
}

function spaceText(space: Space, width: number | undefined): string {
  const lines = facts([
    ['Size', formatSize(space.size)],
    ['Logical', `${formatSize(space.logicalBytes)} hold data`],
    ['Exclusive', `${formatSize(space.exclusiveBytes)} used by this disk only`],
    ['Shared', `${formatSize(space.sharedBytes)} used by snapshots, clones or copies too`],
    ['Snapshots', `${formatSize(space.snapshotBytes)} used by its snapshots only`],
  ]);
  if (space.snapshots.length === 0) return lines;
  const columns = [
    { title: 'SNAPSHOT', value: (each: Space['snapshots'][number]) => each.name, shrink: 1 },
    { title: 'FREES', value: (each: Space['snapshots'][number]) => formatSize(each.exclusiveBytes), right: true },
    { title: 'CREATED', value: (each: Space['snapshots'][number]) => each.created },
  ];
  return `${lines}\n\n${table(space.snapshots, columns, width)}`;
}
