// A client that comes back: it keeps connections to one export, and a request whose connection is lost is sent again over the
// next one. That is safe because every request names its result, not a change, and because the caller holds the range for as
// long as the request runs: nobody can have written it in between.
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import {
  MAX_NBD_WAITING,
  NBD_CLIENT_CONNECTIONS,
  NBD_NEGOTIATION_TIMEOUT,
  NBD_RECONNECT_PATIENCE,
  NBD_RECONNECT_PAUSE,
} from '../base/nbd-limits.ts';
import type { Destination, Socket, TlsIdentity, World } from '../base/world.ts';
import { ClientConnection, NbdDisconnected } from './client-connection.ts';
import type { Asked } from './client-connection.ts';
import type { Opened } from './client-negotiation.ts';
import { ExportFlag } from './wire/protocol.ts';
import type { Descriptor } from './wire/transmission.ts';

export interface NbdClientOptions {
  readonly world: Pick<World, 'clock' | 'net'>;
  readonly log: Log;
  readonly to: Destination;
  readonly exportName: string;
  /** TLS; `expect`: common name of the server's certificate. */
  readonly tls?: TlsIdentity & { readonly expect: string };
  /** Milliseconds a request waits for a lost server before it fails; default NBD_RECONNECT_PATIENCE. */
  readonly patience?: number;
  /** Called whenever a connection was lost. */
  readonly onLost?: (() => void) | undefined;
}

/** Fails after the patience was over; the volume says which fault that is. */
export class NbdGone extends Error {
  override name = 'NbdGone';
}

export class NbdClient {
  readonly opened: Opened;
  readonly #options: NbdClientOptions;
  readonly #patience: number;
  #connections: ClientConnection[];
  /** Set while there is no connection. */
  #coming: Promise<void> | undefined;
  #lostAt = 0;
  #losses = 0;
  #waiting = 0;
  #closed = false;
  /** The server came back as another one: nothing is sent to it any more. */
  #changed: string | undefined;

  private constructor(options: NbdClientOptions, first: ClientConnection) {
    this.#options = options;
    this.#patience = options.patience ?? NBD_RECONNECT_PATIENCE;
    this.opened = first.opened;
    this.#connections = [first];
  }

  /** Rejects with a ServiceError when the export cannot be opened now. */
  static async open(options: NbdClientOptions): Promise<NbdClient> {
    const hook: { client?: NbdClient } = {};
    const first = await connect(options, (why) => hook.client?.lost(why));
    const client = (hook.client = new NbdClient(options, first));
    await client.#more();
    return client;
  }

  get connected(): boolean {
    return this.#connections.length > 0;
  }

  /** How often a connection was lost: the server may have lost with it what it had not made stable. */
  get losses(): number {
    return this.#losses;
  }

  get where(): string {
    const { to, exportName } = this.#options;
    return `${'path' in to ? to.path : `${to.host}:${String(to.port)}`}/${exportName}`;
  }

  /** Rejects with NbdRequestError (the server could not), or NbdGone (it has been away for too long). */
  async request(asked: Asked): Promise<readonly Descriptor[]> {
    if (this.#waiting >= MAX_NBD_WAITING) throw new NbdGone('too many requests wait for the server');
    this.#waiting++;
    const { clock } = this.#options.world;
    const deadline = clock.now() + this.#patience;
    try {
      for (;;) {
        const connection = await this.#connection(deadline);
        try {
          return await connection.request(asked);
        } catch (error) {
          if (!(error instanceof NbdDisconnected)) throw error;
          // A server that takes every connection and drops it must not keep the request for ever.
          if (clock.now() >= deadline) throw new NbdGone(`${this.where} is lost again and again: ${error.message}`);
        }
      }
    } finally {
      this.#waiting--;
    }
  }

  /** Says good-bye; requests that still run fail. */
  close(): void {
    this.#closed = true;
    for (const each of this.#connections.splice(0)) each.close();
  }

  /** A connection ended. */
  lost(why: string): void {
    this.#losses++;
    this.#options.onLost?.();
    this.#begin(why);
  }

  /** Comes back, unless that is under way or not needed. */
  #begin(why: string): void {
    this.#connections = this.#connections.filter((each) => each.usable);
    if (this.#closed || this.#connections.length > 0 || this.#coming !== undefined) return;
    const { clock } = this.#options.world;
    this.#lostAt = clock.now();
    this.#options.log.warn({ server: this.where, why }, 'the NBD server is gone: requests wait for it to come back');
    this.#coming = this.#comeBack();
  }

  /** `deadline`: clock milliseconds. */
  async #connection(deadline: number): Promise<ClientConnection> {
    for (;;) {
      if (this.#closed) throw new NbdGone('the volume is closed');
      if (this.#changed !== undefined) throw new NbdGone(this.#changed);
      const best = this.#best();
      if (best !== undefined) return best;
      this.#begin('no connection');
      const { clock } = this.#options.world;
      const left = deadline - clock.now();
      if (left <= 0) throw new NbdGone(`${this.where} has been away for too long`);
      await new Promise<void>((resolve) => {
        const timer = clock.after(left, resolve);
        const done = (): void => {
          timer.cancel();
          resolve();
        };
        void this.#coming?.then(done, done);
      });
    }
  }

  #best(): ClientConnection | undefined {
    let best: ClientConnection | undefined;
    for (const each of this.#connections) {
      if (each.usable && (best === undefined || each.load < best.load)) best = each;
    }
    return best;
  }

  async #comeBack(): Promise<void> {
    const { log, world } = this.#options;
    const { clock } = world;
    while (!this.#closed) {
      const connection = await this.#connect().catch(() => undefined);
      if (connection !== undefined) {
        this.#coming = undefined;
        const difference = differs(this.opened, connection.opened);
        if (difference !== undefined) {
          connection.close();
          this.#changed = `${this.where} has come back as another export: ${difference}`;
          log.error({ server: this.where, difference }, 'the NBD export has changed and is used no more: open it anew');
          return;
        }
        this.#connections.push(connection);
        log.info({ server: this.where, ms: Math.round(clock.now() - this.#lostAt) }, 'the NBD server is back');
        void this.#more();
        return;
      }
      // It was told when it was lost; whoever waits is told when his patience is over.
      await new Promise<void>((resolve) => clock.after(NBD_RECONNECT_PAUSE, resolve));
    }
    this.#coming = undefined;
  }

  #connect(): Promise<ClientConnection> {
    return connect(this.#options, (why) => {
      this.lost(why);
    });
  }

  /** More connections, where the server says that they are as good as one. A failure is none: there is one. */
  async #more(): Promise<void> {
    if ((this.opened.flags & ExportFlag.multiConn) === 0) return;
    while (this.#connections.length > 0 && this.#connections.length < NBD_CLIENT_CONNECTIONS && !this.#closed) {
      try {
        const next = await this.#connect();
        if (differs(this.opened, next.opened) === undefined) this.#connections.push(next);
        else {
          next.close();
          return;
        }
      } catch {
        return;
      }
    }
  }
}

async function connect(options: NbdClientOptions, lost: (why: string) => void): Promise<ClientConnection> {
  const { world, to, exportName, tls } = options;
  const socket = await world.net.connect(to, { timeout: NBD_NEGOTIATION_TIMEOUT });
  const secure =
    tls === undefined
      ? undefined
      : (plain: Socket): Promise<Socket> =>
          plain.secure?.({ ...tls, server: false }) ?? Promise.reject(new Error('TLS is not possible here'));
  try {
    const common = { socket, clock: world.clock, exportName, lost };
    return await ClientConnection.open(secure === undefined ? common : { ...common, secure });
  } catch (error) {
    throw new ServiceError('peer-unreachable', `NBD ${exportName}: ${messageOf(error)}`, { cause: error });
  }
}

/** In what the export differs from what it was; undefined: in nothing that matters. */
function differs(before: Opened, now: Opened): string | undefined {
  if (now.size !== before.size) return `it has ${String(now.size)} bytes instead of ${String(before.size)}`;
  if (now.flags !== before.flags)
    return `its flags are ${now.flags.toString(16)} instead of ${before.flags.toString(16)}`;
  if ((now.sizes?.minimum ?? 1) > (before.sizes?.minimum ?? 1)) return 'its blocks are larger';
  return undefined;
}
