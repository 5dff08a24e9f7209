// Writes the types of the API for the console (core/console/api/schema.ts) from the same rows that the daemon serves.
// The file is made by the build and not kept: so the console's types are never those of another state of the API.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './bootstrap.mjs';

const out = join(root, 'core', 'console', 'api', 'schema.ts');
const built = (...path) => import(pathToFileURL(join(root, 'dist', 'core', ...path)).href);
const { routesOf } = await built('api', 'app.js');
const { openApiOf } = await built('api', 'openapi.js');
const { API_PREFIX } = await built('api', 'prefix.js');
// No handler is called: the rows alone say what there is, whatever they take out of the control plane.
const anything = new Proxy(() => anything, { get: (_, name) => (name === Symbol.iterator ? undefined : anything) });
const document = openApiOf(routesOf(anything), [], '0');

const quoted = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name));
const comment = ({ description }) =>
  typeof description === 'string' ? `/** ${description.replaceAll('*/', '* /')} */ ` : '';

/** TypeScript of a JSON Schema, as far as zod makes use of it. */
function typeOf(schema) {
  if (schema === undefined || schema === true || schema === null) return 'unknown';
  const name = schema.$ref?.split('/').at(-1);
  // What zod makes of "any JSON" names itself.
  if (name !== undefined) return name.startsWith('__') ? 'unknown' : name;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' | ');
  const union = schema.anyOf ?? schema.oneOf;
  if (union !== undefined) return union.map(typeOf).join(' | ');
  if (schema.allOf !== undefined) return schema.allOf.map((each) => `(${typeOf(each)})`).join(' & ');
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type })).join(' | ');
  switch (schema.type) {
    case 'string':
      return 'string';
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'null':
      return 'null';
    case 'array':
      return `(${typeOf(schema.items)})[]`;
    case 'object':
      return objectOf(schema);
    default:
      return 'unknown';
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }) {
  const fields = Object.entries(properties).map(
    ([name, each]) => `${comment(each)}${quoted(name)}${required.includes(name) ? '' : '?'}: ${typeOf(each)}`,
  );
  if (fields.length === 0 && additionalProperties) return `{ [key: string]: ${typeOf(additionalProperties)} }`;
  return fields.length === 0 ? 'Record<string, never>' : `{ ${fields.join('; ')} }`;
}

function parametersOf(parameters, where) {
  const fields = parameters.filter((each) => each.in === where);
  if (fields.length === 0) return 'undefined';
  return `{ ${fields.map((each) => `${quoted(each.name)}${each.required ? '' : '?'}: ${where === 'path' ? 'string' : typeOf(each.schema)}`).join('; ')} }`;
}

const jsonOf = (content) => content?.['application/json']?.schema;

const lines = ['// Made by scripts/api-types.mjs from the rows of the API; not to be edited.', ''];
for (const [name, schema] of Object.entries(document.components?.schemas ?? {}).filter(
  ([each]) => !each.startsWith('__'),
)) {
  lines.push(`export type ${name} = ${typeOf(schema)};`);
}
lines.push('', 'export interface Api {');
for (const [path, { parameters: shared = [], ...methods }] of Object.entries(document.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    if (typeof operation !== 'object' || operation.responses === undefined) continue;
    const [, success] = Object.entries(operation.responses).find(([status]) => status.startsWith('2')) ?? [];
    const response = jsonOf(success?.content);
    const parameters = [...shared, ...(operation.parameters ?? [])];
    lines.push(
      `  /** ${operation.summary} */`,
      `  '${method.toUpperCase()} ${path.slice(API_PREFIX.length)}': {`,
      `    params: ${parametersOf(parameters, 'path')};`,
      `    query: ${parametersOf(parameters, 'query')};`,
      `    body: ${operation.requestBody === undefined ? 'undefined' : typeOf(jsonOf(operation.requestBody.content))};`,
      `    response: ${response === undefined ? 'undefined' : typeOf(response)};`,
      '  };',
    );
  }
}
lines.push('}', '');
const text = lines.join('\n');
if (!existsSync(out) || readFileSync(out, 'utf8') !== text) writeFileSync(out, text);
