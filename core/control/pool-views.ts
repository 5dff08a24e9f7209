// Pools as people, the API and metrics see them.
import { DEFAULT_THRESHOLD } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { Pool, PoolEntry } from '../pool/pool.ts';
import { isHidden } from '../pool/rod-table.ts';
import { countSpace } from '../pool/space.ts';
import { GRAIN } from '../volume/grain.ts';
import type { Catalog } from './catalog.ts';
import type { DeletionView, ScrubView } from './pool-jobs.ts';
import type { PoolManager } from './pools.ts';
import type { PoolRecord } from './records.ts';

/** Bytes, where nothing else is said. */
export interface PoolFacts {
  capacityBytes: number;
  /** Holds data. */
  usedBytes: number;
  /** Promised: to thick volumes, and to what is on its way to its place. */
  reservedBytes: number;
  /** Given back, and free after the next checkpoint. */
  quarantinedBytes: number;
  /** Tokens of Windows that can be used, and what they stand for: it stays, as used, until they have expired. */
  tokens: number;
  tokenBytes: number;
  journalBytes: number;
  journalUsedBytes: number;
  /** Since the pool was opened. */
  checkpoints: number;
  damagedBlocks: number;
  /** Space of freed grains that was given back to file systems and devices. */
  reclaimedBytes: number;
}

export interface PoolView {
  name: string;
  id: string;
  kind: string;
  path: string;
  state: 'online' | 'failed';
  problem: string | null;
  /** Percent. */
  threshold: number;
  thresholdReached: boolean;
  /** Takes the disks for which nobody names a pool. */
  default: boolean;
  /** Its folders and devices; 0 is the one with the superblock. `bytes`: room for volume data. */
  parts: { index: number; kind: string; path: string; bytes: number }[];
  facts: PoolFacts | null;
  volumes: number;
  snapshots: number;
  deletions: DeletionView[];
  scrub: ScrubView | null;
  /** Volumes and snapshots whose maps are damaged: they are not served. */
  damagedMaps: string[];
  /** How far a check is that runs, 0 to 1. */
  checking: number | null;
  created: string;
}

export function poolFacts(pools: PoolManager, name: string): PoolFacts {
  const { allocator, journal, journalBytes, checkpoints, damagedBlocks, reclaim } = pools.pool(name);
  const { id } = pools.record(name);
  const tokens = [...pools.rodStores()].find((store) => store.id === id)?.facts;
  return {
    capacityBytes: allocator.total * GRAIN,
    usedBytes: allocator.used * GRAIN,
    reservedBytes: allocator.reserved * GRAIN,
    quarantinedBytes: allocator.quarantined * GRAIN,
    tokens: tokens?.count ?? 0,
    tokenBytes: tokens?.bytes ?? 0,
    journalBytes,
    journalUsedBytes: journal.usedBytes,
    checkpoints,
    damagedBlocks,
    reclaimedBytes: reclaim.bytes,
  };
}

export function poolView(pools: PoolManager, record: PoolRecord): PoolView {
  const closed = pools.problem(record.name);
  const pool = closed === undefined ? pools.pool(record.name) : undefined;
  const jobs = closed === undefined ? pools.jobs(record.name) : undefined;
  const problem = closed ?? pool?.trouble?.message;
  const entries =
    pool === undefined
      ? []
      : [...pool.entries.values()].filter(({ record: { deleting, tag } }) => !deleting && !isHidden(tag));
  const snapshots = entries.filter((entry) => entry.record.snapshotOf !== undefined).length;
  return {
    name: record.name,
    id: record.id,
    kind: record.kind,
    path: pools.where(record),
    state: problem === undefined ? 'online' : 'failed',
    problem: problem ?? null,
    threshold: record.threshold ?? DEFAULT_THRESHOLD,
    thresholdReached: pool?.threshold.crossed ?? false,
    default: pools.isDefault(record.name),
    parts: partsOf(record, pools.where(record), pool),
    facts: pool === undefined ? null : poolFacts(pools, record.name),
    volumes: entries.length - snapshots,
    snapshots,
    deletions: jobs?.deletions() ?? [],
    scrub: jobs?.scrub() ?? null,
    damagedMaps: pool === undefined ? [] : damagedMaps(pool, entries),
    checking: jobs?.checking ?? null,
    created: new Date(record.created).toISOString(),
  };
}

function partsOf({ kind }: PoolRecord, path: string, pool: Pool | undefined): PoolView['parts'] {
  const all = [{ index: 0, kind, path }, ...(pool?.members ?? [])];
  return all.map((part) => {
    const slabs = pool?.slabRecords.filter(({ member = 0 }) => member === part.index) ?? [];
    return { ...part, bytes: slabs.reduce((sum, { grains }) => sum + grains * GRAIN, 0) };
  });
}

/** Name of a volume or `VOLUME@SNAPSHOT` of the pool, for people. */
export function nameInPool({ volumes, snapshots, deleted }: Catalog, tag: string | undefined, inside: number): string {
  if (isHidden(tag)) return '(tokens)';
  const volume = volumes.values().find((each) => each.id === tag);
  const snapshot = snapshots.values().find((each) => each.id === tag);
  if (volume !== undefined) return volume.name;
  for (const kept of deleted.values()) {
    if (kept.volume.id === tag) return `${kept.volume.name} (deleted)`;
    const of = kept.snapshots.find((each) => each.id === tag);
    if (of !== undefined) return `${of.volume}@${of.name} (deleted)`;
  }
  return snapshot === undefined ? `(${String(inside)})` : `${snapshot.volume}@${snapshot.name}`;
}

/**
 * Volumes of the pool whose records are damaged, so that nobody knows whose they are, when the pool has everything else that
 * the catalog says it has: volumes and snapshots, besides the one with this id, which is being deleted.
 */
export function nobodys(catalog: Catalog, name: string, id: string, pool: Pool): number[] {
  const lost = [...pool.entries.values()].filter(({ record, recordLost }) => recordLost === true && !record.deleting);
  const tags = new Set([...pool.entries.values()].map(({ record }) => record.tag));
  const known = catalog.stored().filter((each) => each.pool === name && each.id !== id);
  return known.every((each) => tags.has(each.id)) ? lost.map(({ record }) => record.id) : [];
}

const damagedMaps = (pool: Pool, entries: readonly PoolEntry[]): string[] =>
  entries
    .filter(({ damage }) => damage !== undefined)
    .map(({ record, damage }) => `${pool.nameOf(record.id)}: ${damage ?? ''}`);

/** Bytes that come back when all snapshots of the pool are deleted. Looks at all of their maps. */
export async function snapshotBytes(pool: Pool, clock: Clock): Promise<number> {
  const snapshots = [...pool.entries.values()].filter(({ record }) => record.snapshotOf !== undefined);
  const { exclusive } = await countSpace(
    pool.allocator,
    snapshots.map((entry) => entry.map),
    clock,
  );
  return exclusive * GRAIN;
}
