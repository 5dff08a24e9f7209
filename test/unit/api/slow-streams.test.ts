// Readers of the stream of events that are slow, and more of them than there may be: on real sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { LIVE_RING_BYTES, MAX_EVENT_STREAMS } from '../../../core/base/limits.ts';
import type { HostRecord } from '../../../core/control/records.ts';
import { withApi } from './fixture.ts';
import type { Api } from './fixture.ts';

const PATH = '/api/v1/events/stream?topics=hosts';
/** TLS handshakes at the same time. */
const AT_ONCE = 32;
/** Bytes after which a reader that takes nothing must have been ended. */
const MAX_SENT = 4 * LIVE_RING_BYTES;

/** A client that reads when it is told to. */
class Socket {
  readonly socket: TLSSocket;
  text = '';
  closed = false;

  constructor({ port, tls, viewer }: Api, session: Buffer | undefined) {
    const options = { host: '127.0.0.1', port, ca: tls.ca, servername: 'localhost' };
    this.socket = connect({ ...options, ...(session === undefined ? {} : { session }) });
    this.socket.on('error', () => undefined);
    this.socket.once('close', () => (this.closed = true));
    this.socket.write(`GET ${PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${viewer}\r\n\r\n`);
    this.socket.setEncoding('latin1').on('data', (text: string) => (this.text += text));
  }

  async until(is: (text: string) => boolean): Promise<void> {
    while (!is(this.text)) {
      assert.ok(!this.closed, `it was closed: ${this.text.slice(0, 300)}`);
      await Promise.race([once(this.socket, 'data'), once(this.socket, 'close')]);
    }
  }
}

const hasBegun = (text: string): boolean => text.includes('event: ready\n') || /^HTTP\/1\.1 [45]/.test(text);

async function eventually(is: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 60_000;
  while (!is()) {
    assert.ok(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('streams of events', () => {
  it('end for a reader that takes nothing, and for no other', async () => {
    await withApi(async (api) => {
      const { catalog, live } = api.plane;
      const slow = new Socket(api, undefined);
      await slow.until(hasBegun);
      slow.socket.pause();
      const fast = new Socket(api, undefined);
      await fast.until(hasBegun);
      assert.equal(live.listeners, 2);
      const iqns = Array.from({ length: 32 }, (_, i) => `iqn.2026-01.example.host:${'x'.repeat(180)}${String(i)}`);
      const host = (name: string): HostRecord => ({ name, iqns, created: 0 });
      const readers = (): number => live.listeners;
      let sent = 0;
      // More than the ring and all buffers between hold: what it did not take is nobody's any more.
      for (let round = 1; readers() === 2 && sent < MAX_SENT; round++) {
        const names = Array.from({ length: 200 }, (_, i) => `h${String(i)}`);
        await catalog.apply(...names.map((name) => catalog.hosts.edit(name, { ...host(name), created: round })));
        const last = `"id":"h199","change":"changed"`;
        const seen = fast.text.length;
        await fast.until((text) => text.includes(last, seen - last.length));
        sent += fast.text.length - seen;
        fast.text = fast.text.slice(-last.length);
      }
      assert.equal(readers(), 1, 'the slow one was ended');
      // Other topics take their part of the ring.
      assert.ok(sent > LIVE_RING_BYTES / 4, `${String(sent)} bytes were sent to the other before`);
      // What is in the kernel's buffers still comes; then it is told by the end of the connection.
      slow.socket.resume();
      await eventually(() => slow.closed, 'the connection ends');
      assert.ok(!fast.closed);
      fast.socket.destroy();
      await eventually(() => live.listeners === 0, 'nobody listens any more');
    });
  });

  it('are as many as there may be, each gets what happens, and one more is refused', { timeout: 150_000 }, async () => {
    await withApi(async (api) => {
      const { catalog, live } = api.plane;
      // One handshake; the others go on with its session.
      const first = new Socket(api, undefined);
      const session = once(first.socket, 'session').then(([ticket]) => ticket as Buffer);
      await first.until(hasBegun);
      const ticket = await session;
      const all = [first];
      while (all.length < MAX_EVENT_STREAMS) {
        const some = Array.from(
          { length: Math.min(AT_ONCE, MAX_EVENT_STREAMS - all.length) },
          () => new Socket(api, ticket),
        );
        await Promise.all(some.map((each) => each.until(hasBegun)));
        all.push(...some);
      }
      assert.equal(live.listeners, MAX_EVENT_STREAMS);
      const refused = new Socket(api, ticket);
      await refused.until(hasBegun);
      assert.match(refused.text, /^HTTP\/1\.1 (?:429|503) [^]*Retry-After: 5\r\n[^]*"code":"limit-reached"/);
      await catalog.apply(catalog.hosts.edit('h', { name: 'h', iqns: [], created: 0 }));
      await Promise.all(all.map((each) => each.until((text) => text.includes('"id":"h"'))));
      first.socket.destroy();
      await eventually(() => live.listeners < MAX_EVENT_STREAMS, 'one is gone');
      const next = new Socket(api, ticket);
      await next.until(hasBegun);
      assert.match(next.text, /event: ready\n/);
      for (const { socket } of [...all, refused, next]) socket.destroy();
      await eventually(() => live.listeners === 0, 'nobody listens any more');
    });
  });
});
