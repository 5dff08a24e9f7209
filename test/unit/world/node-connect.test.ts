import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import type { Net, Socket, SocketSink, TlsIdentity } from '../../../core/base/world.ts';
import { nodeNet } from '../../../core/world/node-net.ts';
import { clusterAuthority } from '../../support/cluster-certificates.ts';

/** Keeps what arrives as text. */
class Ear implements SocketSink {
  readonly #memory = Buffer.alloc(1000);
  heard = '';
  reason: string | undefined;
  #wake: () => void = () => undefined;

  buffer(): Buffer {
    return this.#memory;
  }
  received(bytes: number): boolean {
    this.heard += this.#memory.toString('latin1', 0, bytes);
    this.#wake();
    return true;
  }
  drained(): void {
    this.#wake();
  }
  closed(reason: string): void {
    this.reason = reason;
    this.#wake();
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof ServiceError && error.code === code;
const PATIENCE = { timeout: 20_000 };

/** Both ends of a connection, on `net`. */
async function pair(net: Net, tls?: { server: TlsIdentity; client: TlsIdentity & { expect: string } }) {
  const ears = [new Ear(), new Ear()] as const;
  let accept: (socket: Socket) => void = () => undefined;
  const accepted = new Promise<Socket>((resolve) => (accept = resolve));
  const take = (socket: Socket): void => {
    socket.start(ears[1]);
    accept(socket);
  };
  const listener = await net.listen('127.0.0.1', 0, take, tls?.server);
  const options = tls === undefined ? PATIENCE : { ...PATIENCE, tls: tls.client };
  const socket = await net.connect({ host: '127.0.0.1', port: listener.port }, options);
  socket.start(ears[0]);
  return { listener, socket, other: await accepted, ears };
}

for (const mode of ['direct', 'copying'] as const) {
  describe(`connect, ${mode} way of receiving`, { timeout: 60_000 }, () => {
    test('both sides hear each other, in order, and the end', async () => {
      const net = await nodeNet(mode);
      const { listener, socket, other, ears } = await pair(net);
      const long = 'x'.repeat(200_000);
      // The peer speaks first: nothing of it may be lost on the way from connect to start.
      other.write(Buffer.from('hello'));
      socket.write(Buffer.from(long));
      await ears[0].until(() => ears[0].heard === 'hello');
      await ears[1].until(() => ears[1].heard === long);
      assert.equal(socket.remotePort, listener.port);
      assert.equal(socket.peerName, undefined);
      socket.destroy();
      await ears[1].until(() => ears[1].reason !== undefined);
      await listener.close();
    });
  });
}

describe('connect', { timeout: 60_000 }, () => {
  test('over a unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gemel-connect-'));
    const path = join(folder, 'socket');
    const server = createServer((each) => each.end('from the path'));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const net = await nodeNet();
    const socket = await net.connect({ path }, PATIENCE);
    const ear = new Ear();
    socket.start(ear);
    await ear.until(() => ear.reason !== undefined);
    assert.equal(ear.heard, 'from the path');
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
    await assert.rejects(net.connect({ path }, PATIENCE), isCode('peer-unreachable'));
  });

  test('says who cannot be reached and why', async () => {
    const net = await nodeNet();
    const closed = await net.listen('127.0.0.1', 0, () => undefined);
    await closed.close();
    await assert.rejects(net.connect({ host: '127.0.0.1', port: closed.port }, PATIENCE), (error: unknown) => {
      assert.ok(isCode('peer-unreachable')(error));
      return String(error).includes(`127.0.0.1:${String(closed.port)}`);
    });
  });

  test('gives up on a peer that does not shake hands', async () => {
    const net = await nodeNet();
    const mute = createServer((each) => each.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as AddressInfo;
    const { identity } = clusterAuthority('a');
    const tls = { ...identity('one'), expect: 'two' };
    await assert.rejects(net.connect({ host: '127.0.0.1', port }, { timeout: 300, tls }), isCode('peer-unreachable'));
    await new Promise((resolve) => mute.close(resolve));
  });
});

describe('TLS between nodes', { timeout: 60_000 }, () => {
  const ours = clusterAuthority('ours');
  const theirs = clusterAuthority('theirs');

  test('both sides know who the other one is', async () => {
    const net = await nodeNet();
    const tls = { server: ours.identity('two'), client: { ...ours.identity('one'), expect: 'two' } };
    const { listener, socket, other, ears } = await pair(net, tls);
    assert.deepEqual([socket.peerName, other.peerName], ['two', 'one']);
    socket.writeAll([Buffer.from('secret '), Buffer.from('words')]);
    other.write(Buffer.from('heard'));
    await ears[1].until(() => ears[1].heard === 'secret words');
    await ears[0].until(() => ears[0].heard === 'heard');
    socket.destroy();
    await ears[1].until(() => ears[1].reason !== undefined);
    await listener.close();
  });

  test('a foreign authority, another node and no certificate at all are refused', async () => {
    const net = await nodeNet();
    let accepted = 0;
    const count = (socket: Socket): void => {
      accepted++;
      socket.destroy();
    };
    const listener = await net.listen('127.0.0.1', 0, count, ours.identity('two'));
    const to = { host: '127.0.0.1', port: listener.port };
    const connect = (identity: TlsIdentity, expect: string): Promise<Socket> =>
      net.connect(to, { ...PATIENCE, tls: { ...identity, expect } });
    await assert.rejects(connect(theirs.identity('one'), 'two'), isCode('peer-untrusted'));
    await assert.rejects(connect(ours.identity('one'), 'three'), isCode('peer-untrusted'));
    // TLS 1.3: the client is done before the server has looked at its certificate, and hears of it afterwards.
    const mixed = await connect({ ...theirs.identity('one'), ca: ours.identity('one').ca }, 'two');
    const ear = new Ear();
    mixed.start(ear);
    await ear.until(() => ear.reason !== undefined);
    const plain = await net.connect(to, PATIENCE);
    const deaf = new Ear();
    plain.start(deaf);
    plain.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await deaf.until(() => deaf.reason !== undefined);
    assert.equal(deaf.heard.includes('HTTP'), false);
    assert.equal(accepted, 0);
    await listener.close();
  });
});
