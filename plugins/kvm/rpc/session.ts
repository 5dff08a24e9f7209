// A connection to libvirtd that comes back: after every connect, events are asked for anew, and everything has to be looked at.
import { messageOf } from '../../../core/base/errors.ts';
import { LibvirtClient } from './client.ts';
import type { LibvirtEvent } from './client.ts';
import { RECONNECT_FIRST, RECONNECT_MAX } from './limits.ts';
import {
  DOMAIN_DEVICE_REMOVED,
  DOMAIN_LIFECYCLE,
  POOL_LIFECYCLE,
  POOL_REFRESH,
  domainEvents,
  poolEvents,
} from './procedures.ts';
import type { Address } from './transport.ts';

export interface SessionOptions {
  readonly address: Address;
  /** There is a connection (again), with events asked for: what was missed meanwhile has to be looked up. */
  readonly onConnected: (client: LibvirtClient) => void;
  readonly onLost?: (why: string, next: number) => void;
  readonly onEvent: (event: LibvirtEvent) => void;
}

export class LibvirtSession {
  readonly #options: SessionOptions;
  #client: LibvirtClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pause = RECONNECT_FIRST;
  #ended = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** The connection, while there is one. */
  get client(): LibvirtClient | undefined {
    return this.#client;
  }

  start(): void {
    void this.#connect();
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#client?.close();
    this.#client = undefined;
  }

  async #connect(): Promise<void> {
    const { address, onConnected, onEvent } = this.#options;
    let client: LibvirtClient | undefined;
    try {
      client = await LibvirtClient.open(address, { onEvent });
      await askForEvents(client);
    } catch (error) {
      client?.close();
      this.#again(messageOf(error));
      return;
    }
    if (this.#ended) {
      client.close();
      return;
    }
    this.#pause = RECONNECT_FIRST;
    this.#client = client;
    void client.closed.then((why) => {
      this.#client = undefined;
      this.#again(why.message);
    });
    onConnected(client);
  }

  #again(why: string): void {
    if (this.#ended) return;
    const pause = this.#pause;
    this.#pause = Math.min(RECONNECT_MAX, 2 * pause);
    this.#options.onLost?.(why, pause);
    this.#timer = setTimeout(() => void this.#connect(), pause);
  }
}

/** Events of all pools and domains, from here on. */
export async function askForEvents(client: LibvirtClient): Promise<void> {
  for (const eventId of [POOL_LIFECYCLE, POOL_REFRESH]) await client.call(poolEvents, { eventId, pool: undefined });
  for (const eventId of [DOMAIN_LIFECYCLE, DOMAIN_DEVICE_REMOVED]) {
    await client.call(domainEvents, { eventId, domain: undefined });
  }
}
