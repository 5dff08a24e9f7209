// A session without a network: bytes in, bytes out, on a fake World. Shows exactly what the target puts on the wire.
import { randomBytes } from 'node:crypto';
import { silentLog } from '../../core/base/log.ts';
import type { Clock, Disk, Socket, SocketSink, Timer, World } from '../../core/base/world.ts';
import { IscsiServer } from '../../core/iscsi/server.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { COMMANDS, IQN } from './target.ts';

/** Only this initiator sees LUN 1. */
export const WITNESS = 'iqn.2026-11.org.example:witness';

/** Delivers what a test says and keeps what the target writes. */
export class WireSocket implements Socket {
  readonly remoteAddress = '192.0.2.1';
  readonly remotePort = 40_000;
  readonly localAddress = '192.0.2.2';
  readonly localPort = 3260;
  unsent = 0;
  /** The peer takes nothing: what is written is only counted, as long as this is true. */
  stuck = false;
  closed = false;
  /** The target it is connected to. */
  readonly target: WireTarget;
  #sink: SocketSink | undefined;
  #out: Buffer[] = [];

  constructor(target: WireTarget) {
    this.target = target;
  }

  start(sink: SocketSink): void {
    this.#sink = sink;
  }
  write(data: Buffer): void {
    if (this.stuck) this.unsent += data.length;
    else this.#out.push(Buffer.from(data));
  }
  /** The peer has taken everything. */
  drain(): void {
    this.unsent = 0;
    this.#sink?.drained();
  }
  writeAll(pieces: readonly Buffer[]): void {
    for (const each of pieces) this.write(each);
  }
  resume(): void {
    // nothing is held back here
  }
  end(): void {
    this.destroy();
  }
  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    setImmediate(() => this.#sink?.closed('closed'));
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

/** Time passes only when a test says so. */
export class HandClock implements Clock {
  #now = 0;
  readonly #timers = new Map<Timer, { readonly at: number; readonly fn: () => void }>();

  now(): number {
    return this.#now;
  }
  wall(): number {
    return this.#now;
  }
  after(milliseconds: number, fn: () => void): Timer {
    const timer = { cancel: () => void this.#timers.delete(timer) };
    this.#timers.set(timer, { at: this.#now + milliseconds, fn });
    return timer;
  }
  soon(fn: () => void): void {
    setImmediate(fn);
  }

  /** Lets `milliseconds` pass; what is due by then happens in order. */
  pass(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.#now = next[1].at;
      next[1].fn();
    }
    this.#now = end;
  }
}

/** A target on a fake World. */
export interface WireTarget {
  readonly server: IscsiServer;
  readonly clock: HandClock;
  readonly volume: MemoryVolume;
  /** Behind LUN 1. */
  readonly witnessVolume: MemoryVolume;
  connect(): WireSocket;
}

/** A fresh target with one LUN of 1 MiB, and a connection to it. */
export async function wireSession(): Promise<WireSocket> {
  return (await wireTarget()).connect();
}

/** A fresh target with one LUN of 1 MiB, and a second one that only the witness sees. */
export async function wireTarget(): Promise<WireTarget> {
  let accept: (socket: Socket) => void = () => undefined;
  const clock = new HandClock();
  const volume = new MemoryVolume(1_048_576);
  const world: World = {
    clock,
    random: { bytes: (length) => randomBytes(length) },
    net: {
      listen: (address, port, accepted) => {
        accept = accepted;
        return Promise.resolve({ address, port, close: () => Promise.resolve() });
      },
      listenPath: () => Promise.reject(new Error('not used')),
      connect: () => Promise.reject(new Error('not used')),
    },
    disk: {} as Disk,
  };
  const unit = (name: string, each: MemoryVolume, id: string): LogicalUnit =>
    new LogicalUnit({
      name,
      volume: each,
      identity: identityOf(id),
      physicalBlockSize: 4096,
      commands: COMMANDS,
      clock: world.clock,
      log: silentLog,
      reservationStore: noReservationStore,
    });
  const lu = unit('disk', volume, '0123456789abcdef0123456789abcdef');
  const witnessVolume = new MemoryVolume(1_048_576);
  const other = unit('witness', witnessVolume, 'fedcba9876543210fedcba9876543210');
  const device = new ScsiDevice(IQN, [{ name: IQN, portalGroup: 1, relativeId: 1 }]);
  device.setLun(0, { lun: 0, lu, visibility: () => 'read-write' });
  device.setLun(1, {
    lun: 1,
    lu: other,
    visibility: ({ initiator }) => (initiator.name === WITNESS ? 'read-write' : 'hidden'),
  });
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
  const target: WireTarget = {
    server,
    clock,
    volume,
    witnessVolume,
    connect: () => {
      const socket = new WireSocket(target);
      accept(socket);
      return socket;
    },
  };
  return target;
}
