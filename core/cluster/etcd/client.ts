// A thin client of etcd: whichever member answers. It never decides on a read that may be stale (serializable).
import { ServiceError, messageOf } from '../../base/errors.ts';
import { formatHostPort } from '../../base/host-port.ts';
import { ETCD_DEADLINE, ETCD_HEDGE, ETCD_LOOK, ETCD_PATIENCE } from '../../base/limits.ts';
import type { Clock, Timer } from '../../base/world.ts';
import { OutcomeUnknownError } from '../config-store.ts';
import { CallError, MemberChannel } from './channel.ts';
import type { Endpoint, TlsMaterial } from './channel.ts';
import {
  emptyRequest,
  memberAddRequest,
  memberAddResponse,
  memberIdRequest,
  memberListResponse,
  rangeRequest,
  rangeResponse,
  statusResponse,
  txnRequest,
  txnResponse,
} from './messages.ts';
import type { Compare, Member, MemberStatus, Operation, RangeRequest, RangeResponse, TxnResponse } from './messages.ts';

const KV_RANGE = '/etcdserverpb.KV/Range';
const KV_TXN = '/etcdserverpb.KV/Txn';
const WATCH = '/etcdserverpb.Watch/Watch';
const CLUSTER = '/etcdserverpb.Cluster';
const STATUS = '/etcdserverpb.Maintenance/Status';

export interface EtcdClientOptions {
  readonly endpoints: readonly Endpoint[];
  readonly tls: TlsMaterial;
  readonly clock: Clock;
  /** A key one may read: members are asked for it when nothing else is to be known. */
  readonly probe?: string;
}

/** What a member says of itself, or why it says nothing. */
export interface MemberAnswer {
  readonly endpoint: Endpoint;
  readonly status: MemberStatus | undefined;
  readonly problem: string | undefined;
}

export class EtcdClient {
  readonly #probe: string;
  #tls: TlsMaterial;
  readonly #clock: Clock;
  #channels: MemberChannel[] = [];
  /** The member that answered last. */
  #preferred = 0;

  constructor({ endpoints, tls, clock, probe = '\0' }: EtcdClientOptions) {
    this.#tls = tls;
    this.#clock = clock;
    this.#probe = probe;
    this.setEndpoints(endpoints);
  }

  /** The members there are from now on. Connections to those that stay are kept. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    const same = (a: Endpoint, b: Endpoint): boolean =>
      a.host === b.host && a.port === b.port && a.serverName === b.serverName;
    const before = this.#channels;
    this.#channels = endpoints.map(
      (endpoint) =>
        before.find((channel) => same(channel.endpoint, endpoint)) ??
        new MemberChannel(endpoint, this.#tls, this.#clock),
    );
    for (const channel of before) if (!this.#channels.includes(channel)) channel.close();
    this.#preferred = 0;
  }

  /** Connects anew to every member, with other certificates and perhaps at other addresses. */
  reconnect(endpoints: readonly Endpoint[], tls: TlsMaterial): void {
    this.#tls = tls;
    this.setEndpoints([]);
    this.setEndpoints(endpoints);
  }

  /** Address of the member that is asked first. */
  get member(): string | undefined {
    const endpoint = this.#channels[this.#preferred]?.endpoint;
    return endpoint === undefined ? undefined : formatHostPort(endpoint.host, endpoint.port);
  }

  /** Linearizable. Rejects with ServiceError cluster-unavailable when no member answers in time. */
  range(request: RangeRequest): Promise<RangeResponse> {
    return this.#anyMember((channel) => channel.unary(KV_RANGE, rangeRequest(request), rangeResponse));
  }

  /**
   * All operations if all compares hold, else none. Rejects with OutcomeUnknownError when nobody knows whether it happened,
   * and with ServiceError cluster-unavailable when it did not, and will not.
   */
  async txn(compares: readonly Compare[], operations: readonly Operation[]): Promise<TxnResponse> {
    const request = txnRequest(compares, operations);
    const channel = await this.#proven();
    try {
      return await channel.unary(KV_TXN, request, txnResponse, ETCD_PATIENCE - ETCD_DEADLINE);
    } catch (error) {
      this.avoid(channel);
      if (error instanceof CallError && error.notDone) {
        throw new ServiceError('cluster-unavailable', `the configuration store refuses a change: ${error.message}`, {
          cause: error,
        });
      }
      throw new OutcomeUnknownError(`nobody knows whether a change was made: ${messageOf(error)}`, { cause: error });
    }
  }

  /** A stream of watches at the member asked first; undefined: there is none. */
  watch(): { channel: MemberChannel; stream: ReturnType<MemberChannel['stream']> } | undefined {
    const channel = this.#channels[this.#preferred];
    return channel === undefined ? undefined : { channel, stream: channel.stream(WATCH) };
  }

  /** Ask another member first from now on. */
  avoid(channel: MemberChannel): void {
    if (this.#channels[this.#preferred] !== channel) return;
    this.#preferred = (this.#preferred + 1) % Math.max(1, this.#channels.length);
  }

  /** Rejects with ServiceError cluster-unavailable. */
  members(): Promise<Member[]> {
    return this.#anyMember((channel) => channel.unary(`${CLUSTER}/MemberList`, emptyRequest(), memberListResponse));
  }

  /** Adds a learner: it has no vote until promote(), so nothing stops when it never starts. */
  addLearner(peerUrl: string): Promise<Member> {
    return this.#change('MemberAdd', memberAddRequest(peerUrl), memberAddResponse);
  }

  /** Gives a learner its vote. Refused while it is behind. */
  promote(id: bigint): Promise<void> {
    return this.#change('MemberPromote', memberIdRequest(id), () => undefined);
  }

  removeMember(id: bigint): Promise<void> {
    return this.#change('MemberRemove', memberIdRequest(id), () => undefined);
  }

  /** What the member at each address says of itself. */
  statuses(): Promise<MemberAnswer[]> {
    return Promise.all(
      this.#channels.map(async (channel): Promise<MemberAnswer> => {
        const { endpoint } = channel;
        try {
          const status = await channel.unary(STATUS, emptyRequest(), statusResponse);
          return { endpoint, status, problem: undefined };
        } catch (error) {
          return { endpoint, status: undefined, problem: messageOf(error) };
        }
      }),
    );
  }

  close(): void {
    for (const channel of this.#channels.splice(0)) channel.close();
  }

  /** A change of the members. It is made at most once; a failure leaves open whether it was. */
  async #change<T>(method: string, request: Buffer, decode: (bytes: Buffer) => T): Promise<T> {
    const channel = await this.#proven();
    const wrapped = (bytes: Buffer): { value: T } => ({ value: decode(bytes) });
    try {
      return (await channel.unary(`${CLUSTER}/${method}`, request, wrapped, ETCD_PATIENCE)).value;
    } catch (error) {
      throw new ServiceError('cluster-unavailable', `etcd: ${messageOf(error)}`, { cause: error });
    }
  }

  /**
   * A member that has just answered. What must not be done twice is sent to it only: looking for a member can be repeated,
   * the change cannot.
   */
  #proven(): Promise<MemberChannel> {
    return this.#anyMember(async (channel) => {
      if (this.#clock.now() - channel.answeredAt > ETCD_LOOK) {
        await channel.unary(KV_RANGE, rangeRequest({ key: this.#probe, limit: 1 }), rangeResponse);
      }
      return channel;
    }, ETCD_PATIENCE - ETCD_DEADLINE);
  }

  /**
   * Asks one member after the other, the one that answered last first: the next one when one has failed, or says nothing for a
   * while. The first answer counts. So a member that has lost the others, or whose machine is gone, costs little time. What is
   * asked may be asked several times.
   */
  #anyMember<T>(attempt: (channel: MemberChannel) => Promise<T>, patience = ETCD_PATIENCE): Promise<T> {
    const clock = this.#clock;
    const end = clock.now() + patience;
    const channels = [...this.#channels.slice(this.#preferred), ...this.#channels.slice(0, this.#preferred)];
    return new Promise((resolve, reject) => {
      let [begun, running, over] = [0, 0, false];
      let why = 'it has no members';
      let timer: Timer | undefined = undefined;
      const settle = (tell: () => void): void => {
        if (over) return;
        over = true;
        timer?.cancel();
        tell();
      };
      const giveUp = (): void => {
        settle(() => {
          reject(new ServiceError('cluster-unavailable', `the configuration store does not answer: ${why}`));
        });
      };
      const begin = (): void => {
        const channel = channels[begun];
        if (channel === undefined || over) return;
        begun++;
        running++;
        timer?.cancel();
        timer = clock.after(ETCD_HEDGE, begin);
        void ask(channel).then(() => {
          if (--running === 0) giveUp();
        });
      };
      const ask = async (channel: MemberChannel): Promise<void> => {
        for (let asked = 0; asked < 2 && !over && clock.now() < end;) {
          try {
            await channel.ready(ETCD_DEADLINE);
            asked++;
            const result = await attempt(channel);
            settle(() => {
              this.#prefer(channel);
              resolve(result);
            });
            return;
          } catch (error) {
            why = messageOf(error);
            this.avoid(channel);
            begin();
          }
        }
      };
      begin();
      if (begun === 0) giveUp();
    });
  }

  #prefer(channel: MemberChannel): void {
    const found = this.#channels.indexOf(channel);
    if (found >= 0) this.#preferred = found;
  }
}
