import { z } from 'zod';
import type { DiskView } from '../../control/views.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { Access, MapParams, MapShown, Volume, VolumeParams } from '../schemas.ts';
import { volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

type MapView = DiskView['maps'][number];

export function mapRoutes({ catalog, provisioner, views }: ControlPlane): Route[] {
  const tag = 'maps';
  return [
    listRoute<MapView>({
      path: '/volumes/:name/maps',
      tag,
      summary: 'Who may see the volume',
      params: VolumeParams,
      problems: ['not-found'],
      item: MapShown,
      rows: (_, { name = '' }) => views.disk(provisioner.volume(name)).maps,
      key: ({ initiator }) => initiator,
      keyName: 'initiator',
      filters: {
        initiator: prefix(({ initiator }) => initiator),
        access: exact(Access.optional(), ({ access }) => access),
      },
      view: (each) => each,
    }),
    route({
      method: 'put',
      path: '/volumes/:name/maps/:initiator',
      tag,
      role: 'operator',
      summary: 'Let an initiator see the volume, or change its access',
      params: MapParams,
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'limit-reached'],
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
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'limit-reached'],
      response: Volume,
      handle: async ({ params }) => views.disk(await provisioner.unmap(params.name, params.initiator)),
    }),
  ];
}
