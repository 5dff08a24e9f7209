import express from 'express';
import type { ErrorRequestHandler, Express, RequestHandler } from 'express';
import { z } from 'zod';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { KeptRequests } from '../control/kept-requests.ts';
import { Throttled } from '../control/login-throttle.ts';
import {
  JSON_TYPE,
  bodyOf,
  bodyParser,
  methodsOf,
  refuseOtherMethods,
  requireAcceptable,
  sendText,
} from './negotiate.ts';
import { courtesy } from './courtesy.ts';
import { Conditions } from './conditional.ts';
import { answerOnce, keyOf } from './idempotency.ts';
import { openApiOf } from './openapi.ts';
import { API_PREFIX } from './prefix.ts';
import { rawRoutesOf } from './raw.ts';
import type { RawRoute } from './raw.ts';
import { PROBLEM_TYPE, problemOf, toServiceError } from './problem.ts';
import { isJobChanging } from './resources.ts';
import type { Route } from './route.ts';
import { deletedVolumeRoutes } from './routes/deleted-volumes.ts';
import { eventRoutes } from './routes/events.ts';
import { hostRoutes } from './routes/hosts.ts';
import { alertRoutes } from './routes/alerts.ts';
import { balanceRoutes } from './routes/balance.ts';
import { backendRoutes } from './routes/backends.ts';
import { capacityRoutes } from './routes/capacity.ts';
import { clusterRoutes } from './routes/cluster.ts';
import { initiatorRoutes } from './routes/initiators.ts';
import { jobRoutes } from './routes/jobs.ts';
import { leaseRoutes } from './routes/leases.ts';
import { mapRoutes } from './routes/maps.ts';
import { offloadRoutes } from './routes/offload.ts';
import { policyRoutes } from './routes/policies.ts';
import { portalRoutes } from './routes/portals.ts';
import { poolRoutes } from './routes/pools.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { replicationRoutes } from './routes/replication.ts';
import { profileRoutes } from './routes/profiles.ts';
import { snapshotRoutes } from './routes/snapshots.ts';
import { statusRoutes } from './routes/status.ts';
import { targetRoutes } from './routes/targets.ts';
import { volumeRoutes } from './routes/volumes.ts';
import { callerOf, contextOf, identify, refuseForgery, requireKnownHost, requireRole } from './security/access.ts';
import { accountRoutes } from './security/account-routes.ts';
import { auditRoutes } from './security/audit-routes.ts';
import { securityHeaders } from './security/headers.ts';
import { Recorder } from './security/recorder.ts';
import { sessionRoutes } from './security/session-routes.ts';
import { settingsRoutes } from './security/settings-routes.ts';
import { tokenRoutes } from './security/token-routes.ts';

/** All rows of the API. */
export function routesOf(control: ControlPlane): Route[] {
  return [
    ...statusRoutes(control),
    ...clusterRoutes(control),
    ...replicationRoutes(control),
    ...balanceRoutes(control),
    ...volumeRoutes(control),
    ...mapRoutes(control),
    ...leaseRoutes(control),
    ...initiatorRoutes(control),
    ...targetRoutes(control),
    ...poolRoutes(control),
    ...portalRoutes(control),
    ...policyRoutes(control),
    ...backendRoutes(control),
    ...snapshotRoutes(control),
    ...offloadRoutes(control),
    ...hostRoutes(control),
    ...jobRoutes(control),
    ...scheduleRoutes(control),
    ...eventRoutes(control),
    ...deletedVolumeRoutes(control),
    ...alertRoutes(control),
    ...capacityRoutes(control),
    ...profileRoutes(control),
    ...sessionRoutes(control),
    ...accountRoutes(control),
    ...tokenRoutes(control),
    ...auditRoutes(control),
    ...settingsRoutes(control),
  ];
}

/** Probes and scrapers like to add some to get around caches. */
const NO_QUERY = z.record(z.string(), z.unknown());

/**
 * The HTTP application. Everything but /healthz, the files of the web console (`page`) and the public rows needs a caller; what
 * is not listed here does not exist.
 */
export function createApp(control: ControlPlane, log: Log, page?: RequestHandler): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(securityHeaders(control.security.settings));
  const routes = routesOf(control);
  const raw: RawRoute[] = rawRoutesOf(control, () => document);
  const document = openApiOf(routes, raw, control.version);
  // Probes know neither names nor secrets.
  for (const row of raw.filter(({ role }) => role === 'public')) app.get(row.path, serveRaw(row));
  app.use(requireKnownHost(control));
  if (page !== undefined) app.use(page);
  app.use(courtesy(), identify(control));
  for (const row of raw.filter(({ role }) => role !== 'public')) app.get(row.path, serveRaw(row));
  const conditions = new Conditions((id) => isJobChanging(control.jobs, id));
  const recorder = new Recorder(control, routes);
  for (const row of routes) {
    app[row.method](
      API_PREFIX + row.path,
      recorder.begin(row),
      guard(row),
      ...bodyParser(row),
      serve(row, { recorder, conditions, requests: control.requests }),
    );
  }
  // Who is nobody learns nothing about what else there is.
  app.use((_request, response, next) => {
    requireRole(response, 'viewer');
    next();
  });
  const methods = methodsOf(routes);
  for (const { path } of raw) methods.set(path, ['get']);
  refuseOtherMethods(app, methods);
  app.use(() => {
    throw new ServiceError('not-found', 'there is nothing on this path');
  });
  app.use(answerError(log, recorder));
  return app;
}

function guard(row: Route): RequestHandler {
  return (request, response, next) => {
    if (row.role !== 'public') requireRole(response, row.role);
    refuseForgery(request, response);
    if (row.response !== undefined) requireAcceptable(request, 'application/json');
    next();
  };
}

function serveRaw({ role, mediaType, query = NO_QUERY, serve: answer }: RawRoute): RequestHandler {
  return (request, response) => {
    if (role !== 'public') requireRole(response, role);
    requireAcceptable(request, mediaType);
    answer(request, response, checked(query, request.query, 'query') as never);
  };
}

interface Serving {
  readonly recorder: Recorder;
  readonly conditions: Conditions;
  readonly requests: KeptRequests;
}

function serve(row: Route, { recorder, conditions, requests }: Serving): RequestHandler {
  return async (request, response) => {
    const input = {
      params: checked(row.params, request.params, 'path') as never,
      query: checked(row.query, request.query, 'query') as never,
      body: (row.body === undefined ? undefined : checked(row.body, bodyOf(request), 'body')) as never,
    };
    const perform = async (): Promise<string | undefined> => {
      try {
        return await conditions.run(row, request, response, input, async () => {
          await recorder.prepare(response, input);
          const result: unknown = await row.handle(input, contextOf(request, response));
          await recorder.finish(response, { status: row.status, code: null, result });
          return result;
        });
      } catch (thrown) {
        const { code, row: refused } = toServiceError(thrown);
        await recorder.finish(response, { status: refused.http, code, result: undefined });
        throw thrown;
      }
    };
    const key = keyOf(row, request);
    const caller = callerOf(response);
    if (key !== undefined && caller !== undefined) {
      const asking = { row, request, response, caller: `${caller.kind} ${caller.name}`, key };
      await answerOnce(requests, asking, perform);
      return;
    }
    const text = await perform();
    if (text === undefined) response.status(response.statusCode === 304 ? 304 : row.status).end();
    else sendText(response.status(row.status), JSON_TYPE, text);
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

function answerError(log: Log, recorder: Recorder): ErrorRequestHandler {
  // Express tells error handlers by their four parameters.
  return async (thrown: unknown, request, response, next) => {
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
    await recorder.finish(response, { status: problem.status, code: error.code, result: undefined });
    if (error.code === 'unauthorized') response.set('WWW-Authenticate', 'Bearer');
    if (error instanceof Throttled) response.set('Retry-After', String(error.retryAfter));
    response.status(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
  };
}

const stackOf = (error: unknown): string | undefined => (error instanceof Error ? error.stack : undefined);
