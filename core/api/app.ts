import express from 'express';
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { KeptRequests } from '../control/kept-requests.ts';
import type { Role } from '../control/records.ts';
import { mayAct } from '../control/tokens.ts';
import type { Caller } from '../control/tokens.ts';
import { bodyOf, bodyParser, methodsOf, refuseOtherMethods, requireAcceptable } from './negotiate.ts';
import { Conditions } from './conditional.ts';
import { answerOnce, keyOf } from './idempotency.ts';
import { METRICS_TYPE, metricsOf } from './metrics.ts';
import { openApiOf } from './openapi.ts';
import { API_PREFIX } from './prefix.ts';
import { PROBLEM_TYPE, problemOf, toServiceError } from './problem.ts';
import type { Route } from './route.ts';
import { initiatorRoutes } from './routes/initiators.ts';
import { mapRoutes } from './routes/maps.ts';
import { offloadRoutes } from './routes/offload.ts';
import { poolRoutes } from './routes/pools.ts';
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
  app.get('/metrics', (request, response) => {
    requireRole(response, 'viewer');
    requireAcceptable(request, 'text/plain');
    response.set('Content-Type', METRICS_TYPE).send(metricsOf(control));
  });
  const routes = routesOf(control);
  const document = openApiOf(routes, control.version);
  app.get(`${API_PREFIX}/openapi.json`, (_request, response) => {
    requireRole(response, 'viewer');
    response.json(document);
  });
  const conditions = new Conditions();
  for (const row of routes)
    app[row.method](API_PREFIX + row.path, guard(row), ...bodyParser(row), serve(row, conditions, control.requests));
  const methods = methodsOf(routes);
  for (const path of ['/healthz', '/metrics', `${API_PREFIX}/openapi.json`]) methods.set(path, ['get']);
  refuseOtherMethods(app, methods);
  app.use(() => {
    throw new ServiceError('not-found', 'there is nothing on this path');
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
  return (request, response, next) => {
    requireRole(response, row.role);
    if (row.response !== undefined) requireAcceptable(request, 'application/json');
    next();
  };
}

function serve(row: Route, conditions: Conditions, requests: KeptRequests): RequestHandler {
  return async (request, response) => {
    const input = {
      params: checked(row.params, request.params, 'path') as never,
      query: checked(row.query, request.query, 'query') as never,
      body: (row.body === undefined ? undefined : checked(row.body, bodyOf(request), 'body')) as never,
    };
    const { locals } = response;
    const perform = (): Promise<string | undefined> =>
      conditions.run(row, request, response, input.params, () => Promise.resolve().then(() => row.handle(input)));
    const key = keyOf(row, request);
    const { caller } = locals as { caller?: Caller };
    if (key !== undefined && caller !== undefined) {
      await answerOnce(requests, { row, request, response, caller: caller.token, key }, perform);
      return;
    }
    const text = await perform();
    if (text === undefined) response.status(response.statusCode === 304 ? 304 : row.status).end();
    else response.status(row.status).type('application/json').send(text);
  };
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
