// `gemel`: the command line client. Speaks HTTP only.
import { readFileSync } from 'node:fs';
import { addKvmCommands } from '../../plugins/kvm/commands.ts';
import type { ConnectOptions } from './connect.ts';
import { connect } from './connect.ts';
import { createProgram, runProgram } from './program.ts';
import { shareLine } from './progress.ts';
import { packageVersion } from './version.ts';

// A reader that stops early (head) is no error.
process.stdout.on('error', () => undefined);

let drawn = '';

/** One line that is drawn again when it has changed, and taken away at the end. */
function drawProgress(what: string, share: number | undefined, seconds?: number | null): void {
  const text = share === undefined ? '' : shareLine(what, share, seconds, process.stderr.columns);
  if (text === drawn) return;
  drawn = text;
  process.stderr.write(`\r${text}\u001b[K`);
}

const program = createProgram(
  {
    client: (command) => connect(command.optsWithGlobals<ConnectOptions>(), process.env, () => readFileSync(0, 'utf8')),
    env: process.env,
    print: (text) => {
      process.stdout.write(`${text}\n`);
    },
    readStdin: () => readFileSync(0, 'utf8'),
    width: process.stdout.isTTY ? process.stdout.columns : undefined,
    ...(process.stderr.isTTY ? { progress: drawProgress } : {}),
    terminal: process.stderr.isTTY
      ? { write: (text) => process.stderr.write(text), columns: () => process.stderr.columns }
      : undefined,
  },
  packageVersion(),
  [addKvmCommands],
);
const { status, complaint } = await runProgram(program, process.argv.slice(2));
if (complaint !== undefined) process.stderr.write(`${complaint}\n`);
process.exitCode = status;
