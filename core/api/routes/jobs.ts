import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { Job, JobFilter, JobParams, JobWait, SubmitJob } from '../job-schemas.ts';
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

export function jobRoutes({ jobs }: ControlPlane): Route[] {
  const tag = 'jobs';
  return [
    route({
      method: 'get',
      path: '/jobs',
      tag,
      role: 'viewer',
      summary: 'List the jobs, newest first',
      query: JobFilter,
      response: z.array(Job),
      handle: ({ query }) => jobs.list(query).map((job) => jobs.view(job)),
    }),
    route({
      method: 'post',
      path: '/jobs',
      tag,
      role: 'operator',
      summary: 'Begin a job; the same key with the same request is the same job',
      body: SubmitJob,
      status: 202,
      response: Job,
      handle: async ({ body }) => jobs.view(await jobs.submit(body.kind, askedOf(body), body.key)),
    }),
    route({
      method: 'get',
      path: '/jobs/:id',
      tag,
      role: 'viewer',
      summary: 'Show a job, now or (wait) when it is over',
      params: JobParams,
      query: JobWait,
      response: Job,
      handle: async ({ params: { id }, query: { wait } }) =>
        jobs.view(wait === undefined ? jobs.get(id) : await jobs.wait(id, Number(wait) * 1000)),
    }),
    route({
      method: 'post',
      path: '/jobs/:id/cancel',
      tag,
      role: 'operator',
      summary: 'Stop a job and take back what it did',
      params: JobParams,
      status: 202,
      response: Job,
      handle: async ({ params: { id } }) => jobs.view(await jobs.cancel(id)),
    }),
  ];
}
