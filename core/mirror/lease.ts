// Leases between nodes, by beacons. An owner serves what it reads only while every replica that could take over has
// promised not to: a beacon this node sent at time t, and that was answered, is good until t + LEASE_TIME. Whoever answers
// keeps off for LEASE_GRACE from when it came. Clocks need not agree; their rates must, within a fifth.
import { BEACON_INTERVAL, LEASE_GRACE, LEASE_TIME, PEER_SILENCE } from '../base/limits.ts';
import type { Clock, Timer } from '../base/world.ts';
import { LinkMessage, fields } from './link/hello.ts';
import type { NodeLink, PeerAddress } from './link/peers.ts';
import { json } from './messages.ts';

interface FromPeer {
  /** The lease we hold: until when, and how many times it had run out before. */
  until: number;
  generation: number;
  boot: string | undefined;
  /** When an answer came last, and since when there should be some. */
  answered: number;
}

/**
 * Sends the beacons of a node from a thread of its own, so that a loop that is busy serving does not lose what it owns. A loop that
 * shows no life for LOOP_LIFE is no owner any more: then nothing is sent for it.
 */
export interface BeaconThread {
  /** Told of each answer to a beacon, `at`: when it came. Both by the clock of Leases. */
  onAnswer: (node: string, sentAt: number, at: number, boot: unknown) => void;
  add(peer: PeerAddress): void;
  remove(node: string): void;
  /** There is a connection to the node. */
  isUp(node: string): boolean;
  /** Breaks that connection; it is made anew. */
  reset(node: string, reason: string): void;
  /** The loop that serves runs. */
  showLife(): void;
  close(): Promise<void>;
}

export interface LeasesOptions {
  readonly clock: Clock;
  readonly boot: string;
  readonly links: () => readonly NodeLink[];
  /** This node did not run for longer than a lease lasts. */
  readonly onStall: (milliseconds: number) => void;
  /** Called at every beat. */
  readonly onBeat: () => void;
  /** Sends the beacons; undefined: this loop does. */
  readonly thread?: BeaconThread | undefined;
}

export class Leases {
  readonly #options: LeasesOptions;
  readonly #clock: Clock;
  readonly #held = new Map<string, FromPeer>();
  /** Until when we keep off what a node owns. */
  readonly #keptOff = new Map<string, number>();
  readonly #started: number;
  #beat: number;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#started = this.#beat = options.clock.now();
    if (options.thread !== undefined) {
      options.thread.onAnswer = (node, sentAt, at, boot) => {
        this.#renewed(node, sentAt, at, boot);
      };
    }
  }

  start(): void {
    this.#options.thread?.showLife();
    this.#plan();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** When this node beat last, by its clock. */
  get beatAt(): number {
    return this.#beat;
  }

  /** Answers the beacons of a node. Called once for each link. */
  serve(link: NodeLink): void {
    link.handlers.beacon.set(LinkMessage.beacon, (header) => {
      const now = this.#clock.now();
      const { clock } = fields(header);
      if (typeof clock === 'number') link.clock = { theirs: clock, at: now };
      // After what the answer promises, not before.
      this.#keptOff.set(link.node, now + LEASE_GRACE);
      return Promise.resolve({ header: json({ boot: this.#options.boot }) });
    });
  }

  /**
   * True when nothing this node has promised keeps it off what `node` owns. What it promised before it was started is not
   * known: it counts as a beacon that came in the last moment.
   */
  isSilent(node: string): boolean {
    const now = this.#clock.now();
    return now >= this.#started + LEASE_GRACE && now >= (this.#keptOff.get(node) ?? 0);
  }

  /** Milliseconds until isSilent may be true. */
  untilSilent(node: string): number {
    const end = Math.max(this.#started + LEASE_GRACE, this.#keptOff.get(node) ?? 0);
    return Math.max(0, end - this.#clock.now());
  }

  /** Which lease from the node it is: another one after each gap. 0: none was held yet. */
  generation(node: string): number {
    return this.#held.get(node)?.generation ?? 0;
  }

  /** True while the lease of that generation has not run out. */
  isHeld(node: string, generation: number): boolean {
    return this.isHeldAt(node, generation, this.#clock.now());
  }

  /** The same, when it is `now` by the clock. */
  isHeldAt(node: string, generation: number, now: number): boolean {
    const held = this.#held.get(node);
    return held?.generation === generation && generation > 0 && now < held.until;
  }

  #plan(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(BEACON_INTERVAL, () => {
      const now = this.#clock.now();
      const gap = now - this.#beat;
      this.#beat = now;
      this.#options.thread?.showLife();
      // What came while this loop stood still has not been looked at yet: nobody was silent meanwhile.
      if (gap > 2 * BEACON_INTERVAL) for (const each of this.#held.values()) each.answered += gap - BEACON_INTERVAL;
      if (gap > LEASE_TIME) this.#options.onStall(gap);
      for (const link of this.#options.links()) this.#send(link, now);
      this.#options.onBeat();
      this.#plan();
    });
    if (this.#beat === this.#started) for (const link of this.#options.links()) this.#send(link, this.#clock.now());
  }

  #send(link: NodeLink, sentAt: number): void {
    const held = this.#heldFrom(link.node);
    const { thread } = this.#options;
    const isUp = thread === undefined ? link.beacons.up : thread.isUp(link.node);
    if (!isUp && !link.up) held.answered = sentAt;
    else if (sentAt - held.answered > PEER_SILENCE) {
      held.answered = sentAt;
      const why = `no beacon was answered for ${String(PEER_SILENCE)} ms`;
      // A peer that lost its power has closed nothing: such connections would stand for minutes.
      if (thread === undefined) link.beacons.reset(why);
      else thread.reset(link.node, why);
      link.reset(why);
    }
    if (thread !== undefined || !link.beacons.up) return;
    const header = json({ clock: sentAt });
    link.beacons.request(LinkMessage.beacon, header, [], LEASE_TIME).then(
      (reply) => {
        this.#renewed(link.node, sentAt, this.#clock.now(), fields(reply.header)['boot']);
      },
      () => undefined,
    );
  }

  /** A beacon sent at `sentAt` has been answered at `at`. */
  #renewed(node: string, sentAt: number, at: number, boot: unknown): void {
    const held = this.#heldFrom(node);
    held.answered = this.#clock.now();
    const until = sentAt + LEASE_TIME;
    if (until <= at || typeof boot !== 'string') return;
    // Between two leases the peer may have become owner of anything; so may another boot of it.
    if (at >= held.until || boot !== held.boot) held.generation++;
    held.boot = boot;
    if (until > held.until) held.until = until;
  }

  #heldFrom(node: string): FromPeer {
    let held = this.#held.get(node);
    if (held === undefined) {
      held = { until: Number.NEGATIVE_INFINITY, generation: 0, boot: undefined, answered: this.#clock.now() };
      this.#held.set(node, held);
    }
    return held;
  }
}
