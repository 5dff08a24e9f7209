import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { Session, Status, VolumeStats } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function statusRoutes(control: ControlPlane): Route[] {
  const { server, views } = control;
  const tag = 'status';
  return [
    route({
      method: 'get',
      path: '/status',
      tag,
      role: 'viewer',
      summary: 'Version, portals, totals',
      response: Status,
      handle: () => statusOf(control),
    }),
    route({
      method: 'get',
      path: '/sessions',
      tag,
      role: 'viewer',
      summary: 'Initiators that are logged in',
      response: z.array(Session),
      handle: () =>
        (server()?.sessions() ?? []).map((each) => ({
          ...each,
          alias: each.alias ?? null,
          target: each.target ?? null,
        })),
    }),
    route({
      method: 'get',
      path: '/stats',
      tag,
      role: 'viewer',
      summary: 'Counters and latencies per volume',
      response: z.array(VolumeStats),
      handle: () => views.stats(),
    }),
  ];
}

function statusOf({ catalog, views, server, version, started, now }: ControlPlane): z.infer<typeof Status> {
  const disks = views.disks();
  return {
    version,
    node: catalog.node.id,
    started: new Date(started).toISOString(),
    uptimeSeconds: Math.round((now() - started) / 1000),
    portals: views.portals(),
    volumes: { total: disks.length, failed: disks.filter((disk) => disk.state === 'failed').length },
    sessions: server()?.sessions().length ?? 0,
    provisionedBytes: disks.reduce((sum, disk) => sum + disk.size, 0),
    allocatedBytes: disks.reduce((sum, disk) => sum + (disk.allocatedBytes ?? 0), 0),
  };
}
