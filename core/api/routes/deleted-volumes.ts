import type { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { DeletedVolume as DeletedRecord } from '../../control/records.ts';
import { DeletedVolume, RestoreVolume, Retention } from '../job-schemas.ts';
import { Volume, VolumeName, VolumeParams } from '../schemas.ts';
import { exact, listRoute } from '../paging.ts';
import { deletedVolumeResource, retentionResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Resource, Route } from '../route.ts';

export function deletedVolumeRoutes({ catalog, trash, jobs, views }: ControlPlane): Route[] {
  const tag = 'volumes';
  const resource = ({ name }: { name: string }): Resource => deletedVolumeResource(catalog, trash, name);
  return [
    listRoute<DeletedRecord>({
      path: '/deleted-volumes',
      tag,
      summary: 'List the deleted volumes whose data is kept; sort=-deleted has the latest first',
      item: DeletedVolume,
      rows: () => trash.list(),
      key: ({ volume }) => volume.id,
      keyName: 'id',
      sorts: { deleted: ({ deleted }) => deleted },
      filters: {
        name: exact(VolumeName.optional(), ({ volume }) => volume.name),
        pool: exact(VolumeName.optional(), ({ volume }) => volume.pool),
      },
      view: viewOf,
    }),
    route({
      method: 'get',
      path: '/deleted-volumes/:name',
      tag,
      role: 'viewer',
      summary: 'Show a deleted volume, by its id or (the latest) by its name',
      problems: ['not-found'],
      params: VolumeParams,
      resource,
      response: DeletedVolume,
      handle: ({ params }) => viewOf(trash.get(params.name)),
    }),
    route({
      method: 'post',
      path: '/deleted-volumes/:name/restore',
      tag,
      role: 'operator',
      summary: 'Serve a deleted volume again, with its data, identity, snapshots and maps',
      problems: ['not-found', 'exists', 'limit-reached', 'no-space'],
      repeatable: true,
      params: VolumeParams,
      resource,
      body: RestoreVolume,
      response: Volume,
      handle: async ({ params, body }) => views.disk(await trash.restore(params.name, body.name)),
    }),
    route({
      method: 'delete',
      path: '/deleted-volumes/:name',
      tag,
      role: 'operator',
      summary: 'Give the space of a deleted volume back now, for good',
      problems: ['not-found', 'no-space', 'io-error'],
      params: VolumeParams,
      resource,
      handle: async ({ params }) => {
        await jobs.through('volume-purge', { volume: params.name }, 'delete');
      },
    }),
    route({
      method: 'get',
      path: '/retention',
      tag,
      role: 'viewer',
      summary: 'How long deleted volumes are kept',
      resource: () => retentionResource(trash.keep),
      problems: [],
      response: Retention,
      handle: () => ({ deletedVolumesMs: trash.keep }),
    }),
    route({
      method: 'put',
      path: '/retention',
      tag,
      role: 'admin',
      summary: 'Change how long volumes that are deleted from now on are kept',
      resource: () => retentionResource(trash.keep),
      problems: ['no-space'],
      body: Retention,
      response: Retention,
      handle: async ({ body }) => {
        await trash.setKeep(body.deletedVolumesMs);
        return { deletedVolumesMs: trash.keep };
      },
    }),
  ];
}

function viewOf({ volume, snapshots, deleted, until }: DeletedRecord): z.infer<typeof DeletedVolume> {
  const { name, id, pool = null, kind, size } = volume;
  const iso = (ms: number): string => new Date(ms).toISOString();
  return { name, id, pool, kind, size, snapshots: snapshots.length, deleted: iso(deleted), until: iso(until) };
}
