import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { PutSchedule, Schedule } from '../job-schemas.ts';
import { VolumeParams } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function scheduleRoutes({ schedules }: ControlPlane): Route[] {
  const tag = 'schedules';
  return [
    route({
      method: 'get',
      path: '/schedules',
      tag,
      role: 'viewer',
      summary: 'List the snapshot schedules',
      response: z.array(Schedule),
      handle: () => schedules.list().map((each) => schedules.view(each)),
    }),
    route({
      method: 'get',
      path: '/schedules/:name',
      tag,
      role: 'viewer',
      summary: 'Show one snapshot schedule',
      params: VolumeParams,
      response: Schedule,
      handle: ({ params }) => schedules.view(schedules.get(params.name)),
    }),
    route({
      method: 'put',
      path: '/schedules/:name',
      tag,
      role: 'operator',
      summary: 'Make or change a snapshot schedule',
      params: VolumeParams,
      body: PutSchedule,
      response: Schedule,
      handle: async ({ params, body }) => schedules.view(await schedules.put({ name: params.name, ...body })),
    }),
    route({
      method: 'delete',
      path: '/schedules/:name',
      tag,
      role: 'operator',
      summary: 'Forget a snapshot schedule; its snapshots stay',
      params: VolumeParams,
      handle: ({ params }) => schedules.remove(params.name),
    }),
  ];
}
