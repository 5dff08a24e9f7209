// Who a logical unit is, for ever. Everything derives from the random volume id: two LUNs with the same identity are
// merged by multipath software and destroy each other's data, so neither names nor counters take part.

/** Vendor and product are the same for every LUN; ESXi's claim rules depend on it. Space padded to 8, 16 and 4 bytes. */
export const VENDOR = 'GEMEL   ';
export const PRODUCT = 'SHARED DISK     ';
export const REVISION = '0001';

/**
 * The company id of our NAA designators: locally administered ("GM"), since Gemel has no IEEE assignment.
 * Uniqueness comes from the 100 random bits behind it.
 */
const COMPANY_ID = 0x02474d;

export interface LuIdentity {
  /** 32 hexadecimal digits of the random volume id. */
  readonly id: string;
  /** NAA IEEE Registered Extended designator, 16 bytes (SPC-4 7.8.6.6.5). */
  readonly naa: Buffer;
  /** Unit serial number, ASCII (SPC-4 7.8.16). */
  readonly serial: string;
}

/** Identity of the volume with this id (at least 25 hexadecimal digits; all LUNs of a volume share it). */
export function identityOf(id: string): LuIdentity {
  const digits = id.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{25,32}$/.test(digits)) throw new RangeError(`not a volume id: ${id}`);
  const naa = Buffer.from(`6${COMPANY_ID.toString(16).padStart(6, '0')}${digits.slice(0, 25)}`, 'hex');
  return { id: digits, naa, serial: digits };
}
