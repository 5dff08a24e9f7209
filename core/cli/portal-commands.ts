import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import type { Schemas } from '../../plugins/sdk/typed-api.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { table } from './output.ts';

type Portal = Schemas.Portal;

interface AddOptions {
  readonly name?: string;
  readonly group?: number;
  readonly advertise?: string;
}

/** `gemel portal`: the addresses the daemon listens at for initiators. */
export function addPortalCommands(program: Command, context: CliContext): void {
  const portal = program.command('portal').description('addresses at which initiators reach the disks');
  portal
    .command('list')
    .description('list the portals of this node')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/portals')) as Portal[];
      show(context, command, all, (each) => portalTable(each, context.width));
    });
  portal
    .command('add <host:port>')
    .description('listen at one more address, from now on and after every start')
    .option('--name <name>', 'default: portal1, portal2 and so on')
    .option('--group <number>', 'portal group; default 1', wholeNumber)
    .option('--advertise <host:port>', 'what initiators are told instead')
    .action(async (address: string, { name, group, advertise }: AddOptions, command: Command) => {
      const body = { name, address, group, advertised: advertise };
      const made = (await context.client(command).call('POST', '/portals', body)) as Portal;
      show(
        context,
        command,
        made,
        (each) => `${each.name} listens: initiators log in at ${each.reached ?? each.address}`,
      );
    });
  portal
    .command('remove <name>')
    .description('listen there no more; refused while sessions are on it, which it names')
    .option('--force', 'ask those sessions to log out, and end them')
    .action(async (name: string, { force }: { force?: boolean }, command: Command) => {
      const query = force === true ? '?force=true' : '';
      await context.client(command).call('DELETE', `/portals/${segment(name)}${query}`);
      show(context, command, { removed: name }, () => `${name} does not listen any more`);
    });
}

function wholeNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('a number from 1 to 65535');
  return Number(text);
}

function portalTable(all: readonly Portal[], width: number | undefined): string {
  const columns = [
    { title: 'NAME', value: (each: Portal) => each.name, shrink: 1 },
    { title: 'ADDRESS', value: (each: Portal) => each.reached ?? each.address, shrink: 2 },
    { title: 'TAG', value: (each: Portal) => String(each.tag), right: true },
    { title: 'SESSIONS', value: (each: Portal) => String(each.sessions), right: true },
    { title: 'STATE', value: (each: Portal) => each.problem ?? 'listens', shrink: 2 },
  ];
  return table(all, columns, width);
}
