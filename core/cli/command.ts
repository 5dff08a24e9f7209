import { readFileSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';

/** What a command needs of the outside; tests pass their own. */
export interface CliContext {
  /** Connects with the global options of `command`. */
  readonly client: (command: Command) => ApiClient;
  /** Of the process; absent in tests that need none. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly print: (text: string) => void;
  readonly readStdin: () => string;
  /** Columns of the terminal, if there is one. */
  readonly width: number | undefined;
  /** Shows that `what` is done to this share (0 to 1), with the seconds to go; undefined: it is over. Absent: nobody looks. */
  readonly progress?: (what: string, share: number | undefined, seconds?: number | null) => void;
  /** Where progress can be drawn over and over; absent when nobody watches. */
  readonly terminal?: { readonly write: (text: string) => void; readonly columns: () => number } | undefined;
}

/** Prints `answer` as JSON when --json was given, else what `text` makes of it. */
export function show<T>(context: CliContext, command: Command, answer: T, text: (answer: T) => string): void {
  const { json } = command.optsWithGlobals<{ json?: boolean }>();
  context.print(json === true ? JSON.stringify(answer) : text(answer));
}

/** A path segment. */
export const segment = (text: string): string => encodeURIComponent(text);

/** A secret from a file, or with `-` from standard input; never from the command line. Throws ServiceError. */
export function readSecret(context: CliContext, path: string): string {
  let text: string;
  try {
    text = path === '-' ? context.readStdin() : readSecretFile(path);
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw new ServiceError('bad-request', `the secret cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return text.replace(/\r?\n$/, '');
}

function readSecretFile(path: string): string {
  // Only the size of a secret: /dev/zero or a disk image would never end.
  if (statSync(path).size > 4096) throw new ServiceError('bad-request', `${path} is too large to be a secret`);
  return readFileSync(path, 'utf8');
}
