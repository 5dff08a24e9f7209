// One connection to one member of etcd. Every call ends: with an answer, an error, or at its deadline.
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { Client, Metadata, credentials, status as Status } from '@grpc/grpc-js';
import type { ClientDuplexStream, ServiceError as GrpcError } from '@grpc/grpc-js';
import type { Clock } from '../../base/world.ts';
import { ETCD_DEADLINE, ETCD_KEEPALIVE, ETCD_KEEPALIVE_SHARED, ETCD_MESSAGE } from '../../base/limits.ts';
import { messageOf } from '../../base/errors.ts';
import { formatHostPort } from '../../base/host-port.ts';
import type { HostPort } from '../../base/host-port.ts';

/** What a side of a mutually authenticated connection needs; all PEM. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Endpoint extends HostPort {
  /**
   * The name the certificate of one of our own members must have. Undefined: a member somebody else runs, which is certified for
   * `host`, and takes signs of life as offence that are as frequent as ours.
   */
  readonly serverName: string | undefined;
}

/** A call that did not succeed. */
export class CallError extends Error {
  /** True: the member has not done it, and never will. False: nobody knows. */
  readonly notDone: boolean;

  constructor(message: string, notDone: boolean) {
    super(message);
    this.notDone = notDone;
  }
}

const same = (bytes: Buffer): Buffer => bytes;

/** Answers of etcd that say that a request was refused, not that its outcome is unknown. */
const REFUSALS: ReadonlySet<Status> = new Set([
  Status.INVALID_ARGUMENT,
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.PERMISSION_DENIED,
  Status.FAILED_PRECONDITION,
  Status.OUT_OF_RANGE,
  Status.UNIMPLEMENTED,
  Status.RESOURCE_EXHAUSTED,
  Status.UNAUTHENTICATED,
]);

export class MemberChannel {
  readonly endpoint: Endpoint;
  /** When a call succeeded last (Clock.now). */
  answeredAt = -Infinity;
  readonly #client: Client;
  readonly #clock: Clock;

  constructor(endpoint: Endpoint, tls: TlsMaterial, clock: Clock) {
    this.endpoint = endpoint;
    this.#clock = clock;
    const { ca, key, cert } = tls;
    const { host, port, serverName } = endpoint;
    // An address is no name to ask for (RFC 6066, 3); what the certificate is for is looked at all the same.
    const verify =
      serverName === undefined && isIP(host) !== 0
        ? { checkServerIdentity: (_: string, shown: PeerCertificate) => checkServerIdentity(host, shown) }
        : {};
    const secure = credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert), verify);
    this.#client = new Client(formatHostPort(host, port), secure, {
      'grpc.ssl_target_name_override': serverName ?? (isIP(host) === 0 ? host : 'etcd'),
      'grpc.keepalive_time_ms': serverName === undefined ? ETCD_KEEPALIVE_SHARED : ETCD_KEEPALIVE,
      'grpc.keepalive_timeout_ms': ETCD_KEEPALIVE,
      'grpc.keepalive_permit_without_calls': serverName === undefined ? 0 : 1,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.min_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.max_receive_message_length': ETCD_MESSAGE,
      'grpc.max_send_message_length': ETCD_MESSAGE,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Two members may be one address in a test, and a closed channel must not live on for another one.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Rejects with CallError when there is no connection within `patience` milliseconds. Nothing has been sent then. */
  ready(patience: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let over = false;
      const timer = this.#clock.after(patience, () => {
        over = true;
        reject(new CallError('no connection', true));
      });
      // Its deadline is one by the wall clock, so ours decides.
      this.#client.waitForReady(Infinity, (error) => {
        if (over) return;
        timer.cancel();
        if (error === undefined) resolve();
        else reject(new CallError(messageOf(error), true));
      });
    });
  }

  /** One request and its answer. Rejects with CallError. `method`: `/package.Service/Method`. */
  unary<T>(method: string, request: Buffer, decode: (bytes: Buffer) => T, patience = ETCD_DEADLINE): Promise<T> {
    return new Promise((resolve, reject) => {
      const answered = (error: GrpcError | null, answer?: T): void => {
        timer.cancel();
        if (error === null && answer !== undefined) {
          this.answeredAt = this.#clock.now();
          resolve(answer);
        } else reject(new CallError(error?.details ?? 'no answer', error !== null && REFUSALS.has(error.code)));
      };
      const call = this.#client.makeUnaryRequest(method, same, decode, request, new Metadata(), {}, answered);
      const timer = this.#clock.after(patience, () => {
        call.cancel();
      });
    });
  }

  /** A stream of messages both ways. The member ends it when it loses its leader. */
  stream(method: string): ClientDuplexStream<Buffer, Buffer> {
    const metadata = new Metadata();
    metadata.set('hasleader', 'true');
    return this.#client.makeBidiStreamRequest(method, same, same, metadata, {});
  }

  close(): void {
    this.#client.close();
  }
}
