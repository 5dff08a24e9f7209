// Why a volume should not be deleted now: everything that would notice.
import { ServiceError } from '../base/errors.ts';
import { isAllRegistrants } from '../scsi/reservations/reservations.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { VolumeRecord } from './records.ts';
import type { Units } from './units.ts';

export interface UsesOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly backend: VolumeBackend;
}

/** At most three of them, by name. */
function few(names: readonly string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${String(names.length - 3)} more` : '');
}

/** Initiators that see the volume now, and what else uses it. */
export function usersOf(units: Units, name: string): string[] {
  return [
    ...new Set([...(units.unit(name)?.nexuses ?? [])].map((nexus) => nexus.initiator.name)),
    ...new Set(units.usesOf(name)),
  ];
}

/** Throws ServiceError in-use while a session sees the volume. */
export function refuseUsed(units: Units, name: string): void {
  const users = usersOf(units, name);
  if (users.length > 0) throw new ServiceError('in-use', `volume '${name}' is in use by ${few(users)}`);
}

/**
 * Every reason against deleting the volume, except its snapshots. A clone is none: it shares what it holds with its source
 * by counting references, so it keeps everything when the source is gone.
 */
export function usesOf({ catalog, units, backend }: UsesOptions, record: VolumeRecord): string[] {
  const { name } = record;
  const reasons: string[] = [];
  const users = usersOf(units, name);
  if (users.length > 0) reasons.push(`is in use by ${few(users)}`);
  const reservations = units.unit(name)?.reservations;
  const held = reservations?.reservation;
  if (reservations !== undefined && held !== undefined) {
    const holders = reservations.registrations.filter(
      ({ nexus }) => isAllRegistrants(held.type) || nexus === held.holder,
    );
    reasons.push(`is reserved by ${few([...new Set(holders.map((each) => each.initiatorPort))])}`);
  }
  const tokens = backend.tokens(record);
  if (tokens > 0) reasons.push(`has data that ${String(tokens)} token(s) of offloaded copies stand for`);
  if (record.lease !== undefined) reasons.push(`is leased by ${record.lease.holder}`);
  const schedules = catalog.schedules.values().filter(({ volumes }) => volumes.includes(name));
  if (schedules.length > 0) reasons.push(`is in the snapshot schedule ${few(schedules.map((each) => each.name))}`);
  return reasons;
}

/** Throws ServiceError in-use, or has-snapshots when that is all, with all reasons; `force` leaves only the snapshots. */
export function refuseDeletion(
  options: UsesOptions,
  record: VolumeRecord,
  withSnapshots: boolean,
  force: boolean,
): void {
  const reasons = force ? [] : usesOf(options, record);
  const snapshots = options.catalog.snapshotsOf(record.name).map((snapshot) => snapshot.name);
  const refused = snapshots.length > 0 && !withSnapshots;
  const code = reasons.length === 0 ? 'has-snapshots' : 'in-use';
  if (refused) reasons.push(`has snapshots (${snapshots.slice(0, 3).join(', ')}${snapshots.length > 3 ? ' …' : ''})`);
  if (reasons.length > 0) throw new ServiceError(code, `volume '${record.name}' ${reasons.join('; it ')}`);
}
