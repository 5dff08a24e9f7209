import { readFileSync, statSync } from 'node:fs';
import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError, messageOf } from '../base/errors.ts';
import { parseHostPort } from '../base/host-port.ts';
import type { Alert, AlertRule, AlertTarget } from './answers.ts';
import { readSecret, segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

const SEVERITIES = ['info', 'warning', 'error', 'critical'];
const MAX_CA_FILE = 32_768;

interface TargetOptions {
  readonly email?: string[];
  readonly from?: string;
  readonly smtp?: string;
  readonly security?: string;
  readonly user?: string;
  readonly webhook?: string;
  readonly webhookFile?: string;
  readonly syslog?: string;
  readonly protocol?: string;
  readonly caFile?: string;
  readonly secretFile?: string;
  readonly atLeast?: string;
}

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

export function addAlertCommands(program: Command, context: CliContext): void {
  const alert = program.command('alert').description('what is wrong now, when that is told, and to whom');
  alert
    .command('list')
    .description('what is wrong now')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).call('GET', '/alerts')) as Alert[];
      show(context, command, all, (alerts) => alertTable(alerts, context.width));
    });
  addRuleCommands(alert, context);
  addTargetCommands(alert, context);
}

function addRuleCommands(alert: Command, context: CliContext): void {
  const rule = alert.command('rule').description('when an alert is raised');
  rule
    .command('list')
    .description('list the rules')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).call('GET', '/alert-rules')) as AlertRule[];
      show(context, command, all, (rules) => ruleTable(rules, context.width));
    });
  rule
    .command('set <rule>')
    .description('switch a rule on or off, or say where it begins')
    .option('--limit <number>', 'in the unit that list shows')
    .addOption(new Option('--on', 'tell it').conflicts('off'))
    .option('--off', 'do not tell it')
    .action(async (name: string, options: { limit?: string; on?: boolean; off?: boolean }, command: Command) => {
      if (options.limit !== undefined && !/^\d+(\.\d+)?$/.test(options.limit)) {
        throw new ServiceError('bad-request', `'${options.limit.slice(0, 40)}' is not a number`);
      }
      const limit = options.limit === undefined ? undefined : Number(options.limit);
      const enabled = options.off === true ? false : options.on;
      const set = await context.client(command).call('PATCH', `/alert-rules/${segment(name)}`, { limit, enabled });
      show(
        context,
        command,
        set as AlertRule,
        (each) => `${each.rule} ${each.enabled ? `begins at ${limitOf(each)}` : 'is off'}`,
      );
    });
}

function addTargetCommands(alert: Command, context: CliContext): void {
  const target = alert.command('target').description('where alerts are sent: mail, webhook, syslog');
  target
    .command('add <name>')
    .description('make a target, or replace its settings')
    .option('--email <address>', 'receiver of mail; repeatable', collect)
    .option('--from <address>', 'sender of mail')
    .option('--smtp <host:port>', 'mail server')
    .addOption(
      new Option('--security <how>', 'to the mail server; default starttls').choices(['starttls', 'tls', 'none']),
    )
    .option('--user <user>', 'account on the mail server')
    .option('--webhook <url>', 'https:// address that is posted to, if everybody on this machine may see it')
    .addOption(
      new Option('--webhook-file <file>', 'the same out of a file; - reads standard input').conflicts('webhook'),
    )
    .option('--syslog <host:port>', 'syslog server (RFC 5424)')
    .addOption(new Option('--protocol <name>', 'of syslog; default udp').choices(['udp', 'tcp', 'tls']))
    .option('--ca-file <file>', 'authority to trust besides, PEM')
    .option('--secret-file <file>', 'password of the account, or key of the signature; - reads standard input')
    .addOption(new Option('--at-least <severity>', 'this and worse; default warning').choices(SEVERITIES))
    .action(async (name: string, options: TargetOptions, command: Command) => {
      const body = targetBody(context, options);
      const made = await context.client(command).call('PUT', `/alert-targets/${segment(name)}`, body);
      show(
        context,
        command,
        made as AlertTarget,
        (each) =>
          `${each.name} gets ${each.atLeast} and worse, by ${each.kind}; try it: gemel alert target test ${each.name}`,
      );
    });
  target
    .command('list')
    .description('list the targets, and what came of the latest alerts')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).call('GET', '/alert-targets')) as AlertTarget[];
      show(context, command, all, (targets) => targetTable(targets, context.width));
    });
  target
    .command('show <name>')
    .description('everything about one target')
    .action(async (name: string, _options: unknown, command: Command) => {
      const found = await context.client(command).call('GET', `/alert-targets/${segment(name)}`);
      show(context, command, found as AlertTarget, targetFacts);
    });
  target
    .command('test <name>')
    .description('send a test now, and say whether it arrived')
    .action(async (name: string, _options: unknown, command: Command) => {
      const tested = await context.client(command).call('POST', `/alert-targets/${segment(name)}/test`);
      show(context, command, tested as AlertTarget, (each) => `The receiver of ${each.name} has taken the test`);
    });
  target
    .command('remove <name>')
    .description('forget a target')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/alert-targets/${segment(name)}`);
      show(context, command, { removed: name }, () => `Forgot ${name}`);
    });
}

/** Throws ServiceError bad-request. */
function targetBody(context: CliContext, options: TargetOptions): Record<string, unknown> {
  const ca = options.caFile === undefined ? undefined : readCa(options.caFile);
  const secret = options.secretFile === undefined ? undefined : readSecret(context, options.secretFile);
  if (options.webhookFile === '-' && options.secretFile === '-') {
    throw new ServiceError('bad-request', 'standard input can be one of --webhook-file and --secret-file');
  }
  const { smtp, syslog, webhookFile } = options;
  // What many webhooks have for a secret is in their address: it has no place in the arguments of a process.
  const webhook = webhookFile === undefined ? options.webhook : readSecret(context, webhookFile).trim();
  if ((options.email === undefined) !== (smtp === undefined)) {
    throw new ServiceError('bad-request', '--email and --smtp belong together');
  }
  const email =
    smtp === undefined
      ? undefined
      : {
          ...parseHostPort(smtp, 'smtp'),
          security: options.security,
          user: options.user,
          from: options.from,
          to: options.email,
          ca,
        };
  return {
    atLeast: options.atLeast,
    email,
    webhook: webhook === undefined ? undefined : { url: webhook, ca },
    syslog: syslog === undefined ? undefined : { ...parseHostPort(syslog, 'syslog'), protocol: options.protocol, ca },
    secret,
  };
}

function readCa(path: string): string {
  try {
    if (statSync(path).size > MAX_CA_FILE)
      throw new ServiceError('bad-request', `${path} is too large for a certificate`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw new ServiceError('bad-request', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

const limitOf = ({ limit, unit }: AlertRule): string => (unit === 'count' ? '-' : `${String(limit)} ${unit}`);

function whereOf({ email, webhook, syslog }: AlertTarget): string {
  if (email !== undefined) return email.to.join(', ');
  return webhook === undefined
    ? `${syslog?.host ?? ''}:${String(syslog?.port)} (${syslog?.protocol ?? ''})`
    : webhook.url;
}

function alertTable(alerts: readonly Alert[], width: number | undefined): string {
  if (alerts.length === 0) return 'Nothing is wrong.';
  const columns = [
    { title: 'SEVERITY', value: (each: Alert) => each.severity },
    { title: 'RULE', value: (each: Alert) => each.rule, spare: 2 },
    { title: 'OBJECT', value: (each: Alert) => `${each.object.kind} ${each.object.name}`, shrink: 1, keepEnd: true },
    { title: 'SINCE', value: (each: Alert) => each.since, spare: 1 },
    { title: 'WHAT', value: (each: Alert) => each.text, shrink: 2 },
  ];
  return table(alerts, columns, width);
}

function ruleTable(rules: readonly AlertRule[], width: number | undefined): string {
  const columns = [
    { title: 'RULE', value: (each: AlertRule) => each.rule },
    { title: 'SEVERITY', value: (each: AlertRule) => each.severity },
    { title: 'STATE', value: (each: AlertRule) => (each.enabled ? 'on' : 'off') },
    { title: 'BEGINS AT', value: limitOf, right: true },
    { title: 'WHEN', value: (each: AlertRule) => each.text, shrink: 1 },
  ];
  return table(rules, columns, width);
}

function targetTable(targets: readonly AlertTarget[], width: number | undefined): string {
  if (targets.length === 0) return 'No targets. Try: gemel alert target add ops --syslog 10.0.0.9:514';
  const columns = [
    { title: 'NAME', value: (each: AlertTarget) => each.name, shrink: 1 },
    { title: 'KIND', value: (each: AlertTarget) => each.kind },
    { title: 'AT LEAST', value: (each: AlertTarget) => each.atLeast },
    { title: 'WHERE', value: whereOf, shrink: 2 },
    { title: 'SENT', value: (each: AlertTarget) => String(each.delivery.sent), right: true },
    { title: 'LOST', value: (each: AlertTarget) => String(each.delivery.lost), right: true },
    { title: 'WAITING', value: (each: AlertTarget) => String(each.delivery.waiting), right: true, spare: 1 },
    { title: 'LAST ERROR', value: (each: AlertTarget) => each.delivery.lastError ?? '-', shrink: 3, spare: 2 },
  ];
  return table(targets, columns, width);
}

function targetFacts(target: AlertTarget): string {
  const { delivery, email } = target;
  return facts([
    ['Name', target.name],
    ['Kind', target.kind],
    ['At least', target.atLeast],
    ['Where', whereOf(target)],
    ...(email === undefined ? [] : [['Server', `${email.host}:${String(email.port)}, ${email.security}`] as const]),
    ['Secret', target.hasSecret ? 'known' : 'none'],
    ['Sent', `${String(delivery.sent)}, the last one ${delivery.lastSent ?? 'never'}`],
    ['Lost', String(delivery.lost)],
    ['Waiting', String(delivery.waiting)],
    ['Last error', delivery.lastError ?? '-'],
    ['Created', target.created],
  ]);
}
