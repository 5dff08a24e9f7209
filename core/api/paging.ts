// Lists: pages of a stable order, which a cursor continues whatever came and went in between.
import { z } from 'zod';
import { ServiceError } from '../base/errors.ts';
import { DEFAULT_PAGE, MAX_CURSOR, MAX_PAGE } from '../base/limits.ts';
import { API_PREFIX } from './prefix.ts';
import './schema-names.ts';
import { route } from './route.ts';
import type { Route } from './route.ts';

type Key = string | number;

/** One declared filter: what it may be, and which rows pass. */
export interface Filter<T> {
  readonly schema: z.ZodType<string | undefined>;
  readonly passes: (row: T, wanted: string) => boolean;
}

/** What a list is made of. `T` is what it is made from, before anybody sees it. */
export interface ListRow<T> extends Pick<Route, 'path' | 'tag' | 'summary'> {
  readonly item: z.ZodType;
  /** Everything there is; in order of `key` when `inOrder`. `query` holds the filters, for rows that are cheaper to find by them. */
  readonly rows: (
    query: Readonly<Record<string, string | undefined>>,
    params: Readonly<Record<string, string>>,
  ) => readonly T[];
  /** Of the path. */
  readonly params?: z.ZodType;
  readonly problems?: Route['problems'];
  readonly inOrder?: boolean;
  /** Different for each row: what the list is ordered by when nobody asks for another order, and what decides between equals. */
  readonly key: (row: T) => Key;
  readonly keyName: string;
  readonly filters?: Readonly<Record<string, Filter<T>>>;
  /** Further orders, by name. */
  readonly sorts?: Readonly<Record<string, (row: T) => Key>>;
  readonly view: (row: T) => unknown;
}

const Cursor = z.tuple([z.string(), z.union([z.string(), z.number()]), z.union([z.string(), z.number()])]);
type Place = z.infer<typeof Cursor>;

/** A filter by the beginning of a name. */
export function prefix<T>(of: (row: T) => string, description = 'only those that begin so'): Filter<T> {
  const schema = z.string().min(1).max(223).optional().meta({ description });
  return { schema, passes: (row, wanted) => of(row).startsWith(wanted) };
}

/** A filter by one of the values of a row. */
export function exact<T>(schema: z.ZodType<string | undefined>, of: (row: T) => string | null | undefined): Filter<T> {
  return { schema, passes: (row, wanted) => of(row) === wanted };
}

/** The row that lists, in pages. */
export function listRoute<T>(list: ListRow<T>): Route {
  const { path, tag, summary, item, filters = {} } = list;
  const orders: Readonly<Record<string, (row: T) => Key>> = { [list.keyName]: list.key, ...list.sorts };
  const names = Object.keys(orders).flatMap((name) => [name, `-${name}`]);
  const query = z.strictObject({
    limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE).meta({ description: 'items of a page' }),
    cursor: z.string().min(1).max(MAX_CURSOR).optional().meta({ description: 'from `next`; opaque' }),
    sort: z.enum(names).default(list.keyName).meta({ description: 'with "-": the largest first' }),
    ...Object.fromEntries(Object.entries(filters).map(([name, { schema }]) => [name, schema])),
  });
  return route({
    method: 'get',
    path,
    tag,
    summary,
    role: 'viewer',
    query,
    response: pageOf(item),
    problems: list.problems ?? [],
    ...(list.params === undefined ? {} : { params: list.params }),
    handle: ({ query: asked, params: given }) => {
      const params = given as Readonly<Record<string, string>>;
      const { limit, cursor, sort, ...rest } = asked as unknown as Asked;
      const wanted = rest as Readonly<Record<string, string | undefined>>;
      const descending = sort.startsWith('-');
      const by = orders[descending ? sort.slice(1) : sort] ?? list.key;
      const passing = Object.entries(wanted).flatMap(([name, value]) => {
        const filter = filters[name];
        return filter === undefined || value === undefined ? [] : [(row: T) => filter.passes(row, value)];
      });
      const place = cursor === undefined ? undefined : parseCursor(cursor, sort);
      const order = { by, key: list.key, sign: descending ? -1 : 1, sorted: list.inOrder === true && by === list.key };
      const page = pick(list.rows(wanted, params), passing, order, place, limit);
      const last = page.length > limit ? page[limit - 1] : undefined;
      return {
        items: page.slice(0, limit).map((row) => list.view(row)),
        next:
          last === undefined
            ? null
            : linkOf(fill(path, params), { ...wanted, limit, sort }, [sort, by(last), list.key(last)]),
      };
    },
  });
}

interface Asked {
  readonly limit: number;
  readonly cursor?: string;
  readonly sort: string;
}

const fill = (path: string, params: Readonly<Record<string, string>>): string =>
  path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));

/** The schema of a page of `item`, which is a named one as `item` is. */
function pageOf(item: z.ZodType): z.ZodType {
  const next = z.string().nullable().meta({ description: 'path of the next page; null: this was the last one' });
  const page = z.object({ items: z.array(item), next });
  const id = item.meta()?.id;
  return id === undefined ? page : page.meta({ id: `${id}Page` });
}

interface Order<T> {
  readonly by: (row: T) => Key;
  readonly key: (row: T) => Key;
  readonly sign: number;
  /** The rows are in the ascending form of this order already. */
  readonly sorted: boolean;
}

/** Up to `limit` + 1 rows behind `place` that pass. */
function pick<T>(
  rows: readonly T[],
  passing: readonly ((row: T) => boolean)[],
  order: Order<T>,
  place: Place | undefined,
  limit: number,
): T[] {
  const after = (row: T): boolean =>
    place === undefined || order.sign * (compare(order.by(row), place[1]) || compare(order.key(row), place[2])) > 0;
  const wanted = (row: T): boolean => passing.every((passes) => passes(row));
  if (!order.sorted) {
    const found = rows.filter((row) => after(row) && wanted(row));
    found.sort((a, b) => order.sign * (compare(order.by(a), order.by(b)) || compare(order.key(a), order.key(b))));
    return found.slice(0, limit + 1);
  }
  const found: T[] = [];
  // The rows behind the place are the last ones, or (descending) the first ones.
  let at = order.sign > 0 ? firstIndex(rows, after) : firstIndex(rows, (row) => !after(row)) - 1;
  for (; found.length <= limit; at += order.sign) {
    const row = rows[at];
    if (row === undefined) break;
    if (wanted(row)) found.push(row);
  }
  return found;
}

/** Index of the first row for which `is` holds, where it holds for all that follow. */
function firstIndex<T>(rows: readonly T[], is: (row: T) => boolean): number {
  let low = 0;
  for (let high = rows.length; low < high;) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row === undefined || is(row)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** By number, or by code units: the order that does not depend on the language of the machine. */
function compare(a: Key, b: Key): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function linkOf(path: string, asked: Readonly<Record<string, string | number | undefined>>, place: Place): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) if (value !== undefined) query.set(name, String(value));
  query.set('cursor', Buffer.from(JSON.stringify(place)).toString('base64url'));
  return `${API_PREFIX}${path}?${query.toString()}`;
}

/** Throws ServiceError bad-request when it is not one of ours, or continues a list in another order. */
function parseCursor(text: string, sort: string): Place {
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    // Told below.
  }
  const place = Cursor.safeParse(decoded);
  if (!place.success) throw new ServiceError('bad-request', 'query.cursor: not from a `next` of this list');
  if (place.data[0] !== sort) throw new ServiceError('bad-request', 'query.cursor: continues a list in another order');
  return place.data;
}
