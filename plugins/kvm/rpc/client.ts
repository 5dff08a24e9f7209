// One connection to a libvirtd: calls with their answers, events, and whether anybody is still there.
import type { Duplex } from 'node:stream';
import { ProtocolError, ServiceError, messageOf } from '../../../core/base/errors.ts';
import type { Codec } from './codec.ts';
import { readError } from './errors.ts';
import {
  Framer,
  KEEPALIVE_PING,
  KEEPALIVE_PONG,
  MessageStatus,
  MessageType,
  PROGRAM_KEEPALIVE,
  PROGRAM_REMOTE,
  VERSION,
  encodeFrame,
} from './frame.ts';
import type { Frame } from './frame.ts';
import { CALL_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_PATIENCE, MAX_CALLS } from './limits.ts';
import { AUTH_NONE, EVENT, FEATURE_KEEPALIVE, authList, open, supportsFeature } from './procedures.ts';
import { deviceRemoved, domainLifecycle, poolLifecycle, poolRefreshed } from './procedures.ts';
import type { Procedure } from './procedures.ts';
import { openTransport, placeOf } from './transport.ts';
import type { Address } from './transport.ts';
import type { Domain, Pool } from './types.ts';
import { XdrReader, XdrWriter } from './xdr.ts';

/** What libvirtd tells by itself, once it was asked to (poolEvents, domainEvents). */
export type LibvirtEvent =
  | { readonly kind: 'pool-lifecycle'; readonly pool: Pool; readonly event: number; readonly detail: number }
  | { readonly kind: 'pool-refresh'; readonly pool: Pool }
  | { readonly kind: 'domain-lifecycle'; readonly domain: Domain; readonly event: number; readonly detail: number }
  | { readonly kind: 'device-removed'; readonly domain: Domain; readonly alias: string };

export interface ClientOptions {
  readonly onEvent?: (event: LibvirtEvent) => void;
  /** Milliseconds a call may take; CALL_TIMEOUT when absent. */
  readonly timeout?: number;
}

interface Pending {
  readonly name: string;
  readonly answered: (frame: Frame) => void;
  readonly failed: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class LibvirtClient {
  /** Resolves, with why, when the connection is over. */
  readonly closed: Promise<Error>;
  readonly #stream: Duplex;
  readonly #options: ClientOptions;
  readonly #place: string;
  readonly #framer = new Framer();
  readonly #pending = new Map<number, Pending>();
  #serial = 0;
  #over: Error | undefined;
  #closing!: (why: Error) => void;
  /** When something came last, and whether it has been asked since. */
  #heard = performance.now();
  #asked = false;
  readonly #watch: NodeJS.Timeout;

  /** `stream`: connected, with nothing said on it yet. `open` is what users want. */
  constructor(stream: Duplex, place: string, options: ClientOptions = {}) {
    this.#stream = stream;
    this.#place = place;
    this.#options = options;
    this.closed = new Promise((resolve) => {
      this.#closing = resolve;
    });
    stream.on('data', (bytes: Buffer) => {
      this.#received(bytes);
    });
    stream.on('error', (error) => {
      this.#end(error);
    });
    stream.on('close', () => {
      this.#end(new Error('libvirtd has closed the connection'));
    });
    this.#watch = setInterval(() => {
      this.#look();
    }, KEEPALIVE_PATIENCE);
    this.#watch.unref();
  }

  /** Connects and opens the QEMU driver. Rejects with ServiceError. */
  static async open(address: Address, options: ClientOptions = {}): Promise<LibvirtClient> {
    const client = new LibvirtClient(await openTransport(address), placeOf(address), options);
    try {
      const { types } = await client.call(authList, {});
      if (types.length > 0 && !types.includes(AUTH_NONE)) {
        const why = `libvirtd at ${placeOf(address)} wants SASL or polkit; run as root, or as a user whom polkit need not ask`;
        throw new ServiceError('unauthorized', why);
      }
      // With this question a client says that it answers keepalives, too (remote_driver.c).
      await client.call(supportsFeature, { feature: FEATURE_KEEPALIVE });
      await client.call(open, { name: 'qemu:///system', flags: 0 });
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Calls. Rejects with LibvirtError, or ServiceError hypervisor-unreachable: then nobody knows whether it was done. */
  call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    if (this.#over !== undefined) return Promise.reject(this.#unreachable(this.#over));
    if (this.#pending.size >= MAX_CALLS) {
      return Promise.reject(new ServiceError('limit-reached', `${String(MAX_CALLS)} calls to libvirtd are under way`));
    }
    const xdr = new XdrWriter();
    procedure.args.write(xdr, args);
    const serial = this.#nextSerial();
    const { number, name } = procedure;
    const bytes = encodeFrame({ ...head(PROGRAM_REMOTE, number, MessageType.call), serial }, xdr.bytes);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(serial);
        reject(this.#unreachable(new Error(`${name} was not answered in time`)));
      }, this.#options.timeout ?? CALL_TIMEOUT);
      const answered = (frame: Frame): void => {
        try {
          const body = new XdrReader(frame.body);
          if (frame.status === MessageStatus.error) {
            reject(readError(body));
            return;
          }
          const answer = procedure.reply.read(body);
          body.end();
          resolve(answer);
        } catch (error) {
          // What cannot be understood says nothing about what will follow it.
          reject(this.#unreachable(error));
          this.#end(error instanceof Error ? error : new Error(messageOf(error)));
        }
      };
      this.#pending.set(serial, { name, answered, failed: reject, timer });
      this.#stream.write(bytes);
    });
  }

  /** Ends the connection; calls under way are rejected. */
  close(): void {
    this.#end(new Error('closed'));
  }

  #nextSerial(): number {
    do this.#serial = (this.#serial + 1) >>> 0;
    while (this.#pending.has(this.#serial));
    return this.#serial;
  }

  #received(bytes: Buffer): void {
    this.#heard = performance.now();
    this.#asked = false;
    try {
      for (const frame of this.#framer.push(bytes)) {
        if (this.#over !== undefined) return;
        this.#dispatch(frame);
      }
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.version !== VERSION) throw new ProtocolError(`version ${String(frame.version)} of the protocol`);
    if (frame.program === PROGRAM_KEEPALIVE) {
      // A ping is answered with a message (type 2), not with a reply; neither has a body.
      if (frame.procedure === KEEPALIVE_PING) this.#keepalive(KEEPALIVE_PONG);
      return;
    }
    if (frame.program !== PROGRAM_REMOTE) throw new ProtocolError(`program ${frame.program.toString(16)}`);
    if (frame.type === MessageType.event) {
      this.#event(frame);
      return;
    }
    if (frame.type !== MessageType.reply) throw new ProtocolError(`a message of type ${String(frame.type)}`);
    const pending = this.#pending.get(frame.serial);
    // An answer that has come too late for its call.
    if (pending === undefined) return;
    this.#pending.delete(frame.serial);
    clearTimeout(pending.timer);
    pending.answered(frame);
  }

  #event(frame: Frame): void {
    const read = <T>(codec: Codec<T>): T => codec.read(new XdrReader(frame.body));
    const tell = this.#options.onEvent;
    if (tell === undefined) return;
    if (frame.procedure === EVENT.poolLifecycle) tell({ kind: 'pool-lifecycle', ...read(poolLifecycle) });
    else if (frame.procedure === EVENT.poolRefresh) tell({ kind: 'pool-refresh', ...read(poolRefreshed) });
    else if (frame.procedure === EVENT.domainLifecycle) tell({ kind: 'domain-lifecycle', ...read(domainLifecycle) });
    else if (frame.procedure === EVENT.deviceRemoved) tell({ kind: 'device-removed', ...read(deviceRemoved) });
  }

  #keepalive(procedure: number): void {
    const header = { ...head(PROGRAM_KEEPALIVE, procedure, MessageType.event), serial: 0 };
    this.#stream.write(encodeFrame(header, new Uint8Array()));
  }

  #look(): void {
    const silence = performance.now() - this.#heard;
    if (silence < KEEPALIVE_INTERVAL) return;
    if (this.#asked) {
      this.#end(new Error('libvirtd does not answer keepalives'));
      return;
    }
    this.#asked = true;
    this.#keepalive(KEEPALIVE_PING);
  }

  #unreachable(why: unknown): ServiceError {
    return new ServiceError('hypervisor-unreachable', `libvirtd at ${this.#place}: ${messageOf(why)}`, { cause: why });
  }

  #end(why: Error): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    clearInterval(this.#watch);
    this.#stream.destroy();
    for (const { failed, timer, name } of this.#pending.values()) {
      clearTimeout(timer);
      failed(this.#unreachable(new Error(`${name}: ${why.message}`, { cause: why })));
    }
    this.#pending.clear();
    this.#closing(why);
  }
}

function head(program: number, procedure: number, type: number): Omit<Frame, 'serial' | 'body'> {
  return { program, version: VERSION, procedure, type, status: MessageStatus.ok };
}
