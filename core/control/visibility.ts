import type { Visibility, Visitor } from '../scsi/device.ts';
import { EVERYBODY, LOOPBACK } from './records.ts';
import type { MapRecord } from './records.ts';

/**
 * LUN masking: what `visitor` may do with a volume that has these maps. The most specific entry decides: its own name,
 * then loopback, then everybody; so one initiator can have less than the rest.
 */
export function visibilityOf(maps: readonly MapRecord[], visitor: Visitor): Visibility {
  const named = (who: string): MapRecord | undefined => maps.find((map) => map.who === who);
  const entry = named(visitor.initiator.name) ?? (visitor.local ? named(LOOPBACK) : undefined) ?? named(EVERYBODY);
  if (entry === undefined) return 'hidden';
  return entry.readOnly ? 'read-only' : 'read-write';
}
