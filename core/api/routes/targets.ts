import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { Target } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function targetRoutes({ catalog, views, server }: ControlPlane): Route[] {
  return [
    route({
      method: 'get',
      path: '/targets',
      tag: 'targets',
      role: 'viewer',
      summary: 'List the iSCSI targets',
      response: z.array(Target),
      handle: () => {
        const running = server();
        const addresses = views.portals();
        const portals = (running?.portals ?? []).map((portal, i) => ({
          address: addresses[i] ?? '',
          group: portal.group,
        }));
        const sessions = running?.sessions() ?? [];
        return catalog.targets.values().map(({ name, iqn }) => ({
          name,
          iqn,
          portals,
          luns: catalog.volumesOfTarget(name).map(({ lun, name: volume }) => ({ lun, volume })),
          sessions: sessions.filter((session) => session.target === iqn).length,
        }));
      },
    }),
  ];
}
