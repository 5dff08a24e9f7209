// Loopback networking for tests: free ports, and a TCP hop that can be cut and restored.
import { randomInt } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { atExit } from './cleanup.ts';

/** Below what systems give to outgoing connections: a daemon that is started again must find its ports free. */
const PORTS = { first: 12_000, count: 20_000 };

/** `count` different TCP ports on 127.0.0.1 that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  // All are held at once, so that none is chosen twice.
  const servers = await Promise.all(Array.from({ length: count }, () => holdPort()));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function holdPort(): Promise<Server> {
  for (let tries = 0; ; tries++) {
    const server = createServer();
    const port = PORTS.first + randomInt(PORTS.count);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(port, '127.0.0.1', resolve);
      });
      return server;
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}

export interface Hop {
  /** The port of 127.0.0.1 to connect to instead of the real one. */
  readonly port: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /**
   * Resets all connections and refuses new ones, as a pulled cable with a fast answer would. Nothing listens meanwhile:
   * iscsid has been seen not to come back after connections that were accepted and then reset.
   */
  cut(): void;
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** A TCP hop on a free port of 127.0.0.1 in front of 127.0.0.1:`target`. */
export async function openHop(target: number): Promise<Hop> {
  const sockets = new Set<Socket>();
  let down = false;
  let accepted = 0;
  const server = createServer((near) => {
    if (down) {
      near.resetAndDestroy();
      return;
    }
    accepted += 1;
    const far = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const dropAll = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const forget = atExit(dropAll);
  return {
    port,
    get accepted() {
      return accepted;
    },
    cut: () => {
      down = true;
      server.close();
      dropAll();
    },
    restore: async () => {
      await listen(port);
      down = false;
    },
    close: async () => {
      forget();
      dropAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
