import { ServiceError } from '../../base/errors.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { checkByJob, runningOn } from '../../control/jobs/pool-kinds.ts';
import { poolView } from '../../control/pool-views.ts';
import type { PoolView } from '../../control/pool-views.ts';
import type { PoolRecord } from '../../control/records.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import {
  ChangePool,
  CreatePool,
  ExportedPool,
  Force,
  ImportPool,
  Pool,
  PoolCheck,
  PoolDetail,
  StartScrub,
  VolumeParams,
} from '../schemas.ts';
import { poolResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function poolRoutes({ catalog, pools, jobs }: ControlPlane): Route[] {
  const tag = 'pools';
  const view = (name: string): PoolView => poolView(pools, pools.record(name));
  return [
    listRoute<PoolRecord>({
      path: '/pools',
      tag,
      summary: 'List the pools',
      item: Pool,
      rows: () => catalog.pools.values(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      sorts: { created: ({ created }) => created },
      filters: {
        name: prefix(({ name }) => name),
        kind: exact(Pool.shape.kind.optional(), ({ kind }) => kind),
        state: exact(Pool.shape.state.optional(), (record) => poolView(pools, record).state),
      },
      view: (record) => poolView(pools, record),
    }),
    route({
      method: 'post',
      path: '/pools',
      tag,
      role: 'admin',
      summary: 'Create a pool in a folder or on a device',
      problems: ['exists', 'in-use', 'device-in-use', 'limit-reached', 'no-space'],
      repeatable: true,
      body: CreatePool,
      status: 201,
      response: Pool,
      handle: async ({ body }) => {
        await jobs.through('pool-create', body, 'open');
        return view(body.name);
      },
    }),
    route({
      method: 'get',
      path: '/pools/:name',
      tag,
      role: 'viewer',
      summary: 'Show one pool',
      params: VolumeParams,
      resource: ({ name }) => poolResource(catalog, name),
      problems: ['not-found'],
      response: PoolDetail,
      handle: async ({ params: { name } }) => {
        const shown = view(name);
        return { ...shown, snapshotBytes: shown.facts === null ? null : await pools.snapshotBytes(name) };
      },
    }),
    route({
      method: 'patch',
      path: '/pools/:name',
      tag,
      role: 'admin',
      summary: 'Add room to a pool, change its threshold, or make it the default',
      params: VolumeParams,
      resource: ({ name }) => poolResource(catalog, name),
      problems: ['not-found', 'in-use', 'device-in-use', 'limit-reached', 'no-space'],
      body: ChangePool,
      response: Pool,
      handle: async ({ params: { name }, body }) => {
        const { growBytes: bytes, addFolder: folder, addDevice: device, useGrown } = body;
        if ([bytes, folder, device, useGrown].some((each) => each !== undefined)) {
          await jobs.through('pool-grow', { pool: name, bytes, folder, device }, 'grow');
        }
        if (body.threshold !== undefined) await pools.setThreshold(name, body.threshold);
        if (body.default === true) await pools.setDefault(name);
        return view(name);
      },
    }),
    route({
      method: 'delete',
      path: '/pools/:name',
      tag,
      role: 'admin',
      summary: 'Delete a pool that has no volumes',
      params: VolumeParams,
      resource: ({ name }) => poolResource(catalog, name),
      problems: ['not-found', 'in-use', 'has-volumes'],
      handle: ({ params }) => pools.delete(params.name),
    }),
    route({
      method: 'post',
      path: '/pools/:name/export',
      tag,
      role: 'admin',
      summary: 'Take a pool and its volumes off this node',
      problems: ['not-found', 'in-use'],
      params: VolumeParams,
      query: Force,
      response: ExportedPool,
      handle: async ({ params: { name: pool }, query }) => {
        const { result } = await jobs.through('pool-export', { pool, force: query.force === 'true' }, 'export');
        return result;
      },
    }),
    route({
      method: 'post',
      path: '/pool-imports',
      tag,
      role: 'admin',
      summary: 'Attach a pool that was exported, with its volumes',
      problems: ['not-found', 'exists', 'in-use', 'device-in-use', 'limit-reached', 'newer-format'],
      body: ImportPool,
      status: 201,
      response: Pool,
      handle: async ({ body }) => {
        const { object } = await jobs.through('pool-import', body, 'serve');
        return view(object.name);
      },
    }),
    route({
      method: 'post',
      path: '/pools/:name/check',
      tag,
      role: 'operator',
      summary: 'Count all references anew and compare',
      problems: ['not-found', 'in-use'],
      repeatable: true,
      params: VolumeParams,
      response: PoolCheck,
      handle: ({ params }) => checkByJob(jobs, catalog, params.name),
    }),
    route({
      method: 'post',
      path: '/pools/:name/scrub',
      tag,
      role: 'operator',
      summary: 'Compare all data with its checksums, in the background',
      problems: ['not-found', 'in-use'],
      repeatable: true,
      params: VolumeParams,
      body: StartScrub,
      status: 202,
      response: Pool,
      handle: async ({ params: { name }, body }) => {
        const { id } = await jobs.submit('pool-scrub', { pool: name, rate: body.rate });
        await jobs.wait(id, Infinity, ({ steps }) => steps[0]?.state !== 'waiting');
        return view(name);
      },
    }),
    route({
      method: 'delete',
      path: '/pools/:name/scrub',
      tag,
      role: 'operator',
      summary: 'Stop the scrub',
      problems: ['not-found'],
      params: VolumeParams,
      response: Pool,
      handle: async ({ params: { name } }) => {
        const job = runningOn(catalog, 'pool-scrub', name);
        if (job === undefined) throw new ServiceError('not-found', `pool '${name}' is not being scrubbed`);
        await jobs.cancel(job.id);
        await jobs.wait(job.id);
        return view(name);
      },
    }),
  ];
}
