// The command reference of the documentation, written from the command table itself.
import type { CommandSpec } from '../../core/scsi/command-spec.ts';
import type { CommandTable } from '../../core/scsi/command-table.ts';

const RESERVED_TEXT = {
  allowed: 'carried out',
  'unless-exclusive': 'carried out unless exclusive access',
  conflict: 'conflict',
} as const;

const hex = (value: number): string => `${value.toString(16).toUpperCase().padStart(2, '0')}h`;

/** States in which a command is carried out although others are refused. */
function stillWorks({ okWhen }: CommandSpec): string {
  const states = [
    okWhen.unitAttention ? 'unit attention' : '',
    okWhen.notReady ? 'not ready' : '',
    okWhen.standby ? 'standby' : '',
    okWhen.unavailable ? 'unavailable' : '',
  ].filter((text) => text !== '');
  return states.length === 0 ? '–' : states.join(', ');
}

function row(spec: CommandSpec): string {
  const cells = [
    hex(spec.opcode),
    spec.serviceAction === undefined ? '–' : hex(spec.serviceAction),
    spec.name,
    String(spec.cdbUsage.length),
    spec.access,
    RESERVED_TEXT[spec.reserved],
    stillWorks(spec),
    spec.clause,
  ];
  return `| ${cells.join(' | ')} |`;
}

const byNumber = (a: CommandSpec, b: CommandSpec): number =>
  a.opcode - b.opcode || (a.serviceAction ?? 0) - (b.serviceAction ?? 0);

/** All commands of a table as a Markdown page, in order of opcode and service action. Ends with a newline. */
export function renderCommandReference(table: CommandTable): string {
  return [
    '# SCSI commands',
    '',
    'Written from the command table of the logical unit; the same rows answer REPORT SUPPORTED OPERATION CODES.',
    'A command that is not listed ends with ILLEGAL REQUEST, 20h/00h (unknown opcode) or 24h/00h (unknown service action).',
    '',
    '| opcode | service action | command | CDB bytes | access | reserved by another host | also while | defined in |',
    '|---|---|---|---|---|---|---|---|',
    ...[...table.specs].sort(byNumber).map(row),
    '',
  ].join('\n');
}
