import { z } from 'zod';
import type { Role } from '../control/records.ts';

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** One row of the API. Serving, validation, access and the OpenAPI document derive from it. */
export interface Route {
  readonly method: Method;
  /** Below /api/v1, parameters as `:name`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  /** The least role that may call it. */
  readonly role: Role;
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType | undefined;
  readonly status: number;
  /** Undefined: no content. */
  readonly response: z.ZodType | undefined;
  readonly handle: (input: { params: never; query: never; body: never }) => unknown;
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
    readonly handle: (input: { params: z.infer<P>; query: z.infer<Q>; body: z.infer<B> }) => unknown;
  },
): Route {
  const { method, path, tag, summary, role, body, response, handle } = row;
  return {
    method,
    path,
    tag,
    summary,
    role,
    body,
    response,
    params: row.params ?? NOTHING,
    query: row.query ?? NOTHING,
    status: row.status ?? (response === undefined ? 204 : 200),
    // The router calls it only with what the same row's schemas have produced.
    handle: handle,
  };
}
