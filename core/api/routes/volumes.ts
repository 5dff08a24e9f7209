import type { ControlPlane } from '../../control/control-plane.ts';
import type { VolumeRecord } from '../../control/records.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import {
  CreateVolume,
  DeleteVolume,
  Force,
  MapSubject,
  ResizeVolume,
  Volume,
  VolumeName,
  VolumeParams,
} from '../schemas.ts';
import { volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function volumeRoutes({ catalog, provisioner, views, jobs }: ControlPlane): Route[] {
  const tag = 'volumes';
  return [
    listRoute<VolumeRecord>({
      path: '/volumes',
      tag,
      summary: 'List the volumes',
      item: Volume,
      rows: () => catalog.volumes.values(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      sorts: { size: ({ size }) => size, created: ({ created }) => created },
      filters: {
        name: prefix(({ name }) => name),
        pool: exact(VolumeName.optional(), ({ pool }) => pool),
        target: exact(VolumeName.optional(), ({ target }) => target),
        kind: exact(Volume.shape.kind.optional(), ({ kind }) => kind),
        state: exact(Volume.shape.state.optional(), ({ name }) => views.stateOf(name)),
        initiator: {
          schema: MapSubject.optional().meta({ description: 'mapped to it by this name' }),
          passes: ({ maps }, wanted) => maps.some(({ who }) => who === wanted.toLowerCase()),
        },
      },
      view: (record) => views.disk(record),
    }),
    route({
      method: 'post',
      path: '/volumes',
      tag,
      role: 'operator',
      summary: 'Create a volume and serve it',
      problems: ['exists', 'in-use', 'device-in-use', 'not-found', 'limit-reached', 'no-space'],
      repeatable: true,
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
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found'],
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
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'in-use', 'has-snapshots', 'no-space', 'limit-reached'],
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
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'in-use', 'no-space'],
      repeatable: true,
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
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'in-use', 'has-snapshots', 'no-space'],
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
