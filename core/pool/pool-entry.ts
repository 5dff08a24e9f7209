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
  /** Why nobody can use it: what of its map is damaged. It can be deleted. */
  readonly damage?: string | undefined;
  /** It was closed like this, with data that is in the journal only: the journal keeps it until the pool is opened again. */
  unplaced?: PoolVolume | undefined;
}

/** Throws ServiceError io-error for a volume whose data is not where its map says. */
export function refuseUnplaced({ record, unplaced }: PoolEntry): void {
  if (unplaced === undefined) return;
  const what = `data of volume ${String(record.id)} of the pool could not be written to its place before it was closed`;
  throw new ServiceError('io-error', `${what}; it is in the journal until the pool is opened again`);
}

/** Throws ServiceError io-error for a volume that cannot be used. */
export function refuseUnusable(entry: PoolEntry): void {
  if (entry.damage !== undefined) {
    const what = `the map of volume ${String(entry.record.id)} of the pool is damaged (${entry.damage})`;
    throw new ServiceError('io-error', `${what}: restore it from a backup, and delete this one`);
  }
  refuseUnplaced(entry);
}
