// Jobs, events, schedules, hosts and deleted volumes over the API.
import { z } from 'zod';
import {
  MAX_GROUP,
  MAX_GROUP_HOSTS,
  MAX_HOST_IQNS,
  MAX_JOB_KEY,
  MAX_KEEP_DELETED,
  MAX_REPORTED_STEPS,
  MAX_SCHEDULE_KEEP,
  MAX_SCHEDULE_RULES,
} from '../base/limits.ts';
import { SEVERITIES } from '../control/events.ts';
import { HOST_PROFILES } from '../control/records.ts';
import {
  Access,
  ChangePool,
  Chap,
  CreatePool,
  CreateVolume,
  ImportPool,
  InitiatorName,
  ResizeVolume,
  StartScrub,
  Volume,
  VolumeName,
} from './schemas.ts';

const timestamp = z.string().meta({ format: 'date-time' });
const EventObject = z.object({ kind: z.string(), name: z.string() });

// ---- hosts
const HostBody = z.strictObject({
  iqns: z.array(InitiatorName).max(MAX_HOST_IQNS).meta({ description: 'its initiators' }),
  profile: z.enum(HOST_PROFILES).nullable().optional().meta({ description: 'what runs on it; null forgets it' }),
  chap: Chap.nullable().optional().meta({ description: 'null forgets it, absent keeps it' }),
  mutual: Chap.nullable().optional().meta({ description: 'null forgets it, absent keeps it' }),
});
export const PutHost = HostBody;
export const Host = z.object({
  name: z.string(),
  iqns: z.array(z.string()),
  profile: z.enum(HOST_PROFILES).nullable(),
  chapUser: z.string().nullable(),
  mutualUser: z.string().nullable(),
  groups: z.array(z.string()),
  volumes: z.array(z.string()).meta({ description: 'that it may see by name or through a group' }),
  connected: z.array(z.string()).meta({ description: 'its initiators that have a session now' }),
  created: timestamp,
});
export const PutHostGroup = z.strictObject({ hosts: z.array(VolumeName).max(MAX_GROUP_HOSTS) });
export const HostGroup = z.object({ name: z.string(), hosts: z.array(z.string()), created: timestamp });

// ---- jobs
const purge = z.boolean().optional();
const NodeRef = z.string().min(1).max(63).meta({ description: 'name or id of a node' });
/** As the routes of pools want it: they are for whoever decides about disks of the machine. */
export const ADMIN_JOBS: ReadonlySet<string> = new Set([
  ...['pool-create', 'pool-grow', 'pool-export', 'pool-import', 'node-evacuate'],
]);
/** What a job is for; each kind has a request of its own. */
export const SubmitJob = z.discriminatedUnion('kind', [
  job('pool-scrub', StartScrub.extend({ pool: VolumeName })),
  job('pool-check', z.strictObject({ pool: VolumeName })),
  job('pool-create', CreatePool),
  job(
    'pool-grow',
    z.strictObject({
      pool: VolumeName,
      bytes: ChangePool.shape.growBytes,
      folder: ChangePool.shape.addFolder,
      device: ChangePool.shape.addDevice,
    }),
  ),
  job('pool-export', z.strictObject({ pool: VolumeName, force: purge })),
  job('pool-import', ImportPool),
  job('volume-delete', z.strictObject({ name: VolumeName, force: purge, withSnapshots: purge, purge })),
  job('volume-purge', z.strictObject({ volume: VolumeName })),
  job('snapshot-delete', z.strictObject({ volume: VolumeName, snapshot: VolumeName })),
  job('replica-add', z.strictObject({ volume: VolumeName, node: NodeRef })),
  job('replica-remove', z.strictObject({ volume: VolumeName, node: NodeRef })),
  job('node-evacuate', z.strictObject({ node: NodeRef })),
  job('volume-resize', ResizeVolume.extend({ name: VolumeName })),
  job(
    'clone-group',
    z.strictObject({
      volumes: z
        .array(z.strictObject({ source: VolumeName, name: VolumeName }))
        .min(1)
        .max(MAX_GROUP),
    }),
  ),
  job(
    'provision',
    z.strictObject({
      volume: CreateVolume,
      host: HostBody.extend({ name: VolumeName, access: Access.default('read-write') }).optional(),
    }),
  ),
]);

function job<K extends string, R extends z.ZodType>(
  kind: K,
  request: R,
): z.ZodObject<{ kind: z.ZodLiteral<K>; request: R; key: z.ZodOptional<z.ZodString> }, z.core.$strict> {
  const key = z.string().min(1).max(MAX_JOB_KEY).optional();
  return z.strictObject({
    kind: z.literal(kind),
    request,
    key: key.meta({ description: 'the same key with the same request is the same job' }),
  });
}

const JobState = z.enum(['running', 'undoing', 'done', 'failed', 'cancelled']);
export const Job = z.object({
  id: z.string(),
  kind: z.string(),
  title: z.string(),
  object: EventObject,
  state: JobState,
  progress: z.number().meta({ description: '0 to 1' }),
  doing: z.string().nullable(),
  etaSeconds: z.number().nullable(),
  cancellable: z.boolean(),
  cancelling: z.boolean(),
  steps: z.array(z.object({ name: z.string(), state: z.string(), error: z.string().nullable() })),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  notUndone: z
    .array(z.object({ step: z.string(), error: z.string() }))
    .meta({ description: 'what could not be taken back: somebody has to look' }),
  result: z.json(),
  key: z.string().nullable(),
  reported: z.object({ host: z.string(), by: z.string(), heard: timestamp }).nullable().meta({
    description: 'where it is done, who tells of it and when that was last, when it is not done by this daemon',
  }),
  created: timestamp,
  ended: timestamp.nullable(),
});
const words = z.string().max(1000);
/** What is told of a job that is done elsewhere. */
export const ReportJob = z.strictObject({
  kind: z
    .string()
    .regex(/^[a-z]+(?:-[a-z]+)+$/)
    .max(64),
  title: z.string().min(1).max(300),
  object: z.strictObject({ kind: z.string().min(1).max(32), name: z.string().min(1).max(223) }),
  host: VolumeName.meta({ description: 'where it is done' }),
  cancellable: z.boolean().meta({ description: 'whoever does it looks at "cancelling" in the answer' }),
  state: JobState,
  steps: z
    .array(
      z.strictObject({
        name: z.string().min(1).max(100),
        state: z.enum(['waiting', 'running', 'done', 'failed', 'undone', 'not-undone']),
        error: words.optional(),
      }),
    )
    .min(1)
    .max(MAX_REPORTED_STEPS),
  error: z.strictObject({ message: words }).optional(),
});
export const JobParams = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/, 'a job id has 16 hexadecimal digits'),
});
export const JobWait = z.strictObject({
  wait: z
    .string()
    .regex(/^(?:[1-9]|[1-4]\d|50)$/, '1 to 50 seconds')
    .optional()
    .meta({ description: 'seconds to wait until it is over, 1 to 50' }),
});

// ---- events
export const Event = z.object({
  id: z.string(),
  severity: z.enum(SEVERITIES),
  code: z.string(),
  object: EventObject.nullable(),
  text: z.string(),
  time: timestamp,
  last: timestamp.meta({ description: 'when it happened last' }),
  count: z.int().meta({ description: 'how often it happened' }),
});
// ---- schedules
const keep = z.int().min(1).max(MAX_SCHEDULE_KEEP).meta({ description: 'snapshots of this rule that stay' });
const time = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'a time like 02:30')
  .meta({ description: 'HH:MM, UTC' });
export const ScheduleRule = z.discriminatedUnion('every', [
  z.strictObject({ every: z.literal('minutes'), minutes: z.int().min(1).max(1440), keep }),
  z.strictObject({ every: z.literal('hour'), minute: z.int().min(0).max(59), keep }),
  z.strictObject({ every: z.literal('day'), time, keep }),
  z.strictObject({
    every: z.literal('week'),
    day: z.int().min(0).max(6).meta({ description: '0 is Sunday' }),
    time,
    keep,
  }),
]);
export const PutSchedule = z.strictObject({
  volumes: z.array(VolumeName).min(1).max(MAX_GROUP).meta({ description: 'of one pool; all at one instant' }),
  rules: z.array(ScheduleRule).min(1).max(MAX_SCHEDULE_RULES),
  enabled: z.boolean().default(true),
});
export const Schedule = z.object({
  name: z.string(),
  volumes: z.array(z.string()),
  rules: z.array(ScheduleRule),
  enabled: z.boolean(),
  next: timestamp.nullable(),
  last: timestamp.nullable(),
  problem: z.string().nullable().meta({ description: 'why the last run failed' }),
  snapshots: z.int().meta({ description: 'of this schedule that are kept' }),
  created: timestamp,
});

// ---- deleted volumes
export const DeletedVolume = z.object({
  name: z.string(),
  id: z.string(),
  pool: z.string().nullable(),
  kind: Volume.shape.kind,
  size: z.int().nonnegative(),
  snapshots: z.int(),
  deleted: timestamp,
  until: timestamp.meta({ description: 'when its data goes; earlier when its pool passes its threshold' }),
});
export const RestoreVolume = z.strictObject({
  name: VolumeName.optional().meta({ description: 'another name for it' }),
});
export const Retention = z.strictObject({
  deletedVolumesMs: z.int().min(0).max(MAX_KEEP_DELETED).meta({ description: 'milliseconds deleted volumes are kept' }),
});
