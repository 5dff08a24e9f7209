import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { MAX_PEER_UNSENT, PEER_SMALL_PAYLOAD } from '../../../core/base/limits.ts';
import type { Log, LogFields } from '../../../core/base/log.ts';
import type { TlsIdentity, World } from '../../../core/base/world.ts';
import { Answering } from '../../../core/mirror/link/answering.ts';
import type { FrameConnection } from '../../../core/mirror/link/connection.ts';
import { PeerRefusal, PeerSilence } from '../../../core/mirror/link/peer-link.ts';
import { Peers } from '../../../core/mirror/link/peers.ts';
import type { Frame } from '../../../core/mirror/wire/frame.ts';
import { frameHead } from '../../support/frame-head.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { clusterAuthority } from '../../support/cluster-certificates.ts';
import { until } from '../../support/until.ts';

const EMPTY = Buffer.alloc(0);
const PATIENCE = 20_000;

class Lines implements Log {
  readonly lines: string[] = [];
  debug(): void {
    // Not of interest.
  }
  info(): void {
    // Not of interest.
  }
  warn(fields: LogFields, message: string): void {
    this.lines.push(`${message} ${String(fields['reason'])}`);
  }
  error(fields: LogFields, message: string): void {
    this.warn(fields, message);
  }
  child(): Log {
    return this;
  }
}

interface Options {
  readonly cluster?: string;
  readonly tls?: TlsIdentity;
  readonly versions?: { readonly min: number; readonly max: number };
}

async function node(world: World, name: string, { cluster = 'c', tls, versions }: Options = {}) {
  const log = new Lines();
  const peers = new Peers({ world, log, cluster, node: name, boot: `boot-${name}`, tls, versions });
  await peers.listen('127.0.0.1', 0);
  return { peers, log };
}

const addressOf = (name: string, peers: Peers) => ({ node: name, host: '127.0.0.1', port: peers.port });

/** Two nodes that know each other; b echoes type 0x50. */
async function two(
  use: (nodes: { a: Peers; b: Peers; world: World; logs: readonly Lines[] }) => Promise<void>,
  options: readonly [Options, Options] = [{}, {}],
) {
  const world = await nodeWorld();
  const [a, b] = [await node(world, 'a', options[0]), await node(world, 'b', options[1])];
  try {
    b.peers.add(addressOf('a', a.peers));
    a.peers.add(addressOf('b', b.peers));
    await use({ a: a.peers, b: b.peers, world, logs: [a.log, b.log] });
  } finally {
    await a.peers.close();
    await b.peers.close();
  }
}

describe('links between nodes', { timeout: 90_000 }, () => {
  test('requests arrive in order, answers find their request', async () => {
    await two(async ({ a, b }) => {
      const seen: number[] = [];
      b.get('a')?.handle(0x50, async (header, data) => {
        seen.push(header.readUInt32BE(0));
        if (header.readUInt32BE(0) % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        return { header, pieces: [data] };
      });
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      assert.equal(link.boot, 'boot-b');
      const numbers = Array.from({ length: 300 }, (_, i) => i);
      const replies = await Promise.all(
        numbers.map((i) => {
          const header = Buffer.alloc(4);
          header.writeUInt32BE(i);
          return link.request(0x50, header, [Buffer.alloc(i * 100, i), Buffer.from('end')], PATIENCE);
        }),
      );
      assert.deepEqual(seen, numbers);
      assert.ok(replies.every(({ header, data }, i) => header.readUInt32BE(0) === i && data.length === i * 100 + 3));
    });
  });

  test('small pieces may change when they have been sent, and memory is used again only when it is free', async () => {
    await two(async ({ a, b }) => {
      // Told later, in another order, and without a promise.
      const late: (() => void)[] = [];
      b.get('a')?.handle(0x50, (header, data) => (tell) => {
        late.push(() => {
          tell({ header, pieces: [data] });
        });
        if (late.length === 20) for (const each of late.splice(0).reverse()) each();
      });
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      const small = Buffer.alloc(PEER_SMALL_PAYLOAD);
      // More than the memory of the sender and of the receiver holds, in each round.
      for (let round = 0; round < 10; round++) {
        const replies = Array.from({ length: 20 }, (_, i) => {
          const length = i === 7 ? PEER_SMALL_PAYLOAD + 1 : PEER_SMALL_PAYLOAD - i * 3001;
          const piece = length > PEER_SMALL_PAYLOAD ? Buffer.alloc(length) : small.subarray(0, length);
          piece.fill(round * 20 + i);
          return link.request(0x50, Buffer.from([i]), [piece], PATIENCE);
        });
        small.fill(255);
        for (const [i, { header, data }] of (await Promise.all(replies)).entries()) {
          const length = i === 7 ? PEER_SMALL_PAYLOAD + 1 : PEER_SMALL_PAYLOAD - i * 3001;
          assert.ok(
            header[0] === i && data.equals(Buffer.alloc(length, round * 20 + i)),
            `${String(round)} ${String(i)}`,
          );
        }
      }
    });
  });

  test('a refusal is told as it is, an error as an internal one, an unknown type is refused', async () => {
    await two(async ({ a, b }) => {
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      b.get('a')?.handle(0x50, () => Promise.reject(new PeerRefusal('stale', 'too old')));
      b.get('a')?.handle(0x51, () => Promise.reject(new Error('a defect')));
      b.get('a')?.handle(0x53, () => (tell) => {
        tell(new PeerRefusal('stale', 'told late'));
      });
      const codeOf = (type: number) =>
        link.request(type, EMPTY, [], PATIENCE).then(
          () => 'answered',
          (error: unknown) => (error instanceof PeerRefusal ? `${error.code}: ${error.message}` : 'silence'),
        );
      assert.equal(await codeOf(0x50), 'stale: too old');
      assert.equal(await codeOf(0x51), 'internal: a defect');
      assert.match(await codeOf(0x52), /^unknown-type/);
      assert.equal(await codeOf(0x53), 'stale: told late');
      assert.ok(link.up);
    });
  });

  test('who does not take its answers is not read from, until it does', () => {
    let resumed = 0;
    const connection = {
      unsent: 0,
      send: () => undefined,
      resume: () => resumed++,
      onDrained: () => undefined,
    };
    const handler = () => ({ header: EMPTY });
    const answering = new Answering(connection as unknown as FrameConnection, new Map([[0x50, handler]]));
    const frame = { type: 0x50, flags: 0, id: 1, header: EMPTY, payload: EMPTY } as unknown as Frame;
    assert.equal(answering.take(frame), true);
    connection.unsent = MAX_PEER_UNSENT;
    assert.equal(answering.take(frame), false);
    connection.onDrained();
    assert.equal(resumed, 0, 'nothing has been taken yet');
    connection.unsent = 0;
    connection.onDrained();
    assert.equal(resumed, 1);
    assert.equal(answering.take(frame), true);
  });

  test('patience ends; a broken link rejects everything, and comes back', async () => {
    await two(async ({ a, b }) => {
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      let asked = 0;
      b.get('a')?.handle(0x50, () => {
        asked++;
        return new Promise(() => undefined);
      });
      await assert.rejects(link.request(0x50, EMPTY, [], 200), PeerSilence);
      const events: string[] = [];
      link.onDown(() => events.push('down'));
      link.onUp(() => events.push('up'));
      const lost = link.request(0x50, EMPTY, [], PATIENCE);
      await until(() => asked === 2);
      link.reset('a test');
      await assert.rejects(lost, /a test/);
      await assert.rejects(link.request(0x50, EMPTY, [], PATIENCE), PeerSilence);
      await until(() => link.up);
      assert.deepEqual(events, ['down', 'up']);
    });
  });

  test('over TLS with the certificates of the cluster', async () => {
    const authority = clusterAuthority('cluster');
    const options = [{ tls: authority.identity('a') }, { tls: authority.identity('b') }] as const;
    await two(async ({ a, b }) => {
      b.get('a')?.handle(0x50, (header) => Promise.resolve({ header }));
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      assert.equal((await link.request(0x50, Buffer.from('hi'), [], PATIENCE)).header.toString(), 'hi');
    }, options);
  });

  test('with a certificate of the cluster nobody passes for another node', async () => {
    const authority = clusterAuthority('cluster');
    // What calls itself a is c by its certificate.
    const options = [{ tls: authority.identity('c') }, { tls: authority.identity('b') }] as const;
    await two(async ({ a, logs }) => {
      await until(() => logs[1]?.lines.some((line) => line.includes('c calls itself a')) === true);
      assert.equal(a.get('b')?.up, false);
    }, options);
  });

  test('versions are negotiated; without a common one there is no link', async () => {
    await two(
      async ({ a, b }) => {
        await until(() => a.get('b')?.up === true && b.get('a')?.up === true);
        assert.deepEqual([a.get('b')?.version, b.get('a')?.version], [2, 2]);
      },
      [{ versions: { min: 1, max: 2 } }, { versions: { min: 2, max: 3 } }],
    );
    await two(
      async ({ logs }) => {
        await until(() => logs.every(({ lines }) => lines.some((line) => line.includes('it knows versions'))));
      },
      [{ versions: { min: 1, max: 1 } }, { versions: { min: 2, max: 3 } }],
    );
  });

  test('a foreign cluster is refused and told once', async () => {
    await two(
      async ({ a, b, logs }) => {
        const attempts = () => logs[0]?.lines.filter((line) => line.includes('no link')).length ?? 0;
        await until(() => attempts() >= 1 && (logs[1]?.lines.length ?? 0) > 1);
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.deepEqual([a.get('b')?.up, b.get('a')?.up], [false, false]);
        const refusals = logs[1]?.lines.filter((line) => line.startsWith('refused a connection')) ?? [];
        assert.equal(refusals.length, 1);
        assert.match(refusals[0] ?? '', /it belongs to cluster c$/);
      },
      [{ cluster: 'c' }, { cluster: 'other' }],
    );
  });

  test('garbage, silence and a replayed stream on the port end that connection and touch nothing else', async () => {
    await two(async ({ a, b, logs }) => {
      const link = a.get('b');
      assert.ok(link);
      await until(() => link.up);
      b.get('a')?.handle(0x50, (header) => Promise.resolve({ header }));
      const send = (bytes: Buffer): Promise<void> =>
        new Promise((resolve) => {
          const socket = connect({ host: '127.0.0.1', port: b.port }, () => socket.write(bytes));
          socket
            .on('error', () => undefined)
            .on('close', () => {
              resolve();
            })
            .resume();
        });
      const hello = Buffer.from(JSON.stringify({ cluster: 'c', node: 'a', boot: 'x', kind: 'data', min: 1, max: 1 }));
      await send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await send(frameHead(0x20, 0, 1, 0, EMPTY, []));
      await send(frameHead(1, 0, 1, 5, hello, []));
      await send(EMPTY);
      assert.ok(link.up);
      assert.equal((await link.request(0x50, Buffer.from('still'), [], PATIENCE)).header.toString(), 'still');
      const told = logs[1]?.lines.join('\n') ?? '';
      for (const word of ['language', 'not HELLO', 'out of order', 'did not say HELLO'])
        assert.ok(told.includes(word), word);
    });
  });
});
