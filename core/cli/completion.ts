// Shell completion, made from the commands themselves: nothing is asked of the daemon, so a key press costs nothing.
import { Argument } from 'commander';
import type { Command } from 'commander';
import type { CliContext } from './command.ts';
import { COMMON_OPTIONS } from './common-options.ts';
import { everyCommand, treeOf } from './command-tree.ts';
import type { TreeCommand, TreeOption } from './command-tree.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletionCommand(program: Command, context: CliContext): void {
  program
    .command('completion')
    .description('print what a shell needs to complete commands, as source <(gemel completion bash)')
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(SHELLS))
    .action((shell: Shell) => {
      context.print(completionScript(program, shell));
    });
}

/** The script for this shell. */
export function completionScript(program: Command, shell: Shell): string {
  const everywhere = new Set<string>(COMMON_OPTIONS.map(({ long }) => long));
  const all = everyCommand(treeOf(program, everywhere));
  const common = treeOf(program).options.filter(({ flags }) => flags.some((flag) => everywhere.has(flag)));
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](all, common);
}

type Options = readonly TreeOption[];
const flagsOf = (options: Options): string[] => options.flatMap(({ flags }) => flags);
/** Patterns for an option that every command has. */
const anywhere = (options: Options): string[] => flagsOf(options).map((flag) => `*/${flag}`);

/** In single quotes, for all three shells. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const fishQuoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
/** `path/flag`: the same flag takes a value in one command and none in another. */
const keyOf = ({ path }: TreeCommand, flag: string): string => `${path}/${flag}`;
const wordsOf = ({ children, choices }: TreeCommand): string[] => [...children.map(({ name }) => name), ...choices];

function withValue(all: readonly TreeCommand[]): { key: string; option: TreeOption }[] {
  return all.flatMap((command) =>
    command.options
      .filter((option) => option.takesValue)
      .flatMap((option) => option.flags.map((flag) => ({ key: keyOf(command, flag), option }))),
  );
}

/** Rows of a `case`: which command the words so far name, and which options are followed by a value. */
function pathCases(all: readonly TreeCommand[], common: Options): { commands: string; values: string } {
  const commands = all.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  const values = withValue(all).map(({ key }) => quoted(key));
  const others = anywhere(common.filter(({ takesValue }) => takesValue));
  return { commands: commands.join('|'), values: [...others, ...values].join('|') };
}

/** What completes the value of the option before. */
function valueCases(
  all: readonly TreeCommand[],
  common: Options,
  choose: (words: string) => string,
  files: string,
): string[] {
  const rows = withValue(all);
  const chosen = rows.filter(({ option }) => option.choices.length > 0);
  const paths = rows.filter(({ option }) => option.isPath).map(({ key }) => quoted(key));
  const others = rows.filter(({ option }) => option.choices.length === 0 && !option.isPath);
  const isPath = ({ isPath }: TreeOption): boolean => isPath;
  const commonOthers = common.filter((option) => option.takesValue && !option.isPath);
  return [
    ...chosen.map(({ key, option }) => `    ${quoted(key)}) ${choose(option.choices.join(' '))}; return ;;`),
    `    ${[...anywhere(common.filter(isPath)), ...paths].join('|')}) ${files}; return ;;`,
    `    ${[...anywhere(commonOthers), ...others.map(({ key }) => quoted(key))].join('|')}) return ;;`,
  ];
}

function bashScript(all: readonly TreeCommand[], common: Options): string {
  const { commands, values } = pathCases(all, common);
  const choose = (words: string): string => `COMPREPLY=($(compgen -W ${quoted(words)} -- "$cur"))`;
  const rows = all.map((command) => {
    const flags = flagsOf([...command.options, ...common]).join(' ');
    return `    ${quoted(command.path)}) words=${quoted(wordsOf(command).join(' '))} flags=${quoted(flags)} ;;`;
  });
  return [
    '# bash completion for gemel',
    '_gemel() {',
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' skip='' words='' flags='' word next i",
    '  COMPREPLY=()',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    '    word=${COMP_WORDS[i]}',
    "    if [[ -n $skip ]]; then skip=''; continue; fi",
    '    next=${path:+$path }$word',
    `    case $path/$word in ${values}) skip=1; continue ;; esac`,
    `    case $next in ${commands}) path=$next ;; esac`,
    '  done',
    '  case $path/$prev in',
    ...valueCases(all, common, choose, 'compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -f -- "$cur"))'),
    '  esac',
    '  case $path in',
    ...rows,
    '  esac',
    '  if [[ $cur == -* ]]; then words=$flags; fi',
    '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
    '}',
    'complete -F _gemel gemel',
  ].join('\n');
}

function zshScript(all: readonly TreeCommand[], common: Options): string {
  const { commands, values } = pathCases(all, common);
  const choose = (words: string): string => `compadd -- ${words}`;
  const rows = all.map((command) => {
    const named = [
      ...command.children.map(({ name, description }) => [name, description]),
      ...command.choices.map((each) => [each, each]),
    ];
    const options = [...command.options, ...common];
    const flags = options.flatMap(({ flags: each, description }) => each.map((flag) => [flag, description]));
    const list = (pairs: string[][], at: 0 | 1): string => pairs.map((pair) => quoted(pair[at] ?? '')).join(' ');
    return [
      `    ${quoted(command.path)})`,
      `      names=(${list(named, 0)}) texts=(${list(named, 1)})`,
      `      flags=(${list(flags, 0)}) flagtexts=(${list(flags, 1)}) ;;`,
    ].join('\n');
  });
  return [
    '#compdef gemel',
    '# zsh completion for gemel',
    '_gemel() {',
    // `path` would be the search path of zsh itself.
    "  local at='' skip='' word next i",
    '  local -a names texts flags flagtexts shown',
    '  for ((i = 2; i < CURRENT; i++)); do',
    '    word=${words[i]}',
    "    if [[ -n $skip ]]; then skip=''; continue; fi",
    '    next=${at:+$at }$word',
    `    case $at/$word in ${values}) skip=1; continue ;; esac`,
    `    case $next in ${commands}) at=$next ;; esac`,
    '  done',
    '  case $at/${words[CURRENT-1]} in',
    ...valueCases(all, common, choose, '_files'),
    '  esac',
    '  case $at in',
    ...rows,
    '  esac',
    '  if [[ ${words[CURRENT]} == -* ]]; then names=($flags) texts=($flagtexts); fi',
    '  for ((i = 1; i <= $#names; i++)); do shown+=("${names[i]} -- ${texts[i]}"); done',
    '  compadd -l -d shown -- $names',
    '}',
    // Sourced, it is registered; autoloaded from a folder, the file is the function.
    'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _gemel "$@"; else compdef _gemel gemel; fi',
  ].join('\n');
}

function fishOption(here: string, option: TreeOption): string {
  const names = option.flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const asks = option.choices.length > 0 ? ` -x -a ${fishQuoted(option.choices.join(' '))}` : ' -x';
  const value = option.takesValue ? (option.isPath ? ' -r -F' : asks) : '';
  return `${here} ${names.join(' ')}${value} -d ${fishQuoted(option.description)}`;
}

function fishScript(all: readonly TreeCommand[], common: Options): string {
  const valued = anywhere(common.filter(({ takesValue }) => takesValue));
  const values = [...valued, ...withValue(all).map(({ key }) => key)].map(fishQuoted);
  const commands = all.filter(({ path }) => path !== '').map(({ path }) => fishQuoted(path));
  const rows = all.flatMap((command) => {
    const here = `complete -c gemel -n ${fishQuoted(`test (__gemel_path) = ${fishQuoted(command.path)}`)}`;
    const children = command.children.map(
      ({ name, description }) => `${here} -f -a ${fishQuoted(name)} -d ${fishQuoted(description)}`,
    );
    const choices = command.choices.map((each) => `${here} -f -a ${fishQuoted(each)}`);
    return [...children, ...choices, ...command.options.map((option) => fishOption(here, option))];
  });
  return [
    '# fish completion for gemel',
    'function __gemel_path',
    "  set -l path ''",
    "  set -l skip ''",
    '  for word in (commandline -opc)[2..-1]',
    '    if test -n "$skip"',
    "      set skip ''",
    '      continue',
    '    end',
    '    set -l next (string trim -- "$path $word")',
    '    switch "$path/$word"',
    `      case ${values.join(' ')}`,
    '        set skip 1',
    '        continue',
    '    end',
    '    switch "$next"',
    `      case ${commands.join(' ')}`,
    '        set path $next',
    '    end',
    '  end',
    '  echo "$path"',
    'end',
    'complete -c gemel -f',
    ...common.map((option) => fishOption('complete -c gemel', option)),
    ...rows,
  ].join('\n');
}
