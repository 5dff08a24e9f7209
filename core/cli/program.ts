import { Command, CommanderError } from 'commander';
import { ERRORS, ServiceError, messageOf } from '../base/errors.ts';
import { addInitiatorCommands } from './access-commands.ts';
import { addAlertCommands } from './alert-commands.ts';
import { addBackendCommands } from './backend-commands.ts';
import { addClusterCommands } from './cluster-commands.ts';
import type { CliContext } from './command.ts';
import { COMMON_OPTIONS } from './common-options.ts';
import { addCompletionCommand } from './completion.ts';
import { addContextCommands } from './context-commands.ts';
import { addDoctorCommand } from './doctor-commands.ts';
import { addHostCommands } from './host-commands.ts';
import { addImageCommands } from './image-commands.ts';
import { addManCommand } from './man-page.ts';
import { addJobCommands } from './job-commands.ts';
import { addOffloadCommands } from './offload-commands.ts';
import { addPortalCommands } from './portal-commands.ts';
import { addPoolCommands } from './pool-commands.ts';
import { addReplicationCommands } from './replication-commands.ts';
import { addScheduleCommands } from './schedule-commands.ts';
import { addSecurityCommands } from './security-commands.ts';
import { addSnapshotCommands } from './snapshot-commands.ts';
import { addStatusCommands } from './status-commands.ts';
import { addMapCommands, addVolumeCommands } from './volume-commands.ts';

/** Columns of a help text that goes into a pipe or a file. */
const HELP_WIDTH = 80;

/** Adds the noun of a plugin. */
export type AddCommands = (program: Command, context: CliContext) => void;

/** The whole command line of `gemel`. */
export function createProgram(context: CliContext, version: string, plugins: readonly AddCommands[] = []): Command {
  const program = new Command('gemel').description('Drives the storage daemon gemeld.').version(version);
  addVolumeCommands(program, context);
  addMapCommands(program, context);
  addPoolCommands(program, context);
  addPortalCommands(program, context);
  addBackendCommands(program, context);
  addSnapshotCommands(program, context);
  addInitiatorCommands(program, context);
  addStatusCommands(program, context);
  addOffloadCommands(program, addDoctorCommand(program, context, version), context);
  addAlertCommands(program, context);
  addImageCommands(program, context);
  addClusterCommands(program, context);
  addReplicationCommands(program, context);
  addHostCommands(program, context);
  addScheduleCommands(program, context);
  addJobCommands(program, context);
  addSecurityCommands(program, context);
  addContextCommands(program, context);
  for (const add of plugins) add(program, context);
  addCompletionCommand(program, context);
  addManCommand(program, context, version);
  forEachCommand(program, (command) => {
    // On every command, so that they may stand anywhere on the line.
    for (const { flags, text } of COMMON_OPTIONS) command.option(flags, text);
    command
      // Narrower descriptions than the usual ones are wrapped, too: the terms of the first page are long.
      .configureHelp({ minWidthToWrap: 30 })
      .configureOutput({
        getOutHelpWidth: () => context.width ?? HELP_WIDTH,
        writeOut: (text) => {
          context.print(text.trimEnd());
        },
        writeErr: () => undefined,
      })
      .exitOverride();
  });
  return program;
}

function forEachCommand(command: Command, act: (command: Command) => void): void {
  act(command);
  for (const each of command.commands) forEachCommand(each, act);
}

/** Runs one command line. Returns the exit status and, when it failed, the line for standard error. */
export async function runProgram(
  program: Command,
  argv: readonly string[],
): Promise<{ status: number; complaint?: string }> {
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return { status: 0 };
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return { status: 0 };
      const line = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
      // Commander says "(outputHelp)" when a noun stands without its verb.
      const what = line === '(outputHelp)' ? 'a command is missing' : line.replace(/\.$/, '');
      return { status: ERRORS['bad-request'].exit, complaint: `gemel: ${what}. See gemel --help.` };
    }
    const known = error instanceof ServiceError ? error : new ServiceError('internal', messageOf(error));
    // Of somebody else's words terminals would obey more than lines.
    const said = known.message.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
    return { status: known.row.exit, complaint: `gemel: ${said}. ${known.row.remedy}` };
  }
}
