// What `gemel` gives to the commands a plugin adds to it.
import type { Command } from 'commander';
import type { ApiClient } from './client.ts';

export interface PluginCli {
  /** Connects with the global options of `command`. */
  readonly client: (command: Command) => ApiClient;
  readonly print: (text: string) => void;
}

/** Prints `answer` as JSON when --json was given, else what `text` makes of it. */
export function tell<T>(cli: PluginCli, command: Command, answer: T, text: (answer: T) => string): void {
  const { json } = command.optsWithGlobals<{ json?: boolean }>();
  cli.print(json === true ? JSON.stringify(answer) : text(answer));
}
