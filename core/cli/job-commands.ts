// `job` and `event`: what the daemon works on, and what happened.
import type { Command } from 'commander';
import { ERRORS, ServiceError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import type { Event, Job } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

/** Seconds one request waits for a job at most; progress is drawn between two. */
const LOOK = 1;

export function addJobCommands(program: Command, context: CliContext): void {
  const job = program.command('job').description('look at, wait for and stop what the daemon works on');
  job
    .command('list')
    .description('list jobs, newest first')
    .option('--running', 'only those that are not over')
    .action(async (options: { running?: boolean }, command: Command) => {
      const all = (await context.client(command).list('/jobs?sort=-created')) as Job[];
      const wanted = all.filter((each) => options.running !== true || !isOver(each));
      show(context, command, wanted, (found) => jobTable(found, context.width));
    });
  job
    .command('show <id>')
    .description('everything about one job')
    .action(async (id: string, _options: unknown, command: Command) => {
      const found = await context.client(command).call('GET', `/jobs/${segment(id)}`);
      show(context, command, found as Job, jobFacts);
    });
  job
    .command('wait <id>')
    .description('wait until a job is over, with progress; fails as the job does')
    .action(async (id: string, _options: unknown, command: Command) => {
      const over = await waitForJob(context, context.client(command), id);
      show(context, command, over, (each) => `${each.title}: ${each.state}`);
      refuseFailed(over);
    });
  job
    .command('cancel <id>')
    .description('stop a job and take back what it did')
    .action(async (id: string, _options: unknown, command: Command) => {
      const client = context.client(command);
      await client.call('POST', `/jobs/${segment(id)}/cancel`);
      const over = await waitForJob(context, client, id);
      show(context, command, over, (each) => `${each.title}: ${each.state}`);
    });
  program
    .command('events')
    .description('list what happened, newest first')
    .option('--severity <severity>', 'this one and worse: info, warning, error, critical')
    .action(async (options: { severity?: string }, command: Command) => {
      const filter = options.severity === undefined ? '' : `&severity=${segment(options.severity)}`;
      const all = (await context.client(command).list(`/events?sort=-id${filter}`)) as Event[];
      show(context, command, all, (found) => eventTable(found, context.width));
    });
}

const isOver = ({ state }: Job): boolean => state !== 'running' && state !== 'undoing';

/** Resolves with the job when it is over; shows how far it is. */
export async function waitForJob(context: CliContext, client: ApiClient, id: string): Promise<Job> {
  for (;;) {
    const job = (await client.call('GET', `/jobs/${segment(id)}?wait=${String(LOOK)}`)) as Job;
    if (isOver(job)) {
      context.progress?.('', undefined);
      return job;
    }
    const what = job.doing === null ? job.title : `${job.title}: ${job.doing}`;
    context.progress?.(what, job.progress, job.etaSeconds);
  }
}

/** Has the daemon do a job, and shows how far it is. Rejects with ServiceError: why it was refused, or failed. */
export async function throughJob(context: CliContext, client: ApiClient, kind: string, request: object): Promise<Job> {
  const { id } = (await client.call('POST', '/jobs', { kind, request })) as Job;
  const job = await waitForJob(context, client, id);
  refuseFailed(job);
  return job;
}

/** Throws ServiceError: why a job failed, and what it left behind. */
export function refuseFailed({ state, title, error, notUndone }: Job): void {
  if (state === 'done') return;
  const left = notUndone.map(({ step, error: why }) => `; '${step}' could not be undone: ${why}`).join('');
  const code = error !== null && error.code in ERRORS ? (error.code as ErrorCode) : 'interrupted';
  throw new ServiceError(code, `${title}: ${error?.message ?? state}${left}`);
}

const percent = (share: number): string => `${String(Math.floor(share * 100))} %`;

function jobTable(jobs: readonly Job[], width: number | undefined): string {
  if (jobs.length === 0) return 'No jobs.';
  const columns = [
    { title: 'ID', value: (each: Job) => each.id },
    { title: 'STATE', value: (each: Job) => each.state },
    { title: 'DONE', value: (each: Job) => percent(each.progress), right: true },
    { title: 'WHAT', value: (each: Job) => each.title, shrink: 1 },
    { title: 'CREATED', value: (each: Job) => each.created, spare: 1 },
  ];
  return table(jobs, columns, width);
}

function jobFacts(job: Job): string {
  return facts([
    ['Job', job.id],
    ['What', job.title],
    ['State', job.error === null ? job.state : `${job.state}: ${job.error.message}`],
    ['Done', percent(job.progress)],
    ...(job.doing === null ? [] : [['Doing', job.doing] as const]),
    ...(job.reported === null
      ? []
      : [['Where', `${job.reported.host}, told by ${job.reported.by}, last at ${job.reported.heard}`] as const]),
    ...(job.etaSeconds === null ? [] : [['To go', `about ${String(job.etaSeconds)} s`] as const]),
    ...job.steps.map(({ name, state, error }): [string, string] => [
      'Step',
      error === null ? `${name}: ${state}` : `${name}: ${state} (${error})`,
    ]),
    ['Created', job.created],
    ...(job.ended === null ? [] : [['Ended', job.ended] as const]),
  ]);
}

function eventTable(events: readonly Event[], width: number | undefined): string {
  if (events.length === 0) return 'Nothing has happened yet.';
  const columns = [
    { title: 'TIME', value: (each: Event) => each.last },
    { title: 'SEVERITY', value: (each: Event) => each.severity },
    {
      title: 'WHAT',
      value: (each: Event) => (each.count > 1 ? `${each.text} (${String(each.count)}×)` : each.text),
      shrink: 1,
    },
    { title: 'CODE', value: (each: Event) => each.code, spare: 1 },
  ];
  return table(events, columns, width);
}
