import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { exact, listRoute, prefix } from '../../../core/api/paging.ts';
import { codeOf } from '../control/fixture.ts';
import { withApi } from './fixture.ts';

const V1 = '/api/v1';

interface Thing {
  readonly name: string;
  readonly size: number;
  readonly colour: string;
}
interface Page {
  readonly items: Thing[];
  readonly next: string | null;
}

/** A list over `things`, asked as the router would ask it. */
function lister(things: Thing[], inOrder: boolean): (url: string) => Page {
  const row = listRoute<Thing>({
    ...{ path: '/things', tag: 'x', summary: 'x', keyName: 'name', inOrder },
    item: z.object({ name: z.string(), size: z.int(), colour: z.string() }),
    rows: () => things,
    key: ({ name }) => name,
    sorts: { size: ({ size }) => size },
    filters: { name: prefix(({ name }) => name), colour: exact(z.string().optional(), ({ colour }) => colour) },
    view: (thing) => thing,
  });
  return (url) => {
    const query = row.query.parse(Object.fromEntries(new URL(url, 'https://x').searchParams));
    return row.handle({ query } as never, undefined as never) as Page;
  };
}

/** All pages, one after the other. */
function all(list: (url: string) => Page, url: string, between: () => void = () => undefined): Thing[] {
  const items: Thing[] = [];
  for (let next: string | null = url; next !== null;) {
    const page = list(next);
    items.push(...page.items);
    next = page.next;
    between();
  }
  return items;
}

const byName = (a: Thing, b: Thing): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

describe('a list in pages', () => {
  const things = fc
    .uniqueArray(fc.string({ maxLength: 3, unit: 'binary' }), { maxLength: 40 })
    .chain((names) =>
      fc.tuple(
        ...names.map((name) =>
          fc.record({ name: fc.constant(name), size: fc.nat(3), colour: fc.constantFrom('red', 'blue') }),
        ),
      ),
    )
    .map((made) => [...made].sort(byName));

  it('is the whole list in its order, whatever the order, the filter and the size of a page', () => {
    fc.assert(
      fc.property(
        things,
        fc.integer({ min: 1, max: 7 }),
        fc.constantFrom('name', '-name', 'size', '-size'),
        fc.constantFrom(undefined, 'red'),
        fc.boolean(),
        (made, limit, sort, colour, inOrder) => {
          const filter = colour === undefined ? '' : `&colour=${colour}`;
          const got = all(lister(made, inOrder), `/?limit=${String(limit)}&sort=${sort}${filter}`);
          const sign = sort.startsWith('-') ? -1 : 1;
          const order = (a: Thing, b: Thing): number =>
            sign * ((sort.endsWith('size') ? a.size - b.size : 0) || byName(a, b));
          assert.deepEqual(got, made.filter((each) => colour === undefined || each.colour === colour).sort(order));
        },
      ),
      { seed: 3, numRuns: 300 },
    );
  });

  it('shows what stays exactly once while others come and go', () => {
    const name = (i: number): string => `v${String(i).padStart(3, '0')}`;
    const made = Array.from({ length: 50 }, (_, i) => ({ name: name(2 * i), size: i % 3, colour: 'red' }));
    for (const sort of ['name', '-name', 'size', '-size']) {
      const now = [...made];
      let turn = 0;
      const got = all(lister(now, true), `/?limit=7&sort=${sort}`, () => {
        const gone = now.findIndex((each) => each.colour === 'red' && each.name.endsWith('8'));
        if (gone >= 0) now.splice(gone, 1);
        now.push({ name: name(2 * turn + 1), size: turn % 3, colour: 'blue' });
        now.sort(byName);
        turn++;
      });
      const seen = got.map((each) => each.name);
      assert.equal(new Set(seen).size, seen.length, sort);
      for (const each of made)
        if (!each.name.endsWith('8')) assert.ok(seen.includes(each.name), `${sort} ${each.name}`);
    }
  });
});

describe('lists of the API', () => {
  it('are filtered, ordered and continued', async () => {
    await withApi(async ({ ask, plane, viewer: token, url, admin }) => {
      for (const [name, size] of Object.entries({ a1: 3, a2: 1, b1: 2 })) {
        const maps = name === 'a2' ? [{ who: 'all', readOnly: false }] : [];
        await plane.provisioner.create({ name, size: size << 20, target: 't', maps });
      }
      const names = async (query: string): Promise<unknown> => {
        const { status, json, text } = await ask('GET', `${V1}/volumes?${query}`, { token });
        return status === 200 ? (json['items'] as { name: string }[]).map((each) => each.name).join(' ') : text;
      };
      assert.equal(await names(''), 'a1 a2 b1');
      assert.equal(await names('sort=size'), 'a2 b1 a1');
      assert.equal(await names('name=a&sort=-size'), 'a1 a2');
      assert.equal(await names('initiator=all&state=online&target=t'), 'a2');
      assert.equal(await names('state=failed'), '');
      const first = (await ask('GET', `${V1}/volumes?sort=-size&limit=2`, { token })).json;
      const next = String(first['next']);
      assert.match(next, /^\/api\/v1\/volumes\?/);
      const rest = (await ask('GET', next, { token })).json as unknown as Page;
      assert.deepEqual([rest.items.map(({ name }) => name), rest.next], [['a2'], null]);
      for (const bad of [
        'limit=0',
        'limit=1001',
        'limit=x',
        'sort=colour',
        'colour=red',
        'limit=1&limit=2',
        'cursor=x',
      ]) {
        const { status, json } = await ask('GET', `${V1}/volumes?${bad}`, { token });
        assert.deepEqual([status, json['code']], [400, 'bad-request'], bad);
      }
      const other = next.replace('sort=-size', 'sort=size');
      assert.equal((await ask('GET', other, { token })).status, 400);
      assert.equal((await new ApiClient(url, admin).list('/stats?sort=-name')).length, 3);
      assert.equal(await codeOf(() => new ApiClient(url, admin).list('/snapshots?volume=none')), 'not-found');
    });
  });
});

describe('method and media types', () => {
  it('are refused with their own codes', async () => {
    await withApi(async ({ ask, admin: token }) => {
      const wrong = await ask('PUT', `${V1}/volumes`, { token, body: '{}' });
      assert.deepEqual(
        [wrong.status, wrong.json['code'], wrong.headers.allow],
        [405, 'method-not-allowed', 'GET, POST, HEAD, OPTIONS'],
      );
      const options = await ask('OPTIONS', `${V1}/volumes/x`, { token });
      assert.deepEqual([options.status, options.headers.allow], [204, 'GET, PATCH, DELETE, HEAD, OPTIONS']);
      assert.equal((await ask('HEAD', `${V1}/volumes`, { token })).status, 200);
      const image = await ask('GET', `${V1}/volumes`, { token, headers: { Accept: 'image/png' } });
      assert.deepEqual([image.status, image.json['code']], [406, 'not-acceptable']);
      assert.equal((await ask('GET', '/metrics', { token, headers: { Accept: 'application/json' } })).status, 406);
      assert.equal(
        (await ask('GET', '/metrics', { token, headers: { Accept: 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1' } }))
          .status,
        200,
      );
      const code = async (headers: Record<string, string>, body?: string | Buffer): Promise<unknown> =>
        (await ask('POST', `${V1}/volumes`, { token, body, headers })).json['code'];
      assert.equal(await code({ 'Content-Type': 'text/plain' }, '{}'), 'unsupported-media-type');
      assert.equal(await code({ 'Content-Type': 'application/json; charset=latin1' }, '{}'), 'unsupported-media-type');
      assert.equal(await code({ 'Content-Encoding': 'gzip' }, '{}'), 'unsupported-media-type');
      assert.equal(await code({}), 'bad-request');
      assert.equal(await code({}, Buffer.from([0x22, 0xff, 0x22])), 'bad-request');
      assert.equal(await code({}, `{"name":"${'x'.repeat(70_000)}"}`), 'too-large');
    });
  });
});
