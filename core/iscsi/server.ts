// The iSCSI server: portals, connections, sessions, the watch over silent peers, and an orderly end.
import type { Histogram } from '../base/histogram.ts';
import {
  ANSWER_MEMORY,
  DATA_MEMORY,
  LOGIN_TIMEOUT,
  LOGOUT_PATIENCE,
  MAX_LOGINS_PENDING,
  MAX_LOGINS_PENDING_PER_ADDRESS,
  MAX_SESSIONS,
  MAX_SESSIONS_PER_INITIATOR,
  NOP_INTERVAL,
  NOP_TIMEOUT,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Listener, Socket, Timer, World } from '../base/world.ts';
import type { InitiatorPort, TargetPort } from '../scsi/lun-nexus.ts';
import { AnswerMemory } from './answer-memory.ts';
import { Connection } from './connection.ts';
import type { AccessPolicy, IscsiContext, OpenPortal, PortalOptions } from './context.ts';
import { Courtesy } from './courtesy.ts';
import { DataMemory } from './data-memory.ts';
import { ReceivePool } from './receive.ts';
import { SlabPool } from './send-buffer.ts';
import type { Session } from './session.ts';
import { Wakefulness } from './wakefulness.ts';

/** How often connections are looked at, milliseconds. */
const SWEEP_INTERVAL = 1000;

export interface IscsiServerOptions {
  readonly world: World;
  readonly log: Log;
  readonly policy: AccessPolicy;
  readonly portals: readonly PortalOptions[];
  /** True when the address belongs to this machine (`--map loopback`). */
  readonly isLocal: (address: string) => boolean;
}

/** One session, for people and metrics. */
export interface SessionInfo {
  readonly tsih: number;
  readonly initiator: string;
  readonly alias: string | undefined;
  readonly isid: string;
  /** Undefined: a discovery session. */
  readonly target: string | undefined;
  readonly peer: string;
  readonly portal: string;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly activeTasks: number;
  readonly commands: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly digestErrors: number;
  readonly rejects: number;
}

export class IscsiServer implements IscsiContext {
  readonly world: World;
  readonly log: Log;
  readonly policy: AccessPolicy;
  readonly receivePool = new ReceivePool();
  readonly slabs = new SlabPool();
  readonly memory = new DataMemory(DATA_MEMORY);
  readonly answers: AnswerMemory;
  readonly wakefulness: Wakefulness;
  readonly courtesy: Courtesy;
  readonly connections = new Set<Connection>();
  readonly #options: IscsiServerOptions;
  readonly #listeners = new Map<OpenPortal, Listener>();
  /** Where each connection came in. */
  readonly #entries = new WeakMap<Connection, OpenPortal>();
  #sweeper: Timer | undefined;
  #lastTsih = 0;
  #stopping = false;

  constructor(options: IscsiServerOptions) {
    this.#options = options;
    this.world = options.world;
    this.courtesy = new Courtesy(options.world.clock);
    this.wakefulness = new Wakefulness(options.world.clock);
    this.answers = new AnswerMemory(ANSWER_MEMORY, (fn) => {
      options.world.clock.soon(fn);
    });
    this.log = options.log;
    this.policy = options.policy;
  }

  get portals(): readonly OpenPortal[] {
    return [...this.#listeners.keys()];
  }

  /** Opens all portals. Rejects with a ServiceError (and closes what was open) when one cannot be opened. */
  async listen(): Promise<void> {
    try {
      for (const portal of this.#options.portals) await this.openPortal(portal);
    } catch (error) {
      await Promise.all([...this.#listeners.values()].map((each) => each.close()));
      this.#listeners.clear();
      throw error;
    }
    this.#planSweep();
  }

  /** Listens at one more address. Rejects with ServiceError port-taken or address-unusable, and at the end of the server. */
  async openPortal({ host, port, group, advertised }: PortalOptions): Promise<OpenPortal> {
    const listener = await this.world.net.listen(host, port, (socket) => {
      this.#accept(socket, open);
    });
    if (this.#stopping) {
      // Nobody else would close it.
      await listener.close();
      throw new Error('the server is at its end');
    }
    const open: OpenPortal = { address: listener.address, port: listener.port, group, advertised };
    this.#listeners.set(open, listener);
    return open;
  }

  /**
   * Nobody comes in there any more. Initiators that are in by it are asked to log out (RFC 7143 §11.9.1: AsyncEvent 1), and their
   * connections end after LOGOUT_PATIENCE.
   */
  closePortal(portal: OpenPortal): void {
    const listener = this.#listeners.get(portal);
    if (listener === undefined) return;
    this.#listeners.delete(portal);
    // It is over when the last connection is.
    void listener.close();
    const there = this.#at(portal);
    for (const each of there) {
      if (each.session === undefined) each.destroy('the portal is closed');
      else each.requestLogout();
    }
    this.world.clock.after(LOGOUT_PATIENCE, () => {
      for (const each of there) if (this.connections.has(each)) each.end();
    });
  }

  sessionsAt(portal: OpenPortal): SessionInfo[] {
    return this.#at(portal).flatMap((each) => (each.session === undefined ? [] : [infoOf(each, each.session)]));
  }

  #at(portal: OpenPortal): Connection[] {
    return [...this.connections].filter((each) => this.#entries.get(each) === portal);
  }

  /** Stops accepting, asks the initiators to log out, and ends what is left after a while. */
  async shutdown(): Promise<void> {
    this.#stopping = true;
    for (const listener of this.#listeners.values()) void listener.close();
    for (const each of [...this.connections]) {
      if (each.session === undefined) each.destroy('shutdown');
      else each.requestLogout();
    }
    await this.#untilEmpty(LOGOUT_PATIENCE);
    for (const each of [...this.connections]) each.end();
    await this.#untilEmpty(SWEEP_INTERVAL);
    for (const each of [...this.connections]) each.destroy('shutdown');
    this.#sweeper?.cancel();
  }

  sessions(): SessionInfo[] {
    return [...this.connections].flatMap((each) => (each.session === undefined ? [] : [infoOf(each, each.session)]));
  }

  /** How long the READs and WRITEs of each session took, by its TSIH. */
  latencies(): ReadonlyMap<number, { readonly reads: Histogram; readonly writes: Histogram }> {
    return new Map(
      [...this.connections].flatMap(({ session }) =>
        session === undefined
          ? []
          : [[session.facts.tsih, { reads: session.counters.readLatency, writes: session.counters.writeLatency }]],
      ),
    );
  }

  /** Ends all sessions of this target (it is being deleted). */
  closeTarget(name: string): void {
    for (const each of [...this.connections]) if (each.session?.facts.targetName === name) each.end();
  }

  // ---- IscsiContext

  nextTsih(): number {
    const used = new Set([...this.connections].map((each) => each.session?.facts.tsih));
    do this.#lastTsih = (this.#lastTsih % 0xffff) + 1;
    while (used.has(this.#lastTsih));
    return this.#lastTsih;
  }

  existing(initiator: InitiatorPort, target: TargetPort | undefined, portalGroup: number): Connection | undefined {
    for (const each of this.connections) {
      const facts = each.session?.facts;
      if (facts?.initiatorName !== initiator.name || facts.isid !== initiator.isid) continue;
      if (facts.targetName === target?.name && each.portalGroup === portalGroup) return each;
    }
    return undefined;
  }

  mayEnter(connection: Connection, initiatorName: string): boolean {
    const sessions = [...this.connections].filter((each) => each !== connection && each.session !== undefined);
    if (this.#stopping || sessions.length >= MAX_SESSIONS) return false;
    const own = sessions.filter((each) => each.session?.facts.initiatorName === initiatorName);
    return own.length < MAX_SESSIONS_PER_INITIATOR;
  }

  forget(connection: Connection, reason: string): void {
    if (!this.connections.delete(connection)) return;
    const session = connection.session;
    if (session?.nexus !== undefined) session.nexus.device.detach(session.nexus);
    if (session !== undefined) connection.log.info({ reason }, 'session ended');
  }

  // ---- internals

  #accept(socket: Socket, portal: OpenPortal): void {
    const logins = [...this.connections].filter((each) => each.session === undefined);
    const pending = logins.length;
    const own = logins.filter((each) => each.socket.remoteAddress === socket.remoteAddress).length;
    if (this.#stopping || pending >= MAX_LOGINS_PENDING || own >= MAX_LOGINS_PENDING_PER_ADDRESS) {
      this.log.warn({ peer: socket.remoteAddress, pending }, 'too many logins at once: connection refused');
      socket.destroy('too many logins');
      return;
    }
    const connection = new Connection(socket, this, portal.group, this.#options.isLocal(socket.remoteAddress));
    this.#entries.set(connection, portal);
    this.connections.add(connection);
    connection.start();
  }

  #planSweep(): void {
    this.#sweeper = this.world.clock.after(SWEEP_INTERVAL, () => {
      const now = this.world.clock.now();
      for (const each of [...this.connections]) this.#watch(each, now);
      this.#planSweep();
    });
  }

  /** Login time limit, and NOP-In to silent peers (RFC 7143 §4.6.2): a dead one is closed so that its nexus ends. */
  #watch(connection: Connection, now: number): void {
    if (connection.session === undefined) {
      if (now - connection.acceptedAt > LOGIN_TIMEOUT) connection.destroy('no login in time');
      return;
    }
    connection.commands?.expire(now);
    if (connection.pingedAt !== undefined) {
      if (connection.heardAt > connection.pingedAt) connection.pingedAt = undefined;
      else if (now - connection.pingedAt > NOP_TIMEOUT) {
        connection.log.warn({}, 'the initiator does not answer: closing its connection');
        connection.destroy('dead peer');
        return;
      }
    }
    if (connection.pingedAt === undefined && now - connection.heardAt > NOP_INTERVAL) connection.ping(now);
  }

  #untilEmpty(limit: number): Promise<void> {
    const clock = this.world.clock;
    const end = clock.now() + limit;
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.connections.size === 0 || clock.now() >= end) resolve();
        else clock.after(20, look);
      };
      look();
    });
  }
}

function infoOf(connection: Connection, session: Session): SessionInfo {
  const { facts, counters, parameters } = session;
  const socket = connection.socket;
  return {
    tsih: facts.tsih,
    initiator: facts.initiatorName,
    alias: facts.initiatorAlias,
    isid: facts.isid,
    target: facts.targetName,
    peer: `${socket.remoteAddress}:${String(socket.remotePort)}`,
    portal: `${socket.localAddress}:${String(socket.localPort)}`,
    headerDigest: parameters.headerDigest,
    dataDigest: parameters.dataDigest,
    activeTasks: session.active,
    commands: counters.commands,
    readBytes: counters.readBytes,
    writtenBytes: counters.writtenBytes,
    receivedBytes: counters.receivedBytes,
    sentBytes: connection.send.sent,
    digestErrors: counters.digestErrors,
    rejects: counters.rejects,
  };
}
