import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { Access, MapEntry, MapParams, Volume, VolumeParams } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function mapRoutes({ provisioner, views }: ControlPlane): Route[] {
  const tag = 'maps';
  return [
    route({
      method: 'get',
      path: '/volumes/:name/maps',
      tag,
      role: 'viewer',
      summary: 'Who may see the volume',
      params: VolumeParams,
      response: z.array(MapEntry),
      handle: ({ params }) => views.disk(provisioner.volume(params.name)).maps,
    }),
    route({
      method: 'put',
      path: '/volumes/:name/maps/:initiator',
      tag,
      role: 'operator',
      summary: 'Let an initiator see the volume, or change its access',
      params: MapParams,
      body: z.strictObject({ access: Access.default('read-write') }),
      response: Volume,
      handle: async ({ params, body }) =>
        views.disk(await provisioner.map(params.name, params.initiator, body.access === 'read-only')),
    }),
    route({
      method: 'delete',
      path: '/volumes/:name/maps/:initiator',
      tag,
      role: 'operator',
      summary: 'Take the volume away from an initiator',
      params: MapParams,
      response: Volume,
      handle: async ({ params }) => views.disk(await provisioner.unmap(params.name, params.initiator)),
    }),
  ];
}
