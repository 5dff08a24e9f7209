// Whether the storage should take a copy that a host asks for. Where blocks can be shared it always should: nothing is moved.
// Where they have to be read and written, the host may be faster: it reads from one target and writes to another at the speed
// of its network, while the storage shares its disks with everybody. What is measured decides; the administrator may decide first.
import { COPY_RATE_MEMORY, COPY_RATE_STALE, MIN_RATE_SAMPLE } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';

export const COPY_ROUTES = ['auto', 'always', 'share-only', 'never'] as const;
/**
 * `auto`: what is measured decides; `always`: every copy is taken; `share-only`: those that move no data; `never`: none. A
 * refused host copies by itself.
 */
export type CopyRoutePolicy = (typeof COPY_ROUTES)[number];

export interface CopyQuestion {
  /** All but ragged edges can be shared by reference. */
  readonly shareable: boolean;
  /** Bytes of the copy. */
  readonly bytes: number;
  /** iSCSI name of the host that asks. */
  readonly host: string;
}

/** Bytes a second; undefined: not measured, or too long ago. */
export interface MeasuredRates {
  /** Of copies inside the storage that move data. */
  readonly storage: number | undefined;
  /** Of this host when it reads and writes through the wire. */
  readonly host: number | undefined;
}

export type RouteReason = 'shared' | 'fixed' | 'not-measured' | 'faster' | 'slower';
export interface RouteDecision {
  readonly route: 'accept' | 'refuse';
  readonly why: RouteReason;
}

/** A refusal costs the host a round trip and its own reads: the storage has to be clearly slower, by this factor. */
const CLEARLY = 1.25;

/** The decision, from facts alone. What is not measured is accepted: it is measured then. */
export function decideRoute(policy: CopyRoutePolicy, shareable: boolean, rates: MeasuredRates): RouteDecision {
  if (policy === 'never') return { route: 'refuse', why: 'fixed' };
  if (policy === 'always') return { route: 'accept', why: 'fixed' };
  if (shareable) return { route: 'accept', why: 'shared' };
  if (policy === 'share-only') return { route: 'refuse', why: 'fixed' };
  if (rates.storage === undefined || rates.host === undefined) return { route: 'accept', why: 'not-measured' };
  const slower = rates.storage * CLEARLY < rates.host;
  return slower ? { route: 'refuse', why: 'slower' } : { route: 'accept', why: 'faster' };
}

export interface CopyRouteOptions {
  readonly clock: Clock;
  /** The policy as it is now. */
  readonly policy: () => CopyRoutePolicy;
  /** Bytes a second this host has been seen to read and write; undefined: not measured. */
  readonly hostRate: (host: string) => number | undefined;
}

/** The route of copies to one volume: asks the policy, and remembers how fast copies were. */
export class CopyRoute {
  readonly #options: CopyRouteOptions;
  #bytes = 0;
  #micros = 0;
  #measuredAt = Number.NEGATIVE_INFINITY;
  /** Why the last copy was accepted or refused; undefined: none was asked for. */
  last: RouteDecision | undefined;

  constructor(options: CopyRouteOptions) {
    this.#options = options;
  }

  get policy(): CopyRoutePolicy {
    return this.#options.policy();
  }

  /** Bytes a second of copies that moved data; undefined: there were none for COPY_RATE_STALE. */
  get storageRate(): number | undefined {
    const stale = this.#options.clock.now() - this.#measuredAt > COPY_RATE_STALE;
    return stale || this.#micros === 0 ? undefined : (this.#bytes / this.#micros) * 1e6;
  }

  decide({ shareable, host }: CopyQuestion): 'accept' | 'refuse' {
    const rates = { storage: this.storageRate, host: this.#options.hostRate(host) };
    this.last = decideRoute(this.policy, shareable, rates);
    return this.last.route;
  }

  /** A copy has moved `bytes` in `micros` microseconds. Short ones tell more of everything else than of the rate. */
  copied(bytes: number, micros: number): void {
    if (bytes < MIN_RATE_SAMPLE || micros <= 0) return;
    this.#bytes += bytes;
    this.#micros += micros;
    this.#measuredAt = this.#options.clock.now();
    // What was long ago counts less and less.
    if (this.#bytes <= COPY_RATE_MEMORY) return;
    this.#bytes /= 2;
    this.#micros /= 2;
  }
}
