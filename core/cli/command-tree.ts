// The command line as data: shell completion and the man page are made from the commands themselves, so neither can lag behind.
import type { Argument, Command, Option } from 'commander';

export interface TreeOption {
  /** `-V`, `--version` */
  readonly flags: readonly string[];
  /** As the help shows it: `--size <size>`. */
  readonly term: string;
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** Its value is a file or a folder. */
  readonly isPath: boolean;
}

export interface TreeCommand {
  /** Without the name of the program: `volume create`; empty for the program itself. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  /** `<name>`, `[volume]`, `<initiator...>` */
  readonly args: readonly string[];
  /** Words the first argument has to be one of. */
  readonly choices: readonly string[];
  readonly options: readonly TreeOption[];
  readonly children: readonly TreeCommand[];
}

/** Everything below `command` that help shows, in its order; options in `common` are left out. */
export function treeOf(command: Command, common: ReadonlySet<string> = new Set(), above = ''): TreeCommand {
  const help = command.createHelp();
  const path = command.parent === null ? '' : `${above}${above === '' ? '' : ' '}${command.name()}`;
  const options = help.visibleOptions(command).filter(({ long }) => long !== '--help' && !common.has(long ?? ''));
  const children = help.visibleCommands(command).filter((each) => each.name() !== 'help');
  return {
    path,
    name: command.name(),
    description: command.description(),
    args: command.registeredArguments.map(argumentTerm),
    choices: command.registeredArguments[0]?.argChoices ?? [],
    options: options.map(optionOf),
    children: children.map((each) => treeOf(each, common, path)),
  };
}

/** `command` and everything below it. */
export function everyCommand(command: TreeCommand): TreeCommand[] {
  return [command, ...command.children.flatMap(everyCommand)];
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function optionOf(option: Option): TreeOption {
  return {
    flags: [option.short, option.long].flatMap((flag) => flag ?? []),
    term: option.flags,
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    isPath: /<(file|folder|path)>/.test(option.flags),
  };
}
