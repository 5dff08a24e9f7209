// Leases between nodes, by beacons. An owner serves what it reads only while every replica that could take over has
// promised not to: a beacon this node sent at time t, and that was answered, is good until t + LEASE_TIME. Whoever answers
// keeps off for LEASE_GRACE from when it came. Clocks need not agree; their rates must, within a fifth.
import { BEACON_INTERVAL, LEASE_GRACE, LEASE_TIME, PEER_SILENCE } from '../base/limits.ts';
import type { Clock, Timer } from '../base/world.ts';
import { LinkMessage, fields } from './link/hello.ts';
import type { NodeLink } from './link/peers.ts';
import { json } from './messages.ts';

interface FromPeer {
  /** The lease we hold: until when, and how many times it had run out before. */
  until: number;
  generation: number;
  boot: string | undefined;
  /** When an answer came last, and since when there should be some. */
  answered: number;
}

export interface LeasesOptions {
  readonly clock: Clock;
  readonly boot: string;
  readonly links: () => readonly NodeLink[];
  /** This node did not run for longer than a lease lasts. */
  readonly onStall: (milliseconds: number) => void;
  /** Called at every beat. */
  readonly onBeat: () => void;
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
  }

  start(): void {
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
      if (gap > LEASE_TIME) this.#options.onStall(gap);
      for (const link of this.#options.links()) this.#send(link, now);
      this.#options.onBeat();
      this.#plan();
    });
    if (this.#beat === this.#started) for (const link of this.#options.links()) this.#send(link, this.#clock.now());
  }

  #send(link: NodeLink, sentAt: number): void {
    const held = this.#heldFrom(link.node);
    if (!link.beacons.up && !link.up) held.answered = sentAt;
    else if (sentAt - held.answered > PEER_SILENCE) {
      held.answered = sentAt;
      const why = `no beacon was answered for ${String(PEER_SILENCE)} ms`;
      // A peer that lost its power has closed nothing: such connections would stand for minutes.
      link.beacons.reset(why);
      link.reset(why);
    }
    if (!link.beacons.up) return;
    const header = json({ clock: sentAt });
    link.beacons.request(LinkMessage.beacon, header, [], LEASE_TIME).then(
      (reply) => {
        this.#renewed(link.node, sentAt, fields(reply.header)['boot']);
      },
      () => undefined,
    );
  }

  #renewed(node: string, sentAt: number, boot: unknown): void {
    const held = this.#heldFrom(node);
    const now = this.#clock.now();
    held.answered = now;
    const until = sentAt + LEASE_TIME;
    if (until <= now || typeof boot !== 'string') return;
    // Between two leases the peer may have become owner of anything; so may another boot of it.
    if (now >= held.until || boot !== held.boot) held.generation++;
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
