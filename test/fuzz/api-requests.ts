// Requests to the API as no client would send them: right in shape as the schemas have it, and then wrong in one way or several.
import fc from 'fast-check';
import { z } from 'zod';
import type { Route } from '../../core/api/route.ts';

type Schema = Readonly<Record<string, unknown>>;

export interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

/** Few, so that requests meet what others have made. */
const NAMES = ['v', 'w', 'tank', 's', 'all', 'loopback', 'iqn.2026-01.example.host:alice', 'nobody'];
/** Nothing outside of the folder of the test may be touched: a path is never made up. */
const PATHS = ['relative', '/dev/null', '/nonexistent/x', '/proc/1/mem', '\u0000', ''];
/** Nothing large: a thick volume would fill the disk of whoever runs this. */
const NUMBERS = [0, -1, 1, 100, 512, 4096, 1_048_576, 8_388_608, 8_388_609, 16_777_216, 2 ** 53, -1.5, 1e300];
const TRICKS = [
  ...[
    '..',
    '.',
    '%2e%2e',
    '..%2f..%2fetc%2fpasswd',
    '%00',
    '%ff',
    '%c0%af',
    '%',
    '%zz',
    'a'.repeat(300),
    '%F0%9F%92%BE',
  ],
  ...['v;x=1', 'v%20', '%0d%0aX:y', '__proto__', 'constructor', 'V', 'v%2Fmaps', "'--", '$%7B7*7%7D'],
];

const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NAMES) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
);

/** A value as `schema` has it, in most cases. */
function valueOf(schema: Schema, root: Schema, key: string, depth = 0): fc.Arbitrary<unknown> {
  const inner = (next: unknown): fc.Arbitrary<unknown> =>
    depth > 6 || typeof next !== 'object' || next === null
      ? fc.constant(null)
      : valueOf(next as Schema, root, key, depth + 1);
  const { $ref, anyOf, oneOf, enum: values, type, properties = {}, required = [], items, const: only } = schema;
  if (typeof $ref === 'string') return inner((root['$defs'] as Schema | undefined)?.[$ref.split('/').at(-1) ?? '']);
  const union = anyOf ?? oneOf;
  if (Array.isArray(union)) return fc.oneof(...union.map(inner));
  if (only !== undefined) return fc.constant(only);
  if (Array.isArray(values)) return fc.constantFrom<unknown>(...(values as unknown[]));
  switch (type) {
    case 'string':
      if (/path|folder|device|file/i.test(key)) return fc.constantFrom(...PATHS);
      return /url|host|address|server/i.test(key)
        ? fc.constantFrom('https://127.0.0.1:1/x', '127.0.0.1', 'x', '')
        : text;
    case 'integer':
    case 'number':
      return fc.constantFrom(...NUMBERS);
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(inner(items), { maxLength: 4 });
    case 'object': {
      const fields = Object.entries(properties as Record<string, Schema>).map(
        ([name, each]) => [name, valueOf(each, root, name, depth + 1)] as const,
      );
      return fc.record(Object.fromEntries(fields), { requiredKeys: required as string[], noNullPrototype: true });
    }
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

/** JSON with one thing wrong in it. */
function spoiled(value: unknown, wrong: unknown, at: number): unknown {
  if (typeof value !== 'object' || value === null) return wrong;
  const keys = Object.keys(value);
  const name = keys[at % (keys.length + 1)] ?? 'unexpected';
  // What is wrong may be a text, and a text may be a path.
  if (/path|folder|device|file/i.test(name) && typeof wrong === 'string') return value;
  return { ...value, [name]: wrong };
}

function bodyOf(row: Route): fc.Arbitrary<Buffer | undefined> {
  const nonsense = fc.constantFrom(
    ...[
      undefined,
      '',
      'null',
      '[]',
      '{',
      '"x"',
      '{"a":1}}',
      '{"__proto__":{"x":1}}',
      '\ufeff{}',
      '{"name":"v","name":"w"}',
    ],
    ...[
      '['.repeat(20_000),
      `"${'x'.repeat(70_000)}"`,
      `{"name":"${'\\u0000'.repeat(100)}"}`,
      '1e999',
      '{"size":1e400}',
    ],
  );
  const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each));
  const bad = fc.oneof(
    nonsense.map((each) => (each === undefined ? undefined : Buffer.from(each))),
    bytes,
  );
  if (row.body === undefined) return fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, bad);
  const schema = z.toJSONSchema(row.body, { io: 'input', unrepresentable: 'any' }) as Schema;
  const right = valueOf(schema, schema, '');
  const wrong = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom<unknown>(...NUMBERS, ...NAMES, null, {}, []));
  const nearly = fc.tuple(right, wrong, fc.nat(20)).map(([value, other, at]) => spoiled(value, other, at));
  const json = fc.oneof({ weight: 3, arbitrary: right }, nearly).map((each) => Buffer.from(JSON.stringify(each)));
  return fc.oneof({ weight: 4, arbitrary: json }, bad);
}

function queryOf(row: Route): fc.Arbitrary<string> {
  const schema = z.toJSONSchema(row.query, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, Schema>;
  };
  const names = Object.keys(schema.properties ?? {});
  const value = fc.constantFrom(
    'true',
    'false',
    '1',
    '0',
    '-1',
    '1e9',
    'v',
    '-name',
    'x'.repeat(500),
    '%ff',
    '%',
    '',
    'eyJ',
    'W10',
  );
  const pair = fc
    .tuple(fc.constantFrom(...names, 'x', 'force', 'a[b]', '__proto__'), value)
    .map((each) => each.join('='));
  const some = fc.array(pair, { minLength: 1, maxLength: 3 }).map((pairs) => `?${pairs.join('&')}`);
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant('') },
    some,
    some.map((each) => `${each}&${each.slice(1)}`),
  );
}

const HEADERS: Readonly<Record<string, readonly string[]>> = {
  'If-Match': ['*', '"1.x"', '"0.AAAAAAAAAAAAAAAA"', 'W/"1.x"', 'x', '"', `"${'a'.repeat(5000)}"`, ''],
  'If-None-Match': ['*', '"1.x"', 'x', '"a", "b"', ''],
  'Idempotency-Key': ['k1', 'k2', 'k3', 'a b', 'x'.repeat(200), ''],
  Accept: ['*/*', 'application/json;q=0', 'text/html', ';;;', 'a'.repeat(3000), 'application/*'],
  'Content-Type': [
    'application/json',
    'text/plain',
    'application/json; charset=utf-7',
    'application/json;;',
    'x',
    'multipart/form-data',
  ],
  'Content-Encoding': ['gzip', 'identity', 'x'],
  'Content-Length': ['0'],
  Expect: ['100-continue'],
  'X-HTTP-Method-Override': ['DELETE'],
  'Last-Event-ID': ['00000000-1', 'x', '\u00ff'],
  Range: ['bytes=0-1'],
  Origin: ['null', 'https://evil.example'],
  Cookie: ['__Host-gemel=x', 'a'.repeat(4000), ';;;='],
  'X-Forwarded-For': ['127.0.0.1'],
};
const headers = fc
  .array(
    fc
      .constantFrom(...Object.keys(HEADERS))
      .chain((name) => fc.tuple(fc.constant(name), fc.constantFrom(...(HEADERS[name] ?? [])))),
    { maxLength: 3 },
  )
  .map((pairs) => Object.fromEntries(pairs));

/** Sound but for its moment: keys that were used for something else, ETags from before. */
const late = fc
  .record({
    name: fc.constantFrom('v', 'w', 'x'),
    size: fc.constantFrom(1_048_576, 8_388_608),
    key: fc.constantFrom('k1', 'k2', 'k3', 'k4'),
    tag: fc.constantFrom('*', '"0.x"', '"1.x"'),
    create: fc.boolean(),
  })
  .map(({ name, size, key, tag, create }): FuzzRequest => {
    const json = { 'Content-Type': 'application/json' };
    const body = Buffer.from(JSON.stringify(create ? { name, size, kind: 'memory' } : { size }));
    if (create) return { method: 'POST', path: '/api/v1/volumes', headers: { ...json, 'Idempotency-Key': key }, body };
    return { method: 'PATCH', path: `/api/v1/volumes/${name}`, headers: { ...json, 'If-Match': tag }, body };
  });

/** One request to one of `rows`, or beside them. */
export function requests(rows: readonly Route[]): fc.Arbitrary<FuzzRequest> {
  const segment = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...NAMES).map((each) => encodeURIComponent(each)) },
    { weight: 1, arbitrary: fc.constantFrom(...TRICKS) },
  );
  const toRow = fc.constantFrom(...rows).chain((row) =>
    fc
      .record({
        segments: fc.array(segment, { minLength: 3, maxLength: 3 }),
        query: queryOf(row),
        headers,
        body: bodyOf(row),
        method: fc.oneof(
          { weight: 9, arbitrary: fc.constant(row.method.toUpperCase()) },
          fc.constantFrom('PUT', 'TRACE', 'OPTIONS', 'HEAD'),
        ),
      })
      .map(({ segments, query, body, headers: extra, method }) => {
        let used = 0;
        const path = `/api/v1${row.path.replaceAll(/:\w+/g, () => segments[used++] ?? 'v')}${query}`;
        const type = body === undefined ? {} : { 'Content-Type': 'application/json' };
        return { method, path, headers: { ...type, ...extra }, body };
      }),
  );
  const beside = fc.constantFrom(
    '/',
    '/api',
    '/api/v1',
    '/api/v1/',
    '//api/v1/volumes',
    '/api/v1/../v1/volumes',
    '/%2e%2e/x',
    '*',
    '/api/v2/x',
    '/metrics?x=1',
    '/readyz',
    '/healthz/',
  );
  return fc.oneof(
    { weight: 16, arbitrary: toRow },
    { weight: 3, arbitrary: late },
    beside.map((path) => ({ method: 'GET', path, headers: {}, body: undefined })),
  );
}
