import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import type { Initiator } from './answers.ts';
import { readSecret, segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { table } from './output.ts';

interface AddOptions {
  readonly chapUser?: string;
  readonly chapSecretFile?: string;
  readonly mutualUser?: string;
  readonly mutualSecretFile?: string;
}

export function addInitiatorCommands(program: Command, context: CliContext): void {
  const initiator = program.command('initiator').description('make initiators known, with CHAP credentials');
  initiator
    .command('add <iqn>')
    .description('make an initiator known, or replace its credentials')
    .option('--chap-user <user>', 'what the initiator signs in with')
    .option('--chap-secret-file <file>', 'file with the secret, 12 bytes or more; - reads standard input')
    .option('--mutual-user <user>', 'what the target proves itself with')
    .option('--mutual-secret-file <file>', 'file with the other secret')
    .action(async (iqn: string, options: AddOptions, command: Command) => {
      const chap = credentials(context, 'chap', options.chapUser, options.chapSecretFile);
      const mutual = credentials(context, 'mutual', options.mutualUser, options.mutualSecretFile);
      const answer = await context.client(command).call('PUT', `/initiators/${segment(iqn)}`, { chap, mutual });
      show(
        context,
        command,
        answer as Initiator,
        (each) => `${each.iqn} ${each.chapUser === null ? 'needs no secret' : 'has to prove itself with CHAP'}`,
      );
    });
  initiator
    .command('list')
    .description('list the known initiators')
    .action(async (_options: unknown, command: Command) => {
      const answer = (await context.client(command).list('/initiators')) as Initiator[];
      show(context, command, answer, (all) => initiatorTable(all, context.width));
    });
  initiator
    .command('remove <iqn>')
    .description('forget an initiator and its credentials')
    .action(async (iqn: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/initiators/${segment(iqn)}`);
      show(context, command, { removed: iqn }, () => `Forgot ${iqn}`);
    });
}

function credentials(
  context: CliContext,
  which: 'chap' | 'mutual',
  user: string | undefined,
  file: string | undefined,
): { user: string; secret: string } | undefined {
  if (user === undefined && file === undefined) return undefined;
  if (user === undefined || file === undefined) {
    throw new ServiceError('bad-request', `--${which}-user and --${which}-secret-file belong together`);
  }
  return { user, secret: readSecret(context, file) };
}

function initiatorTable(all: readonly Initiator[], width: number | undefined): string {
  if (all.length === 0)
    return 'No initiators are known. An initiator without CHAP needs no entry: map a disk to its name.';
  const columns = [
    { title: 'INITIATOR', value: (each: Initiator) => each.iqn, shrink: 1, keepEnd: true },
    { title: 'CHAP USER', value: (each: Initiator) => each.chapUser ?? '-', shrink: 3 },
    { title: 'MUTUAL USER', value: (each: Initiator) => each.mutualUser ?? '-', shrink: 3 },
    { title: 'DISKS', value: (each: Initiator) => each.volumes.join(', '), shrink: 2 },
  ];
  return table(all, columns, width);
}
