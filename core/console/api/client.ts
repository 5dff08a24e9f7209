// The one door to the daemon: typed by the rows of the API (schema.ts is made by the build), errors as problem+json says them.
import type { Api, Problem } from './schema.ts';
import { credentials } from './credentials.ts';
import { send } from './transport.ts';

export const API_PREFIX = '/api/v1';
/** Milliseconds after which a request is given up: the daemon ends its own after as many. */
const TIMEOUT = 60_000;
/** Pages of one list that are followed: 10,000 items and more. */
const MAX_PAGES = 100;

export type Call = keyof Api;
export type Answer<K extends Call> = Api[K]['response'];
/** What is in a list, whether it comes as a page or as a whole. */
export type Item<K extends Call> =
  Answer<K> extends readonly (infer T)[] ? T : Answer<K> extends { items: readonly (infer T)[] } ? T : never;

type Given<T, Name extends string> = [T] extends [undefined] ? unknown : { [key in Name]: T };
export type Ask<K extends Call> = Given<Api[K]['params'], 'params'> &
  Given<Api[K]['body'], 'body'> & { query?: Api[K]['query']; background?: boolean };

/** What went wrong, in the words of the daemon. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;
  /** What to do. */
  readonly remedy: string;
  /** Seconds after which it is worth another try. */
  readonly retryAfter: number | undefined;

  constructor(problem: Pick<Problem, 'status' | 'code' | 'detail' | 'remedy'>, retryAfter?: number) {
    super(problem.detail);
    this.name = 'ApiProblem';
    this.status = problem.status;
    this.code = problem.code;
    this.remedy = problem.remedy;
    this.retryAfter = retryAfter;
  }
}

/** Anything thrown, as something that can be shown. */
export function problemOf(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new ApiProblem({
    status: 0,
    code: 'console',
    detail,
    remedy: 'Reload the page; if it happens again, report it.',
  });
}

/** Calls a row of the API. Rejects with ApiProblem. `background`: nobody has clicked, so the session does not count it. */
export async function call<K extends Call>(key: K, ask: Ask<K>): Promise<Answer<K>> {
  const { params, query, body, background } = ask as {
    params?: Record<string, string>;
    query?: Record<string, string | number | undefined>;
    body?: unknown;
    background?: boolean;
  };
  const [method = 'GET', path = '/'] = key.split(' ');
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params?.[name] ?? ''));
  return (await request(method, `${API_PREFIX}${filled}${queryOf(query)}`, body, background ?? false)) as Answer<K>;
}

/** All items of a list, page after page. Rejects with ApiProblem. */
export async function list<K extends Call>(key: K, ask: Ask<K>): Promise<Item<K>[]> {
  const first: unknown = await call(key, ask);
  if (Array.isArray(first)) return first as Item<K>[];
  let page = first as { items: Item<K>[]; next: string | null };
  const items = page.items;
  for (let i = 0; page.next !== null && i < MAX_PAGES; i++) {
    page = (await request('GET', page.next, undefined, true)) as typeof page;
    items.push(...page.items);
  }
  return items;
}

function queryOf(query: Record<string, string | number | undefined> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

async function request(method: string, path: string, body: unknown, background: boolean): Promise<unknown> {
  let response: Response;
  try {
    response = await send(path, {
      method,
      headers: {
        ...credentials.headers(method),
        ...(background ? { 'Gemel-Background': '1' } : {}),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch (error) {
    // Who carries it may know more.
    if (error instanceof ApiProblem) throw error;
    throw new ApiProblem({
      status: 0,
      code: 'unreachable',
      detail: 'The daemon does not answer.',
      remedy: 'Check that gemeld runs and that this machine reaches it. The page goes on by itself when it is back.',
    });
  }
  if (!response.ok) throw await problemIn(response);
  if (response.status === 204) return undefined;
  return response.json();
}

async function problemIn(response: Response): Promise<ApiProblem> {
  const retryAfter = Number(response.headers.get('Retry-After') ?? NaN);
  let problem: Partial<Problem> = {};
  try {
    problem = (await response.json()) as Partial<Problem>;
  } catch {
    // Something between us and the daemon has answered.
  }
  const error = new ApiProblem(
    {
      status: response.status,
      code: problem.code ?? `http-${response.status}`,
      detail: problem.detail ?? `The answer was ${response.status} ${response.statusText}.`,
      remedy: problem.remedy ?? 'Look into the log of the daemon.',
    },
    Number.isFinite(retryAfter) ? retryAfter : undefined,
  );
  if (error.status === 401) credentials.refused();
  return error;
}
