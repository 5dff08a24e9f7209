import type { ControlPlane } from '../../control/control-plane.ts';
import type { BackendRecord } from '../../control/records.ts';
import { AddBackend, Backend } from '../backend-schemas.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import { backendResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { VolumeParams } from '../schemas.ts';

export function backendRoutes({ catalog, backends }: ControlPlane): Route[] {
  const tag = 'backends';
  const view = ({ name, kind, created, ...rest }: BackendRecord): unknown => {
    const { pool = null, user = null, conf = null, keyring = null, folder = null } = rest;
    const volumes = backends.volumesOf(name).map((volume) => volume.name);
    const shown = { pool, user, conf, keyring, folder, volumes };
    return { name, kind, ...shown, created: new Date(created).toISOString() };
  };
  return [
    listRoute<BackendRecord>({
      path: '/backends',
      tag,
      summary: 'List the other engines that volumes can be images of',
      item: Backend,
      rows: () => backends.list(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      sorts: { created: ({ created }) => created },
      filters: {
        name: prefix(({ name }) => name),
        kind: exact(Backend.shape.kind.optional(), ({ kind }) => kind),
      },
      view,
    }),
    route({
      method: 'post',
      path: '/backends',
      tag,
      role: 'admin',
      summary: 'Make an engine known: a Ceph pool, or a folder all nodes see',
      problems: ['exists', 'limit-reached', 'io-error', 'program-missing'],
      repeatable: true,
      body: AddBackend,
      status: 201,
      response: Backend,
      handle: async ({ body }) => {
        const { name, kind, pool, user, conf, keyring, folder } = body;
        const given = Object.entries({ pool, user, conf, keyring, folder }).filter(([, value]) => value !== undefined);
        return view(await backends.add({ name, kind, ...Object.fromEntries(given) }));
      },
    }),
    route({
      method: 'get',
      path: '/backends/:name',
      tag,
      role: 'viewer',
      summary: 'Show one backend',
      params: VolumeParams,
      resource: ({ name }) => backendResource(catalog, name),
      problems: ['not-found'],
      response: Backend,
      handle: ({ params }) => view(backends.get(params.name)),
    }),
    route({
      method: 'delete',
      path: '/backends/:name',
      tag,
      role: 'admin',
      summary: 'Forget a backend that no volume is in',
      params: VolumeParams,
      resource: ({ name }) => backendResource(catalog, name),
      problems: ['not-found', 'in-use'],
      handle: ({ params }) => backends.remove(params.name),
    }),
  ];
}
