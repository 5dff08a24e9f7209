// libvirtd for commands and flows: connected when it is needed, again after it was away, and asked what is there when an
// answer got lost.
import { ServiceError } from '../../core/base/errors.ts';
import { LibvirtClient } from './rpc/client.ts';
import { RECONNECT_FIRST } from './rpc/limits.ts';
import type { Procedure } from './rpc/procedures.ts';
import type { Address } from './rpc/transport.ts';

/** Whoever calls libvirt: one connection, or one that comes back. */
export interface Caller {
  call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R>;
}

/** Milliseconds a libvirtd that starts anew may take; the first start on a machine asks every QEMU what it can. */
const PATIENCE = 30_000;

export class Libvirt implements Caller {
  readonly #address: Address;
  readonly #patience: number;
  #client: LibvirtClient | undefined;
  #connecting: Promise<LibvirtClient> | undefined;

  constructor(address: Address, patience = PATIENCE) {
    this.#address = address;
    this.#patience = patience;
  }

  /** Never sent twice: whether it was done when its answer is lost is for the caller to find out (settled). */
  async call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    return (await this.#connected()).call(procedure, args);
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  #connected(): Promise<LibvirtClient> {
    if (this.#client !== undefined) return Promise.resolve(this.#client);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<LibvirtClient> {
    const end = Date.now() + this.#patience;
    for (;;) {
      try {
        const client = await LibvirtClient.open(this.#address);
        this.#client = client;
        void client.closed.then(() => {
          if (this.#client === client) this.#client = undefined;
        });
        return client;
      } catch (error) {
        if (!isUnreachable(error) || Date.now() >= end) throw error;
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_FIRST));
      }
    }
  }
}

export const isUnreachable = (error: unknown): boolean =>
  error instanceof ServiceError && (error.code === 'hypervisor-unreachable' || error.code === 'daemon-unreachable');

/** Does something; when its answer got lost, `isDone` looks whether it was done. Rejects when it was not. */
export async function settled(work: () => Promise<unknown>, isDone: () => Promise<boolean>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isUnreachable(error) || !(await patiently(isDone))) throw error;
  }
}

/** Undoing something is tried again while the other side is away: what it leaves, somebody has to clear away by hand. */
export async function patiently<T>(work: () => Promise<T>, patience = PATIENCE): Promise<T> {
  const end = Date.now() + patience;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isUnreachable(error) || Date.now() >= end) throw error;
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_FIRST));
    }
  }
}

/** Looks every `interval` milliseconds until there is something; undefined after `patience` milliseconds. */
export async function eventually<T>(
  look: () => Promise<T | undefined>,
  patience: number,
  interval = 50,
): Promise<T | undefined> {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found !== undefined || Date.now() >= end) return found;
    await new Promise((resolve) => setTimeout(resolve, interval));
  }
}
