import type { ControlPlane } from '../../control/control-plane.ts';
import type { TargetRecord } from '../../control/records.ts';
import { listRoute, prefix } from '../paging.ts';
import { Target } from '../schemas.ts';
import type { Route } from '../route.ts';

export function targetRoutes({ catalog, views, server }: ControlPlane): Route[] {
  return [
    listRoute<TargetRecord>({
      path: '/targets',
      tag: 'targets',
      summary: 'List the iSCSI targets',
      item: Target,
      rows: () => catalog.targets.values(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      filters: { name: prefix(({ name }) => name), iqn: prefix(({ iqn }) => iqn) },
      view: ({ name, iqn }) => {
        const running = server();
        const addresses = views.portals();
        return {
          name,
          iqn,
          portals: (running?.portals ?? []).map((portal, i) => ({ address: addresses[i] ?? '', group: portal.group })),
          luns: catalog.volumesOfTarget(name).map(({ lun, name: volume }) => ({ lun, volume })),
          sessions: (running?.sessions() ?? []).filter((session) => session.target === iqn).length,
        };
      },
    }),
  ];
}
