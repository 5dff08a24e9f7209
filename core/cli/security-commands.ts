// `gemel user`, `token`, `audit`, `security` and `first-login`: who may do what, and who has done what.
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { readSecret, segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

interface User {
  name: string;
  role: string;
  enabled: boolean;
  created: string;
  lastLogin: string | null;
  sessions: number;
}

interface Token {
  name: string;
  role: string;
  created: string;
  expires: string | null;
  lastUsed: string | null;
  local: boolean;
  secret?: string;
}

interface AuditEntry {
  seq: number;
  at: string;
  who: { kind: string; name: string };
  address: string;
  method: string;
  object: string;
  status: number;
  code: string | null;
}

interface AuditCheck {
  ok: boolean;
  entries: number;
  first: number;
  last: number;
  head: string;
  findings: string[];
}

interface Settings {
  frameOrigins: string[];
  apiNames: string[];
}

const ROLES = 'viewer, operator or admin';
const DAY = 86_400_000;
/** Entries of the audit log that are shown when nobody says how many. */
const SHOWN = '50';

export function addSecurityCommands(program: Command, context: CliContext): void {
  addUserCommands(program, context);
  addTokenCommands(program, context);
  addAuditCommands(program, context);
  addSettingsCommands(program, context);
  program
    .command('first-login')
    .description('print a link that makes the first user, as long as there is none')
    .action(async (_options: unknown, command: Command) => {
      const answer = await context.client(command).call('POST', '/first-login/code');
      show(context, command, answer as { url: string; expires: string }, ({ url, expires }) =>
        [`Open this link to make the first user, an admin (good once, until ${time(expires)}):`, `  ${url}`].join('\n'),
      );
    });
}

function addUserCommands(program: Command, context: CliContext): void {
  const user = program.command('user').description('people who may use the console');
  user
    .command('list')
    .description('list the users')
    .action(async (_options: unknown, command: Command) => {
      const answer = (await context.client(command).list('/users')) as User[];
      show(context, command, answer, (all) => userTable(all, context.width));
    });
  user
    .command('create <name>')
    .description('make a user')
    .requiredOption('--role <role>', ROLES)
    .requiredOption('--password-file <file>', 'file with the password, 12 characters or more; - reads standard input')
    .action(async (name: string, options: { role: string; passwordFile: string }, command: Command) => {
      const password = readSecret(context, options.passwordFile);
      const answer = await context.client(command).call('POST', '/users', { name, role: options.role, password });
      show(context, command, answer as User, (made) => `${made.name} can log in, as ${made.role}`);
    });
  user
    .command('change <name>')
    .description('change the role of a user, or whether it may log in')
    .option('--role <role>', ROLES)
    .option('--enable', 'let it log in')
    .option('--disable', 'do not let it log in, and end its sessions')
    .action(async (name: string, options: { role?: string; enable?: true; disable?: true }, command: Command) => {
      if (options.enable === true && options.disable === true) {
        throw new ServiceError('bad-request', 'choose one of --enable and --disable');
      }
      const enabled = options.enable ?? (options.disable === true ? false : undefined);
      if (enabled === undefined && options.role === undefined) {
        throw new ServiceError('bad-request', 'say what to change: --role, --enable or --disable');
      }
      const answer = await context.client(command).call('PATCH', at(name), { role: options.role, enabled });
      show(context, command, answer as User, (each) => `${each.name}: ${each.role}, ${stateOf(each)}`);
    });
  user
    .command('password <name>')
    .description('give a user another password, and end its sessions')
    .requiredOption('--password-file <file>', 'file with the password, 12 characters or more; - reads standard input')
    .action(async (name: string, options: { passwordFile: string }, command: Command) => {
      const password = readSecret(context, options.passwordFile);
      await context.client(command).call('PUT', `${at(name)}/password`, { password });
      show(context, command, { changed: name }, () => `${name} has another password, and is logged out everywhere`);
    });
  user
    .command('logout <name>')
    .description('end all sessions of a user')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `${at(name)}/sessions`);
      show(context, command, { loggedOut: name }, () => `${name} is logged out everywhere`);
    });
  user
    .command('remove <name>')
    .description('remove a user, and end its sessions')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', at(name));
      show(context, command, { removed: name }, () => `Removed ${name}`);
    });
}

function addTokenCommands(program: Command, context: CliContext): void {
  const token = program.command('token').description('tokens for scripts and plugins');
  token
    .command('list')
    .description('list the tokens; what they consist of is not kept')
    .action(async (_options: unknown, command: Command) => {
      const answer = (await context.client(command).list('/tokens')) as Token[];
      show(context, command, answer, (all) => tokenTable(all, context.width));
    });
  token
    .command('create <name>')
    .description('make a token and print it, this once')
    .requiredOption('--role <role>', ROLES)
    .option('--days <days>', 'how long it is good for (default: until it is revoked)', daysOf)
    .action(async (name: string, options: { role: string; days?: number }, command: Command) => {
      const expires = options.days === undefined ? undefined : new Date(Date.now() + options.days * DAY).toISOString();
      const answer = await context.client(command).call('POST', '/tokens', { name, role: options.role, expires });
      show(context, command, answer as Token, ({ secret = '' }) => secret);
    });
  token
    .command('revoke <name>')
    .description('make a token worthless, at once')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/tokens/${segment(name)}`);
      show(context, command, { revoked: name }, () => `Revoked ${name}`);
    });
}

function addAuditCommands(program: Command, context: CliContext): void {
  const audit = program.command('audit').description('who changed what');
  audit
    .command('list')
    .description('show the audit log, newest first; --json has what was before and after')
    .option('--limit <count>', 'entries', SHOWN)
    .option('--who <name>', 'of this user or token only')
    .option('--object <path>', 'what the object begins with, such as /volumes/vm-1')
    .option('--refused', 'only what was refused')
    .option('--since <time>', 'such as 2026-11-27T08:00:00Z')
    .action(async (options: AuditOptions, command: Command) => {
      const answer = await entriesOf(context, command, options);
      show(context, command, answer, (all) => auditTable(all, context.width));
    });
  audit
    .command('verify')
    .description('check that nobody has edited the audit log')
    .option('--head <hash>', 'of the last entry at an earlier check: it has to be there still')
    .action(async (options: { head?: string }, command: Command) => {
      const query = options.head === undefined ? '' : `?head=${encodeURIComponent(options.head)}`;
      const answer = (await context.client(command).call('GET', `/audit/verify${query}`)) as AuditCheck;
      show(context, command, answer, checkText);
      if (!answer.ok) throw new ServiceError('audit-damaged', 'the audit log is not what was written');
    });
}

interface AuditOptions {
  readonly limit: string;
  readonly who?: string;
  readonly object?: string;
  readonly refused?: true;
  readonly since?: string;
}

async function entriesOf(context: CliContext, command: Command, options: AuditOptions): Promise<AuditEntry[]> {
  const wanted = Number(options.limit);
  if (!Number.isInteger(wanted) || wanted < 1) throw new ServiceError('bad-request', '--limit is a number from 1 on');
  const query = new URLSearchParams({ limit: String(Math.min(wanted, 1000)) });
  if (options.who !== undefined) query.set('who', options.who);
  if (options.object !== undefined) query.set('object', options.object);
  if (options.refused === true) query.set('result', 'refused');
  if (options.since !== undefined) query.set('since', options.since);
  const client = context.client(command);
  const entries: AuditEntry[] = [];
  for (let path: string | null = `/audit?${query.toString()}`; path !== null && entries.length < wanted;) {
    const page = (await client.call('GET', path)) as { items: AuditEntry[]; next: string | null };
    for (const entry of page.items) entries.push(entry);
    path = page.next?.replace(/^\/api\/v1/, '') ?? null;
  }
  return entries.slice(0, wanted);
}

function addSettingsCommands(program: Command, context: CliContext): void {
  const security = program.command('security').description('who may frame the console, and names of the API');
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  security
    .command('show')
    .description('show the settings and the certificate')
    .action(async (_options: unknown, command: Command) => {
      const client = context.client(command);
      const settings = (await client.call('GET', '/settings/security')) as Settings;
      const certificate = (await client.call('GET', '/certificate')) as Record<string, unknown>;
      show(context, command, { ...settings, certificate }, () => settingsText(settings, certificate));
    });
  security
    .command('set')
    .description('replace the lists that are given')
    .option('--frame-origin <origin>', 'may show the console in a frame, https://HOST[:PORT]; repeatable', collect)
    .option('--no-frame-origins', 'nobody else may')
    .option('--api-name <name>', 'further DNS name of the API; repeatable', collect)
    .option('--no-api-names', 'no further names')
    .action(async (options: SetOptions, command: Command) => {
      const client = context.client(command);
      const before = (await client.call('GET', '/settings/security')) as Settings;
      const frameOrigins = options.frameOrigins ? (options.frameOrigin ?? before.frameOrigins) : [];
      const apiNames = options.apiNames ? (options.apiName ?? before.apiNames) : [];
      const answer = await client.call('PUT', '/settings/security', { frameOrigins, apiNames });
      show(context, command, answer as Settings, (each) => settingsText(each));
    });
}

interface SetOptions {
  readonly frameOrigin?: string[];
  readonly frameOrigins: boolean;
  readonly apiName?: string[];
  readonly apiNames: boolean;
}

const at = (user: string): string => `/users/${segment(user)}`;
const time = (iso: string | null): string => (iso === null ? '-' : iso.slice(0, 16).replace('T', ' '));
const stateOf = ({ enabled }: User): string => (enabled ? 'enabled' : 'disabled');

function daysOf(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days > 0 && days <= 36_500) return days;
  throw new InvalidArgumentError('a number of days from 1 to 36500');
}

function userTable(all: readonly User[], width: number | undefined): string {
  if (all.length === 0) return 'There are no users: `gemel first-login` prints a link that makes the first one.';
  const columns = [
    { title: 'USER', value: (each: User) => each.name, shrink: 1 },
    { title: 'ROLE', value: (each: User) => each.role },
    { title: 'STATE', value: stateOf },
    { title: 'SESSIONS', value: (each: User) => String(each.sessions), right: true },
    { title: 'LAST LOGIN', value: (each: User) => time(each.lastLogin) },
  ];
  return table(all, columns, width);
}

function tokenTable(all: readonly Token[], width: number | undefined): string {
  const columns = [
    { title: 'TOKEN', value: (each: Token) => (each.local ? `${each.name} (data folder)` : each.name), shrink: 1 },
    { title: 'ROLE', value: (each: Token) => each.role },
    { title: 'CREATED', value: (each: Token) => time(each.created), spare: 1 },
    { title: 'EXPIRES', value: (each: Token) => time(each.expires) },
    { title: 'LAST USED', value: (each: Token) => time(each.lastUsed) },
  ];
  return table(all, columns, width);
}

function auditTable(all: readonly AuditEntry[], width: number | undefined): string {
  if (all.length === 0) return 'No such entries.';
  const columns = [
    { title: 'NUMBER', value: (each: AuditEntry) => String(each.seq), right: true, spare: 1 },
    { title: 'TIME', value: (each: AuditEntry) => each.at.slice(0, 19).replace('T', ' ') },
    { title: 'WHO', value: ({ who }: AuditEntry) => (who.name === '' ? who.kind : who.name), shrink: 2 },
    { title: 'FROM', value: (each: AuditEntry) => each.address, spare: 2 },
    { title: 'WHAT', value: (each: AuditEntry) => `${each.method} ${each.object}`, shrink: 3, keepEnd: true },
    { title: 'RESULT', value: (each: AuditEntry) => each.code ?? 'done' },
  ];
  return table(all, columns, width);
}

function checkText({ ok, entries, first, last, head, findings }: AuditCheck): string {
  const range = entries === 0 ? 'no entries' : `${String(entries)} entries, ${String(first)} to ${String(last)}`;
  const verdict = ok ? `The audit log is as it was written: ${range}.` : `The audit log was changed (${range}):`;
  const advice = 'Keep this elsewhere, to find out with --head later if all of it was replaced:';
  return [verdict, ...findings.map((each) => `  ${each}`), ...(ok && entries > 0 ? [advice, `  ${head}`] : [])].join(
    '\n',
  );
}

function settingsText({ frameOrigins, apiNames }: Settings, certificate?: Record<string, unknown>): string {
  const list = (all: readonly string[]): string => (all.length === 0 ? '-' : all.join(' '));
  const pairs: [string, string][] = [
    ['May frame the console', list(frameOrigins)],
    ['Further names', list(apiNames)],
  ];
  if (certificate === undefined) return facts(pairs);
  const { subject, issuer, notAfter, daysLeft, problem } = certificate;
  pairs.push(['Certificate', `${String(subject)}, by ${String(issuer)}`]);
  pairs.push(['Good until', `${time(String(notAfter))} (${String(daysLeft)} days)`]);
  if (typeof problem === 'string') pairs.push(['Problem', problem]);
  return facts(pairs);
}
