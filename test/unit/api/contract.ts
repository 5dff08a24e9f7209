// Holds every answer of the API tests against the OpenAPI document: status, media type, and every field.
import assert from 'node:assert/strict';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import * as formats from 'ajv-formats';
import { routesOf } from '../../../core/api/app.ts';
import { openApiOf } from '../../../core/api/openapi.ts';
import { rawRoutesOf } from '../../../core/api/raw.ts';
import type { ControlPlane } from '../../../core/control/control-plane.ts';

interface Answered {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}
interface ResponseObject {
  readonly content?: Readonly<Record<string, { readonly schema?: object }>>;
  readonly 'x-problem-codes'?: readonly string[];
}
interface Document {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { responses: Readonly<Record<string, ResponseObject>> }>>>
  >;
}

const FORMATS = formats as unknown as { readonly default: { readonly default: (ajv: Ajv2020) => void } };

export class Contract {
  readonly #document: Document;
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });
  readonly #compiled = new Map<string, ValidateFunction>();
  readonly #paths: { pattern: RegExp; path: string }[];

  constructor(control: ControlPlane) {
    const document = openApiOf(
      routesOf(control),
      rawRoutesOf(control, () => undefined),
      control.version,
    );
    this.#document = document as unknown as Document;
    FORMATS.default.default(this.#ajv);
    this.#ajv.addSchema(document, 'api');
    // Paths without parameters come first, as they do in the router.
    const all = Object.keys(this.#document.paths).sort((a, b) => a.split('{').length - b.split('{').length);
    this.#paths = all.map((path) => ({
      path,
      pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}/?$`, 'i'),
    }));
  }

  /** Throws AssertionError when the document does not allow this answer. */
  check(method: string, url: string, { status, type, text }: Answered): void {
    const [path = ''] = url.split('?');
    const route = this.#paths.find(({ pattern }) => pattern.test(path))?.path;
    const operation = route === undefined ? undefined : this.#document.paths[route]?.[method.toLowerCase()];
    // What there is no operation for is answered by the error catalogue alone.
    if (route === undefined || operation === undefined) return;
    const what = `${method} ${route}: ${String(status)} ${text.slice(0, 500)}`;
    const name = operation.responses[String(status)] === undefined ? 'default' : String(status);
    const response = operation.responses[name];
    assert.ok(response, `not in the OpenAPI document: ${what}`);
    const [media = ''] = type.split(';');
    if (response.content === undefined) {
      assert.equal(text, '', what);
      return;
    }
    assert.ok(response.content[media], `media type ${media}: ${what}`);
    if (!media.endsWith('json')) return;
    const pointer = ['paths', route, method.toLowerCase(), 'responses', name, 'content', media, 'schema'];
    const body: unknown = JSON.parse(text);
    const validate = this.#compile(`api#/${pointer.map(escaped).join('/')}`);
    assert.ok(validate(body), `${what}\n${this.#ajv.errorsText(validate.errors)}`);
    const codes = response['x-problem-codes'];
    if (codes !== undefined) assert.ok(codes.includes((body as { code: string }).code), `code not declared: ${what}`);
  }

  #compile(ref: string): ValidateFunction {
    const compiled = this.#compiled.get(ref) ?? this.#ajv.compile({ $ref: ref });
    this.#compiled.set(ref, compiled);
    return compiled;
  }
}

/** RFC 6901, inside of a URI fragment. */
const escaped = (part: string): string => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
