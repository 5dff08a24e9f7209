// What goes over the API: types, validation and the OpenAPI document come from here.
import { z } from 'zod';
import { Certificate } from './security/schemas.ts';
import { formatSize } from '../base/sizes.ts';
import { MAX_GROUP, MAX_LUNS, MAX_MAPS, MAX_POOL, MAX_VOLUME, MIN_POOL, MIN_VOLUME } from '../base/limits.ts';

const bytes = z.int().nonnegative();
export const timestamp = z.string().meta({ format: 'date-time' });

export const VolumeName = z
  .string()
  .min(1)
  .max(63)
  .meta({ description: 'a-z, 0-9, "." and "-"', example: 'vm-store-1' });
export const InitiatorName = z.string().min(1).max(223).meta({ description: 'iSCSI name of an initiator' });
export const MapSubject = z.string().min(1).max(223).meta({
  description:
    '"loopback" (whoever connects from the storage machine), "all", "nbd" (clients of the NBD server), "host:NAME", "group:NAME", or the iSCSI name of an initiator',
});

export const Access = z.enum(['read-write', 'read-only']);
export const MapShown = z.object({ initiator: z.string(), access: Access });
export const MapEntry = z.strictObject({ initiator: MapSubject, access: Access.default('read-write') });

const sizeRule = `a volume has ${formatSize(MIN_VOLUME)} to ${formatSize(MAX_VOLUME)}`;
const sizeOfVolume = z.int().min(MIN_VOLUME, sizeRule).max(MAX_VOLUME, sizeRule).meta({ description: 'bytes' });

const lunRule = `a LUN is a number from 0 to ${String(MAX_LUNS - 1)}`;
const Lun = z
  .int()
  .min(0, lunRule)
  .max(MAX_LUNS - 1, lunRule);

export const CreateVolume = z.strictObject({
  name: VolumeName,
  size: sizeOfVolume.optional(),
  blockSize: z.union([z.literal(512), z.literal(4096)]).optional(),
  physicalBlockSize: z.union([z.literal(512), z.literal(4096)]).optional(),
  thin: z.boolean().optional(),
  readOnly: z.boolean().optional(),
  durability: z
    .enum(['durable', 'mirrored-ram', 'volatile'])
    .optional()
    .meta({ description: 'mirrored-ram: acknowledged in the memory of two nodes; takes two copies' }),
  kind: z.enum(['file', 'device', 'memory', 'pool', 'nbd', 'image']).optional(),
  pool: VolumeName.optional().meta({ description: 'when absent, and no kind is given: the default pool, if any' }),
  path: z.string().min(1).max(4096).optional().meta({
    description:
      'block device, for kind "device"; NBD URI, for kind "nbd"; an image that is there already, for kind "image"',
  }),
  backend: VolumeName.optional().meta({ description: 'the volume is an image of this backend, of kind "image"' }),
  target: VolumeName.optional().meta({ description: 'volumes with the same target are LUNs of one iSCSI target' }),
  lun: Lun.optional(),
  maps: z.array(MapEntry).max(MAX_MAPS).optional(),
  replicas: z
    .int()
    .min(1)
    .max(3)
    .optional()
    .meta({ description: 'nodes of the cluster that keep a copy; 2 when absent, if there are two' }),
  policy: VolumeName.nullable()
    .optional()
    .meta({ description: 'what it has where nothing is said; the default policy when absent, if any; null: none' }),
});

export const ResizeVolume = z.strictObject({ size: sizeOfVolume, force: z.boolean().default(false) });

export const Volume = z.object({
  name: z.string(),
  iqn: z.string(),
  lun: z.int(),
  size: bytes,
  url: z.string().meta({ description: 'iscsi:// address on the first portal' }),
  urls: z.array(z.string()),
  target: z.string(),
  id: z.string(),
  naa: z.string(),
  serial: z.string(),
  kind: z.enum(['file', 'device', 'memory', 'pool', 'nbd', 'image']),
  pool: z.string().nullable(),
  backend: z.string().nullable(),
  nodes: z.array(z.string()).meta({ description: 'ids of the nodes that keep a copy; none on a node that is alone' }),
  policy: z.string().nullable(),
  snapshots: z.int(),
  path: z.string().nullable(),
  allocatedBytes: bytes.nullable(),
  blockSize: z.int(),
  physicalBlockSize: z.int(),
  durability: z.string(),
  thin: z.boolean(),
  readOnly: z.boolean(),
  maps: z.array(MapShown),
  lease: z.object({ holder: z.string(), since: timestamp }).nullable().meta({ description: 'who has it for himself' }),
  sessions: z.int(),
  state: z
    .enum(['online', 'failed', 'elsewhere'])
    .meta({ description: 'elsewhere: other nodes of the cluster have it, and this one has not' }),
  problem: z.string().nullable().meta({ description: 'why it failed, or where it is' }),
  created: timestamp,
});

const holder = z
  .string()
  .regex(/^[\x21-\x7e]+$/)
  .max(200)
  .meta({ description: 'unique among all that take leases', example: 'kvm:host-1:6fd2…' });
export const PutLease = z.strictObject({ holder });
export const DeleteLease = z.strictObject({ holder, force: z.enum(['true', 'false']).optional() });

export const Chap = z.strictObject({
  user: z.string().min(1).max(255),
  secret: z.string().min(1).max(255).meta({ writeOnly: true }),
});
export const PutInitiator = z.strictObject({ chap: Chap.optional(), mutual: Chap.optional() });
export const Initiator = z.object({
  iqn: z.string(),
  chapUser: z.string().nullable(),
  mutualUser: z.string().nullable(),
  volumes: z.array(z.string()),
  created: timestamp,
});

export const Target = z.object({
  name: z.string(),
  iqn: z.string(),
  portals: z.array(z.object({ address: z.string(), group: z.int() })),
  luns: z.array(z.object({ lun: z.int(), volume: z.string() })),
  sessions: z.int(),
});

export const Session = z.object({
  tsih: z.int(),
  initiator: z.string(),
  alias: z.string().nullable(),
  isid: z.string(),
  target: z.string().nullable(),
  peer: z.string(),
  portal: z.string(),
  headerDigest: z.boolean(),
  dataDigest: z.boolean(),
  activeTasks: z.int(),
  commands: z.int(),
  readBytes: bytes,
  writtenBytes: bytes,
  receivedBytes: bytes,
  sentBytes: bytes,
  digestErrors: z.int(),
  rejects: z.int(),
});

const Latency = z
  .object({ mean: z.number(), p50: z.number(), p99: z.number(), p999: z.number(), total: z.number() })
  .meta({ description: 'microseconds' });
export const VolumeStats = z.object({
  name: z.string(),
  reads: z.int(),
  readBytes: bytes,
  writes: z.int(),
  writtenBytes: bytes,
  others: z.int(),
  errors: z.int(),
  conflicts: z.int(),
  aborted: z.int(),
  readLatency: Latency,
  writeLatency: Latency,
  allocatedBytes: bytes,
});

export const Status = z.object({
  version: z.string(),
  node: z.string(),
  started: timestamp,
  uptimeSeconds: z.number(),
  portals: z.array(z.string()),
  volumes: z.object({ total: z.int(), failed: z.int() }),
  sessions: z.int(),
  certificate: Certificate.nullable(),
  provisionedBytes: bytes,
  allocatedBytes: bytes,
});

export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  remedy: z.string(),
  retriable: z.boolean(),
});

const sizeRuleOfPool = `a pool has ${formatSize(MIN_POOL)} to ${formatSize(MAX_POOL)}`;
const path = z.string().min(1).max(4096);
export const CreatePool = z.strictObject({
  name: VolumeName,
  size: z.int().min(MIN_POOL, sizeRuleOfPool).max(MAX_POOL, sizeRuleOfPool).optional().meta({ description: 'bytes' }),
  folder: path.optional().meta({ description: 'absolute; in the data folder when absent' }),
  device: path.optional().meta({ description: 'block device, which is used as a whole' }),
});
export const ChangePool = z.strictObject({
  growBytes: z.int().min(1).max(MAX_POOL).optional().meta({ description: 'room to add, at least; bytes' }),
  addFolder: path.optional().meta({ description: 'absolute; room for growBytes is added there' }),
  addDevice: path.optional().meta({ description: 'block device, which is added as a whole' }),
  useGrown: z.literal(true).optional().meta({ description: 'take what devices of the pool have become larger by' }),
  threshold: z.int().min(1).max(99).optional().meta({ description: 'percent in use at which initiators are told' }),
  default: z.literal(true).optional().meta({ description: 'takes the disks for which nobody names a pool' }),
});
const Scrub = z.object({
  state: z.enum(['running', 'done', 'aborted', 'failed']),
  doneBytes: bytes,
  totalBytes: bytes,
  damaged: z.array(z.object({ volume: z.string(), position: bytes, reason: z.string() })),
  started: timestamp,
});
export const StartScrub = z.strictObject({
  rate: z.int().min(1_048_576).optional().meta({ description: 'bytes a second' }),
});
export const Pool = z.object({
  name: z.string(),
  id: z.string(),
  kind: z.enum(['folder', 'device']),
  path: z.string(),
  state: z.enum(['online', 'failed']),
  problem: z.string().nullable(),
  threshold: z.int(),
  thresholdReached: z.boolean(),
  default: z.boolean(),
  parts: z.array(z.object({ index: z.int(), kind: z.enum(['folder', 'device']), path: z.string(), bytes })),
  facts: z
    .object({
      capacityBytes: bytes,
      usedBytes: bytes,
      reservedBytes: bytes,
      quarantinedBytes: bytes,
      tokens: z.int(),
      tokenBytes: bytes,
      journalBytes: bytes,
      journalUsedBytes: bytes,
      checkpoints: z.int(),
      damagedBlocks: z.int(),
      reclaimedBytes: bytes,
    })
    .nullable(),
  volumes: z.int(),
  snapshots: z.int(),
  deletions: z.array(z.object({ name: z.string(), progress: z.number() })),
  scrub: Scrub.nullable(),
  damagedMaps: z.array(z.string()).meta({ description: 'volumes whose maps are damaged: they are not served' }),
  checking: z.number().nullable().meta({ description: 'how far a check is that runs, 0 to 1' }),
  created: timestamp,
});
export const PoolDetail = Pool.extend({
  snapshotBytes: bytes.nullable().meta({ description: 'comes back when all snapshots are deleted' }),
});
export const ImportPool = z.strictObject({
  name: VolumeName.optional().meta({ description: 'the one it had when absent' }),
  parts: z
    .array(z.strictObject({ folder: path.optional(), device: path.optional() }))
    .min(1)
    .max(256)
    .meta({ description: 'folders and devices of the pool; first the one it was made in' }),
});
export const ExportedPool = z.object({
  name: z.string(),
  parts: z.array(z.object({ kind: z.string(), path: z.string() })),
});
export const PoolCheck = z.object({
  leaves: z.int(),
  grains: z.int(),
  unsettled: z.int().meta({ description: 'grains that changed hands each time they were counted' }),
  findings: z.array(z.string()),
});

export const CreateSnapshot = z.strictObject({
  volumes: z.array(VolumeName).min(1).max(MAX_GROUP).meta({ description: 'of one pool; all at one instant' }),
  name: VolumeName,
});
export const Snapshot = z.object({
  volume: z.string(),
  name: z.string(),
  id: z.string(),
  group: z.string().nullable().meta({ description: 'the same for all snapshots of one instant' }),
  pool: z.string(),
  size: bytes,
  state: z.enum(['creating', 'ready', 'deleting']),
  missingOn: z
    .array(z.string())
    .meta({ description: 'nodes with a copy of the volume that were away, and have not got the snapshot yet' }),
  created: timestamp,
});
export const CloneVolume = z.strictObject({
  name: VolumeName,
  snapshot: VolumeName.optional().meta({ description: 'the volume as it is now when absent' }),
  readOnly: z.boolean().optional(),
  durability: z.enum(['durable', 'volatile']).optional(),
  target: VolumeName.optional(),
  lun: Lun.optional(),
  maps: z.array(MapEntry).max(MAX_MAPS).optional(),
});
export const Space = z.object({
  name: z.string(),
  size: bytes,
  logicalBytes: bytes.meta({ description: 'of blocks that hold data' }),
  exclusiveBytes: bytes.meta({ description: 'used by this volume only' }),
  sharedBytes: bytes.meta({ description: 'used by its snapshots, clones or copies as well' }),
  snapshotBytes: bytes.meta({ description: 'used by its snapshots only' }),
  snapshots: z.array(z.object({ name: z.string(), exclusiveBytes: bytes, created: timestamp })),
});

const flag = z.enum(['true', 'false']).optional();
export const Force = z.strictObject({ force: flag });
export const DeleteVolume = z.strictObject({ force: flag, withSnapshots: flag, purge: flag });
export const SnapshotParams = z.strictObject({ name: VolumeName, snapshot: VolumeName });
export const VolumeParams = z.strictObject({ name: VolumeName });
export const MapParams = z.strictObject({ name: VolumeName, initiator: MapSubject });
export const InitiatorParams = z.strictObject({ iqn: InitiatorName });
