import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { CreateVolume, DeleteVolume, Force, ResizeVolume, Volume, VolumeParams } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function volumeRoutes({ provisioner, views, jobs }: ControlPlane): Route[] {
  const tag = 'volumes';
  return [
    route({
      method: 'get',
      path: '/volumes',
      tag,
      role: 'viewer',
      summary: 'List the volumes',
      response: z.array(Volume),
      handle: () => views.disks(),
    }),
    route({
      method: 'post',
      path: '/volumes',
      tag,
      role: 'operator',
      summary: 'Create a volume and serve it',
      body: CreateVolume,
      status: 201,
      response: Volume,
      handle: async ({ body }) => {
        const maps = body.maps?.map(({ initiator, access }) => ({ who: initiator, readOnly: access === 'read-only' }));
        return views.disk(await provisioner.create({ ...body, maps }));
      },
    }),
    route({
      method: 'get',
      path: '/volumes/:name',
      tag,
      role: 'viewer',
      summary: 'Show one volume',
      params: VolumeParams,
      response: Volume,
      handle: ({ params }) => views.disk(provisioner.volume(params.name)),
    }),
    route({
      method: 'patch',
      path: '/volumes/:name',
      tag,
      role: 'operator',
      summary: 'Grow or shrink a volume',
      params: VolumeParams,
      body: ResizeVolume,
      response: Volume,
      handle: async ({ params, body }) => views.disk(await provisioner.resize(params.name, body.size, body.force)),
    }),
    route({
      method: 'post',
      path: '/volumes/:name/reopen',
      tag,
      role: 'operator',
      summary: 'Open the storage of a volume again, after trouble with it is over',
      params: VolumeParams,
      query: Force,
      response: Volume,
      handle: async ({ params, query }) => views.disk(await provisioner.reopen(params.name, query.force === 'true')),
    }),
    route({
      method: 'delete',
      path: '/volumes/:name',
      tag,
      role: 'operator',
      summary: 'Delete a volume; its data is kept for a while, unless purge=true',
      params: VolumeParams,
      query: DeleteVolume,
      handle: async ({ params: { name }, query }) => {
        const [force, withSnapshots, purge] = [query.force, query.withSnapshots, query.purge].map(
          (each) => each === 'true',
        );
        await jobs.through('volume-delete', { name, force, withSnapshots, purge }, 'delete');
      },
    }),
  ];
}
