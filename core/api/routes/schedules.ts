import type { ControlPlane } from '../../control/control-plane.ts';
import { PutSchedule, Schedule } from '../job-schemas.ts';
import { VolumeName, VolumeParams } from '../schemas.ts';
import type { ScheduleRecord } from '../../control/records.ts';
import { listRoute, prefix } from '../paging.ts';
import { scheduleResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function scheduleRoutes({ catalog, schedules }: ControlPlane): Route[] {
  const tag = 'schedules';
  return [
    listRoute<ScheduleRecord>({
      path: '/schedules',
      tag,
      summary: 'List the snapshot schedules',
      item: Schedule,
      rows: () => schedules.list(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      filters: {
        name: prefix(({ name }) => name),
        volume: {
          schema: VolumeName.optional().meta({ description: 'that catches this volume' }),
          passes: ({ volumes }, wanted) => volumes.includes(wanted),
        },
      },
      view: (record) => schedules.view(record),
    }),
    route({
      method: 'get',
      path: '/schedules/:name',
      tag,
      role: 'viewer',
      summary: 'Show one snapshot schedule',
      resource: ({ name }) => scheduleResource(catalog, name),
      problems: ['not-found'],
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
      resource: ({ name }) => scheduleResource(catalog, name),
      problems: ['not-found', 'exists', 'limit-reached', 'no-space'],
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
      resource: ({ name }) => scheduleResource(catalog, name),
      problems: ['not-found', 'in-use', 'no-space'],
      params: VolumeParams,
      handle: ({ params }) => schedules.remove(params.name),
    }),
  ];
}
