import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { Schemas } from '../../plugins/sdk/typed-api.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { durationText, parseDuration } from './deleted-commands.ts';
import { table } from './output.ts';

type Policy = Schemas.Policy;

interface PolicyOptions {
  readonly durability?: string;
  readonly replicas?: number | null;
  readonly thin?: boolean;
  readonly thick?: boolean;
  readonly copyRoute?: string;
  readonly keepDeleted?: string;
  readonly default?: boolean;
  readonly notDefault?: boolean;
}

/** What takes a setting out of a policy. */
const NONE = 'none';

/** `gemel policy`, and `gemel volume policy`. */
export function addPolicyCommands(program: Command, volume: Command, context: CliContext): void {
  const policy = program
    .command('policy')
    .description('what disks have in common by name: durability, copies, retention');
  policy
    .command('list')
    .description('list the policies')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/policies')) as Policy[];
      show(context, command, all, (each) => policyTable(each, context.width));
    });
  withSettings(policy.command('create <name>').description('make a policy')).action(
    async (name: string, options: PolicyOptions, command: Command) => {
      const body = { name, ...settingsOf(options) };
      const made = (await context.client(command).call('POST', '/policies', body)) as Policy;
      show(context, command, made, (each) => `Made ${each.name}\n  gemel volume create my-disk --policy ${each.name}`);
    },
  );
  withSettings(policy.command('set <name>').description('change a policy; none takes a setting away'))
    .option('--not-default', 'new disks do not have it by themselves')
    .action(async (name: string, options: PolicyOptions, command: Command) => {
      const path = `/policies/${segment(name)}`;
      const set = (await context.client(command).call('PATCH', path, settingsOf(options))) as Policy;
      show(context, command, set, (each) => policyTable([each], context.width));
    });
  policy
    .command('remove <name>')
    .description('forget a policy that no disk has')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/policies/${segment(name)}`);
      show(context, command, { removed: name }, () => `Forgot ${name}`);
    });
  volume
    .command('policy <name> <policy>')
    .description('give a disk another policy, or none')
    .action(async (name: string, wanted: string, _options: unknown, command: Command) => {
      const body = { policy: wanted === NONE ? null : wanted };
      const path = `/volumes/${segment(name)}/policy`;
      const disk = (await context.client(command).call('PUT', path, body)) as Schemas.Volume;
      show(context, command, disk, (each) => `${each.name} has ${each.policy ?? 'no policy'}`);
    });
}

function withSettings(command: Command): Command {
  return command
    .addOption(new Option('--durability <when>', 'of new disks').choices(['durable', 'mirrored-ram', 'volatile', NONE]))
    .option('--replicas <number>', 'of new disks: nodes that keep a copy', copies)
    .addOption(new Option('--thin', 'new disks take space as they are written').conflicts('thick'))
    .option('--thick', 'new disks take all their space at once')
    .addOption(
      new Option('--copy-route <policy>', 'of all its disks: whether copies are taken').choices([
        ...['auto', 'always', 'share-only', 'never', NONE],
      ]),
    )
    .option('--keep-deleted <time>', 'of all its disks: 24h, 7d, 30m or 0')
    .option('--default', 'new disks have it when nobody names one');
}

function copies(text: string): number | null {
  if (text === NONE) return null;
  if (!/^[123]$/.test(text)) throw new InvalidArgumentError('1, 2, 3 or none');
  return Number(text);
}

function settingsOf(options: PolicyOptions): Record<string, unknown> {
  const { durability, replicas, copyRoute, keepDeleted } = options;
  const word = (text: string | undefined): string | null | undefined => (text === NONE ? null : text);
  return {
    durability: word(durability),
    replicas,
    thin: options.thick === true ? false : options.thin,
    copyRoute: word(copyRoute),
    keepDeletedMs: keepDeleted === undefined ? undefined : keepDeleted === NONE ? null : parseDuration(keepDeleted),
    isDefault: options.notDefault === true ? false : options.default,
  };
}

function policyTable(all: readonly Policy[], width: number | undefined): string {
  if (all.length === 0) return 'No policies. Try: gemel policy create archive --keep-deleted 30d';
  const or = (value: string | number | null): string => (value === null ? '-' : String(value));
  const columns = [
    { title: 'NAME', value: (each: Policy) => `${each.name}${each.isDefault ? ' (default)' : ''}`, shrink: 1 },
    { title: 'DURABILITY', value: (each: Policy) => or(each.durability) },
    { title: 'COPIES', value: (each: Policy) => or(each.replicas), right: true },
    { title: 'THIN', value: (each: Policy) => (each.thin === null ? '-' : each.thin ? 'yes' : 'no') },
    { title: 'COPY ROUTE', value: (each: Policy) => or(each.copyRoute) },
    { title: 'KEPT', value: ({ keepDeletedMs: ms }: Policy) => (ms === null ? '-' : durationText(ms)), right: true },
    { title: 'DISKS', value: (each: Policy) => String(each.volumes), right: true },
  ];
  return table(all, columns, width);
}
