import { ServiceError } from '../base/errors.ts';
import type { PoolVolumeRecord } from './pool-meta.ts';
import type { PoolVolume } from './pool-volume.ts';
import type { VolumeMap } from './volume-map.ts';

/** A volume as the pool knows it, open or not. */
export interface PoolEntry {
  record: PoolVolumeRecord;
  readonly map: VolumeMap;
  /** Differs from what the metadata has. */
  changed: boolean;
  open: PoolVolume | undefined;
  /** Why nobody can use it: what of it is damaged. It can be deleted. */
  readonly damage?: string | undefined;
  /** Nobody knows which grains its map names. */
  readonly mapLost?: boolean;
  /** Nobody knows what it was: its size, and by which tag its owner knows it. */
  readonly recordLost?: boolean | undefined;
  /** It was closed like this, with data that is in the journal and the cache only: checkpoints try to place it. */
  unplaced?: PoolVolume | undefined;
}

/** Throws ServiceError io-error for a volume that cannot be used. */
export function refuseUnusable(entry: PoolEntry): void {
  if (entry.damage !== undefined) {
    const which = `volume ${String(entry.record.id)} of the pool is damaged`;
    const what = entry.recordLost === true ? `the record of ${which}` : `the map of ${which} (${entry.damage})`;
    throw new ServiceError('io-error', `${what}: restore it from a backup, and delete this one`);
  }
  if (entry.unplaced === undefined) return;
  const what = `data of volume ${String(entry.record.id)} of the pool could not be written to its place before it was closed`;
  throw new ServiceError('io-error', `${what}: it is tried again every few seconds`);
}

/** Throws ServiceError when the volume cannot become what the snapshot is. */
export function refuseRollback({ record }: PoolEntry, snapshot: PoolEntry): void {
  refuseUnusable(snapshot);
  if (snapshot.record.size === record.size) return;
  throw new ServiceError('bad-request', 'the volume was resized since the snapshot: make a clone of the snapshot');
}

/** Throws ServiceError in-use when it was opened since `before`: then nobody holds up what is written to it. */
export function refuseReopened(entry: PoolEntry, before: PoolVolume | undefined): void {
  refuseUnusable(entry);
  if (entry.open === undefined || entry.open === before) return;
  throw new ServiceError('in-use', `volume ${String(entry.record.id)} of the pool was opened meanwhile`);
}

/** A record, and its map where that has changed, as a commit takes them. */
export interface ChangedEntry {
  readonly id: number;
  readonly record: PoolVolumeRecord;
  readonly leaves: readonly number[] | undefined;
}

/** What has changed since the last commit; it counts as committed until it is returned. */
export function takeChanged(entries: Iterable<PoolEntry>): ChangedEntry[] {
  const changed = [...entries].filter((entry) => entry.changed || entry.map.changed);
  return changed.map((entry) => {
    const leaves = entry.map.changed ? entry.map.leafIds() : undefined;
    entry.changed = entry.map.changed = false;
    return { id: entry.record.id, record: entry.record, leaves };
  });
}

/** The commit has failed. */
export function returnChanged(changed: readonly ChangedEntry[], entries: ReadonlyMap<number, PoolEntry>): void {
  for (const { id, leaves } of changed) {
    const entry = entries.get(id);
    if (entry === undefined) continue;
    entry.changed = true;
    entry.map.changed ||= leaves !== undefined;
  }
}

/** Nothing of what is kept above a closed volume is needed any more. */
export function letGo(volume: PoolVolume): void {
  volume.tidy(true, () => true);
  volume.upper?.release();
}
