// The procedures of libvirt that are used here (remote_protocol.x, enum remote_procedure), with what they take and answer.
import { array, bytes, int, nothing, opaque, optional, string, struct, uint, uuid } from './codec.ts';
import type { Codec } from './codec.ts';
import { domain, pool, secret, volume } from './types.ts';

export interface Procedure<A, R> {
  readonly name: string;
  readonly number: number;
  readonly args: Codec<A>;
  readonly reply: Codec<R>;
}

function procedure<A, R>(name: string, number: number, args: Codec<A>, reply: Codec<R>): Procedure<A, R> {
  return { name, number, args, reply };
}

const flags = uint;
const ofPool = struct({ pool });
const ofVolume = struct({ volume });
const ofDomain = struct({ domain });
const xml = struct({ xml: string });
/** `needed` 1: the entries, too, not only how many there are. */
const list = struct({ needed: int, flags });

// ---- the connection
export const AUTH_NONE = 0;
export const authList = procedure('auth_list', 66, nothing, struct({ types: array(int) }));
export const open = procedure('connect_open', 1, struct({ name: optional(string), flags }), nothing);
export const close = procedure('connect_close', 2, nothing, nothing);
export const supportsFeature = procedure('supports_feature', 60, struct({ feature: int }), struct({ supported: int }));
export const libVersion = procedure('get_lib_version', 157, nothing, struct({ version: bytes }));
export const hostname = procedure('get_hostname', 59, nothing, struct({ hostname: string }));
/** The other side may send keepalives (VIR_DRV_FEATURE_PROGRAM_KEEPALIVE). */
export const FEATURE_KEEPALIVE = 10;

// ---- pools
export const listAllPools = procedure('list_all_storage_pools', 281, list, struct({ pools: array(pool), count: uint }));
export const poolDefine = procedure('pool_define_xml', 77, struct({ xml: string, flags }), ofPool);
export const poolCreateXml = procedure('pool_create_xml', 76, struct({ xml: string, flags }), ofPool);
export const poolStart = procedure('pool_create', 78, struct({ pool, flags }), nothing);
export const poolDestroy = procedure('pool_destroy', 80, ofPool, nothing);
export const poolUndefine = procedure('pool_undefine', 82, ofPool, nothing);
export const poolRefresh = procedure('pool_refresh', 83, struct({ pool, flags }), nothing);
export const poolByName = procedure('pool_lookup_by_name', 84, struct({ name: string }), ofPool);
export const poolByUuid = procedure('pool_lookup_by_uuid', 85, struct({ uuid }), ofPool);
export const poolByVolume = procedure('pool_lookup_by_volume', 86, ofVolume, ofPool);
/** `state`: virStoragePoolState; 0 inactive, 2 running. */
export const poolInfo = procedure(
  'pool_get_info',
  87,
  ofPool,
  struct({ state: uint, capacity: bytes, allocation: bytes, available: bytes }),
);
export const poolXml = procedure('pool_get_xml_desc', 88, struct({ pool, flags }), xml);
export const poolAutostart = procedure('pool_get_autostart', 89, ofPool, struct({ autostart: int }));
export const poolSetAutostart = procedure('pool_set_autostart', 90, struct({ pool, autostart: int }), nothing);
export const poolVolumeCount = procedure('pool_num_of_volumes', 91, ofPool, struct({ count: int }));
export const poolVolumeNames = procedure(
  'pool_list_volumes',
  92,
  struct({ pool, most: int }),
  struct({ names: array(string) }),
);
export const poolActive = procedure('pool_is_active', 154, ofPool, struct({ active: int }));
export const poolPersistent = procedure('pool_is_persistent', 155, ofPool, struct({ persistent: int }));

// ---- volumes
export const listVolumes = procedure(
  'pool_list_all_volumes',
  282,
  struct({ pool, needed: int, flags }),
  struct({ volumes: array(volume), count: uint }),
);
export const volumeCreate = procedure('vol_create_xml', 93, struct({ pool, xml: string, flags }), ofVolume);
export const volumeCreateFrom = procedure(
  'vol_create_xml_from',
  125,
  struct({ pool, xml: string, from: volume, flags }),
  ofVolume,
);
export const volumeDelete = procedure('vol_delete', 94, struct({ volume, flags }), nothing);
export const volumeByName = procedure('vol_lookup_by_name', 95, struct({ pool, name: string }), ofVolume);
export const volumeByKey = procedure('vol_lookup_by_key', 96, struct({ key: string }), ofVolume);
export const volumeByPath = procedure('vol_lookup_by_path', 97, struct({ path: string }), ofVolume);
const volumeFacts = struct({ type: int, capacity: bytes, allocation: bytes });
export const volumeInfo = procedure('vol_get_info', 98, ofVolume, volumeFacts);
export const volumeInfoFlags = procedure('vol_get_info_flags', 378, struct({ volume, flags }), volumeFacts);
export const volumeXml = procedure('vol_get_xml_desc', 99, struct({ volume, flags }), xml);
export const volumePath = procedure('vol_get_path', 100, ofVolume, struct({ path: string }));
export const volumeResize = procedure('vol_resize', 260, struct({ volume, capacity: bytes, flags }), nothing);
export const volumeWipe = procedure('vol_wipe', 165, struct({ volume, flags }), nothing);

// ---- secrets
export const listAllSecrets = procedure('list_all_secrets', 287, list, struct({ secrets: array(secret), count: uint }));
export const secretDefine = procedure('secret_define_xml', 142, struct({ xml: string, flags }), struct({ secret }));
export const secretSetValue = procedure('secret_set_value', 144, struct({ secret, value: opaque, flags }), nothing);
export const secretUndefine = procedure('secret_undefine', 146, struct({ secret }), nothing);
export const secretByUsage = procedure(
  'secret_lookup_by_usage',
  147,
  struct({ usageType: int, usageId: string }),
  struct({ secret }),
);

// ---- domains
export const listAllDomains = procedure('list_all_domains', 273, list, struct({ domains: array(domain), count: uint }));
/** Flag of listAllDomains: those that stand still. */
export const LIST_PAUSED = 32;
export const domainByName = procedure('domain_lookup_by_name', 23, struct({ name: string }), ofDomain);
export const domainXml = procedure('domain_get_xml_desc', 14, struct({ domain, flags }), xml);
/** Flags of domainXml: with secrets; of the definition, not of what runs. */
export const XML_INACTIVE = 2;
export const domainDefine = procedure('domain_define_xml_flags', 350, struct({ xml: string, flags }), ofDomain);
export const domainCreateXml = procedure('domain_create_xml', 10, struct({ xml: string, flags }), ofDomain);
export const domainStart = procedure('domain_create_with_flags', 196, struct({ domain, flags }), ofDomain);
export const domainResume = procedure('domain_resume', 28, ofDomain, nothing);
export const domainDestroy = procedure('domain_destroy', 12, ofDomain, nothing);
export const domainUndefine = procedure('domain_undefine_flags', 231, struct({ domain, flags }), nothing);
/** `state`: virDomainState; 1 running, 5 shut off. */
export const domainState = procedure(
  'domain_get_state',
  212,
  struct({ domain, flags }),
  struct({ state: int, reason: int }),
);
/** Flags of changes to devices: of what runs; of the definition (VIR_DOMAIN_AFFECT_LIVE, _CONFIG). */
export const AFFECT_LIVE = 1;
export const AFFECT_CONFIG = 2;
export const deviceAttach = procedure(
  'domain_attach_device_flags',
  160,
  struct({ domain, xml: string, flags }),
  nothing,
);
export const deviceDetach = procedure(
  'domain_detach_device_flags',
  161,
  struct({ domain, xml: string, flags }),
  nothing,
);
/** `flags` RESIZE_BYTES: `size` is in bytes, not KiB. */
export const RESIZE_BYTES = 1;
export const blockResize = procedure(
  'domain_block_resize',
  251,
  struct({ domain, disk: string, size: bytes, flags }),
  nothing,
);
export const blockInfo = procedure(
  'domain_get_block_info',
  194,
  struct({ domain, path: string, flags }),
  struct({ allocation: bytes, capacity: bytes, physical: bytes }),
);
/** Of `params` (virTypedParameter) none is used here, so that an empty list is all there is of them. */
export const blockCopy = procedure(
  'domain_block_copy',
  345,
  struct({ domain, path: string, xml: string, params: array(nothing), flags }),
  nothing,
);
export const COPY_REUSE_EXT = 2;
export const COPY_TRANSIENT_JOB = 4;
export const blockJobInfo = procedure(
  'domain_get_block_job_info',
  238,
  struct({ domain, path: string, flags }),
  struct({ found: int, type: int, bandwidth: bytes, current: bytes, end: bytes }),
);
export const blockJobAbort = procedure('domain_block_job_abort', 237, struct({ domain, path: string, flags }), nothing);
export const ABORT_PIVOT = 2;
const frozen = struct({ domain, mountpoints: array(string), flags });
export const fsFreeze = procedure('domain_fsfreeze', 335, frozen, struct({ filesystems: int }));
export const fsThaw = procedure('domain_fsthaw', 336, frozen, struct({ filesystems: int }));

// ---- events: what is asked for, and what then comes
const callback = struct({ callbackId: int });
export const poolEvents = procedure(
  'storage_pool_event_register_any',
  368,
  struct({ eventId: int, pool: optional(pool) }),
  callback,
);
export const poolEventsEnd = procedure('storage_pool_event_deregister_any', 369, callback, nothing);
/** Event ids of poolEvents. */
export const POOL_LIFECYCLE = 0;
export const POOL_REFRESH = 1;
export const domainEvents = procedure(
  'domain_event_callback_register_any',
  316,
  struct({ eventId: int, domain: optional(domain) }),
  callback,
);
export const domainEventsEnd = procedure('domain_event_callback_deregister_any', 317, callback, nothing);
/** Event ids of domainEvents. */
export const DOMAIN_LIFECYCLE = 0;
export const DOMAIN_DEVICE_REMOVED = 15;

/** `event`: 0 defined, 1 undefined, 2 started, 3 stopped, 4 created, 5 deleted. */
export const poolLifecycle = struct({ callbackId: int, pool, event: int, detail: int });
export const poolRefreshed = struct({ callbackId: int, pool });
export const domainLifecycle = struct({ callbackId: int, domain, event: int, detail: int });
export const deviceRemoved = struct({ callbackId: int, domain, alias: string });
/** Numbers of the messages. */
export const EVENT = { poolLifecycle: 370, poolRefresh: 373, domainLifecycle: 318, deviceRemoved: 333 } as const;

/** Every procedure above, for whoever has to read calls (the golden vectors, a gateway). */
export const PROCEDURES: readonly Procedure<unknown, unknown>[] = [
  authList,
  open,
  close,
  supportsFeature,
  libVersion,
  hostname,
  listAllPools,
  poolDefine,
  poolCreateXml,
  poolStart,
  poolDestroy,
  poolUndefine,
  poolRefresh,
  poolByName,
  poolByUuid,
  poolByVolume,
  poolInfo,
  poolXml,
  poolAutostart,
  poolSetAutostart,
  poolVolumeCount,
  poolVolumeNames,
  poolActive,
  poolPersistent,
  listVolumes,
  volumeCreate,
  volumeCreateFrom,
  volumeDelete,
  volumeByName,
  volumeByKey,
  volumeByPath,
  volumeInfo,
  volumeInfoFlags,
  volumeXml,
  volumePath,
  volumeResize,
  volumeWipe,
  listAllSecrets,
  secretDefine,
  secretSetValue,
  secretUndefine,
  secretByUsage,
  listAllDomains,
  domainByName,
  domainXml,
  domainDefine,
  domainCreateXml,
  domainStart,
  domainDestroy,
  domainUndefine,
  domainState,
  deviceAttach,
  deviceDetach,
  blockResize,
  blockInfo,
  blockCopy,
  blockJobInfo,
  blockJobAbort,
  fsFreeze,
  fsThaw,
  poolEvents,
  poolEventsEnd,
  domainEvents,
  domainEventsEnd,
];
