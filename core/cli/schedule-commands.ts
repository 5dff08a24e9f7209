// `schedule`: snapshots by the clock.
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import type { Schedule } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { table } from './output.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const RULE = /^(?:(\d{1,4})m|hourly(?::(\d{1,2}))?|daily@(\d\d:\d\d)|([a-z]{3})@(\d\d:\d\d))=(\d{1,3})$/;

type Rule = Schedule['rules'][number];

/** `15m=8`, `hourly:30=24`, `daily@02:00=7`, `sun@03:00=4`: when, and how many stay. Throws ServiceError bad-request. */
export function parseRule(text: string): Rule {
  const [, minutes, minute, daily, day, weekly, kept] = RULE.exec(text) ?? [];
  const keep = Number(kept);
  if (kept === undefined) throw badRule(text);
  if (minutes !== undefined) return { every: 'minutes', minutes: Number(minutes), keep };
  if (daily !== undefined) return { every: 'day', time: daily, keep };
  if (day === undefined) return { every: 'hour', minute: Number(minute ?? 0), keep };
  const index = DAYS.indexOf(day);
  if (index < 0 || weekly === undefined) throw badRule(text);
  return { every: 'week', day: index, time: weekly, keep };
}

const badRule = (text: string): ServiceError =>
  new ServiceError(
    'bad-request',
    `'${text.slice(0, 40)}' is not a rule; it looks like 15m=8, hourly:30=24, daily@02:00=7 or sun@03:00=4`,
  );

function ruleText(rule: Rule): string {
  const keep = String(rule.keep);
  if (rule.every === 'minutes') return `${String(rule.minutes)}m=${keep}`;
  if (rule.every === 'hour') return `hourly:${String(rule.minute).padStart(2, '0')}=${keep}`;
  return `${rule.every === 'day' ? 'daily' : (DAYS[rule.day] ?? '')}@${rule.time}=${keep}`;
}

export function addScheduleCommands(program: Command, context: CliContext): void {
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  const schedule = program.command('schedule').description('take and delete snapshots by the clock (times are UTC)');
  schedule
    .command('set <name> <volumes>')
    .description('of a disk, or of several (a,b,c) at one instant')
    .requiredOption('--rule <when=keep>', '15m=8, hourly:30=24, daily@02:00=7 or sun@03:00=4; repeatable', collect)
    .option('--off', 'do not run it for now')
    .action(async (name: string, volumes: string, options: { rule: string[]; off?: boolean }, command: Command) => {
      const rules = options.rule.map(parseRule);
      const body = { volumes: volumes.split(','), rules, enabled: options.off !== true };
      const made = await context.client(command).call('PUT', `/schedules/${segment(name)}`, body);
      show(context, command, made as Schedule, (each) => `${each.name}: next ${each.next ?? 'never, it is off'}`);
    });
  schedule
    .command('list')
    .description('list the schedules')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/schedules')) as Schedule[];
      show(context, command, all, (found) => scheduleTable(found, context.width));
    });
  schedule
    .command('delete <name>')
    .description('forget a schedule; its snapshots stay')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/schedules/${segment(name)}`);
      show(context, command, { deleted: name }, () => `Forgot schedule ${name}`);
    });
}

function scheduleTable(schedules: readonly Schedule[], width: number | undefined): string {
  if (schedules.length === 0) return 'No schedules yet. Try: gemel schedule set nightly my-disk --rule daily@02:00=7';
  const columns = [
    { title: 'SCHEDULE', value: (each: Schedule) => each.name, shrink: 1 },
    { title: 'NEXT', value: (each: Schedule) => each.next?.slice(0, 16) ?? 'off' },
    { title: 'RULES', value: (each: Schedule) => each.rules.map(ruleText).join(' '), shrink: 3 },
    { title: 'KEPT', value: (each: Schedule) => String(each.snapshots), right: true },
    { title: 'DISKS', value: (each: Schedule) => each.volumes.join(', '), shrink: 2 },
    { title: 'PROBLEM', value: (each: Schedule) => each.problem ?? '-', shrink: 4, spare: 1 },
  ];
  return table(schedules, columns, width);
}
