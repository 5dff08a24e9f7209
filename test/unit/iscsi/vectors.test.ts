import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { wireSession } from '../../support/wire-session.ts';
import type { WireSocket } from '../../support/wire-session.ts';
import { SESSION } from '../../vectors/session.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** Header fields in groups of four bytes, so that a difference can be read. */
const words = (pdu: Buffer): string => (pdu.toString('hex').match(/.{1,8}/g) ?? []).join(' ');

async function talk(socket: WireSocket, upTo: number): Promise<void> {
  for (const { request } of SESSION.slice(0, upTo)) {
    socket.deliver(bytes(request));
    await socket.taken();
  }
}

describe('golden bytes', () => {
  test('every exchange of a session', async () => {
    const socket = await wireSession();
    for (const { name, request, answer } of SESSION) {
      socket.deliver(bytes(request));
      assert.equal(words(await socket.taken()), words(bytes(answer)), name);
    }
    assert.ok(socket.closed, 'a logout ends the connection');
  });

  for (const [index, { name, request, answer }] of SESSION.entries()) {
    test(`cut at every byte: ${name}`, async () => {
      const pdu = bytes(request);
      // A PDU can only be cut in a conversation that has come so far; state changes with it, so each cut is a new one.
      const step = Math.max(1, Math.floor(pdu.length / 64));
      for (let cut = 1; cut < pdu.length; cut += cut < 56 ? 1 : step) {
        const socket = await wireSession();
        await talk(socket, index);
        socket.deliver(pdu.subarray(0, cut));
        assert.equal((await socket.taken()).length, 0, `answered after ${String(cut)} bytes`);
        socket.deliver(pdu.subarray(cut));
        assert.equal(words(await socket.taken()), words(bytes(answer)), `cut at ${String(cut)}`);
      }
    });
  }

  test('a whole session in one read, and byte by byte', async () => {
    const all = Buffer.concat(SESSION.slice(0, -4).map(({ request }) => bytes(request)));
    const expected = words(Buffer.concat(SESSION.slice(0, -4).map(({ answer }) => bytes(answer)))).length;
    for (const size of [all.length, 1]) {
      const socket = await wireSession();
      for (let at = 0; at < all.length; at += size) socket.deliver(all.subarray(at, at + size));
      assert.equal(words(await socket.taken()).length, expected, `in pieces of ${String(size)}`);
    }
  });
});
