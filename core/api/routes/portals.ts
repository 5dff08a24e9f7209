import type { z } from 'zod';
import { formatHostPort } from '../../base/host-port.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { PortalState } from '../../control/portals.ts';
import { prefix, listRoute } from '../paging.ts';
import { AddPortal, Portal, RemovePortal } from '../portal-schemas.ts';
import { portalResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { VolumeParams } from '../schemas.ts';

export function portalRoutes({ catalog, portals, views }: ControlPlane): Route[] {
  const tag = 'portals';
  const view = ({ record, tag: seen, open, problem, sessions }: PortalState): z.infer<typeof Portal> => ({
    name: record.name,
    address: formatHostPort(record.host, record.port),
    group: record.group,
    tag: seen,
    advertised: record.advertised ?? null,
    reached: open === undefined ? null : views.portalAddress(open),
    problem: problem ?? null,
    setting: record.setting !== undefined,
    sessions: sessions.length,
    initiators: [...new Set(sessions.map(({ initiator }) => initiator))].sort(),
    created: new Date(record.created).toISOString(),
  });
  return [
    listRoute<PortalState>({
      path: '/portals',
      tag,
      summary: 'List the addresses this node listens at for initiators',
      item: Portal,
      rows: () => portals.list(),
      key: ({ record }) => record.name,
      keyName: 'name',
      sorts: { created: ({ record }) => record.created },
      filters: { name: prefix(({ record }) => record.name) },
      view,
    }),
    route({
      method: 'post',
      path: '/portals',
      tag,
      role: 'admin',
      summary: 'Listen at one more address, from now on',
      problems: ['exists', 'limit-reached', 'port-taken', 'address-unusable', 'no-space'],
      repeatable: true,
      body: AddPortal,
      status: 201,
      response: Portal,
      handle: async ({ body }) => view(await portals.add(body)),
    }),
    route({
      method: 'get',
      path: '/portals/:name',
      tag,
      role: 'viewer',
      summary: 'Show one portal, and whose sessions came in there',
      params: VolumeParams,
      resource: ({ name }) => portalResource(catalog, name),
      problems: ['not-found'],
      response: Portal,
      handle: ({ params }) => view(portals.get(params.name)),
    }),
    route({
      method: 'delete',
      path: '/portals/:name',
      tag,
      role: 'admin',
      summary: 'Listen there no more; with sessions on it, that takes force',
      params: VolumeParams,
      query: RemovePortal,
      resource: ({ name }) => portalResource(catalog, name),
      problems: ['not-found', 'in-use', 'last-portal', 'no-space'],
      handle: ({ params, query }) => portals.remove(params.name, query.force === 'true'),
    }),
  ];
}
