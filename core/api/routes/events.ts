import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { EventRecord } from '../../control/events.ts';
import { Event, EventFilter } from '../job-schemas.ts';
import { route } from '../route.ts';
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
    route({
      method: 'get',
      path: '/events',
      tag: 'events',
      role: 'viewer',
      summary: 'List what happened, newest first',
      query: EventFilter,
      response: z.array(Event),
      handle: ({ query: { severity, limit, ...rest } }) =>
        events.list({ ...rest, atLeast: severity, limit: Number(limit ?? 100) }).map(eventView),
    }),
  ];
}
