import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Socket as Client } from 'node:net';
import { describe, mock, test } from 'node:test';
import { SEND_REST_PATIENCE } from '../../../core/base/limits.ts';
import type { Listener, Socket, SocketSink } from '../../../core/base/world.ts';
import { addressOf } from '../../../core/base/memory-address.ts';
import { asyncReads, learnAsyncReads } from '../../../core/world/async-reads.ts';
import { directSends } from '../../../core/world/direct-send.ts';
import { nodeNet } from '../../../core/world/node-net.ts';

const MIB = 1_048_576;

/** Keeps what arrives; offers a different small piece of memory before every read. */
class Sink implements SocketSink {
  readonly got: Buffer[] = [];
  readonly reasons: string[] = [];
  #offered: Buffer = Buffer.alloc(0);
  asked = 0;
  drains = 0;
  bytes = 0;
  goOn = true;
  bufferSize = 1000;
  /** Runs when anything has happened. */
  #wake: () => void = () => undefined;

  buffer(): Buffer {
    this.asked++;
    return (this.#offered = Buffer.alloc(this.bufferSize + (this.asked % 3)));
  }
  received(bytes: number): boolean {
    assert.ok(bytes > 0 && bytes <= this.#offered.length);
    this.got.push(Buffer.from(this.#offered.subarray(0, bytes)));
    this.bytes += bytes;
    this.#wake();
    return this.goOn;
  }
  drained(): void {
    this.drains++;
    this.#wake();
  }
  closed(reason: string): void {
    this.reasons.push(reason);
    this.#wake();
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

interface Pair {
  readonly listener: Listener;
  readonly socket: Socket;
  readonly sink: Sink;
  readonly client: Client;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

await learnAsyncReads();

test('sends go past the stream on this version of Node', async () => {
  assert.notEqual(await directSends(), undefined);
});

const WAYS = [
  ['direct', 'automatic'],
  ['direct', 'stream'],
  ['copying', 'automatic'],
  ['copying', 'stream'],
] as const;

for (const [mode, sending] of WAYS) {
  describe(`sockets, ${mode} way of receiving, ${sending} way of sending`, { timeout: 30_000 }, () => {
    async function pair(use: (pair: Pair) => Promise<void>): Promise<void> {
      const net = await nodeNet(mode, sending);
      const sink = new Sink();
      let accept: (socket: Socket) => void = () => undefined;
      const accepted = new Promise<Socket>((resolve) => (accept = resolve));
      const listener = await net.listen('127.0.0.1', 0, (each) => {
        accept(each);
        each.start(sink);
      });
      const client = connect({ host: '127.0.0.1', port: listener.port });
      client.on('error', () => undefined);
      const socket = await accepted;
      try {
        await use({ listener, socket, sink, client });
      } finally {
        client.destroy();
        socket.destroy();
        await listener.close();
      }
    }

    test('everything arrives in order, in memory that is asked for anew each time', async () => {
      await pair(async ({ socket, sink, client }) => {
        assert.deepEqual([socket.remoteAddress, socket.localAddress], ['127.0.0.1', '127.0.0.1']);
        assert.equal(socket.remotePort, client.localPort);
        const data = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) >> 3));
        client.write(data);
        await sink.until(() => sink.bytes === data.length);
        assert.ok(Buffer.concat(sink.got).equals(data));
        assert.ok(sink.asked >= sink.got.length && sink.got.length >= 300);
      });
    });

    test('nothing arrives between a refusal and resume, and nothing is lost', async () => {
      await pair(async ({ socket, sink, client }) => {
        const data = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i >> 4));
        sink.goOn = false;
        client.write(data);
        for (let round = 1; round <= 5; round++) {
          await sink.until(() => sink.got.length === round);
          await wait(10);
          assert.equal(sink.got.length, round);
          if (round === 5) sink.goOn = true;
          socket.resume();
          assert.equal(sink.got.length, round, 'not from inside resume');
        }
        await sink.until(() => sink.bytes === data.length);
        assert.ok(Buffer.concat(sink.got).equals(data));
      });
    });

    test('writes arrive in order, are told about, and a slow reader is seen', async () => {
      await pair(async ({ socket, sink, client }) => {
        client.pause();
        const pieces = Array.from({ length: 60 }, (_, i) => Buffer.alloc(MIB, i));
        let freed = 0;
        // All ways of writing, each behind the others, and back again when everything has gone out.
        socket.write(pieces[0] as Buffer);
        socket.writeAll(pieces.slice(1, 20));
        socket.write(pieces[20] as Buffer);
        for (const piece of pieces.slice(21, 30)) socket.write(piece, () => freed++);
        socket.writeAll(pieces.slice(30, 39));
        socket.write(pieces[39] as Buffer);
        await wait(30);
        assert.ok(socket.unsent > 20 * MIB && freed < 9);
        const received: Buffer[] = [];
        client.on('data', (chunk) => received.push(chunk));
        client.resume();
        await sink.until(() => sink.drains > 0);
        assert.equal(socket.unsent, 0);
        socket.writeAll(pieces.slice(40));
        await sink.until(() => socket.unsent === 0);
        while (received.reduce((sum, each) => sum + each.length, 0) < 60 * MIB) await wait(5);
        assert.ok(Buffer.concat(received).equals(Buffer.concat(pieces)));
        assert.equal(freed, 9);
      });
    });

    test('a peer that is gone ends the connection, whatever waits for it', async () => {
      await pair(async ({ socket, sink, client }) => {
        client.pause();
        while (socket.unsent < 4 * MIB) socket.write(Buffer.alloc(MIB));
        const { drains } = sink;
        client.resetAndDestroy();
        await sink.until(() => sink.reasons.length > 0);
        assert.match(sink.reasons[0] ?? '', /ECONNRESET|EPIPE/);
        socket.write(Buffer.alloc(MIB));
        socket.writeAll([Buffer.alloc(MIB)]);
        await wait(5);
        assert.deepEqual([sink.reasons.length, sink.drains], [1, drains]);
      });
    });

    test('what is gathered arrives in order, also when the network does not take all of it', async () => {
      await pair(async ({ socket, sink, client }) => {
        const { gather } = socket;
        assert.equal(gather !== undefined, sending === 'automatic' && asyncReads() !== undefined);
        // Of the ways of sending one has it.
        if (gather === undefined) return;
        const memory = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * 7) >> 3));
        const address = addressOf(memory) ?? 0;
        const expected: Buffer[] = [];
        client.pause();
        while (socket.unsent < 2 * MIB) {
          for (const [from, bytes] of [
            [17, 48],
            [4096, 300_000],
            [5, 1],
          ] as const) {
            gather.add(memory, address, from, bytes);
            expected.push(memory.subarray(from, from + bytes));
          }
          socket.sendGathered?.(gather);
          gather.clear();
        }
        const got: Buffer[] = [];
        client.on('data', (data) => got.push(data));
        client.resume();
        await sink.until(() => socket.unsent === 0 && sink.drains > 0);
        client.end();
        await new Promise((resolve) => client.once('close', resolve));
        assert.ok(Buffer.concat(got).equals(Buffer.concat(expected)));
      });
    });

    test('the end of every backlog is told, also of small writes made while a larger one is stuck', async () => {
      await pair(async ({ socket, sink, client }) => {
        for (let round = 0; round < 20; round++) {
          client.pause();
          // Fill what the kernel takes, then add little things at different moments of the way out.
          while (socket.unsent === 0) socket.write(Buffer.alloc(MIB));
          const small = setInterval(() => {
            socket.write(Buffer.alloc(10));
          }, 1);
          await wait(3);
          client.resume();
          await wait(3);
          clearInterval(small);
          const before = sink.drains;
          if (socket.unsent > 0) await sink.until(() => sink.drains > before && socket.unsent === 0);
        }
        assert.ok(sink.drains > 0);
      });
    });

    test('the end of the connection is told exactly once, whoever ends it', async () => {
      for (const end of ['peer', 'reset', 'destroy', 'end'] as const) {
        await pair(async ({ listener, socket, sink, client }) => {
          client.resume();
          socket.write(Buffer.from('x'));
          if (end === 'peer') client.end();
          else if (end === 'reset') client.resetAndDestroy();
          else if (end === 'destroy') socket.destroy('enough');
          else socket.end();
          socket.destroy();
          await sink.until(() => sink.reasons.length > 0);
          if (end === 'destroy') assert.equal(sink.reasons[0], 'enough');
          let freed = 0;
          const whenFreed = new Promise<void>((resolve) => {
            socket.write(Buffer.from('too late'), () => {
              freed++;
              resolve();
            });
          });
          assert.equal(freed, 0);
          await listener.close();
          await whenFreed;
          await wait(5);
          assert.deepEqual([sink.reasons.length, freed], [1, 1]);
        });
      }
    });

    test('end sends what is queued first', async () => {
      await pair(async ({ socket, sink, client }) => {
        let bytes = 0;
        client.on('data', (chunk) => (bytes += chunk.length));
        socket.write(Buffer.alloc(20 * MIB));
        socket.end();
        await sink.until(() => sink.reasons.length > 0);
        while (bytes < 20 * MIB) await wait(5);
      });
    });

    test('a peer that does not read cannot keep a connection that we have ended', async () => {
      await pair(async ({ socket, sink, client }) => {
        client.pause();
        while (socket.unsent === 0) socket.write(Buffer.alloc(MIB));
        mock.timers.enable({ apis: ['setTimeout'] });
        try {
          socket.end();
          mock.timers.tick(SEND_REST_PATIENCE - 1);
          await new Promise((resolve) => setImmediate(resolve));
          assert.deepEqual(sink.reasons, []);
          mock.timers.tick(2);
        } finally {
          mock.timers.reset();
        }
        await sink.until(() => sink.reasons.length > 0);
      });
    });

    test('closing the listener waits for the connections it accepted, and no longer', async () => {
      await pair(async ({ listener, socket }) => {
        let closed = false;
        const closing = listener.close().then(() => (closed = true));
        await wait(10);
        assert.equal(closed, false);
        socket.destroy();
        await closing;
      });
    });

    test('a socket that is refused before it starts, and one whose peer is gone by then', async () => {
      const net = await nodeNet(mode, sending);
      const sink = new Sink();
      const sockets: Socket[] = [];
      const listener = await net.listen('127.0.0.1', 0, (socket) => {
        sockets.push(socket);
        if (sockets.length === 1) socket.destroy('no');
      });
      const first = connect({ host: '127.0.0.1', port: listener.port });
      await new Promise((resolve) => first.once('close', resolve));
      const second = connect({ host: '127.0.0.1', port: listener.port });
      second.on('error', () => undefined);
      while (sockets.length < 2) await wait(2);
      second.resetAndDestroy();
      await wait(10);
      sockets[1]?.start(sink);
      await sink.until(() => sink.reasons.length > 0);
      const third = connect({ host: '127.0.0.1', port: listener.port });
      while (sockets.length < 3) await wait(2);
      sockets[2]?.destroy();
      const late = new Sink();
      sockets[2]?.start(late);
      await late.until(() => late.reasons.length > 0);
      third.destroy();
      await listener.close();
    });
  });
}

describe('listening', () => {
  test('IPv6 works, and a port of 0 becomes a real one', async (t) => {
    const net = await nodeNet('copying');
    const listener = await net
      .listen('::1', 0, (socket) => {
        socket.destroy();
      })
      .catch((error: unknown) => {
        t.skip(`no IPv6 loopback here: ${String(error)}`);
      });
    if (listener === undefined) return;
    assert.equal(listener.address, '::1');
    assert.ok(listener.port > 0);
    await listener.close();
  });

  test('a taken port and a foreign address are named in one line', async () => {
    const net = await nodeNet('automatic');
    const listener = await net.listen('127.0.0.1', 0, () => undefined);
    await assert.rejects(
      net.listen('127.0.0.1', listener.port, () => undefined),
      {
        name: 'ServiceError',
        code: 'port-taken',
        message: `portal 127.0.0.1:${String(listener.port)} is in use by another program`,
      },
    );
    await listener.close();
    // TEST-NET-1 of RFC 5737: nobody has it.
    await assert.rejects(
      net.listen('192.0.2.1', 3260, () => undefined),
      {
        code: 'address-unusable',
        message: /^portal 192\.0\.2\.1:3260: .+$/,
      },
    );
  });
});
