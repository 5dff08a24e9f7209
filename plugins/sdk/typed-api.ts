// The API with its types: what an operation wants and answers is known to the compiler, from the document the daemon serves.
import type { Api } from './api/schema.ts';

export type { Api } from './api/schema.ts';
export type * as Schemas from './api/schema.ts';

/** Calls the API: `path` below /api/v1. Rejects with the ServiceError the problem document stands for. */
export type ApiCall = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<unknown>;

/** `METHOD /path`, parameters as `{name}`. */
export type Operation = keyof Api;
export type Answer<K extends Operation> = Api[K]['response'];

type Given<T, Name extends string> = [T] extends [undefined] ? unknown : { readonly [key in Name]: T };
export type Ask<K extends Operation> = Given<Api[K]['params'], 'params'> &
  Given<Api[K]['body'], 'body'> & {
    readonly query?: Api[K]['query'] | undefined;
    readonly headers?: Readonly<Record<string, string>>;
  };

export class TypedApi {
  readonly #call: ApiCall;

  constructor(call: ApiCall) {
    this.#call = call;
  }

  /** `ask('GET /volumes/{name}', { params: { name } })`. Rejects as `call` does. */
  async ask<K extends Operation>(operation: K, ask: Ask<K>): Promise<Answer<K>> {
    const { params, query, body, headers } = ask as {
      readonly params?: Readonly<Record<string, string>>;
      readonly query?: Readonly<Record<string, unknown>>;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    };
    const [method = '', template = ''] = operation.split(' ');
    const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params?.[name] ?? ''));
    const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(
      pairs.map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    return (await this.#call(method, search === '' ? path : `${path}?${search}`, body, headers)) as Answer<K>;
  }
}
