import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { VolumeRecord } from '../../control/records.ts';
import type { SessionView } from '../../control/sessions.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import { Session, Status, VolumeName, VolumeStats } from '../schemas.ts';
import { certificateOf } from '../security/settings-routes.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function statusRoutes(control: ControlPlane): Route[] {
  const { catalog, server, units, views } = control;
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
    listRoute<SessionView>({
      path: '/sessions',
      tag,
      summary: 'Initiators that are logged in',
      item: Session,
      rows: () => server()?.sessions() ?? [],
      key: ({ tsih }) => tsih,
      keyName: 'tsih',
      sorts: { initiator: ({ initiator }) => initiator, commands: ({ commands }) => commands },
      filters: {
        initiator: prefix(({ initiator }) => initiator),
        target: exact(z.string().min(1).max(223).optional(), ({ target }) => target),
      },
      view: (each) => ({ ...each, alias: each.alias ?? null, target: each.target ?? null }),
    }),
    listRoute<VolumeRecord>({
      path: '/stats',
      tag,
      summary: 'Counters and latencies per volume',
      item: VolumeStats,
      rows: () => catalog.volumes.values().filter(({ name }) => units.unit(name) !== undefined),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      filters: { name: prefix(({ name }) => name), pool: exact(VolumeName.optional(), ({ pool }) => pool) },
      view: ({ name }) => views.statsOf(name),
    }),
  ];
}

function statusOf({
  catalog,
  views,
  server,
  version,
  started,
  now,
  certificate,
}: ControlPlane): z.infer<typeof Status> {
  const totals = views.totals();
  const served = certificate();
  return {
    version,
    node: catalog.node.id,
    started: new Date(started).toISOString(),
    uptimeSeconds: Math.round((now() - started) / 1000),
    portals: views.portals(),
    volumes: { total: catalog.volumes.size, failed: totals.failed },
    sessions: server()?.sessions().length ?? 0,
    certificate: served === undefined ? null : certificateOf(served, now()),
    provisionedBytes: totals.provisionedBytes,
    allocatedBytes: totals.allocatedBytes,
  };
}
