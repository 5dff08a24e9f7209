// What goes over the API: types, validation and the OpenAPI document come from here.
import { z } from 'zod';
import { formatSize } from '../base/sizes.ts';
import { MAX_LUNS, MAX_MAPS, MAX_VOLUME, MIN_VOLUME } from '../base/limits.ts';

const bytes = z.int().nonnegative();
const timestamp = z.string().meta({ format: 'date-time' });

export const VolumeName = z
  .string()
  .min(1)
  .max(63)
  .meta({ description: 'a-z, 0-9, "." and "-"', example: 'vm-store-1' });
export const InitiatorName = z.string().min(1).max(223).meta({ description: 'iSCSI name of an initiator' });
export const MapSubject = z.string().min(1).max(223).meta({
  description: '"loopback" (whoever connects from the storage machine), "all", or the iSCSI name of an initiator',
});

export const Access = z.enum(['read-write', 'read-only']);
export const MapEntry = z.strictObject({ initiator: MapSubject, access: Access.default('read-write') });

const sizeRule = `a volume has ${formatSize(MIN_VOLUME)} to ${formatSize(MAX_VOLUME)}`;
const sizeOfVolume = z.int().min(MIN_VOLUME, sizeRule).max(MAX_VOLUME, sizeRule).meta({ description: 'bytes' });

const lunRule = `a LUN is a number from 0 to ${String(MAX_LUNS - 1)}`;

export const CreateVolume = z.strictObject({
  name: VolumeName,
  size: sizeOfVolume.optional(),
  blockSize: z.union([z.literal(512), z.literal(4096)]).optional(),
  physicalBlockSize: z.union([z.literal(512), z.literal(4096)]).optional(),
  thin: z.boolean().optional(),
  readOnly: z.boolean().optional(),
  durability: z.enum(['durable', 'volatile']).optional(),
  kind: z.enum(['file', 'device', 'memory']).optional(),
  path: z.string().min(1).max(4096).optional().meta({ description: 'block device, for kind "device"' }),
  target: VolumeName.optional().meta({ description: 'volumes with the same target are LUNs of one iSCSI target' }),
  lun: z
    .int()
    .min(0, lunRule)
    .max(MAX_LUNS - 1, lunRule)
    .optional(),
  maps: z.array(MapEntry).max(MAX_MAPS).optional(),
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
  kind: z.enum(['file', 'device', 'memory']),
  path: z.string().nullable(),
  allocatedBytes: bytes.nullable(),
  blockSize: z.int(),
  physicalBlockSize: z.int(),
  durability: z.string(),
  thin: z.boolean(),
  readOnly: z.boolean(),
  maps: z.array(z.object({ initiator: z.string(), access: Access })),
  sessions: z.int(),
  state: z.enum(['online', 'failed']),
  problem: z.string().nullable(),
  created: timestamp,
});

const Chap = z.strictObject({
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
  .object({ mean: z.number(), p50: z.number(), p99: z.number(), p999: z.number() })
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

export const Force = z.strictObject({ force: z.enum(['true', 'false']).optional() });
export const VolumeParams = z.strictObject({ name: VolumeName });
export const MapParams = z.strictObject({ name: VolumeName, initiator: MapSubject });
export const InitiatorParams = z.strictObject({ iqn: InitiatorName });
