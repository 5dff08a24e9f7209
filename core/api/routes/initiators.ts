import type { ControlPlane } from '../../control/control-plane.ts';
import type { InitiatorRecord } from '../../control/records.ts';
import { listRoute, prefix } from '../paging.ts';
import { Initiator, InitiatorParams, PutInitiator } from '../schemas.ts';
import { initiatorResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function initiatorRoutes({ catalog, initiators, views }: ControlPlane): Route[] {
  const tag = 'initiators';
  return [
    listRoute<InitiatorRecord>({
      path: '/initiators',
      tag,
      summary: 'List the known initiators',
      item: Initiator,
      rows: () => initiators.list(),
      inOrder: true,
      key: ({ iqn }) => iqn,
      keyName: 'iqn',
      sorts: { created: ({ created }) => created },
      filters: { iqn: prefix(({ iqn }) => iqn) },
      view: (record) => views.initiator(record),
    }),
    route({
      method: 'get',
      path: '/initiators/:iqn',
      tag,
      role: 'viewer',
      summary: 'Show one initiator',
      params: InitiatorParams,
      resource: ({ iqn }) => initiatorResource(catalog, iqn),
      problems: ['not-found'],
      response: Initiator,
      handle: ({ params }) => views.initiator(initiators.get(params.iqn)),
    }),
    route({
      method: 'put',
      path: '/initiators/:iqn',
      tag,
      role: 'admin',
      summary: 'Make an initiator known, or replace its CHAP credentials',
      params: InitiatorParams,
      resource: ({ iqn }) => initiatorResource(catalog, iqn),
      problems: ['limit-reached'],
      body: PutInitiator,
      response: Initiator,
      handle: async ({ params, body }) => views.initiator(await initiators.put({ iqn: params.iqn, ...body })),
    }),
    route({
      method: 'delete',
      path: '/initiators/:iqn',
      tag,
      role: 'admin',
      summary: 'Forget an initiator and its credentials',
      params: InitiatorParams,
      resource: ({ iqn }) => initiatorResource(catalog, iqn),
      problems: ['not-found', 'in-use'],
      handle: ({ params }) => initiators.remove(params.iqn),
    }),
  ];
}
