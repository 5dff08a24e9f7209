// Leases of volumes: iSCSI and NBD serve a volume to whoever it is mapped to, so that two virtual machines of one host can have the
// same disk, which destroys what is on it. Whoever gives disks to machines takes the lease first; the catalog gives it once.
import { ServiceError } from '../base/errors.ts';
import type { LeaseRecord, VolumeRecord } from './records.ts';

/** The lease for `holder`: his own stays as it is. Throws ServiceError in-use when somebody else has it. */
export function leased(volume: string, before: LeaseRecord | undefined, holder: string, now: number): LeaseRecord {
  if (before === undefined) return { holder, since: now };
  if (before.holder === holder) return before;
  throw new ServiceError('in-use', `volume '${volume}' is leased by ${before.holder}`);
}

/** Throws ServiceError in-use when somebody else than `holder` has the lease, unless `force`. */
export function refuseRelease(volume: string, before: LeaseRecord | undefined, holder: string, force: boolean): void {
  if (before === undefined || before.holder === holder || force) return;
  throw new ServiceError('in-use', `volume '${volume}' is leased by ${before.holder}`);
}

export function withoutLease(record: VolumeRecord): VolumeRecord {
  const { lease, ...rest } = record;
  return lease === undefined ? record : rest;
}
