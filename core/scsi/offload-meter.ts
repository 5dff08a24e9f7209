// The truth meter: what a logical unit has done instead of its hosts, for which host, and what it refused and why. Refusals are
// noticed in dispatch, so that none is missed; what was done is told by the command itself, which alone knows how.
import { MAX_OFFLOAD_HOSTS, MAX_OFFLOAD_REASONS } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { CopyRoute } from '../volume/copy-route.ts';
import type { LunNexus } from './lun-nexus.ts';
import { SENSE, senseText } from './sense.ts';
import type { Forwarded, OffloadReason, ScsiError, SenseRow } from './sense.ts';
import { Status } from './task.ts';

/** Kinds of offload, as people are told of them. */
export const OFFLOAD_KINDS = [
  'extended-copy',
  'populate-token',
  'write-using-token',
  'write-same',
  'unmap',
  'compare-and-write',
] as const;
export type OffloadKind = (typeof OFFLOAD_KINDS)[number];

/** What one command has done. Bytes. */
export interface OffloadWork {
  /** Done in the map alone: grains shared, or given back, or made holes. No data was moved. */
  readonly shared: number;
  /** Data that was read and written, or written, inside the storage. */
  readonly copied: number;
  readonly micros: number;
}

/** The last refusal of a kind for one host. */
export interface Refusal {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly reason: OffloadReason;
  /** Sense key, additional sense code and qualifier, or the status; empty when the host was told nothing. */
  readonly told: string;
}

export class KindMeter {
  used = 0;
  refused = 0;
  sharedBytes = 0;
  copiedBytes = 0;
  /** Microseconds the commands took, all together. */
  micros = 0;
  /** How often, by reason. */
  readonly reasons = new Map<OffloadReason, number>();
  last: Refusal | undefined;
}

/** What one host has asked of one logical unit. */
export class HostMeter {
  /** Milliseconds since 1970 of its last command. */
  lastAt = 0;
  readonly kinds = new Map<OffloadKind, KindMeter>();

  kind(kind: OffloadKind): KindMeter {
    let meter = this.kinds.get(kind);
    if (meter === undefined) {
      meter = new KindMeter();
      this.kinds.set(kind, meter);
    }
    return meter;
  }
}

export class OffloadMeter {
  readonly #clock: Clock;
  /** By iSCSI name: a host with several paths is one host. */
  readonly #hosts = new Map<string, HostMeter>();
  readonly #limit: number;

  /** `limit`: hosts that are kept; the one that has been silent longest is dropped for a new one. */
  constructor(clock: Clock, limit = MAX_OFFLOAD_HOSTS) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get hosts(): ReadonlyMap<string, HostMeter> {
    return this.#hosts;
  }

  /** The command was carried out. `routes`: of the logical units it copied to; they learn how fast it was. */
  used(
    nexus: LunNexus,
    kind: OffloadKind,
    { shared, copied, micros }: OffloadWork,
    routes: readonly Pick<CopyRoute, 'copied'>[] = [],
  ): void {
    const meter = this.#host(nexus.initiator.name).kind(kind);
    meter.used++;
    meter.sharedBytes += shared;
    meter.copiedBytes += copied;
    meter.micros += micros;
    for (const route of routes) route.copied(copied, micros);
  }

  /**
   * The command was not carried out. Only for what does not end a command with CHECK CONDITION, RESERVATION CONFLICT, TASK
   * ABORTED or TASK SET FULL (a copy that fails in the background, say): those are noticed by themselves. `told`: what the
   * host learned.
   */
  refused(nexus: LunNexus, kind: OffloadKind, reason: OffloadReason, told = ''): void {
    const meter = this.#host(nexus.initiator.name).kind(kind);
    meter.refused++;
    const known = meter.reasons.get(reason);
    if (known !== undefined || meter.reasons.size < MAX_OFFLOAD_REASONS) meter.reasons.set(reason, (known ?? 0) + 1);
    meter.last = { at: this.#clock.wall(), reason, told };
  }

  #host(name: string): HostMeter {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      if (this.#hosts.size >= this.#limit) this.#dropOldest();
      host = new HostMeter();
      this.#hosts.set(name, host);
    }
    host.lastAt = this.#clock.wall();
    return host;
  }

  #dropOldest(): void {
    let oldest: string | undefined;
    let at = Number.POSITIVE_INFINITY;
    for (const [name, host] of this.#hosts) {
      if (host.lastAt >= at) continue;
      oldest = name;
      at = host.lastAt;
    }
    if (oldest !== undefined) this.#hosts.delete(oldest);
  }
}

/** The kind of offload a CDB asks for, whether we know the command or not; undefined: it is an ordinary command. */
export function offloadKindOf(opcode: number, serviceAction: number): OffloadKind | undefined {
  switch (opcode) {
    case 0x41: // WRITE SAME (10)
    case 0x93: // WRITE SAME (16)
      return 'write-same';
    case 0x42:
      return 'unmap';
    case 0x89:
      return 'compare-and-write';
    case 0x83: // THIRD-PARTY COPY OUT (SPC-4 6.3): POPULATE TOKEN, WRITE USING TOKEN, EXTENDED COPY (LID1), (LID4)
      if (serviceAction === 0x10) return 'populate-token';
      if (serviceAction === 0x11) return 'write-using-token';
      return serviceAction <= 0x01 ? 'extended-copy' : undefined;
    default:
      return undefined;
  }
}

/**
 * An offload command ended with this error. A unit attention is about something else and no refusal; nor is a copy of which as
 * much was done as the time, or the token, was good for: the host goes on from there.
 */
export function noteRefusal(nexus: LunNexus, kind: OffloadKind, error: ScsiError): void {
  if (error.sense.key === 0x6 || isPartial(error)) return;
  nexus.lu.offload.refused(nexus, kind, reasonOf(error), senseText(error.sense));
}

/** A CDB was sent away with TASK SET FULL before anything of it was looked at: there is no room for its data now. */
export function noteFull(nexus: LunNexus, cdb: Buffer): void {
  const kind = offloadKindOf(cdb[0] ?? 0, (cdb[1] ?? 0) & 0x1f);
  if (kind !== undefined) nexus.lu.offload.refused(nexus, kind, 'busy', 'TASK SET FULL');
}

/** 0A/0D/04 and 05/0D/04 (SBC-3 5.46): the data there was has been written. */
export const isPartial = ({ sense }: ScsiError): boolean => sense === SENSE.copyUnderrun || sense === SENSE.beyondToken;

/** Why, from what the host is told, unless the command knows better. */
export function reasonOf({ sense, detail }: ScsiError): OffloadReason {
  if (detail.reason !== undefined) return detail.reason;
  if (detail.forwarded !== undefined) return reasonOfEnd(detail.forwarded, sense);
  const code = (sense.asc << 8) | sense.ascq;
  switch (code) {
    case 0x2707:
      return 'no-space';
    case 0x2000:
      return 'not-offered';
    case 0x2100:
      return 'out-of-range';
    case 0x2304:
    case 0x2309:
      return 'token-unknown';
    case 0x2305:
      return 'token-forged';
    case 0x2307:
    case 0x2306:
    case 0x2308:
      return 'token-expired';
    case 0x2400:
      return 'bad-command';
    case 0x5503:
    case 0x550d: // INSUFFICIENT RESOURCES TO CREATE ROD TOKEN
    case 0x0016: // OPERATION IN PROGRESS: the list identifier is in use
      return 'busy';
    case 0x550c: // INSUFFICIENT RESOURCES TO CREATE ROD
      return 'no-space';
    case 0x2500:
    case 0x0d02: // COPY TARGET DEVICE NOT REACHABLE
      return 'not-mapped';
    default:
      return reasonOfClass(sense.key, sense.asc);
  }
}

/** What the source or the destination of a copy answered. */
function reasonOfEnd({ status, error }: Forwarded, { key, asc }: SenseRow): OffloadReason {
  if (status === Status.reservationConflict) return 'reserved';
  return error === undefined ? reasonOfClass(key, asc) : reasonOf(error);
}

function reasonOfClass(key: number, asc: number): OffloadReason {
  if (asc === 0x23) return 'token-unusable';
  if (asc === 0x1a || asc === 0x26) return 'bad-list';
  if (key === 0xe) return 'miscompare';
  if (key === 0x7) return 'write-protected';
  if (key === 0x2) return 'not-ready';
  if (key === 0x3 || key === 0x4) return 'storage-failed';
  if (key === 0xa) return asc === 0x2f ? 'aborted' : 'copy-failed';
  return 'other';
}
