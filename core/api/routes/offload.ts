import type { ControlPlane } from '../../control/control-plane.ts';
import { diagnose } from '../../control/offload-advice.ts';
import type { Finding } from '../../control/offload-advice.ts';
import type { OffloadView } from '../../control/offload.ts';
import { exact, listRoute } from '../paging.ts';
import { VolumeName } from '../schemas.ts';
import { CopyRoutes, OffloadFinding, OffloadVolume, SetCopyRoute } from '../offload-schemas.ts';
import { copyRouteResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function offloadRoutes({ offload }: ControlPlane): Route[] {
  const tag = 'offload';
  return [
    listRoute<OffloadView>({
      path: '/offload',
      tag,
      summary: 'What was done for hosts, what was refused and why, per volume and host',
      problems: ['not-found'],
      item: OffloadVolume,
      rows: ({ volume }) => offload.views(volume),
      inOrder: true,
      key: ({ volume }) => volume,
      keyName: 'volume',
      // The rows are those of the volume already.
      filters: { volume: { schema: VolumeName.optional(), passes: () => true } },
      view: (each) => each,
    }),
    listRoute<{ finding: Finding; place: number }>({
      path: '/doctor/offload',
      tag,
      summary: 'Why commands were not offloaded, in words',
      problems: ['not-found'],
      item: OffloadFinding,
      rows: ({ volume }) => diagnose(offload.views(volume)).map((finding, place) => ({ finding, place })),
      inOrder: true,
      // Problems come first.
      key: ({ place }) => place,
      keyName: 'urgency',
      filters: {
        volume: { schema: VolumeName.optional(), passes: () => true },
        level: exact(OffloadFinding.shape.level.optional(), ({ finding }) => finding.level),
      },
      view: ({ finding }) => finding,
    }),
    route({
      method: 'get',
      path: '/copy-route',
      tag,
      role: 'viewer',
      summary: 'Whether copies that hosts ask for are taken',
      resource: () => copyRouteResource(offload),
      response: CopyRoutes,
      handle: () => offload.routes(),
    }),
    route({
      method: 'put',
      path: '/copy-route',
      tag,
      role: 'operator',
      summary: 'Decide whether copies are taken, for the node or one volume',
      resource: () => copyRouteResource(offload),
      begins: ({ volume }) => (volume === undefined ? undefined : `volumes/${volume}`),
      body: SetCopyRoute,
      response: CopyRoutes,
      handle: async ({ body: { policy, volume } }) => {
        await offload.setRoute(policy === 'default' ? undefined : policy, volume);
        return offload.routes();
      },
    }),
  ];
}
