import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { SnapshotRecord } from '../../control/records.ts';
import {
  CloneVolume,
  CreateSnapshot,
  Snapshot,
  SnapshotFilter,
  SnapshotParams,
  Space,
  Volume,
  VolumeParams,
} from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function snapshotRoutes({ snapshots, views, jobs }: ControlPlane): Route[] {
  const tag = 'snapshots';
  return [
    route({
      method: 'get',
      path: '/snapshots',
      tag,
      role: 'viewer',
      summary: 'List the snapshots, of one volume or of all',
      query: SnapshotFilter,
      response: z.array(Snapshot),
      handle: ({ query }) => snapshots.list(query.volume).map(viewOf),
    }),
    route({
      method: 'post',
      path: '/snapshots',
      tag,
      role: 'operator',
      summary: 'Take a snapshot of one or several volumes at one instant',
      body: CreateSnapshot,
      status: 201,
      response: z.array(Snapshot),
      handle: async ({ body }) => (await snapshots.create(body.volumes, body.name)).map(viewOf),
    }),
    route({
      method: 'delete',
      path: '/volumes/:name/snapshots/:snapshot',
      tag,
      role: 'operator',
      summary: 'Delete a snapshot',
      params: SnapshotParams,
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
      response: Volume,
      handle: async ({ params }) => views.disk(await snapshots.rollback(params.name, params.snapshot)),
    }),
    route({
      method: 'post',
      path: '/volumes/:name/clone',
      tag,
      role: 'operator',
      summary: 'Create a volume with the content of this one, or of a snapshot of it',
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
      params: VolumeParams,
      response: Space,
      handle: ({ params }) => snapshots.space(params.name),
    }),
  ];
}

function viewOf(record: SnapshotRecord): z.infer<typeof Snapshot> {
  const { volume, name, id, group = null, pool, size, state, created } = record;
  return { volume, name, id, group, pool, size, state, created: new Date(created).toISOString() };
}
