import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { SEVERITIES } from '../../control/events.ts';
import type { EventRecord, Severity } from '../../control/events.ts';
import { Event } from '../job-schemas.ts';
import { exact, listRoute } from '../paging.ts';
import type { Route } from '../route.ts';

/** An event for people and programs; event streams send the same. */
export function eventView({ id, severity, code, object, text, time, last, count }: EventRecord): z.infer<typeof Event> {
  const iso = (ms: number): string => new Date(ms).toISOString();
  return {
    id,
    severity,
    code,
    object: object ?? null,
    text,
    time: iso(time),
    last: iso(last ?? time),
    count: count ?? 1,
  };
}

export function eventRoutes({ events }: ControlPlane): Route[] {
  return [
    listRoute<EventRecord>({
      path: '/events',
      tag: 'events',
      summary: 'List what happened; sort=-id has the newest first',
      item: Event,
      rows: ({ severity }) => events.list({ atLeast: severity as Severity | undefined }),
      key: ({ id }) => id,
      keyName: 'id',
      filters: {
        // The rows are those already.
        severity: {
          schema: z.enum(SEVERITIES).optional().meta({ description: 'this one and worse' }),
          passes: () => true,
        },
        code: exact(z.string().max(64).optional(), ({ code }) => code),
        kind: exact(z.string().max(64).optional(), ({ object }) => object?.kind),
        name: exact(z.string().max(223).optional(), ({ object }) => object?.name),
      },
      view: eventView,
    }),
  ];
}
