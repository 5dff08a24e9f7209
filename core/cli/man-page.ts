// gemel(1), made from the commands and the error catalogue.
import type { Command } from 'commander';
import { ERRORS } from '../base/errors.ts';
import type { CliContext } from './command.ts';
import { everyCommand, treeOf } from './command-tree.ts';
import type { TreeCommand, TreeOption } from './command-tree.ts';
import { COMMON_OPTIONS } from './common-options.ts';

/** `gemel man`: hidden, because the page is installed where `man gemel` finds it. */
export function addManCommand(program: Command, context: CliContext, version: string): void {
  program
    .command('man', { hidden: true })
    .description('print the manual page')
    .action(() => {
      context.print(manPage(program, version));
    });
}

/** As text of troff: the backslash and what begins a request, and hyphens that are part of a word to type. */
function escaped(text: string): string {
  const safe = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('–', '\\(en');
  return safe.replaceAll(/^([.'])/gm, '\\&$1');
}

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`;
/** `--size <size>`: what is typed bold, what stands for something else italic. */
const term = (text: string): string =>
  text
    .split(/([<[][^>\]]*[>\]])/)
    .map((part) => (/^[<[]/.test(part) ? `\\fI${escaped(part)}\\fR` : part.trim() === '' ? part : bold(part)))
    .join('');

const tagged = (head: string, text: string): string[] => ['.TP', head, escaped(text === '' ? '-' : text)];
const optionLines = (options: readonly TreeOption[]): string[] =>
  options.flatMap((option) => {
    const choices = option.choices.length === 0 ? '' : ` (${option.choices.join(', ')})`;
    return tagged(term(option.term), option.description + choices);
  });

/** The whole page. */
export function manPage(program: Command, version: string): string {
  const common = new Set<string>(COMMON_OPTIONS.map(({ long }) => long));
  const tree = treeOf(program, common);
  const globals = treeOf(program).options;
  const leaves = everyCommand(tree).filter(
    ({ path, children, args }) => path !== '' && !(children.length > 0 && args.length === 0 && path !== 'doctor'),
  );
  return [
    // Without a date: the same sources make the same page.
    `.TH GEMEL 1 "" "Gemel ${escaped(version)}" "Gemel"`,
    '.SH NAME',
    'gemel \\- drives the storage daemon gemeld',
    '.SH SYNOPSIS',
    `${bold('gemel')} \\fIcommand\\fR [\\fIarguments\\fR] [\\fIoptions\\fR]`,
    '.SH DESCRIPTION',
    'Gemel serves disks over iSCSI.',
    `${bold('gemel')} asks the daemon on this machine, or the one that`,
    `${bold('--api')} or a context names, to do something, and prints what it answered.`,
    `With ${bold('--json')} it prints one line of JSON, for scripts.`,
    '.SH COMMANDS',
    ...leaves.flatMap(commandLines),
    '.SH COMMON OPTIONS',
    'They may stand anywhere on the line.',
    ...optionLines(globals),
    '.SH EXIT STATUS',
    ...tagged(bold('0'), 'It is done.'),
    ...exitLines(),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, text]) => tagged(bold(name), text)),
    '.SH FILES',
    ...FILES.flatMap(([name, text]) => tagged(`\\fI${escaped(name)}\\fR`, text)),
    '.SH SEE ALSO',
    '.BR gemeld (8)',
  ].join('\n');
}

function commandLines(command: TreeCommand): string[] {
  const synopsis = [`gemel ${command.path}`, ...command.args].join(' ');
  return [`.SS ${term(synopsis)}`, `${escaped(command.description)}.`, ...optionLines(command.options)];
}

/** One entry for each exit status of the catalogue, with the codes it stands for. */
function exitLines(): string[] {
  const byStatus = new Map<number, string[]>();
  for (const [code, { exit, remedy }] of Object.entries(ERRORS)) {
    byStatus.set(exit, [...(byStatus.get(exit) ?? []), `${code}: ${remedy}`]);
  }
  return [...byStatus]
    .sort(([a], [b]) => a - b)
    .flatMap(([exit, lines]) => [
      '.TP',
      bold(String(exit)),
      ...lines.flatMap((line, i) => [...(i === 0 ? [] : ['.br']), escaped(line)]),
    ]);
}

const ENVIRONMENT = [
  ['GEMEL_API', 'address of the API, as --api'],
  ['GEMEL_TOKEN', 'the token; nobody else can read it there, unlike an argument'],
  ['GEMEL_CONTEXT', 'name of the context, as --context'],
  ['GEMEL_CONTEXTS', 'file with the contexts'],
  ['GEMEL_DATA', 'data folder of a daemon on this machine, as --data'],
] as const;

const FILES = [
  ['/var/lib/gemel', 'data folder of the daemon of this machine, with its token'],
  ['/etc/gemel/gemel.json', 'settings of the daemon that the Debian package starts'],
  ['~/.config/gemel/contexts.json', 'contexts with their tokens, readable by their owner only'],
] as const;
