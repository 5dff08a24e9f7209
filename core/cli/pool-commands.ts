import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize, parseSize } from '../base/sizes.ts';
import type { Pool } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { throughJob } from './job-commands.ts';
import { facts, table } from './output.ts';

interface GrowOptions {
  readonly by?: string;
  readonly addFolder?: string;
  readonly addDevice?: string;
}

/** Milliseconds between two looks at something that goes on in the background. */
const LOOK_INTERVAL = 200;

export function addPoolCommands(program: Command, context: CliContext): void {
  const pool = program.command('pool').description('create, list, show, grow, check and scrub pools');
  pool
    .command('create <name>')
    .description('create a pool for thin disks, snapshots and clones')
    .option('--size <size>', 'room for disks, like 100G (not for a device)')
    .option('--folder <folder>', 'absolute; default: in the data folder')
    .option('--device <path>', 'use a whole block device; what is on it is lost')
    .action(async (name: string, options: { size?: string; folder?: string; device?: string }, command: Command) => {
      const size = options.size === undefined ? undefined : parseSize(options.size);
      const client = context.client(command);
      const request = { name, size, folder: options.folder, device: options.device };
      await throughJob(context, client, 'pool-create', request);
      const made = await client.call('GET', `/pools/${segment(name)}`);
      show(context, command, made as Pool, (each) => `Created pool ${each.name} (${capacity(each)})\n  ${each.path}`);
    });
  pool
    .command('list')
    .description('list the pools')
    .action(async (_options: unknown, command: Command) => {
      const pools = (await context.client(command).list('/pools')) as Pool[];
      show(context, command, pools, (all) => poolTable(all, context.width));
    });
  pool
    .command('show <name>')
    .description('everything about one pool')
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await context.client(command).call('GET', `/pools/${segment(name)}`);
      show(context, command, found as Pool, poolFacts);
    });
  pool
    .command('grow <name>')
    .description('add room to a pool; without options: what its devices have become larger by')
    .option('--by <size>', 'at least so much')
    .option('--add-folder <folder>', 'on another disk; absolute, with --by')
    .addOption(
      new Option('--add-device <path>', 'another block device; what is on it is lost').conflicts(['by', 'addFolder']),
    )
    .action(async (name: string, options: GrowOptions, command: Command) => {
      const bytes = options.by === undefined ? undefined : parseSize(options.by);
      const client = context.client(command);
      const request = { pool: name, bytes, folder: options.addFolder, device: options.addDevice };
      await throughJob(context, client, 'pool-grow', request);
      const grown = await client.call('GET', `/pools/${segment(name)}`);
      show(context, command, grown as Pool, (each) => `${each.name} has ${capacity(each)} now`);
    });
  pool
    .command('threshold <name> <percent>')
    .description('tell initiators when so much of the pool is in use (default 80)')
    .action(async (name: string, percent: string, _options: unknown, command: Command) => {
      if (!/^\d{1,3}$/.test(percent)) throw new ServiceError('bad-request', 'the threshold is a number from 1 to 99');
      const body = { threshold: Number(percent) };
      const changed = await context.client(command).call('PATCH', `/pools/${segment(name)}`, body);
      show(context, command, changed as Pool, (each) => `${each.name} tells at ${String(each.threshold)} %`);
    });
  pool
    .command('default <name>')
    .description('put disks into this pool when nobody names one')
    .action(async (name: string, _options: unknown, command: Command) => {
      const changed = await context.client(command).call('PATCH', `/pools/${segment(name)}`, { default: true });
      show(context, command, changed as Pool, (each) => `${each.name} is the default pool`);
    });
  pool
    .command('delete <name>')
    .description('delete a pool that has no disks')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/pools/${segment(name)}`);
      show(context, command, { deleted: name }, () => `Deleted pool ${name}`);
    });
  addMoveCommands(pool, context);
  addCheckCommands(pool, context);
}

function addMoveCommands(pool: Command, context: CliContext): void {
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  pool
    .command('export <name>')
    .description('take a pool and its disks off this node, to import it elsewhere')
    .option('--force', 'although initiators are using disks of it')
    .action(async (name: string, options: { force?: boolean }, command: Command) => {
      const request = { pool: name, force: options.force };
      const { result } = await throughJob(context, context.client(command), 'pool-export', request);
      const exported = result as { parts: { kind: string; path: string }[] };
      show(context, command, exported, ({ parts }) => {
        const where = parts.map(({ kind, path }) => `--${kind} ${path}`).join(' ');
        return `Exported ${name}; where its disks are then: gemel pool import ${where}`;
      });
    });
  pool
    .command('import')
    .description('attach a pool that was exported, with the names and identities of its disks')
    .option('--folder <folder>', 'where the pool is; repeatable for one of several disks, the first one first', collect)
    .option('--device <path>', 'the same; repeatable', collect)
    .option('--name <name>', 'another name for the pool')
    .action(async (options: { folder?: string[]; device?: string[]; name?: string }, command: Command) => {
      // A pool that began in a folder has its superblock there, whatever devices it has got.
      const folders = (options.folder ?? []).map((folder) => ({ folder }));
      const parts = [...folders, ...(options.device ?? []).map((device) => ({ device }))];
      if (parts.length === 0) throw new ServiceError('bad-request', 'say where it is with --folder or --device');
      const client = context.client(command);
      const { object } = await throughJob(context, client, 'pool-import', { name: options.name, parts });
      const made = await client.call('GET', `/pools/${segment(object.name)}`);
      show(context, command, made as Pool, (each) => {
        return `Imported pool ${each.name}: ${String(each.volumes)} disk${each.volumes === 1 ? '' : 's'}`;
      });
    });
}

function addCheckCommands(pool: Command, context: CliContext): void {
  pool
    .command('check <name>')
    .description('count all references anew and compare')
    .action(async (name: string, _options: unknown, command: Command) => {
      const client = context.client(command);
      const path = `/pools/${segment(name)}`;
      const state = { over: false };
      const checking = client.call('POST', `${path}/check`).finally(() => {
        state.over = true;
      });
      for (await Promise.race([checking, pause()]); !state.over; await Promise.race([checking, pause()])) {
        const { checking: done } = (await client.call('GET', path)) as Pool;
        context.progress?.(`checking ${name}`, done ?? 0);
      }
      context.progress?.('', undefined);
      const answer = await checking;
      const result = answer as { leaves: number; grains: number; findings: string[] };
      show(context, command, result, ({ grains, findings }) =>
        findings.length === 0
          ? `${name} is consistent: ${formatSize(grains * 65_536)} in use`
          : [`${name} has ${String(findings.length)} inconsistencies:`, ...findings].join('\n'),
      );
      if (result.findings.length > 0) throw new ServiceError('io-error', `pool '${name}' is not consistent`);
    });
  pool
    .command('scrub <name>')
    .description('compare all data with its checksums, in the background')
    .option('--rate <size>', 'bytes a second, default 100M')
    .option('--wait', 'until it is over, with progress')
    .option('--stop', 'stop the one that runs')
    .action(async (name: string, options: { rate?: string; wait?: boolean; stop?: boolean }, command: Command) => {
      const client = context.client(command);
      const path = `/pools/${segment(name)}`;
      if (options.stop === true) {
        const stopped = (await client.call('DELETE', `${path}/scrub`)) as Pool;
        show(context, command, stopped, scrubText);
        return;
      }
      const body = options.rate === undefined ? {} : { rate: parseSize(options.rate) };
      let seen = (await client.call('POST', `${path}/scrub`, body)) as Pool;
      while (options.wait === true && seen.scrub?.state === 'running') {
        const { doneBytes, totalBytes } = seen.scrub;
        context.progress?.(`scrubbing ${name}`, totalBytes === 0 ? 0 : doneBytes / totalBytes);
        await pause();
        seen = (await client.call('GET', path)) as Pool;
      }
      context.progress?.('', undefined);
      show(context, command, seen, scrubText);
      const damaged = seen.scrub?.damaged.length ?? 0;
      if (damaged > 0) throw new ServiceError('io-error', `pool '${name}' has ${String(damaged)} damaged blocks`);
    });
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, LOOK_INTERVAL);
  });
}

const capacity = ({ facts: known }: Pool): string => (known === null ? '-' : formatSize(known.capacityBytes));
const percent = (part: number, whole: number): string => `${String(Math.floor((part / whole) * 100))} %`;

function poolTable(pools: readonly Pool[], width: number | undefined): string {
  if (pools.length === 0) return 'No pools yet. Try: gemel pool create tank --size 100G';
  const size = (pick: (known: NonNullable<Pool['facts']>) => number) => (each: Pool) =>
    each.facts === null ? '-' : formatSize(pick(each.facts));
  const full = ({ facts: known }: Pool): string =>
    known === null ? '-' : percent(known.usedBytes + known.reservedBytes, known.capacityBytes);
  const columns = [
    { title: 'NAME', value: (each: Pool) => each.name, shrink: 1 },
    { title: 'STATE', value: (each: Pool) => each.state },
    { title: 'CAPACITY', value: capacity, right: true },
    { title: 'USED', value: size((known) => known.usedBytes), right: true },
    { title: 'RESERVED', value: size((known) => known.reservedBytes), right: true, spare: 2 },
    { title: 'FULL', value: full, right: true },
    { title: 'DISKS', value: (each: Pool) => String(each.volumes), right: true },
    { title: 'SNAPSHOTS', value: (each: Pool) => String(each.snapshots), right: true, spare: 1 },
    { title: 'PATH', value: (each: Pool) => each.path, shrink: 3, keepEnd: true, spare: 3 },
  ];
  return table(pools, columns, width);
}

function poolFacts(pool: Pool): string {
  const known = pool.facts;
  const crossed = pool.thresholdReached ? ', reached' : '';
  const lines: [string, string][] =
    known === null
      ? []
      : [
          ['Capacity', formatSize(known.capacityBytes)],
          ['Used', `${formatSize(known.usedBytes)} (${percent(known.usedBytes, known.capacityBytes)})`],
          ['Reserved', formatSize(known.reservedBytes)],
          ['Quarantined', `${formatSize(known.quarantinedBytes)} (free after the next checkpoint)`],
          ['Pinned by tokens', `${formatSize(known.tokenBytes)} at most, ${String(known.tokens)} tokens`],
          ['By snapshots', formatSize(pool.snapshotBytes ?? 0)],
          ['Journal', `${formatSize(known.journalUsedBytes)} of ${formatSize(known.journalBytes)} in use`],
          ['Checkpoints', String(known.checkpoints)],
          ['Given back', `${formatSize(known.reclaimedBytes)} to the disks below`],
          ['Damaged', known.damagedBlocks === 0 ? 'nothing found' : `${String(known.damagedBlocks)} reads failed`],
        ];
  return facts([
    ['Name', pool.name],
    ['State', pool.problem === null ? pool.state : `${pool.state}: ${pool.problem}`],
    ['Kind', pool.default ? `${pool.kind}, the default pool` : pool.kind],
    ['Path', pool.path],
    ...pool.parts
      .filter(() => pool.parts.length > 1)
      .map(({ index, kind, path, bytes }): [string, string] => [
        `Part ${String(index)}`,
        `${formatSize(bytes)} on ${kind} ${path}`,
      ]),
    ...lines,
    ['Threshold', `${String(pool.threshold)} %${crossed}`],
    ['Disks', String(pool.volumes)],
    ['Snapshots', String(pool.snapshots)],
    ...pool.deletions.map(({ name, progress }): [string, string] => ['Freeing', `${name}, ${percent(progress, 1)}`]),
    ...pool.damagedMaps.map((each): [string, string] => ['Damaged map', each]),
    ['Scrub', scrubText(pool)],
    ['Created', pool.created],
  ]);
}

function scrubText({ scrub }: Pool): string {
  if (scrub === null) return 'never since the start';
  const { state, doneBytes, totalBytes, damaged } = scrub;
  const far = state === 'done' || totalBytes === 0 ? '' : `, ${percent(doneBytes, totalBytes)}`;
  const shown = damaged.slice(0, 3).map(({ volume, position }) => `${volume} at byte ${String(position)}`);
  const list = shown.length === 0 ? 'no damage found' : `${String(damaged.length)} damaged: ${shown.join(', ')}`;
  return `${state}${far}, ${list}`;
}
