// `host` and `host-group`.
import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import type { Host, HostGroup } from './answers.ts';
import { readSecret, segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

const PROFILES = ['esxi', 'hyperv', 'windows', 'kvm', 'proxmox', 'xen', 'linux', 'other'];

interface HostOptions {
  readonly initiator?: string[];
  readonly removeInitiator?: string[];
  readonly profile?: string;
  readonly chapUser?: string;
  readonly chapSecretFile?: string;
  readonly mutualUser?: string;
  readonly mutualSecretFile?: string;
  readonly chap?: boolean;
}

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

export function addHostCommands(program: Command, context: CliContext): void {
  const host = program.command('host').description('hosts: initiators that belong together (map to host:NAME)');
  const withOptions = (command: Command): Command =>
    command
      .option('--initiator <iqn>', 'one of its initiators; repeatable', collect)
      .addOption(new Option('--profile <profile>', 'what runs on it').choices(PROFILES))
      .option('--chap-user <user>', 'what its initiators sign in with')
      .option('--chap-secret-file <file>', 'file with the secret; - reads standard input')
      .option('--mutual-user <user>', 'what the target proves itself with')
      .option('--mutual-secret-file <file>', 'file with the other secret');
  withOptions(host.command('create <name>').description('make a host')).action(
    async (name: string, options: HostOptions, command: Command) => {
      const client = context.client(command);
      const body = { iqns: options.initiator ?? [], ...changes(context, options) };
      const made = await client.call('PUT', `/hosts/${segment(name)}`, body);
      show(context, command, made as Host, describe);
    },
  );
  withOptions(host.command('set <name>').description('add initiators to a host, or change it'))
    .option('--remove-initiator <iqn>', 'take one away; repeatable', collect)
    .option('--no-chap', 'its initiators need no secret any more')
    .action(async (name: string, options: HostOptions, command: Command) => {
      const client = context.client(command);
      const path = `/hosts/${segment(name)}`;
      const before = (await client.call('GET', path)) as Host;
      const gone = new Set((options.removeInitiator ?? []).map((each) => each.toLowerCase()));
      const iqns = [...new Set([...before.iqns, ...(options.initiator ?? [])])].filter((each) => !gone.has(each));
      const none = options.chap === false ? { chap: null, mutual: null } : {};
      const changed = await client.call('PUT', path, { iqns, ...changes(context, options), ...none });
      show(context, command, changed as Host, describe);
    });
  host
    .command('list')
    .description('list the hosts')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/hosts')) as Host[];
      show(context, command, all, (found) => hostTable(found, context.width));
    });
  host
    .command('show <name>')
    .description('everything about one host')
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await context.client(command).call('GET', `/hosts/${segment(name)}`);
      show(context, command, found as Host, hostFacts);
    });
  host
    .command('delete <name>')
    .description('forget a host to which nothing is mapped')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/hosts/${segment(name)}`);
      show(context, command, { deleted: name }, () => `Forgot host ${name}`);
    });
  addGroupCommands(program, context);
}

function addGroupCommands(program: Command, context: CliContext): void {
  const group = program.command('host-group').description('groups of hosts (map to group:NAME)');
  const describeGroup = ({ name, hosts }: HostGroup): string => `${name}: ${hosts.join(', ') || 'nobody'}`;
  group
    .command('set <name> [host...]')
    .description('make a group of these hosts, or change who is in it')
    .action(async (name: string, hosts: string[], _options: unknown, command: Command) => {
      const made = await context.client(command).call('PUT', `/host-groups/${segment(name)}`, { hosts });
      show(context, command, made as HostGroup, describeGroup);
    });
  group
    .command('list')
    .description('list the groups')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/host-groups')) as HostGroup[];
      const columns = [
        { title: 'GROUP', value: (each: HostGroup) => each.name, shrink: 1 },
        { title: 'HOSTS', value: (each: HostGroup) => each.hosts.join(', '), shrink: 2 },
      ];
      show(context, command, all, (found) =>
        found.length === 0 ? 'No groups of hosts.' : table(found, columns, context.width),
      );
    });
  group
    .command('delete <name>')
    .description('forget a group to which nothing is mapped')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/host-groups/${segment(name)}`);
      show(context, command, { deleted: name }, () => `Forgot group ${name}`);
    });
}

function changes(context: CliContext, options: HostOptions): Record<string, unknown> {
  const credentials = (which: string, user: string | undefined, file: string | undefined): object | undefined => {
    if (user === undefined && file === undefined) return undefined;
    if (user !== undefined && file !== undefined) return { user, secret: readSecret(context, file) };
    throw new ServiceError('bad-request', `--${which}-user and --${which}-secret-file belong together`);
  };
  return {
    profile: options.profile,
    chap: credentials('chap', options.chapUser, options.chapSecretFile),
    mutual: credentials('mutual', options.mutualUser, options.mutualSecretFile),
  };
}

const describe = (host: Host): string =>
  `${host.name}: ${host.iqns.join(', ') || 'no initiators yet'}${host.chapUser === null ? '' : ', with CHAP'}`;

function hostTable(hosts: readonly Host[], width: number | undefined): string {
  if (hosts.length === 0) return 'No hosts yet. Try: gemel host create esx1 --initiator IQN';
  const columns = [
    { title: 'HOST', value: (each: Host) => each.name, shrink: 1 },
    { title: 'PROFILE', value: (each: Host) => each.profile ?? '-' },
    { title: 'CONNECTED', value: (each: Host) => `${String(each.connected.length)} of ${String(each.iqns.length)}` },
    { title: 'GROUPS', value: (each: Host) => each.groups.join(', ') || '-', shrink: 2, spare: 2 },
    { title: 'DISKS', value: (each: Host) => each.volumes.join(', ') || '-', shrink: 3 },
    { title: 'INITIATORS', value: (each: Host) => each.iqns.join(', '), shrink: 4, spare: 3 },
  ];
  return table(hosts, columns, width);
}

function hostFacts(host: Host): string {
  return facts([
    ['Host', host.name],
    ['Profile', host.profile ?? '-'],
    ...host.iqns.map((iqn): [string, string] => [
      'Initiator',
      host.connected.includes(iqn) ? `${iqn} (connected)` : iqn,
    ]),
    ['CHAP user', host.chapUser ?? '-'],
    ['Mutual user', host.mutualUser ?? '-'],
    ['Groups', host.groups.join(', ') || '-'],
    ['Disks', host.volumes.join(', ') || '-'],
    ['Created', host.created],
  ]);
}
