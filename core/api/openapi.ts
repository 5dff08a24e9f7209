// The OpenAPI 3.1 document, derived from the rows that are served.
import { z } from 'zod';
import { ERRORS } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import './schema-names.ts';
import { Problem } from './schemas.ts';
import { PROBLEM_TYPE } from './problem.ts';
import { API_PREFIX } from './prefix.ts';
import type { RawRoute } from './raw.ts';
import type { Route } from './route.ts';
import { SESSION_COOKIE } from './security/access.ts';

type Schema = Record<string, unknown>;

const ALWAYS: readonly ErrorCode[] = ['bad-request', 'misdirected', 'limit-reached', 'throttled', 'internal'];
const WITH_CALLER: readonly ErrorCode[] = ['unauthorized', 'forbidden'];
const OF_BODIES: readonly ErrorCode[] = ['too-large', 'unsupported-media-type'];
/** A change goes to disk, next to others. */
const OF_CHANGES: readonly ErrorCode[] = ['in-use', 'no-space', 'io-error', 'folder-unusable', 'audit-unwritable'];
const OF_POSTS: readonly ErrorCode[] = ['key-reused', 'outcome-unknown'];

const KEY_HEADER = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  schema: { type: 'string', minLength: 1, maxLength: 128 },
  description: 'the same request with the same key is done once; remembered for 24 hours',
};
const tagHeader = (name: string, description: string): Schema => ({
  ...{ name, in: 'header', required: false, description },
  schema: { type: 'string', maxLength: 2000 },
});

/** Codes a row may be answered with, besides what it declares itself. */
export function problemsOf(route: Route): ErrorCode[] {
  const codes = new Set<ErrorCode>([...ALWAYS, ...(route.problems ?? [])]);
  const add = (more: readonly ErrorCode[]): void => {
    for (const code of more) codes.add(code);
  };
  // Whoever shows a token or a cookie is asked for a good one, also where none is needed.
  add(WITH_CALLER);
  if (route.response !== undefined) codes.add('not-acceptable');
  if (route.body !== undefined) add(OF_BODIES);
  if (route.method !== 'get') add(OF_CHANGES);
  if (route.method === 'post') add(OF_POSTS);
  if (route.resource !== undefined && route.method !== 'get') codes.add('precondition-failed');
  return [...codes].sort();
}

/** The document of these routes. */
export function openApiOf(routes: readonly Route[], raw: readonly RawRoute[], version: string): Schema {
  const components = new Components();
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of routes) {
    const path = API_PREFIX + route.path.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method] = operationOf(route, components);
  }
  for (const route of raw) paths[route.path] = { get: rawOperationOf(route, components) };
  const problem = components.schemaOf(Problem, 'output');
  return {
    openapi: '3.1.0',
    info: {
      title: 'Gemel',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description: 'Shared storage for hypervisors. docs/api.md says what holds for all operations.',
    },
    servers: [{ url: '/' }],
    // Changes with the cookie need the header Gemel-CSRF as well (docs/api-security.md).
    security: [{ token: [] }, { session: [] }],
    tags: [...new Set([...routes, ...raw].map(({ tag }) => tag))].map((name) => ({ name })),
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
      },
      schemas: { ...components.schemas, Problem: components.schemas['Problem'] ?? problem },
    },
    paths,
  };
}

function operationOf(route: Route, components: Components): Schema {
  const { method, resource, response } = route;
  const headers = resource === undefined || response === undefined ? {} : { headers: { ETag: ETAG } };
  const content =
    response === undefined
      ? {}
      : { content: { 'application/json': { schema: components.schemaOf(response, 'output') } } };
  const own: Schema[] = [];
  if (method === 'post' && route.role !== 'public') own.push(KEY_HEADER);
  if (resource !== undefined && method === 'get')
    own.push(tagHeader('If-None-Match', 'ETags of copies the client has'));
  if (resource !== undefined && method !== 'get') {
    own.push(tagHeader('If-Match', 'change it only if it is still the record with this ETag'));
  }
  return {
    operationId: `${method}${route.path.replaceAll(/[/:-]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary: route.summary,
    tags: [route.tag],
    'x-role': route.role,
    ...(route.role === 'public' ? { security: [] } : {}),
    parameters: [
      ...parametersOf(route.params, 'path', components),
      ...parametersOf(route.query, 'query', components),
      ...own,
    ],
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: components.schemaOf(route.body, 'input') } },
          },
        }),
    responses: {
      [String(route.status)]: { description: 'Done', ...headers, ...content },
      ...(resource !== undefined && method === 'get'
        ? { '304': { description: 'The copy is good', headers: { ETag: ETAG } } }
        : {}),
      ...problemResponses(problemsOf(route), route.problems === undefined),
    },
  };
}

function rawOperationOf(route: RawRoute, components: Components): Schema {
  const { path, tag, summary, role, query, mediaType, schema, statuses, problems } = route;
  const shown =
    schema === undefined
      ? { type: mediaType === 'application/json' ? 'object' : 'string' }
      : components.schemaOf(schema, 'output');
  const done = { description: 'Done', content: { [mediaType]: { schema: shown } } };
  const codes = new Set<ErrorCode>([
    ...ALWAYS,
    ...(role === 'public' ? [] : WITH_CALLER),
    'not-acceptable',
    ...problems,
  ]);
  return {
    operationId: `get${path.replace(API_PREFIX, '').replaceAll(/[/.-]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    tags: [tag],
    'x-role': role,
    ...(role === 'public' ? { security: [] } : {}),
    parameters: query === undefined ? [] : parametersOf(query, 'query', components),
    responses: {
      ...Object.fromEntries(statuses.map((status) => [String(status), done])),
      ...problemResponses([...codes].sort(), false, statuses),
    },
  };
}

const ETAG = { schema: { type: 'string' }, description: 'strong; REVISION.HASH' };

/** One answer for each HTTP status of these codes; `open`: there may be others. */
function problemResponses(
  codes: readonly ErrorCode[],
  open: boolean,
  taken: readonly number[] = [],
): Record<string, Schema> {
  const content = { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } };
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { http } = ERRORS[code];
    if (!taken.includes(http)) byStatus.set(http, [...(byStatus.get(http) ?? []), code]);
  }
  const answers = [...byStatus].map(([status, all]) => [
    String(status),
    { description: all.join(', '), 'x-problem-codes': all, content },
  ]);
  const others = open ? { default: { description: 'Any other code of the error catalogue', content } } : {};
  return { ...(Object.fromEntries(answers) as Record<string, Schema>), ...others };
}

function parametersOf(schema: z.ZodType, where: 'path' | 'query', components: Components): Schema[] {
  const { properties = {}, required = [] } = components.inline(schema, 'input') as {
    properties?: Record<string, Schema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...each }]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: each,
  }));
}

/** The named schemas, each once. JSON Schema 2020-12, the dialect of OpenAPI 3.1. */
class Components {
  readonly schemas: Record<string, Schema> = {};

  /** Named ones as references. */
  schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
    // Inside of another one, a schema with a name is a reference to it.
    const { properties = {}, $defs = {} } = this.#convert(z.object({ root: schema }), io) as {
      properties?: Record<string, Schema>;
      $defs?: Record<string, Schema>;
    };
    for (const [name, each] of Object.entries($defs)) {
      delete each['id'];
      const before = this.schemas[name];
      if (before !== undefined && JSON.stringify(before) !== JSON.stringify(each)) {
        throw new Error(`two schemas are called ${name}`);
      }
      this.schemas[name] = each;
    }
    return properties['root'] ?? {};
  }

  /** As a whole. */
  inline(schema: z.ZodType, io: 'input' | 'output'): Schema {
    const made = this.#convert(schema, io) as Schema & { $ref?: string; $defs?: Record<string, Schema> };
    // One with a name is a reference to itself.
    const whole = made.$defs?.[made.$ref?.split('/').at(-1) ?? ''] ?? made;
    delete whole['$schema'];
    delete whole['id'];
    return whole;
  }

  #convert(schema: z.ZodType, io: 'input' | 'output'): Schema {
    const made = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
    return JSON.parse(JSON.stringify(made).replaceAll('"#/$defs/', '"#/components/schemas/')) as Schema;
  }
}
