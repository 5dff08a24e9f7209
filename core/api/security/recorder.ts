// Puts every request that wants to change something into the audit log, before it is answered.
import type { Request, RequestHandler, Response } from 'express';
import type { ErrorCode } from '../../base/errors.ts';
import type { AuditSubject } from '../../control/audit/entry.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { difference, redacted } from '../../control/redact.ts';
import type { RequestContext, Route } from '../route.ts';
import { addressOf, callerOf, contextOf } from './access.ts';

/** Characters of a path that are kept. */
const MAX_OBJECT = 300;

interface Open {
  readonly row: Route;
  readonly request: Request;
  body: unknown;
  before: unknown;
  /** What it looks like now; undefined: there is no route that shows it. */
  look: (() => Promise<unknown>) | undefined;
}

interface Outcome {
  readonly status: number;
  readonly code: ErrorCode | null;
  readonly result: unknown;
}

export class Recorder {
  readonly #control: ControlPlane;
  /** Routes that show one object, by path. */
  readonly #shows: ReadonlyMap<string, Route>;

  constructor(control: ControlPlane, routes: readonly Route[]) {
    this.#control = control;
    const gets = routes.filter((row) => row.method === 'get' && row.path.includes('/:'));
    this.#shows = new Map(gets.map((row) => [row.path, row]));
  }

  /** Of each route, first of all: also what is refused is put on record. */
  begin(row: Route): RequestHandler {
    return (request, response, next) => {
      const open: Open = { row, request, body: undefined, before: undefined, look: undefined };
      if (row.method !== 'get') response.locals['audit'] = open;
      next();
    };
  }

  /** Before the change. Rejects with ServiceError audit-unwritable when it could not be put on record. */
  async prepare(response: Response, input: { params: unknown; body: unknown }): Promise<void> {
    const open = openOf(response);
    if (open === undefined) return;
    const { row, request } = open;
    // Somebody has to get in to delete something.
    await this.#control.security.audit.checkWritable(row.method === 'delete' || row.role === 'public');
    // What has not passed the schema may have a secret anywhere.
    open.body = input.body;
    if (row.method === 'post') return;
    open.look = this.#lookFor(row, input.params as Record<string, unknown>, contextOf(request, response));
    open.before = await open.look?.();
  }

  /** After it, once. */
  async finish(response: Response, { status, code, result }: Outcome): Promise<void> {
    const open = openOf(response);
    if (open === undefined) return;
    delete response.locals['audit'];
    const { row, request, body, before, look } = open;
    const who = this.#who(response, open);
    if (code !== null && (who.kind === 'nobody' ? isNoise(row, code) : code === 'throttled')) return;
    const asked = {
      ...{ who, address: addressOf(request), method: request.method, route: row.path, status, code },
      object: request.path.replace(/^\/api\/v1/, '').slice(0, MAX_OBJECT),
      request: redacted(body),
    };
    const { refusals, audit } = this.#control.security;
    // Nor is somebody who is known.
    const isKnown = code !== null && who.kind !== 'nobody';
    if (isKnown && !refusals.admits({ ...asked, before: null, after: null })) return;
    const shown = row.response === undefined && row.method !== 'delete' ? await look?.() : result;
    const isRoutine = code === null && before !== undefined && row.isRoutine?.(before as never, shown as never);
    if (isRoutine === true) return;
    const change = code === null ? difference(before, row.confidential ? undefined : shown) : undefined;
    const facts = { ...asked, before: change?.before ?? null, after: change?.after ?? null };
    // It is done, whatever the disk says: the answer must not be lost, and the entry waits in memory.
    if (!(await audit.record(facts))) response.set('Gemel-Audit', 'pending');
  }

  /** The route that shows what `row` changes: of the same path, or of the one above. */
  #lookFor(row: Route, params: Record<string, unknown>, context: RequestContext): (() => Promise<unknown>) | undefined {
    for (let path = row.path; path.includes('/:'); path = path.slice(0, path.lastIndexOf('/'))) {
      const show = this.#shows.get(path);
      if (show === undefined) continue;
      const names = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => name);
      const input = {
        params: Object.fromEntries(names.map((name) => [name, params[name]])),
        query: {},
        body: undefined,
      };
      return async () => {
        try {
          return await show.handle(input as never, context);
        } catch {
          // There is none, which the change itself will say as well.
          return undefined;
        }
      };
    }
    return undefined;
  }

  #who(response: Response, { row, body }: Open): AuditSubject {
    const caller = callerOf(response);
    if (caller !== undefined) return { kind: caller.kind, name: caller.name, role: caller.role };
    // People type their password into the wrong field: only names that exist are written down.
    const { user } = (row.role === 'public' && typeof body === 'object' ? (body ?? {}) : {}) as { user?: string };
    const name = user === undefined ? '' : (this.#control.security.users.find(user)?.name ?? '');
    return { kind: 'nobody', name, role: null };
  }
}

function openOf(response: Response): Open | undefined {
  return response.locals['audit'] as Open | undefined;
}

/** Nobody must be able to wash the log away: of nobody's requests only evaluated logins are kept, and those are throttled. */
const isNoise = (row: Route, code: ErrorCode): boolean => row.role !== 'public' || code !== 'unauthorized';
