import type { Command } from 'commander';
import { homedir } from 'node:os';
import { defaultDataFolder } from '../base/data-folder.ts';
import { ServiceError } from '../base/errors.ts';
import { show } from './command.ts';
import type { CliContext } from './command.ts';
import { examine } from './doctor.ts';
import type { Finding } from './doctor.ts';
import { wrapped } from './output.ts';

/** Columns of a finding that goes into a pipe or a file. */
const WIDTH = 100;
const INDENT = 24;

/** The noun `doctor`, which is a command of its own as well. */
export function addDoctorCommand(program: Command, context: CliContext, version: string): Command {
  const env = context.env ?? {};
  return program
    .command('doctor')
    .description('look for what is wrong with the daemon, the way to it, and this host')
    .option('--quiet', 'only what is not in order')
    .action(async (options: { quiet?: boolean }, command: Command) => {
      const { data } = command.optsWithGlobals<{ data?: string }>();
      const user = { isRoot: process.getuid?.() === 0, home: homedir() };
      const findings = await examine({
        client: () => context.client(command),
        version,
        folder: data ?? env['GEMEL_DATA'] ?? defaultDataFolder(user, env, process.platform),
        root: '/',
        now: () => Date.now(),
      });
      const shown =
        options.quiet === true ? findings.filter(({ level }) => level === 'warning' || level === 'error') : findings;
      show(context, command, shown, (all) => findingsText(all, context.width ?? WIDTH));
      const errors = findings.filter(({ level }) => level === 'error').length;
      if (errors > 0)
        throw new ServiceError('unhealthy', `${String(errors)} of ${String(findings.length)} findings are errors`);
    });
}

/** One finding after the other, with what to do below it. */
export function findingsText(findings: readonly Finding[], width: number): string {
  if (findings.length === 0) return 'Everything is in order.';
  return findings
    .flatMap(({ check, level, text, remedy }) => {
      const head = `${level.padEnd(8)} ${check.padEnd(INDENT - 10)} `;
      const lines = wrapped(text, width - INDENT);
      const hints =
        remedy === undefined
          ? []
          : wrapped(remedy, width - INDENT - 3).map((line, i) => `${i === 0 ? '-> ' : '   '}${line}`);
      return [...lines, ...hints].map((line, i) => (i === 0 ? head : ' '.repeat(INDENT)) + line);
    })
    .join('\n');
}
