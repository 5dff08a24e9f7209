// A session without a network: bytes in, bytes out, on a fake World. Shows exactly what the target puts on the wire.
import { randomBytes } from 'node:crypto';
import { silentLog } from '../../core/base/log.ts';
import type { Disk, Socket, SocketSink, World } from '../../core/base/world.ts';
import { IscsiServer } from '../../core/iscsi/server.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { COMMANDS, IQN } from './target.ts';

/** Delivers what a test says and keeps what the target writes. */
export class WireSocket implements Socket {
  readonly remoteAddress = '192.0.2.1';
  readonly remotePort = 40_000;
  readonly localAddress = '192.0.2.2';
  readonly localPort = 3260;
  readonly unsent = 0;
  closed = false;
  #sink: SocketSink | undefined;
  #out: Buffer[] = [];

  start(sink: SocketSink): void {
    this.#sink = sink;
  }
  write(data: Buffer): void {
    this.#out.push(Buffer.from(data));
  }
  cork(): void {
    // writes are collected anyway
  }
  uncork(): void {
    // see cork
  }
  resume(): void {
    // nothing is held back here
  }
  end(): void {
    this.destroy();
  }
  destroy(): void {
    this.closed = true;
  }

  /** What arrived in one read of the network; larger pieces than the target offers room for come in several reads. */
  deliver(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.closed;) {
      const room = this.#sink?.buffer() ?? Buffer.alloc(0);
      const count = bytes.copy(room, 0, at);
      this.#sink?.received(count);
      at += count;
    }
  }

  /** Everything written since the last call, once all work that is under way has been done. */
  async taken(): Promise<Buffer> {
    for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
    const out = Buffer.concat(this.#out);
    this.#out = [];
    return out;
  }
}

/** A fresh target with one LUN of 1 MiB, and a connection to it. */
export async function wireSession(): Promise<WireSocket> {
  let accept: (socket: Socket) => void = () => undefined;
  const world: World = {
    clock: {
      now: () => 0,
      wall: () => 0,
      after: () => ({ cancel: () => undefined }),
      soon: (fn) => setImmediate(fn),
    },
    random: { bytes: (length) => randomBytes(length) },
    net: {
      listen: (address, port, accepted) => {
        accept = accepted;
        return Promise.resolve({ address, port, close: () => Promise.resolve() });
      },
    },
    disk: {} as Disk,
  };
  const lu = new LogicalUnit({
    name: 'disk',
    volume: new MemoryVolume(1_048_576),
    identity: identityOf('0123456789abcdef0123456789abcdef'),
    physicalBlockSize: 4096,
    commands: COMMANDS,
    clock: world.clock,
    log: silentLog,
    reservationStore: noReservationStore,
  });
  const device = new ScsiDevice(IQN, [{ name: IQN, portalGroup: 1, relativeId: 1 }]);
  device.setLun(0, { lun: 0, lu, visibility: () => 'read-write' });
  const server = new IscsiServer({
    world,
    log: silentLog,
    portals: [{ host: '192.0.2.2', port: 3260, group: 1 }],
    isLocal: () => false,
    policy: {
      device: (name) => (name === IQN ? device : undefined),
      devices: () => [device],
      credentials: () => ({ method: 'none' }),
      redirect: () => undefined,
    },
  });
  await server.listen();
  const socket = new WireSocket();
  accept(socket);
  return socket;
}
