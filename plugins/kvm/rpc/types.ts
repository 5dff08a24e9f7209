// The things libvirt's procedures speak of (remote_protocol.x: remote_nonnull_…).
import { int, optional, string, struct, uuid } from './codec.ts';
import type { ValueOf } from './codec.ts';

export const pool = struct({ name: string, uuid });
export type Pool = ValueOf<typeof pool>;

export const network = pool;

/** `key` is unique on the host; of an iscsi-direct pool it is the path as well. */
export const volume = struct({ pool: string, name: string, key: string });
export type Volume = ValueOf<typeof volume>;

/** `usageType`: virSecretUsageType. */
export const secret = struct({ uuid, usageType: int, usageId: string });
export type Secret = ValueOf<typeof secret>;

/** `id` is -1 while it does not run. */
export const domain = struct({ name: string, uuid, id: int });
export type Domain = ValueOf<typeof domain>;

/** Usage type of secrets for iSCSI (VIR_SECRET_USAGE_TYPE_ISCSI). */
export const USAGE_ISCSI = 3;

/** remote_error. */
export const error = struct({
  code: int,
  domain: int,
  message: optional(string),
  level: int,
  dom: optional(domain),
  str1: optional(string),
  str2: optional(string),
  str3: optional(string),
  int1: int,
  int2: int,
  net: optional(network),
});
