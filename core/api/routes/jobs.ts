import { z } from 'zod';
import { ServiceError } from '../../base/errors.ts';
import { mayAct } from '../../control/callers.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { JobRecord } from '../../control/jobs/job.ts';
import { ADMIN_JOBS, Job, JobParams, JobWait, ReportJob, SubmitJob } from '../job-schemas.ts';
import { exact, listRoute } from '../paging.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

const mapsOf = (
  maps: readonly { initiator: string; access: 'read-write' | 'read-only' }[] | undefined,
): { who: string; readOnly: boolean }[] | undefined =>
  maps?.map(({ initiator, access }) => ({ who: initiator, readOnly: access === 'read-only' }));

/** What the kind of job wants to hear. */
function askedOf(body: z.infer<typeof SubmitJob>): object {
  if (body.kind !== 'provision') return body.request;
  const { volume, host } = body.request;
  const { access, ...rest } = host ?? { access: 'read-write' };
  return {
    volume: { ...volume, maps: mapsOf(volume.maps) },
    ...(host === undefined ? {} : { host: { ...rest, readOnly: access === 'read-only' } }),
  };
}

/** The record that a job changes, when it is one there is already. */
function changedBy({ kind, request }: z.infer<typeof SubmitJob>): string | undefined {
  switch (kind) {
    case 'volume-delete':
    case 'volume-resize':
      return `volumes/${request.name}`;
    case 'replica-add':
    case 'replica-remove':
    case 'replica-verify':
      return `volumes/${request.volume}`;
    case 'snapshot-delete':
      return `snapshots/${request.volume}@${request.snapshot}`;
    case 'pool-grow':
    case 'pool-export':
      return `pools/${request.pool}`;
    default:
      return undefined;
  }
}

export function jobRoutes({ jobs }: ControlPlane): Route[] {
  const tag = 'jobs';
  return [
    listRoute<JobRecord>({
      path: '/jobs',
      tag,
      summary: 'List the jobs; sort=-created has the newest first',
      item: Job,
      rows: () => jobs.list(),
      key: ({ id }) => id,
      keyName: 'id',
      sorts: { created: ({ created }) => created },
      filters: {
        state: exact(Job.shape.state.optional(), ({ state }) => state),
        kind: exact(z.string().max(64).optional(), ({ kind }) => kind),
        name: exact(z.string().max(223).optional(), ({ object }) => object.name),
      },
      view: (job) => jobs.view(job),
    }),
    route({
      method: 'post',
      path: '/jobs',
      tag,
      role: 'operator',
      summary: 'Begin a job; the same key with the same request is the same job',
      problems: [
        'not-found',
        'exists',
        'in-use',
        'has-snapshots',
        'limit-reached',
        'key-reused',
        'no-space',
        'io-error',
        'device-in-use',
        'newer-format',
        'has-volumes',
        'replica-state',
        'peer-unreachable',
        'cluster-unavailable',
      ],
      body: SubmitJob,
      begins: changedBy,
      status: 202,
      response: Job,
      handle: async ({ body }, { caller }) => {
        // As the route of hosts wants it: whoever makes one decides who has access.
        const makesHost = body.kind === 'provision' && body.request.host !== undefined;
        if ((makesHost || ADMIN_JOBS.has(body.kind)) && (caller === undefined || !mayAct(caller.role, 'admin'))) {
          const what = makesHost ? 'making or changing a host' : `a job '${body.kind}'`;
          throw new ServiceError('forbidden', `${what} needs the role admin`);
        }
        return jobs.view(await jobs.submit(body.kind, askedOf(body), body.key));
      },
    }),
    route({
      method: 'get',
      path: '/jobs/:id',
      tag,
      role: 'viewer',
      summary: 'Show a job, now or (wait) when it is over',
      problems: ['not-found'],
      params: JobParams,
      query: JobWait,
      response: Job,
      handle: async ({ params: { id }, query: { wait } }) =>
        jobs.view(wait === undefined ? jobs.get(id) : await jobs.wait(id, Number(wait) * 1000)),
    }),
    route({
      method: 'put',
      path: '/jobs/:id/report',
      tag,
      role: 'operator',
      summary: 'Tell of a job that is done elsewhere, which then is among the others; the daemon does nothing of it',
      problems: ['exists', 'limit-reached', 'no-space'],
      params: JobParams,
      body: ReportJob,
      response: Job,
      // Begin, end and what turns it round are on record, not every sign of life of a copy that takes hours.
      isRoutine: (before: z.infer<typeof Job>, after: z.infer<typeof Job>) =>
        before.state === after.state && before.title === after.title && before.reported?.by === after.reported?.by,
      handle: async ({ params: { id }, body }, { caller }) => {
        const steps = body.steps.map(({ error, ...step }) => (error === undefined ? step : { ...step, error }));
        return jobs.view(await jobs.report(id, { ...body, steps }, caller?.name ?? ''));
      },
    }),
    route({
      method: 'post',
      path: '/jobs/:id/cancel',
      tag,
      role: 'operator',
      summary: 'Stop a job and take back what it did',
      problems: ['not-found', 'no-space'],
      repeatable: true,
      params: JobParams,
      status: 202,
      response: Job,
      handle: async ({ params: { id } }) => jobs.view(await jobs.cancel(id)),
    }),
  ];
}
