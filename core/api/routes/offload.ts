import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { diagnose } from '../../control/offload-advice.ts';
import { CopyRoutes, OffloadFilter, OffloadFinding, OffloadVolume, SetCopyRoute } from '../offload-schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function offloadRoutes({ offload }: ControlPlane): Route[] {
  const tag = 'offload';
  return [
    route({
      method: 'get',
      path: '/offload',
      tag,
      role: 'viewer',
      summary: 'What was done for hosts, what was refused and why, per volume and host',
      query: OffloadFilter,
      response: z.array(OffloadVolume),
      handle: ({ query }) => offload.views(query.volume),
    }),
    route({
      method: 'get',
      path: '/doctor/offload',
      tag,
      role: 'viewer',
      summary: 'Why commands were not offloaded, in words',
      query: OffloadFilter,
      response: z.array(OffloadFinding),
      handle: ({ query }) => diagnose(offload.views(query.volume)),
    }),
    route({
      method: 'get',
      path: '/copy-route',
      tag,
      role: 'viewer',
      summary: 'Whether copies that hosts ask for are taken',
      response: CopyRoutes,
      handle: () => offload.routes(),
    }),
    route({
      method: 'put',
      path: '/copy-route',
      tag,
      role: 'operator',
      summary: 'Decide whether copies are taken, for the node or one volume',
      body: SetCopyRoute,
      response: CopyRoutes,
      handle: async ({ body: { policy, volume } }) => {
        await offload.setRoute(policy === 'default' ? undefined : policy, volume);
        return offload.routes();
      },
    }),
  ];
}
