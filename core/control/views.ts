// What the outside sees of the catalog and the running units.
import { formatHostPort, isWildcard } from '../base/host-port.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import type { CacheCounters } from '../cache/cached-volume.ts';
import { identityOf } from '../scsi/identity.ts';
import type { LuCounters } from '../scsi/lu-counters.ts';
import type { Histogram } from '../base/histogram.ts';
import type { Volume } from '../volume/volume.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { InitiatorRecord, VolumeRecord } from './records.ts';
import type { PortalView, SessionSource } from './sessions.ts';
import type { Units } from './units.ts';

export type DiskState = 'online' | 'failed' | 'elsewhere';

export interface DiskView {
  name: string;
  iqn: string;
  lun: number;
  /** Bytes. */
  size: number;
  /** On the first portal. */
  url: string;
  /** One per portal. */
  urls: string[];
  target: string;
  id: string;
  /** NAA identifier, as VPD page 83h and /dev/disk/by-id show it. */
  naa: string;
  serial: string;
  kind: string;
  /** Name of its pool; null when it is in none. */
  pool: string | null;
  /** Name of the engine it is an image of; null: none. */
  backend: string | null;
  /** Ids of the nodes that keep a copy; empty on a node that is alone. */
  nodes: string[];
  /** Name; null: none. */
  policy: string | null;
  snapshots: number;
  path: string | null;
  /** Bytes of storage in use; null when the volume is not served. */
  allocatedBytes: number | null;
  blockSize: number;
  physicalBlockSize: number;
  durability: string;
  thin: boolean;
  readOnly: boolean;
  maps: { initiator: string; access: 'read-write' | 'read-only' }[];
  /** Who has it for himself; null: nobody. */
  lease: { holder: string; since: string } | null;
  /** Sessions that see the volume now. */
  sessions: number;
  /** `elsewhere`: other nodes of the cluster have it, and this one has not. */
  state: DiskState;
  /** Why it failed, or where it is. */
  problem: string | null;
  /** ISO 8601. */
  created: string;
}

export interface InitiatorView {
  iqn: string;
  /** CHAP users; secrets never leave. */
  chapUser: string | null;
  mutualUser: string | null;
  /** Names of the volumes mapped to it by name. */
  volumes: string[];
  created: string;
}

export interface LatencyView {
  /** Microseconds. */
  mean: number;
  p50: number;
  p99: number;
  p999: number;
  /** Of all commands together: rates over a time come from its differences. */
  total: number;
}

export interface VolumeStatsView {
  name: string;
  reads: number;
  readBytes: number;
  writes: number;
  writtenBytes: number;
  others: number;
  errors: number;
  conflicts: number;
  aborted: number;
  readLatency: LatencyView;
  writeLatency: LatencyView;
  allocatedBytes: number;
}

/** Counters of the cache in front of a volume; undefined: there is none. */
export function cacheCounters(volume: Volume): CacheCounters | undefined {
  return volume instanceof CachedVolume ? volume.counters() : undefined;
}

/** The HOST:PORT an initiator uses for this portal; `outside` stands in for a portal on all addresses. */
export function portalAddress(portal: PortalView, outside: string): string {
  if (portal.advertised !== undefined) return portal.advertised;
  return formatHostPort(isWildcard(portal.address) ? outside : portal.address, portal.port);
}

export class Views {
  readonly #catalog: Catalog;
  readonly #units: Units;
  readonly #server: () => SessionSource | undefined;
  readonly #outside: string;
  readonly #backend: VolumeBackend;

  /** `outside`: an address by which others reach this machine. */
  constructor(
    catalog: Catalog,
    units: Units,
    backend: VolumeBackend,
    server: () => SessionSource | undefined,
    outside: string,
  ) {
    this.#backend = backend;
    this.#catalog = catalog;
    this.#units = units;
    this.#server = server;
    this.#outside = outside;
  }

  portals(): string[] {
    return (this.#server()?.portals ?? []).map((portal) => this.portalAddress(portal));
  }

  /** HOST:PORT by which initiators find it. */
  portalAddress(portal: PortalView): string {
    return portalAddress(portal, this.#outside);
  }

  disk(record: VolumeRecord): DiskView {
    const lu = this.#units.unit(record.name);
    const identity = identityOf(record.id);
    const iqn = this.#catalog.targets.get(record.target)?.iqn ?? this.#catalog.iqnOf(record.target);
    const urls = this.portals().map((portal) => `iscsi://${portal}/${iqn}/${String(record.lun)}`);
    return {
      name: record.name,
      iqn,
      lun: record.lun,
      size: record.size,
      url: urls[0] ?? '',
      urls,
      target: record.target,
      id: record.id,
      naa: `naa.${identity.naa.toString('hex')}`,
      serial: identity.serial,
      kind: record.kind,
      pool: record.pool ?? null,
      backend: record.backend ?? null,
      nodes: [...(record.replicas ?? [])],
      policy: record.policy ?? null,
      snapshots: record.pool === undefined ? 0 : this.#catalog.snapshotsOf(record.name).length,
      path: this.#backend.locate(record) ?? null,
      allocatedBytes: lu?.volume.allocatedBytes() ?? null,
      blockSize: record.blockSize,
      physicalBlockSize: record.physicalBlockSize,
      durability: record.durability,
      thin: record.thin,
      readOnly: record.readOnly,
      maps: record.maps.map(({ who, readOnly }) => ({ initiator: who, access: readOnly ? 'read-only' : 'read-write' })),
      lease:
        record.lease === undefined
          ? null
          : { holder: record.lease.holder, since: new Date(record.lease.since).toISOString() },
      sessions: lu?.nexuses.size ?? 0,
      state: this.stateOf(record.name),
      problem: lu === undefined ? this.#problemOf(record) : null,
      created: new Date(record.created).toISOString(),
    };
  }

  #problemOf(record: VolumeRecord): string {
    const where = this.#backend.whereabouts(record);
    if (where !== undefined) return `its data is on ${where}`;
    return this.#units.problem(record.name) ?? 'it is being created or deleted';
  }

  stateOf(name: string): DiskState {
    if (this.#units.unit(name) !== undefined) return 'online';
    const record = this.#catalog.volumes.get(name);
    return record === undefined || this.#backend.holds(record) ? 'failed' : 'elsewhere';
  }

  disks(): DiskView[] {
    return this.#catalog.volumes.values().map((record) => this.disk(record));
  }

  initiator(record: InitiatorRecord): InitiatorView {
    const volumes = this.#catalog.volumesMappedTo(record.iqn);
    return {
      iqn: record.iqn,
      chapUser: record.chap?.user ?? null,
      mutualUser: record.mutual?.user ?? null,
      volumes: volumes.map((volume) => volume.name),
      created: new Date(record.created).toISOString(),
    };
  }

  /** Undefined: the volume is not served. */
  statsOf(name: string): VolumeStatsView | undefined {
    const lu = this.#units.unit(name);
    if (lu === undefined) return undefined;
    return {
      name,
      ...countersOf(lu.counters),
      readLatency: latencyOf(lu.counters.readLatency),
      writeLatency: latencyOf(lu.counters.writeLatency),
      allocatedBytes: lu.volume.allocatedBytes(),
    };
  }

  /** All volumes together. */
  totals(): { failed: number; provisionedBytes: number; allocatedBytes: number } {
    const totals = { failed: 0, provisionedBytes: 0, allocatedBytes: 0 };
    for (const { name, size } of this.#catalog.volumes.values()) {
      const lu = this.#units.unit(name);
      if (this.stateOf(name) === 'failed') totals.failed++;
      totals.provisionedBytes += size;
      totals.allocatedBytes += lu?.volume.allocatedBytes() ?? 0;
    }
    return totals;
  }
}

function countersOf(
  counters: LuCounters,
): Omit<VolumeStatsView, 'name' | 'readLatency' | 'writeLatency' | 'allocatedBytes'> {
  const { reads, readBytes, writes, writtenBytes, others, errors, conflicts, aborted } = counters;
  return { reads, readBytes, writes, writtenBytes, others, errors, conflicts, aborted };
}

function latencyOf(histogram: Histogram): LatencyView {
  const mean = histogram.count === 0 ? 0 : histogram.sum / histogram.count;
  const rounded = (microseconds: number): number => Math.round(microseconds * 10) / 10;
  return {
    mean: rounded(mean),
    p50: rounded(histogram.percentile(0.5)),
    p99: rounded(histogram.percentile(0.99)),
    p999: rounded(histogram.percentile(0.999)),
    total: rounded(histogram.sum),
  };
}
