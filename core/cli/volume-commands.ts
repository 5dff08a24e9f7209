import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize, parseSize } from '../base/sizes.ts';
import type { Disk } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';
import { addDeletedCommands, keptUntil } from './deleted-commands.ts';
import { throughJob } from './job-commands.ts';
import { addPolicyCommands } from './policy-commands.ts';
import { addOwnerCommands, copiesText } from './replication-commands.ts';
import { addCopyCommands } from './snapshot-commands.ts';

export interface CreateOptions {
  readonly size?: string;
  readonly map?: string[];
  readonly mapReadOnly?: string[];
  readonly blockSize?: string;
  readonly physicalBlockSize?: string;
  readonly thin?: boolean;
  readonly thick?: boolean;
  readonly replicas?: string;
  readonly readOnly?: boolean;
  readonly durability?: string;
  readonly target?: string;
  readonly lun?: string;
  readonly device?: string;
  readonly nbd?: string;
  readonly memory?: boolean;
  readonly pool?: string;
  readonly file?: boolean;
  readonly backend?: string;
  readonly image?: string;
  readonly policy?: string;
}

interface DeleteOptions {
  readonly force?: boolean;
  readonly withSnapshots?: boolean;
  readonly wait?: boolean;
  readonly purge?: boolean;
}

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

export function addVolumeCommands(program: Command, context: CliContext): void {
  const volume = program.command('volume').description('create, list, show, resize and delete disks');
  volume
    .command('create <name>')
    .description('create a disk and serve it')
    .option('--size <size>', 'like 512M, 10G or 10GiB (not for a device)')
    .option('--map <who>', 'loopback, all, nbd, or an initiator name; repeatable', collect)
    .option('--map-read-only <who>', 'the same, without the right to write; repeatable', collect)
    .addOption(new Option('--block-size <bytes>', 'logical block').choices(['512', '4096']))
    .addOption(new Option('--physical-block-size <bytes>', 'default 4096').choices(['512', '4096']))
    .addOption(new Option('--thin', 'take space as it is written (default)').conflicts('thick'))
    .option('--thick', 'take all the space now')
    .option('--replicas <number>', 'nodes of the cluster that keep a copy (default: 2, if there are two)')
    .option('--read-only', 'initiators cannot write')
    .addOption(
      new Option(
        '--durability <when>',
        'durable (default): acknowledged when stable; mirrored-ram: when in the memory of two nodes',
      ).choices(['durable', 'mirrored-ram', 'volatile']),
    )
    .option('--policy <name>', 'has what is not said here (gemel policy); none: not even the default one')
    .option('--target <name>', 'put it into this target beside other disks')
    .option('--lun <number>', 'LUN in the target (default: the lowest free one)')
    .addOption(new Option('--device <path>', 'serve a block device').conflicts(['memory', 'size', 'thick', 'thin']))
    .addOption(
      new Option(
        '--nbd <uri>',
        'serve a NBD export: nbd+unix:///NAME?socket=PATH, nbds://HOST/NAME?tls-certificates=DIR',
      ).conflicts(['device', 'memory', 'size', 'thick', 'thin', 'pool', 'file']),
    )
    .option('--memory', 'serve a disk in RAM, empty after each start')
    .addOption(
      new Option('--pool <name>', 'in this pool (default: in the default pool, if any)').conflicts([
        'device',
        'memory',
      ]),
    )
    .addOption(
      new Option('--backend <name>', 'an image of another engine (gemel backend)').conflicts([
        ...['device', 'memory', 'thick', 'pool', 'nbd'],
      ]),
    )
    .option('--image <name>', 'with --backend: serve this image, which is there already, and stays')
    .addOption(new Option('--file', 'a file, although there is a pool').conflicts(['pool', 'device', 'memory']))
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const disk = await context.client(command).call('POST', '/volumes', createBody(name, options));
      show(context, command, disk as Disk, (each) => `Created ${describeDisk(each)}`);
    });
  volume
    .command('list')
    .description('list the disks')
    .action(async (_options: unknown, command: Command) => {
      const disks = (await context.client(command).list('/volumes')) as Disk[];
      show(context, command, disks, (all) => diskTable(all, context.width));
    });
  volume
    .command('show <name>')
    .description('everything about one disk')
    .action(async (name: string, _options: unknown, command: Command) => {
      const client = context.client(command);
      const disk = await client.call('GET', `/volumes/${segment(name)}`);
      const copies = await copiesText(client, name);
      show(context, command, disk as Disk, (each) => diskFacts(each, copies));
    });
  volume
    .command('resize <name>')
    .description('grow a disk, or shrink it with --force')
    .requiredOption('--size <size>', 'the new size')
    .option('--force', 'shrink although initiators are mapped')
    .action(async (name: string, options: { size: string; force?: boolean }, command: Command) => {
      const body = { size: parseSize(options.size), force: options.force ?? false };
      const disk = await context.client(command).call('PATCH', `/volumes/${segment(name)}`, body);
      show(context, command, disk as Disk, (each) => `${each.name} has ${formatSize(each.size)} now`);
    });
  volume
    .command('reopen <name>')
    .description('open the storage of a disk again, after trouble with it is over')
    .option('--force', 'although that interrupts initiators')
    .action(async (name: string, options: { force?: boolean }, command: Command) => {
      const query = options.force === true ? '?force=true' : '';
      const disk = await context.client(command).call('POST', `/volumes/${segment(name)}/reopen${query}`);
      show(context, command, disk as Disk, (each) => `${each.name} is ${each.state}`);
    });
  volume
    .command('delete <name>')
    .description('delete a disk; what it holds is kept for a while (volume restore)')
    .option('--force', 'although initiators are using it')
    .option('--with-snapshots', 'and all its snapshots')
    .option('--purge', 'at once and for good')
    .option('--wait', 'until its space in the pool is free, with progress')
    .action(async (name: string, options: DeleteOptions, command: Command) => {
      const client = context.client(command);
      const flags = { force: options.force, withSnapshots: options.withSnapshots, purge: options.purge };
      if (options.wait === true) await throughJob(context, client, 'volume-delete', { name, ...flags });
      else {
        const query = Object.entries(flags).flatMap(([key, set]) => (set === true ? [`${key}=true`] : []));
        await client.call('DELETE', `/volumes/${segment(name)}${query.length === 0 ? '' : `?${query.join('&')}`}`);
      }
      const kept = options.purge === true ? undefined : await keptUntil(client, name);
      show(context, command, { deleted: name, ...(kept === undefined ? {} : { keptUntil: kept }) }, () =>
        kept === undefined
          ? `Deleted ${name}`
          : `Deleted ${name}; its data is kept until ${kept}\n  gemel volume restore ${name}`,
      );
    });
  volume
    .command('release <name>')
    .description('take the lease of a disk from whoever holds it (a host that is gone for good)')
    .requiredOption('--force', 'two machines that write to one disk destroy it: only when nobody uses it')
    .action(async (name: string, _options: unknown, command: Command) => {
      const disk = await context
        .client(command)
        .call('DELETE', `/volumes/${segment(name)}/lease?holder=gemel&force=true`);
      show(context, command, disk as Disk, (each) => `Nobody has the lease of ${each.name} now`);
    });
  addPolicyCommands(program, volume, context);
  addOwnerCommands(volume, context);
  addDeletedCommands(volume, context);
  addCopyCommands(volume, context);
}

export function addMapCommands(program: Command, context: CliContext): void {
  const text = (disk: Disk): string => `${disk.name} is mapped to ${mapsOf(disk)}`;
  program
    .command('map <volume> <initiator...>')
    .description('let initiators (or loopback, all, nbd) see a disk')
    .option('--read-only', 'without the right to write')
    .action(async (name: string, who: string[], options: { readOnly?: boolean }, command: Command) => {
      const client = context.client(command);
      const body = { access: options.readOnly === true ? 'read-only' : 'read-write' };
      let disk: unknown;
      for (const each of who) disk = await client.call('PUT', `/volumes/${segment(name)}/maps/${segment(each)}`, body);
      show(context, command, disk as Disk, text);
    });
  program
    .command('unmap <volume> <initiator...>')
    .description('take a disk away from initiators')
    .action(async (name: string, who: string[], _options: unknown, command: Command) => {
      const client = context.client(command);
      let disk: unknown;
      for (const each of who) disk = await client.call('DELETE', `/volumes/${segment(name)}/maps/${segment(each)}`);
      show(context, command, disk as Disk, text);
    });
}

/** The request for these options. Throws ServiceError bad-request for a size that is none. */
export function createBody(name: string, options: CreateOptions): Record<string, unknown> {
  const maps = [
    ...(options.map ?? []).map((initiator) => ({ initiator, access: 'read-write' })),
    ...(options.mapReadOnly ?? []).map((initiator) => ({ initiator, access: 'read-only' })),
  ];
  const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
  if (options.replicas !== undefined && !/^[1-3]$/.test(options.replicas)) {
    throw new ServiceError('bad-request', `'${options.replicas.slice(0, 40)}' is no number of copies: 1, 2 or 3`);
  }
  if (options.image !== undefined && options.backend === undefined) {
    throw new ServiceError('bad-request', '--image is the name of an image of a --backend');
  }
  if (options.lun !== undefined && !/^\d{1,5}$/.test(options.lun)) {
    throw new ServiceError('bad-request', `'${options.lun.slice(0, 40)}' is not a LUN; it is a number from 0`);
  }
  return {
    name,
    size: options.size === undefined ? undefined : parseSize(options.size),
    blockSize: number(options.blockSize),
    physicalBlockSize: number(options.physicalBlockSize),
    thin: options.thick === true ? false : options.thin,
    readOnly: options.readOnly,
    durability: options.durability,
    policy: options.policy === 'none' ? null : options.policy,
    kind: kindOf(options),
    pool: options.pool,
    path: options.device ?? options.nbd ?? options.image,
    backend: options.backend,
    target: options.target,
    lun: number(options.lun),
    maps,
    replicas: number(options.replicas),
  };
}

function kindOf({ device, memory, file, nbd }: CreateOptions): string | undefined {
  if (nbd !== undefined) return 'nbd';
  if (device !== undefined) return 'device';
  if (file === true) return 'file';
  return memory === true ? 'memory' : undefined;
}

const mapsOf = (disk: Disk): string =>
  disk.maps.length === 0
    ? 'nobody'
    : disk.maps.map((map) => (map.access === 'read-only' ? `${map.initiator} (ro)` : map.initiator)).join(', ');

export const describeDisk = (disk: Disk): string =>
  `${disk.name} (${formatSize(disk.size)}), mapped to ${mapsOf(disk)}\n  ${disk.url}`;

function diskTable(disks: readonly Disk[], width: number | undefined): string {
  if (disks.length === 0) return 'No disks yet. Try: gemel volume create my-disk --size 10G --map loopback';
  const used = (disk: Disk): string => (disk.allocatedBytes === null ? '-' : formatSize(disk.allocatedBytes));
  const columns = [
    { title: 'NAME', value: (disk: Disk) => disk.name, shrink: 1 },
    { title: 'SIZE', value: (disk: Disk) => formatSize(disk.size), right: true },
    { title: 'USED', value: used, right: true },
    { title: 'LUN', value: (disk: Disk) => String(disk.lun), right: true },
    { title: 'STATE', value: (disk: Disk) => disk.state },
    { title: 'DURABILITY', value: (disk: Disk) => disk.durability, spare: 1 },
    { title: 'SESSIONS', value: (disk: Disk) => String(disk.sessions), right: true, spare: 2 },
    { title: 'MAPPED TO', value: mapsOf, shrink: 2 },
    { title: 'TARGET', value: (disk: Disk) => disk.iqn, shrink: 3, keepEnd: true, spare: 3 },
  ];
  return table(disks, columns, width);
}

/** `copies`: of a mirrored disk. */
function diskFacts(disk: Disk, copies: string | undefined): string {
  return facts([
    ['Name', disk.name],
    ['State', disk.problem === null ? disk.state : `${disk.state}: ${disk.problem}`],
    ['Size', `${formatSize(disk.size)} (${String(disk.size)} bytes)`],
    ['Used', disk.allocatedBytes === null ? '-' : formatSize(disk.allocatedBytes)],
    ['Blocks', `${String(disk.blockSize)} bytes logical, ${String(disk.physicalBlockSize)} physical`],
    ['Durability', disk.durability],
    ...(copies === undefined ? [] : [['Copies', copies] as const]),
    ['Kind', `${disk.kind}, ${disk.thin ? 'thin' : 'thick'}${disk.readOnly ? ', read-only' : ''}`],
    ['Path', disk.path ?? '-'],
    ...(disk.backend === null ? [] : [['Backend', disk.backend] as const]),
    ...(disk.pool === null ? [] : [['Pool', disk.pool] as const, ['Snapshots', String(disk.snapshots)] as const]),
    ['Target', disk.iqn],
    ['LUN', String(disk.lun)],
    ...disk.urls.map((url): [string, string] => ['URL', url]),
    ['Mapped to', mapsOf(disk)],
    ...(disk.lease === null || disk.lease === undefined
      ? []
      : [['Leased by', `${disk.lease.holder} since ${disk.lease.since}`] as const]),
    ['Sessions', String(disk.sessions)],
    ['NAA', disk.naa],
    ['Serial', disk.serial],
    ['Created', disk.created],
  ]);
}
