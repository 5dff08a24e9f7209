// The client of libvirt's RPC, against a libvirtd that does what real ones do on bad days.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { LibvirtClient } from '../../../plugins/kvm/rpc/client.ts';
import type { LibvirtEvent } from '../../../plugins/kvm/rpc/client.ts';
import { LibvirtError, writeError } from '../../../plugins/kvm/rpc/errors.ts';
import { Framer, PROGRAM_KEEPALIVE, PROGRAM_REMOTE, encodeFrame } from '../../../plugins/kvm/rpc/frame.ts';
import type { Frame } from '../../../plugins/kvm/rpc/frame.ts';
import { EVENT, PROCEDURES, libVersion, listAllPools, poolRefreshed } from '../../../plugins/kvm/rpc/procedures.ts';
import { LibvirtSession } from '../../../plugins/kvm/rpc/session.ts';
import { parseUri } from '../../../plugins/kvm/rpc/transport.ts';
import { XdrWriter } from '../../../plugins/kvm/rpc/xdr.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { until } from '../../support/until.ts';

const POOL = { name: 'p', uuid: 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee' };
/** What the stand-in answers, by number; everything else with nothing. */
const ANSWERS: Readonly<Record<number, unknown>> = {
  66: { types: [0] },
  60: { supported: 1 },
  157: { version: 9_000_000 },
  281: { pools: [POOL], count: 1 },
  368: { callbackId: 0 },
  316: { callbackId: 0 },
};

type Answer = (call: Frame, socket: Socket, usual: () => void) => void;

class StandIn {
  readonly path: string;
  readonly sockets = new Set<Socket>();
  readonly calls: number[] = [];
  /** Keepalives that came. */
  pongs = 0;
  answer: Answer = (_call, _socket, usual) => {
    usual();
  };
  readonly #server: Server;

  constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket)).on('error', () => undefined);
      const framer = new Framer();
      socket.on('data', (bytes: Buffer) => {
        for (const frame of framer.push(bytes)) {
          if (frame.program === PROGRAM_KEEPALIVE) this.pongs++;
          else {
            this.calls.push(frame.procedure);
            this.answer(frame, socket, () => {
              socket.write(reply(frame));
            });
          }
        }
      });
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) =>
      this.#server.close(() => {
        resolve();
      }),
    );
  }
}

function reply(call: Frame, status = 0): Buffer {
  const xdr = new XdrWriter();
  const procedure = PROCEDURES.find(({ number }) => number === call.procedure);
  if (status === 1) writeError(xdr, 49, 18, 'Storage pool not found');
  else procedure?.reply.write(xdr, ANSWERS[call.procedure] ?? {});
  return encodeFrame({ ...call, type: 1, status }, xdr.bytes);
}

async function withStandIn(body: (standIn: StandIn) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('libvirt');
  const standIn = new StandIn(join(folder.path, 'sock'));
  await standIn.listen();
  try {
    await body(standIn);
  } finally {
    await standIn.close();
    folder.remove();
  }
}

const addressOf = ({ path }: StandIn) => ({ kind: 'unix', path }) as const;
const list = { needed: 1, flags: 0 };

describe('a connection to libvirtd', () => {
  test('calls, has answers out of order, errors with their numbers, and answers keepalives', async () => {
    await withStandIn(async (standIn) => {
      const client = await LibvirtClient.open(addressOf(standIn));
      const held: Frame[] = [];
      standIn.answer = (call, socket) => {
        held.push(call);
        if (held.length < 3) return;
        // The last comes first, in pieces; the second is an error.
        const bytes = Buffer.concat([reply(held[2]!), reply(held[1]!, 1), reply(held[0]!)]);
        socket.write(
          encodeFrame(
            { program: PROGRAM_KEEPALIVE, version: 1, procedure: 1, type: 2, serial: 0, status: 0 },
            Buffer.of(),
          ),
        );
        socket.write(bytes.subarray(0, 45));
        setImmediate(() => socket.write(bytes.subarray(45)));
      };
      const first = client.call(listAllPools, list);
      const second = client.call(libVersion, {}).catch((error: unknown) => error);
      const third = client.call(libVersion, {});
      assert.deepEqual((await first).pools, [POOL]);
      assert.equal((await third).version, 9_000_000);
      const error = await second;
      assert.ok(error instanceof LibvirtError);
      assert.equal(error.number, 49);
      await until(() => standIn.pongs > 0);
      client.close();
      await assert.rejects(client.call(libVersion, {}), { code: 'hypervisor-unreachable' });
    });
  });

  for (const [what, spoil] of [
    ['is closed', (_call: Frame, socket: Socket) => socket.end()],
    ['ends in the middle of an answer', (call: Frame, socket: Socket) => socket.end(reply(call).subarray(0, 30))],
    ['says a length that cannot be', (_call: Frame, socket: Socket) => socket.write(Buffer.alloc(28, 0xff))],
    [
      'answers something else',
      (call: Frame, socket: Socket) => socket.write(encodeFrame({ ...call, type: 1 }, Buffer.alloc(3))),
    ],
    [
      'speaks for another program',
      (call: Frame, socket: Socket) => socket.write(encodeFrame({ ...call, program: 7, type: 1 }, Buffer.of())),
    ],
  ] as const) {
    test(`rejects every call under way when it ${what}`, async () => {
      await withStandIn(async (standIn) => {
        const client = await LibvirtClient.open(addressOf(standIn));
        standIn.answer = (call, socket) => {
          if (call.procedure === listAllPools.number) spoil(call, socket);
        };
        const calls = [client.call(libVersion, {}), client.call(listAllPools, list), client.call(libVersion, {})];
        for (const outcome of await Promise.allSettled(calls)) {
          assert.equal(outcome.status, 'rejected');
          assert.ok(outcome.reason instanceof ServiceError && outcome.reason.code === 'hypervisor-unreachable');
        }
        await client.closed;
      });
    });
  }

  test('gives up on a call that is not answered, and on too many of them', async () => {
    await withStandIn(async (standIn) => {
      const client = await LibvirtClient.open(addressOf(standIn), { timeout: 200 });
      standIn.answer = () => undefined;
      const calls = Array.from({ length: 257 }, () => client.call(libVersion, {}));
      const outcomes = await Promise.allSettled(calls);
      const codes = outcomes.map((each) => (each.status === 'rejected' ? (each.reason as ServiceError).code : 'done'));
      assert.equal(codes[256], 'limit-reached');
      assert.ok(codes.slice(0, 256).every((code) => code === 'hypervisor-unreachable'));
      standIn.answer = (_call, _socket, usual) => {
        usual();
      };
      assert.equal((await client.call(libVersion, {})).version, 9_000_000, 'the connection is none the worse for it');
      client.close();
    });
  });

  test('is not opened where libvirtd wants a password', async () => {
    await withStandIn(async (standIn) => {
      standIn.answer = (call, socket) => {
        const xdr = new XdrWriter().array([1], () => undefined).int(1);
        socket.write(encodeFrame({ ...call, type: 1 }, xdr.bytes));
      };
      await assert.rejects(LibvirtClient.open(addressOf(standIn)), { code: 'unauthorized' });
    });
  });

  test('comes back, asks for events anew, and says that everything has to be looked at', async () => {
    await withStandIn(async (standIn) => {
      let connects = 0;
      const events: LibvirtEvent[] = [];
      const session = new LibvirtSession({
        address: addressOf(standIn),
        onConnected: () => connects++,
        onEvent: (event) => events.push(event),
      });
      session.start();
      await until(() => connects === 1);
      assert.deepEqual(standIn.calls.filter((call) => call === 368 || call === 316).length, 4);
      for (const socket of standIn.sockets) socket.destroy();
      await until(() => connects === 2);
      assert.deepEqual(standIn.calls.filter((call) => call === 368 || call === 316).length, 8);
      const xdr = new XdrWriter();
      poolRefreshed.write(xdr, { callbackId: 0, pool: POOL });
      const header = {
        program: PROGRAM_REMOTE,
        version: 1,
        procedure: EVENT.poolRefresh,
        type: 2,
        serial: 0,
        status: 0,
      };
      for (const socket of standIn.sockets) socket.write(encodeFrame(header, xdr.bytes));
      await until(() => events.length === 1);
      assert.deepEqual(events[0], { kind: 'pool-refresh', callbackId: 0, pool: POOL });
      session.end();
      await until(() => standIn.sockets.size === 0);
    });
  });
});

describe('URIs of libvirt', () => {
  test('say where it is', () => {
    assert.deepEqual(parseUri('qemu:///system'), { kind: 'unix', path: '/run/libvirt/libvirt-sock' });
    assert.deepEqual(parseUri('qemu+unix:///system?socket=/a/b'), { kind: 'unix', path: '/a/b' });
    const tls = { kind: 'tls', host: 'fd00::1', port: 16514, certificates: '/etc/pki' };
    assert.deepEqual(parseUri('qemu+tls://[fd00::1]/system'), tls);
    assert.deepEqual(parseUri('qemu+ssh://root@kvm1:2222/system?known_hosts=/k&keyfile=/i'), {
      kind: 'ssh',
      destination: 'root@kvm1',
      port: 2222,
      path: '/run/libvirt/libvirt-sock',
      knownHosts: '/k',
      identity: '/i',
    });
  });
  for (const bad of [
    'qemu:///session',
    'xen:///system',
    'qemu+tcp://h/system',
    'qemu://host/system',
    'qemu+ssh://-oProxyCommand=x/system',
    'qemu+ssh://a@-x/system',
    'qemu+tls://h/system?no_verify=1',
    'qemu+ssh://h/system?known_hosts_verify=ignore',
    'qemu+ssh:///system',
  ]) {
    test(`refuse ${bad}`, () => {
      assert.throws(() => parseUri(bad), { code: 'bad-request' });
    });
  }
});
