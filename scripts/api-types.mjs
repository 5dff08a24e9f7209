// Writes the types of the API for the SDK of plugins and for the console from docs/openapi.json, with openapi-typescript. The
// files are made by the build and not kept. That the document is that of the rows that are served is a test (unit/docs/openapi).
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import openapiTS, { astToString } from 'openapi-typescript';
import { root } from './bootstrap.mjs';

/** What openapi-typescript leaves open: one row for each operation, by `METHOD /path` below /api/v1. */
const ROWS = `
type Method = 'get' | 'put' | 'post' | 'delete' | 'patch';
type Json<R> = R extends { content: { 'application/json': infer B } } ? B : undefined;
type Success<R> = R extends { 200: infer A } ? Json<A> : R extends { 201: infer A } ? Json<A> : R extends { 202: infer A } ? Json<A> : undefined;
type Given<P, N extends string> = P extends { [K in N]?: infer V } ? ([Exclude<V, undefined>] extends [never] ? undefined : Exclude<V, undefined>) : undefined;
type Row<O> = O extends { parameters: infer P; responses: infer R }
  ? { params: Given<P, 'path'>; query: Given<P, 'query'>; body: Json<O extends { requestBody?: infer B } ? Exclude<B, undefined> : never>; response: Success<R> }
  : never;
type Key = { [P in keyof paths]: { [M in Method]: paths[P][M] extends { responses: unknown } ? (P extends \`/api/v1\${infer S}\` ? \`\${Uppercase<M>} \${S}\` : never) : never }[Method] }[keyof paths];
type RowOf<K> = K extends \`\${infer M} \${infer S}\`
  ? \`/api/v1\${S}\` extends infer P extends keyof paths ? (Lowercase<M> extends infer N extends Method ? Row<paths[P][N]> : never) : never
  : never;
/** Every operation: parameters of its path and query, body and answer; undefined: it has none. */
export type Api = { [K in Key]: RowOf<K> };
`;

const source = readFileSync(join(root, 'docs', 'openapi.json'), 'utf8');
const state = createHash('sha256')
  .update(source)
  .update(ROWS)
  .update(readFileSync(import.meta.filename))
  .digest('hex')
  .slice(0, 16);
const head = `// Made by scripts/api-types.mjs from docs/openapi.json (${state}); not to be edited.\n`;
const outputs = [join(root, 'plugins', 'sdk', 'api', 'schema.ts'), join(root, 'core', 'console', 'api', 'schema.ts')];
const isCurrent = (path) => existsSync(path) && readFileSync(path, 'utf8').startsWith(head);
if (!outputs.every(isCurrent)) {
  // What has a default need not be sent.
  const options = { rootTypes: true, rootTypesNoSchemaPrefix: true, defaultNonNullable: false, silent: true };
  const document = JSON.parse(source);
  // What zod makes of "any JSON" names itself, which no type alias may.
  const { schemas } = document.components;
  for (const name of Object.keys(schemas)) if (name.startsWith('__')) schemas[name] = {};
  const text = head + astToString(await openapiTS(document, options)) + ROWS;
  for (const path of outputs) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
