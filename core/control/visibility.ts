import type { Visibility, Visitor } from '../scsi/device.ts';
import type { HostStanding } from './hosts.ts';
import { EVERYBODY, GROUP_PREFIX, HOST_PREFIX, LOOPBACK } from './records.ts';
import type { MapRecord } from './records.ts';

/**
 * LUN masking: what `visitor` may do with a volume that has these maps. The most specific entry decides: its own name,
 * then its host, then a group its host is in (of several the one that lets it write), then loopback, then everybody; so one
 * initiator can have less than the rest.
 */
export function visibilityOf(
  maps: readonly MapRecord[],
  visitor: Visitor,
  { host, groups }: HostStanding = { host: undefined, groups: [] },
): Visibility {
  const named = (who: string): MapRecord | undefined => maps.find((map) => map.who === who);
  const grouped = groups.flatMap((group) => named(GROUP_PREFIX + group) ?? []);
  const entry =
    named(visitor.initiator.name) ??
    (host === undefined ? undefined : named(HOST_PREFIX + host)) ??
    grouped.find(({ readOnly }) => !readOnly) ??
    grouped[0] ??
    (visitor.local ? named(LOOPBACK) : undefined) ??
    named(EVERYBODY);
  if (entry === undefined) return 'hidden';
  return entry.readOnly ? 'read-only' : 'read-write';
}
