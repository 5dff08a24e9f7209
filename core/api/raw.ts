// What is served besides the rows of route.ts: answers that are no JSON of a handler, and those for who is nobody.
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { ErrorCode } from '../base/errors.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import { roleOf } from '../control/live/topics.ts';
import type { Role } from '../control/records.ts';
import { METRICS_TYPE, metricsOf } from './metrics.ts';
import { JSON_TYPE, sendText } from './negotiate.ts';
import { API_PREFIX } from './prefix.ts';
import { readiness } from './readiness.ts';
import { callerOf, stillMay } from './security/access.ts';
import { STREAM_TYPE, StreamQuery, Streams, topicsFor } from './stream.ts';

/** A GET with a whole path of its own. */
export interface RawRoute {
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** `public`: whoever can reach the port. */
  readonly role: Role | 'public';
  readonly query?: z.ZodType;
  readonly mediaType: string;
  /** Of JSON. */
  readonly schema?: z.ZodType;
  readonly statuses: readonly number[];
  readonly problems: readonly ErrorCode[];
  readonly serve: (request: Request, response: Response, query: never) => void;
}

const Alive = z.object({ status: z.literal('ok') });
const Readiness = z.object({
  status: z.enum(['ready', 'degraded', 'not-ready']),
  reasons: z.array(z.string()).meta({ description: 'without names: who is nobody may read this' }),
});

/** `document`: the OpenAPI document, which describes these routes as well. */
export function rawRoutesOf(control: ControlPlane, document: () => unknown): RawRoute[] {
  const streams = new Streams(control.live);
  const tag = 'status';
  return [
    {
      ...{ path: '/healthz', tag, summary: 'The daemon is alive', role: 'public', mediaType: 'application/json' },
      ...{ schema: Alive, statuses: [200], problems: [] },
      serve: (_request, response) => {
        sendText(response, JSON_TYPE, JSON.stringify({ status: 'ok' }));
      },
    },
    {
      ...{ path: '/readyz', tag, summary: 'The daemon serves disks, and what stands in the way', role: 'public' },
      ...{ mediaType: 'application/json', schema: Readiness, statuses: [200, 503], problems: [] },
      serve: (_request, response) => {
        const answer = readiness(control);
        sendText(response.status(answer.status === 'not-ready' ? 503 : 200), JSON_TYPE, JSON.stringify(answer));
      },
    },
    {
      ...{ path: '/metrics', tag, summary: 'Metrics for Prometheus', role: 'viewer', mediaType: 'text/plain' },
      ...{ statuses: [200], problems: [] },
      serve: (_request, response) => {
        sendText(response, METRICS_TYPE, metricsOf(control));
      },
    },
    {
      ...{ path: `${API_PREFIX}/openapi.json`, tag, summary: 'This document', role: 'viewer' },
      ...{ mediaType: 'application/json', statuses: [200], problems: [] },
      serve: (_request, response) => {
        sendText(response, JSON_TYPE, JSON.stringify(document()));
      },
    },
    {
      ...{ path: STREAM_PATH, tag: 'events', role: 'viewer', mediaType: STREAM_TYPE, query: StreamQuery },
      ...{ summary: 'Everything that changes, as server-sent events; resumable with Last-Event-ID', statuses: [200] },
      problems: [],
      serve: (request, response, { topics: wanted, stats }: z.infer<typeof StreamQuery>) => {
        const topics = topicsFor(callerOf(response)?.role ?? 'viewer', wanted);
        const role = topics.some((topic) => roleOf(topic) === 'admin') ? 'admin' : 'viewer';
        streams.serve(request, response, { topics, stats }, () => stillMay(control, request, role));
      },
    },
  ];
}

export const STREAM_PATH = `${API_PREFIX}/events/stream`;
