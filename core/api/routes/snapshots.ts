import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { SnapshotRecord } from '../../control/records.ts';
import {
  CloneVolume,
  CreateSnapshot,
  Snapshot,
  SnapshotParams,
  Space,
  Volume,
  VolumeName,
  VolumeParams,
} from '../schemas.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import { snapshotResource, volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

/** What can be in the way where a volume has copies on several nodes. */
const MIRRORED = ['replica-state', 'peer-unreachable'] as const;

export function snapshotRoutes({ catalog, snapshots, views, jobs }: ControlPlane): Route[] {
  const tag = 'snapshots';
  const view = (record: SnapshotRecord): z.infer<typeof Snapshot> => viewOf(record, snapshots.missingOn(record));
  return [
    listRoute<SnapshotRecord>({
      path: '/snapshots',
      tag,
      summary: 'List the snapshots, of one volume or of all',
      problems: ['not-found'],
      item: Snapshot,
      rows: ({ volume }) => snapshots.list(volume),
      key: ({ volume, name }) => `${volume}@${name}`,
      keyName: 'name',
      sorts: { created: ({ created }) => created, size: ({ size }) => size },
      filters: {
        // The rows are those of the volume already.
        volume: { schema: VolumeName.optional(), passes: () => true },
        name: prefix(({ name }) => name),
        pool: exact(VolumeName.optional(), ({ pool }) => pool),
        state: exact(Snapshot.shape.state.optional(), ({ state }) => state),
      },
      view,
    }),
    route({
      method: 'post',
      path: '/snapshots',
      tag,
      role: 'operator',
      summary: 'Take a snapshot of one or several volumes at one instant',
      problems: [...MIRRORED, 'not-found', 'exists', 'in-use', 'limit-reached', 'no-space'],
      repeatable: true,
      body: CreateSnapshot,
      status: 201,
      response: z.array(Snapshot),
      handle: async ({ body }) => (await snapshots.create(body.volumes, body.name)).map(view),
    }),
    route({
      method: 'get',
      path: '/volumes/:name/snapshots/:snapshot',
      tag,
      role: 'viewer',
      summary: 'Show one snapshot',
      params: SnapshotParams,
      resource: ({ name, snapshot }) => snapshotResource(catalog, name, snapshot),
      problems: ['not-found'],
      response: Snapshot,
      handle: ({ params }) => view(snapshots.get(params.name, params.snapshot)),
    }),
    route({
      method: 'delete',
      path: '/volumes/:name/snapshots/:snapshot',
      tag,
      role: 'operator',
      summary: 'Delete a snapshot',
      params: SnapshotParams,
      resource: ({ name, snapshot }) => snapshotResource(catalog, name, snapshot),
      problems: ['not-found', 'in-use'],
      handle: async ({ params: { name: volume, snapshot } }) => {
        await jobs.through('snapshot-delete', { volume, snapshot }, 'delete');
      },
    }),
    route({
      method: 'post',
      path: '/volumes/:name/snapshots/:snapshot/rollback',
      tag,
      role: 'operator',
      summary: 'Make a volume that nobody uses what it was',
      params: SnapshotParams,
      resource: ({ name }) => volumeResource(catalog, name),
      problems: [...MIRRORED, 'not-found', 'in-use', 'no-space'],
      response: Volume,
      handle: async ({ params }) => views.disk(await snapshots.rollback(params.name, params.snapshot)),
    }),
    route({
      method: 'post',
      path: '/volumes/:name/clone',
      tag,
      role: 'operator',
      summary: 'Create a volume with the content of this one, or of a snapshot of it',
      problems: [...MIRRORED, 'not-found', 'exists', 'in-use', 'limit-reached', 'no-space'],
      repeatable: true,
      params: VolumeParams,
      body: CloneVolume,
      status: 201,
      response: Volume,
      handle: async ({ params, body: { snapshot, ...body } }) => {
        const maps = body.maps?.map(({ initiator, access }) => ({ who: initiator, readOnly: access === 'read-only' }));
        return views.disk(await snapshots.clone(params.name, snapshot, { ...body, maps }));
      },
    }),
    route({
      method: 'get',
      path: '/volumes/:name/space',
      tag,
      role: 'viewer',
      summary: 'How much a volume and its snapshots take',
      problems: ['not-found', 'in-use'],
      params: VolumeParams,
      response: Space,
      handle: ({ params }) => snapshots.space(params.name),
    }),
  ];
}

function viewOf(record: SnapshotRecord, missingOn: string[]): z.infer<typeof Snapshot> {
  const { volume, name, id, group = null, pool, size, state, created } = record;
  return { volume, name, id, group, pool, size, state, missingOn, created: new Date(created).toISOString() };
}
