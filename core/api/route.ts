import { z } from 'zod';
import type { ErrorCode } from '../base/errors.ts';
import type { Caller } from '../control/callers.ts';
import type { Role } from '../control/records.ts';

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** Who asks, and what only a handler that logs somebody in or out has to do with. */
export interface RequestContext {
  /** Undefined: nobody, which only public routes serve. */
  readonly caller: Caller | undefined;
  /** Where the request came from. */
  readonly address: string;
  /** Sets the cookie of a session; undefined takes it away. */
  readonly setCookie: (secret: string | undefined) => void;
  /** The request was `caller`'s, as it turned out. */
  readonly identify: (caller: Caller) => void;
}

/** The record an ETag stands for. */
export interface Resource {
  /** The same for all paths below which this record is changed. */
  readonly id: string;
  /** Of the record in the catalog; undefined: there is none. */
  readonly revision: number | undefined;
}

/** One row of the API. Serving, validation, access and the OpenAPI document derive from it. */
export interface Route {
  readonly method: Method;
  /** Below /api/v1, parameters as `:name`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** The least role that may call it; `public`: anybody (docs/api-security.md lists them). */
  readonly role: Role | 'public';
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType | undefined;
  readonly status: number;
  /** Undefined: no content. */
  readonly response: z.ZodType | undefined;
  /** What it is refused with, besides what every route may answer. Undefined: nobody has written it down. */
  readonly problems: readonly ErrorCode[] | undefined;
  /** What is shown or changed, when it has an ETag. */
  readonly resource: ((params: never) => Resource) | undefined;
  /** Id of a further record (Resource) that what is asked for changes, now or later: it is not begun in the middle of another change. */
  readonly begins: ((body: never) => string | undefined) | undefined;
  /**
   * True: a POST that may simply be done again when the daemon died in the middle of it (a name is not given twice; a check
   * changes nothing). Otherwise a repetition under its idempotency key is told that nobody knows.
   */
  readonly repeatable: boolean;
  /** True: the answer contains a secret that is shown once. It is kept nowhere: no log, no audit, no repetition. */
  readonly confidential: boolean;
  /** What was there before and is now is not worth an entry in the audit log: nothing was changed, only told again. */
  readonly isRoutine: ((before: never, after: never) => boolean) | undefined;
  readonly handle: (input: { params: never; query: never; body: never }, context: RequestContext) => unknown;
}

const NOTHING = z.strictObject({});

/** A Route whose handler gets what its schemas promise. */
export function route<
  P extends z.ZodType = typeof NOTHING,
  Q extends z.ZodType = typeof NOTHING,
  B extends z.ZodType = z.ZodUndefined,
>(
  row: Pick<Route, 'method' | 'path' | 'tag' | 'summary' | 'role'> & {
    readonly params?: P;
    readonly query?: Q;
    readonly body?: B;
    readonly status?: number;
    readonly response?: z.ZodType;
    readonly problems?: readonly ErrorCode[];
    readonly resource?: (params: z.infer<P>) => Resource;
    readonly begins?: (body: z.infer<B>) => string | undefined;
    readonly repeatable?: boolean;
    readonly confidential?: boolean;
    readonly isRoutine?: (before: never, after: never) => boolean;
    readonly handle: (
      input: { params: z.infer<P>; query: z.infer<Q>; body: z.infer<B> },
      context: RequestContext,
    ) => unknown;
  },
): Route {
  const { method, path, tag, summary, role, body, response, problems, resource, repeatable = false, handle } = row;
  const { confidential = false, begins, isRoutine } = row;
  return {
    method,
    path,
    tag,
    summary,
    role,
    body,
    response,
    problems,
    resource,
    begins,
    repeatable,
    confidential,
    isRoutine,
    params: row.params ?? NOTHING,
    query: row.query ?? NOTHING,
    status: row.status ?? (response === undefined ? 204 : 200),
    // The router calls it only with what the same row's schemas have produced.
    handle: handle,
  };
}
