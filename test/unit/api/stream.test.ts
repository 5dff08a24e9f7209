import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import express from 'express';
import fc from 'fast-check';
import { Streams } from '../../../core/api/stream.ts';
import { EventRing } from '../../../core/control/live/ring.ts';
import { withPlane } from '../control/fixture.ts';
import { withApi } from './fixture.ts';
import type { Api } from './fixture.ts';

const PATH = '/api/v1/events/stream';

interface Told {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: { readonly id?: string; readonly change?: string; readonly item?: Record<string, unknown> | null };
}

/** A client of the stream. */
class Reader {
  readonly #request: ClientRequest;
  readonly #told: Told[] = [];
  #wake: () => void = () => undefined;
  #text = '';
  response: IncomingMessage | undefined;
  ended = false;
  bytes = 0;

  constructor({ port, tls }: Api, query: string, headers: Record<string, string>) {
    const target = { host: '127.0.0.1', port, ca: tls.ca, agent: false, path: PATH + query };
    this.#request = httpsRequest({ ...target, headers: { Accept: 'text/event-stream', ...headers } }, (response) => {
      this.response = response;
      response.setEncoding('utf8').on('data', (text: string) => {
        this.bytes += text.length;
        this.#text += text;
        const parts = this.#text.split('\n\n');
        this.#text = parts.pop() ?? '';
        for (const part of parts) this.#take(part);
        this.#wake();
      });
      response
        .on('error', () => undefined)
        .once('close', () => {
          this.ended = true;
          this.#wake();
        });
      this.#wake();
    });
    this.#request.on('error', () => {
      this.ended = true;
      this.#wake();
    });
    this.#request.end();
  }

  #take(part: string): void {
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(part)?.[1];
    const event = field('event');
    if (event !== undefined)
      this.#told.push({ id: field('id'), event, data: JSON.parse(field('data') ?? 'null') as Told['data'] });
  }

  async #until<T>(have: () => T | undefined): Promise<T> {
    const limit = setTimeout(() => this.#request.destroy(new Error('nothing more')), 20_000);
    try {
      for (;;) {
        const found = have();
        if (found !== undefined) return found;
        assert.ok(!this.ended, `the stream has ended; ${JSON.stringify(this.#told).slice(0, 500)}`);
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(limit);
    }
  }

  /** The first event from now on for which `is` holds; it and those before are taken. */
  next(is: (told: Told) => boolean = () => true): Promise<Told> {
    return this.#until(() => {
      const at = this.#told.findIndex(is);
      return at < 0 ? undefined : this.#told.splice(0, at + 1).at(-1);
    });
  }

  async over(): Promise<void> {
    while (!this.ended) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  stop(): void {
    this.#request.destroy();
  }
}

describe('the stream of events', () => {
  it('tells what changes, once, with what it looks like now', async () => {
    await withApi(async (api) => {
      const { plane, viewer } = api;
      const auth = { Authorization: `Bearer ${viewer}` };
      const reader = new Reader(api, '?topics=volumes,maps,policies', auth);
      assert.equal((await reader.next()).event, 'ready');
      assert.match(reader.response?.headers['content-type'] ?? '', /^text\/event-stream/);
      await plane.provisioner.create({ name: 'v', size: 1 << 20 });
      const made = await reader.next(({ data }) => data.item?.['state'] === 'online');
      assert.deepEqual([made.event, made.data.id, made.data.change], ['volumes', 'v', 'changed']);
      await plane.provisioner.map('v', 'all', true);
      assert.deepEqual((await reader.next(({ event }) => event === 'maps')).data.item, [
        { initiator: 'all', access: 'read-only' },
      ]);
      await plane.policies.create('gold', {});
      const policy = await reader.next(({ event }) => event === 'policies');
      assert.deepEqual([policy.data.id, policy.data.change, policy.data.item], ['gold', 'changed', null]);
      await plane.initiators.put({
        iqn: 'iqn.2026-01.example.host:alice',
        chap: { user: 'a', secret: 'correct-horse-1' },
      });
      await plane.provisioner.delete('v', false, false);
      const gone = await reader.next(({ data }) => data.change === 'deleted');
      assert.deepEqual([gone.event, gone.data.id, gone.data.item], ['volumes', 'v', null]);
      reader.stop();
    });
  });

  it('goes on behind the last event a client has, and says when it cannot', async () => {
    await withApi(async (api) => {
      const { plane, viewer } = api;
      const auth = { Authorization: `Bearer ${viewer}` };
      const first = new Reader(api, '?topics=initiators', auth);
      const { id = '' } = await first.next();
      first.stop();
      const iqn = (n: number): string => `iqn.2026-01.example.host:${String(n)}`;
      const chap = { user: 'a', secret: 'correct-horse-battery' };
      for (let n = 0; n < 3; n++) await plane.initiators.put({ iqn: iqn(n), chap });
      const second = new Reader(api, '?topics=initiators', { ...auth, 'Last-Event-ID': id });
      assert.equal((await second.next()).event, 'ready');
      let last = '';
      for (let n = 0; n < 3; n++) {
        const told = await second.next();
        assert.equal(told.data.id, iqn(n));
        assert.ok(!JSON.stringify(told).includes('correct-horse'));
        last = told.id ?? '';
      }
      second.stop();
      const third = new Reader(api, '', { ...auth, 'Last-Event-ID': last });
      await third.next();
      await plane.initiators.put({ iqn: iqn(9) });
      assert.equal((await third.next()).data.id, iqn(9), 'nothing comes twice');
      third.stop();
      for (const lost of ['00000000-1', `${id.slice(0, 9)}999999`, 'nonsense']) {
        const reader = new Reader(api, '', { ...auth, 'Last-Event-ID': lost });
        assert.equal((await reader.next()).event, 'reset', lost);
        reader.stop();
      }
    });
  });

  it('tells statistics of what moves, and sessions and states that have no record', async () => {
    await withApi(async (api) => {
      const { plane, viewer } = api;
      const record = await plane.provisioner.create({ name: 'v', size: 1 << 20 });
      const reader = new Reader(api, '?topics=volumes&stats=1', { Authorization: `Bearer ${viewer}` });
      await reader.next();
      const stats = await reader.next(({ event }) => event === 'stats');
      assert.equal((stats.data as unknown as { volumes: { name: string }[] }).volumes[0]?.name, 'v');
      assert.equal(stats.id, undefined);
      const lu = plane.units.withdraw(record, plane.catalog.iqnOf(record.target));
      plane.units.setProblem('v', 'the disk is on fire');
      const failed = await reader.next(({ event, data }) => event === 'volumes' && data.item?.['state'] === 'failed');
      assert.equal(failed.data.item?.['problem'], 'the disk is on fire');
      await lu?.volume.close();
      reader.stop();
    });
  });

  it('tells admins of users, tokens, settings and targets of alerts, and others no names of them', async () => {
    await withApi(async (api) => {
      const { ask, plane, admin, viewer } = api;
      const { security, tokens, alerts, trash, offload, catalog } = plane;
      const readers = [admin, viewer].map((token) => new Reader(api, '', { Authorization: `Bearer ${token}` }));
      for (const reader of readers) await reader.next();
      const password = 'a long enough password';
      const ben = await security.users.create({ name: 'ben', role: 'viewer', password });
      await security.settings.put({ frameOrigins: [], apiNames: ['a.example'] });
      await tokens.create({ name: 'script', role: 'viewer' }, 'A'.repeat(43));
      const syslog = { host: '127.0.0.1', port: 9, protocol: 'udp' } as const;
      await alerts.put({ name: 'log-host', atLeast: 'info', syslog });
      await alerts.setRule('slow-device', { limit: 50 });
      await trash.setKeep(60_000);
      await catalog.apply(...catalog.editNode({ portalGroups: [7] }));
      await offload.setRoute('never');
      const told = await Promise.all(
        readers.map(async (reader) => {
          const seen: string[] = [];
          for (let last = ''; last !== 'copy-route';) {
            const { event, data } = await reader.next();
            last = data.id ?? '';
            seen.push(`${event} ${last}`);
            if (event !== 'events') assert.equal(data.item, null, 'what it looks like is asked for');
          }
          return seen.filter((each) => !each.startsWith('events ')).sort();
        }),
      );
      const all = ['alerts slow-device', ...['copy-route', 'retention', 'security'].map((each) => `settings ${each}`)];
      // The callers' own tokens have been used for the first time, which is told as well.
      const ofAdmins = ['alert-targets log-host', 'tokens script', 'users ben'];
      assert.deepEqual(
        told[0]?.filter((each) => !/^tokens (admin|viewer)$/.test(each)),
        [...all, ...ofAdmins].sort(),
      );
      assert.deepEqual(told[1], all);

      const { session } = await security.sessions.begin(ben);
      const began = await readers[0]?.next(({ event }) => event === 'users');
      assert.deepEqual([began?.event, began?.data.id, began?.data.change], ['users', 'ben', 'changed']);
      await security.sessions.end(session.id);
      const ended = await readers[0]?.next(({ event }) => event === 'users');
      assert.deepEqual([ended?.event, ended?.data.id], ['users', 'ben']);
      await security.removeUser('ben');
      const gone = await readers[0]?.next(({ event }) => event === 'users');
      assert.deepEqual([gone?.event, gone?.data.id, gone?.data.change], ['users', 'ben', 'deleted']);
      for (const reader of readers) reader.stop();

      for (const topic of ['users', 'tokens', 'alert-targets']) {
        const { status, json } = await ask('GET', `${PATH}?topics=jobs,${topic}`, { token: viewer });
        assert.deepEqual([status, json['code']], [403, 'forbidden'], topic);
      }
    });
  });

  it('ends for who may not have it any more, also while there is always something to tell', async () => {
    await withPlane(async (plane) => {
      const streams = new Streams(plane.live, 100);
      let may = true;
      const app = express().get('/', (request, response) => {
        streams.serve(request, response, { topics: ['jobs'], stats: 1 }, () => may);
      });
      const server = app.listen(0, '127.0.0.1');
      try {
        await once(server, 'listening');
        const { port } = server.address() as AddressInfo;
        const answer = await fetch(`http://127.0.0.1:${String(port)}/`);
        let text = '';
        for await (const part of answer.body ?? []) {
          text += Buffer.from(part as Uint8Array).toString();
          const stats = text.split('event: stats').length - 1;
          assert.ok(stats < 20, 'it goes on and on');
          if (stats > 1) may = false;
        }
        assert.ok(!may, text);
      } finally {
        server.close();
      }
    });
  });

  it('refuses who is nobody and what is not a topic, and ends with the daemon', async () => {
    await withApi(async (api) => {
      const { ask, plane, viewer: token } = api;
      assert.equal((await ask('GET', PATH)).status, 401);
      assert.equal((await ask('POST', PATH, { token })).status, 405);
      assert.equal((await ask('HEAD', PATH, { token })).status, 200);
      for (const query of ['?topics=x', '?topics=', '?stats=2', '?topics=jobs&topics=pools', '?x=1']) {
        assert.equal((await ask('GET', PATH + query, { token })).status, 400, query);
      }
      const headers = { Accept: 'application/json' };
      assert.equal((await ask('GET', PATH, { token, headers })).status, 406);
      const reader = new Reader(api, '', { Authorization: `Bearer ${token}` });
      await reader.next();
      plane.live.close();
      await reader.over();
      assert.equal(plane.live.listeners, 0);
    });
  });
});

describe('EventRing', () => {
  it('gives what is behind a number, and knows what it has lost', () => {
    const topics = fc.constantFrom('a', 'b');
    fc.assert(
      fc.property(
        fc.array(topics, { maxLength: 60 }),
        fc.nat(70),
        fc.integer({ min: 1, max: 50 }),
        (pushed, from, chunk) => {
          const ring = new EventRing(10, 60);
          for (const topic of pushed) ring.push(topic, (number) => Buffer.from(String(number).padStart(8, '0')));
          const kept = Math.min(pushed.length, 7);
          assert.equal(ring.last, pushed.length);
          assert.equal(ring.reaches(from), from <= pushed.length && from >= pushed.length - kept);
          if (!ring.reaches(from)) return;
          const got: number[] = [];
          for (let at = from; at < ring.last;) {
            const { parts, upTo } = ring.after(at, new Set(['a']), chunk);
            assert.ok(upTo > at);
            got.push(...parts.map((part) => Number(part.toString())));
            at = upTo;
          }
          const expected = pushed.flatMap((topic, i) => (topic === 'a' && i + 1 > from ? [i + 1] : []));
          assert.deepEqual(got, expected);
        },
      ),
      { seed: 11, numRuns: 500 },
    );
  });
});
