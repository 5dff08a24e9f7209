import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { readSecret, show } from './command.ts';
import type { CliContext } from './command.ts';
import { contextNamed, readContexts, writeContexts } from './contexts.ts';
import { table } from './output.ts';

interface ContextRow {
  readonly name: string;
  readonly api: string;
  readonly current: boolean;
}

const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

export function addContextCommands(program: Command, context: CliContext): void {
  const env = context.env ?? {};
  const rows = (): ContextRow[] => {
    const { current, all } = readContexts(env);
    const names = Object.keys(all).sort();
    return names.map((name) => ({ name, api: all[name]?.api ?? '', current: name === current }));
  };
  const noun = program.command('context').description('the daemons you work with, and which one is meant');
  noun
    .command('add <name>')
    .description('make a daemon known, or replace what is known of it; with --api and --token-file')
    .option('--no-check', 'do not ask the daemon whether it knows the token')
    .action(async (name: string, options: { check: boolean }, command: Command) => {
      const { api, tokenFile, token } = command.optsWithGlobals<{ api?: string; tokenFile?: string; token?: string }>();
      if (!NAME.test(name))
        throw new ServiceError('bad-request', `'${name.slice(0, 63)}' is not a name: a-z, 0-9, . and -`);
      if (token !== undefined) throw new ServiceError('bad-request', 'others can read an argument: use --token-file');
      const secret = tokenFile === undefined ? env['GEMEL_TOKEN'] : readSecret(context, tokenFile).trim();
      if (api === undefined || secret === undefined) {
        throw new ServiceError(
          'bad-request',
          'say which daemon with --api URL --token-file FILE (or - and GEMEL_TOKEN)',
        );
      }
      const client = new ApiClient(api, secret);
      if (options.check) await client.call('GET', '/status');
      const { current, all } = readContexts(env);
      writeContexts(env, { current: current ?? name, all: { ...all, [name]: { api, token: secret } } });
      show(
        context,
        command,
        { name, api, current: (current ?? name) === name },
        (each) => `Added ${each.name}: ${each.api}`,
      );
    });
  noun
    .command('use <name>')
    .description('mean this one from now on; - is the daemon of this machine again')
    .action((name: string, _options: unknown, command: Command) => {
      const contexts = readContexts(env);
      const current = name === '-' ? undefined : name;
      if (current !== undefined) contextNamed(contexts, current);
      writeContexts(env, { ...contexts, current });
      show(
        context,
        command,
        { current: current ?? null },
        () => `Now ${current ?? 'the daemon of this machine'} is meant`,
      );
    });
  noun
    .command('list')
    .description('list the contexts')
    .action((_options: unknown, command: Command) => {
      show(context, command, rows(), (all) => contextTable(all, context.width));
    });
  noun
    .command('remove <name>')
    .description('forget a daemon and its token')
    .action((name: string, _options: unknown, command: Command) => {
      const contexts = readContexts(env);
      contextNamed(contexts, name);
      const all = Object.fromEntries(Object.entries(contexts.all).filter(([each]) => each !== name));
      writeContexts(env, { current: contexts.current === name ? undefined : contexts.current, all });
      show(context, command, { removed: name }, () => `Forgot ${name}`);
    });
}

function contextTable(rows: readonly ContextRow[], width: number | undefined): string {
  if (rows.length === 0) return 'No contexts: the daemon of this machine is meant. Try: gemel context add';
  const columns = [
    { title: '', value: (row: ContextRow) => (row.current ? '*' : '') },
    { title: 'NAME', value: (row: ContextRow) => row.name, shrink: 1 },
    { title: 'API', value: (row: ContextRow) => row.api, shrink: 2 },
  ];
  return table(rows, columns, width);
}
