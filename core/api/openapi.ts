import { z } from 'zod';
import { Problem } from './schemas.ts';
import { PROBLEM_TYPE } from './problem.ts';
import { API_PREFIX } from './prefix.ts';
import type { Route } from './route.ts';

type Schema = Record<string, unknown>;

/** The OpenAPI 3.1 document of these routes. */
export function openApiOf(routes: readonly Route[], version: string): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of routes) {
    const path = API_PREFIX + route.path.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method] = operationOf(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Gemel', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    security: [{ token: [] }],
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: schemaOf(Problem, 'output') },
    },
    paths,
  };
}

function operationOf(route: Route): Schema {
  const success = route.response === undefined ? {} : { content: json(schemaOf(route.response, 'output')) };
  const problem = { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } };
  return {
    operationId: `${route.method}${route.path.replaceAll(/[/:]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary: route.summary,
    tags: [route.tag],
    'x-role': route.role,
    parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')],
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: json(schemaOf(route.body, 'input')) } }),
    responses: {
      [String(route.status)]: { description: 'Done', ...success },
      default: { description: 'What happened and what to do', content: problem },
    },
  };
}

function parametersOf(schema: z.ZodType, where: 'path' | 'query'): Schema[] {
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, unknown>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, each]) => ({
    name,
    in: where,
    required: required.includes(name),
    schema: each,
  }));
}

const json = (schema: unknown): Schema => ({ 'application/json': { schema } });

/** JSON Schema 2020-12, the dialect of OpenAPI 3.1. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
  const whole: Schema = { ...z.toJSONSchema(schema, { io }) };
  // The document names the dialect once for all.
  delete whole['$schema'];
  return whole;
}
