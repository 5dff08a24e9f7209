import express from 'express';
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_API_BODY } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { Role } from '../control/records.ts';
import { mayAct } from '../control/tokens.ts';
import type { Caller } from '../control/tokens.ts';
import { METRICS_TYPE, metricsOf } from './metrics.ts';
import { API_PREFIX, openApiOf } from './openapi.ts';
import { PROBLEM_TYPE, problemOf, toServiceError } from './problem.ts';
import type { Route } from './route.ts';
import { deletedVolumeRoutes } from './routes/deleted-volumes.ts';
import { eventRoutes } from './routes/events.ts';
import { hostRoutes } from './routes/hosts.ts';
import { initiatorRoutes } from './routes/initiators.ts';
import { jobRoutes } from './routes/jobs.ts';
import { mapRoutes } from './routes/maps.ts';
import { offloadRoutes } from './routes/offload.ts';
import { poolRoutes } from './routes/pools.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { snapshotRoutes } from './routes/snapshots.ts';
import { statusRoutes } from './routes/status.ts';
import { targetRoutes } from './routes/targets.ts';
import { volumeRoutes } from './routes/volumes.ts';

/** All rows of the API. */
export function routesOf(control: ControlPlane): Route[] {
  return [
    ...statusRoutes(control),
    ...volumeRoutes(control),
    ...mapRoutes(control),
    ...initiatorRoutes(control),
    ...targetRoutes(control),
    ...poolRoutes(control),
    ...snapshotRoutes(control),
    ...offloadRoutes(control),
    ...hostRoutes(control),
    ...jobRoutes(control),
    ...scheduleRoutes(control),
    ...eventRoutes(control),
    ...deletedVolumeRoutes(control),
  ];
}

/** The HTTP application. Everything but /healthz needs a token; what is not listed here does not exist. */
export function createApp(control: ControlPlane, log: Log): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use((_request, response, next) => {
    response.set({ 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' });
    next();
  });
  app.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.use((request, response, next) => {
    response.locals['caller'] = authenticate(control, request);
    next();
  });
  app.get('/metrics', (_request, response) => {
    requireRole(response, 'viewer');
    response.set('Content-Type', METRICS_TYPE).send(metricsOf(control));
  });
  const routes = routesOf(control);
  const document = openApiOf(routes, control.version);
  app.get(`${API_PREFIX}/openapi.json`, (_request, response) => {
    requireRole(response, 'viewer');
    response.json(document);
  });
  const parseBody = express.json({ limit: MAX_API_BODY, strict: true, verify: refuseEmpty });
  for (const row of routes) app[row.method](API_PREFIX + row.path, guard(row), parseBody, serve(row));
  app.use((request) => {
    throw new ServiceError('not-found', `there is no ${request.method} on this path`);
  });
  app.use(answerError(log));
  return app;
}

/** Throws ServiceError unauthorized without a token we know. */
function authenticate(control: ControlPlane, request: Request): Caller {
  const [, token] = /^Bearer ([\w.-]{1,200})$/i.exec(request.get('authorization') ?? '') ?? [];
  if (token === undefined) throw new ServiceError('unauthorized', 'this request carries no token');
  const caller = control.tokens.check(token);
  if (caller === undefined) throw new ServiceError('unauthorized', 'the daemon does not know this token');
  return caller;
}

/** Throws ServiceError forbidden when the caller may not do what `role` may. */
function requireRole(response: Response, role: Role): void {
  const caller = response.locals['caller'] as Caller;
  if (!mayAct(caller.role, role)) {
    throw new ServiceError('forbidden', `this needs the role ${role}; the token has ${caller.role}`);
  }
}

function guard(row: Route): RequestHandler {
  return (_request, response, next) => {
    requireRole(response, row.role);
    next();
  };
}

function serve(row: Route): RequestHandler {
  return async (request, response) => {
    const input = {
      params: checked(row.params, request.params, 'path') as never,
      query: checked(row.query, request.query, 'query') as never,
      body: (row.body === undefined ? undefined : checked(row.body, bodyOf(request), 'body')) as never,
    };
    const result: unknown = await row.handle(input);
    response.status(row.status);
    if (row.response === undefined) response.end();
    else response.json(result);
  };
}

/** The body parser takes nothing for `{}`; a request that lost its body must not change anything. */
function refuseEmpty(_request: unknown, _response: unknown, body: Buffer): void {
  if (body.length === 0) throw new ServiceError('bad-request', 'the request body is empty');
}

function bodyOf(request: Request): unknown {
  if (request.body !== undefined) return request.body;
  throw new ServiceError('bad-request', 'send a JSON body with Content-Type: application/json');
}

/** What the schema makes of `value`. Throws ServiceError bad-request that names the field, never its content. */
function checked(schema: z.ZodType, value: unknown, where: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, 3).map((issue) => {
    const field = [where, ...issue.path.map(String)].join('.').slice(0, 100);
    return `${field}: ${issue.message.slice(0, 200)}`;
  });
  throw new ServiceError('bad-request', issues.join('; '));
}

function answerError(log: Log): ErrorRequestHandler {
  // Express tells error handlers by their four parameters.
  return (thrown: unknown, request, response, next) => {
    const error = toServiceError(thrown);
    if (error.code === 'internal') {
      log.error(
        { method: request.method, path: request.path, error: messageOf(thrown), stack: stackOf(thrown) },
        'request failed',
      );
    }
    if (response.headersSent) {
      next(thrown);
      return;
    }
    const problem = problemOf(error);
    if (error.code === 'unauthorized') response.set('WWW-Authenticate', 'Bearer');
    response.status(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
  };
}

const stackOf = (error: unknown): string | undefined => (error instanceof Error ? error.stack : undefined);
