// What initiators and people are told when a pool fills up.
import { DEFAULT_THRESHOLD } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Pool } from '../pool/pool.ts';
import { SENSE } from '../scsi/sense.ts';
import type { PoolRecord } from './records.ts';
import type { Units } from './units.ts';

/** Initiators see the threshold in a mode page (SBC-3 6.5.7), in units of room. */
export function thresholdChanged(pool: string, units: Units): void {
  for (const { record, lu } of units.all()) {
    if (record.pool === pool && record.thin) lu.attentionAll(SENSE.modeParametersChanged);
  }
}

/** From now on initiators and the log are told when the pool crosses the threshold of its record. */
export function watchThreshold(
  { name, threshold = DEFAULT_THRESHOLD }: PoolRecord,
  pool: Pool,
  { log, units }: { readonly log: Log; readonly units: Units },
): void {
  pool.threshold.watch(threshold, (crossed) => {
    const { taken, total } = pool.allocator;
    const fields = { pool: name, percent: Math.floor((taken / total) * 100), threshold };
    if (!crossed) {
      log.info(fields, 'pool is below its threshold again');
      return;
    }
    log.warn(fields, 'pool is filling up: free space in it, or grow it (gemel pool grow)');
    for (const { record, lu } of units.all()) {
      // A thick volume has its space.
      if (record.pool === name && record.thin) lu.thresholdReached();
    }
  });
}
