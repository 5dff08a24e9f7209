// The NBD server: the local fast path (a unix socket) and, with TLS, one over TCP.
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { MAX_NBD_CONNECTIONS } from '../base/nbd-limits.ts';
import type { Listener, Socket, TlsIdentity, World } from '../base/world.ts';
import type { NbdExport, NbdExports } from './export.ts';
import { MemoryBudget } from './memory-budget.ts';
import { ServerConnection } from './server-connection.ts';

export interface NbdServerOptions {
  readonly world: Pick<World, 'clock' | 'net'>;
  readonly log: Log;
  readonly exports: NbdExports;
}

/** Where a server listens: a unix socket with these permissions, or an address where nothing is said without TLS. */
export type NbdPlace =
  | { readonly path: string; readonly mode: number }
  | { readonly host: string; readonly port: number; readonly tls: TlsIdentity };

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #memory = new MemoryBudget();
  readonly #connections = new Set<ServerConnection>();
  readonly #listeners: Listener[] = [];
  /** Idle again: nothing is connected. */
  #empty: (() => void)[] = [];

  constructor(options: NbdServerOptions) {
    this.#options = options;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Listens at one more place. Rejects with a ServiceError. */
  async listen(place: NbdPlace): Promise<Listener> {
    const { net } = this.#options.world;
    const listener =
      'path' in place
        ? await net.listenPath(place.path, place.mode, (socket) => {
            this.#accept(socket, undefined);
          })
        : await net.listen(place.host, place.port, (socket) => {
            this.#accept(socket, place.tls);
          });
    this.#listeners.push(listener);
    return listener;
  }

  /** Ends the connections to an export whose volume is going away, when their running requests are over. */
  disconnect(served: NbdExport): void {
    for (const each of this.#connections) if (each.agreed?.served === served) each.end();
  }

  /** Accepts nobody, answers what runs, and resolves when all have gone; after `patience` milliseconds they are cut. */
  async close(patience: number): Promise<void> {
    const { clock } = this.#options.world;
    // A listener is closed when its last connection is.
    const closed = this.#listeners.splice(0).map((each) => each.close());
    for (const each of this.#connections) each.end();
    const timer = clock.after(patience, () => {
      for (const each of this.#connections) each.destroy('the server stops');
    });
    if (this.#connections.size > 0) await new Promise<void>((resolve) => this.#empty.push(resolve));
    timer.cancel();
    await Promise.all(closed);
  }

  #accept(socket: Socket, tls: TlsIdentity | undefined): void {
    const { exports, log, world } = this.#options;
    if (this.#connections.size >= MAX_NBD_CONNECTIONS) {
      log.warn({ limit: MAX_NBD_CONNECTIONS }, 'too many NBD connections: one was refused');
      socket.destroy('too many connections');
      return;
    }
    const secure = (plain: Socket): Promise<Socket> => {
      if (tls === undefined || plain.secure === undefined)
        return Promise.reject(new Error('TLS is not configured here'));
      return plain.secure({ ...tls, server: true });
    };
    try {
      const connection: ServerConnection = new ServerConnection({
        ...{ socket, exports, log, secure },
        clock: world.clock,
        memory: this.#memory,
        tls: tls === undefined ? 'none' : 'required',
        closed: () => {
          this.#connections.delete(connection);
          if (this.#connections.size > 0) return;
          for (const each of this.#empty.splice(0)) each();
        },
      });
      this.#connections.add(connection);
    } catch (error) {
      log.warn({ why: messageOf(error) }, 'a NBD connection could not be begun');
      socket.destroy();
    }
  }
}
