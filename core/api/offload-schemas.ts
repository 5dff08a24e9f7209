// What the API says about offload.
import { z } from 'zod';
import { VolumeName } from './schemas.ts';

const bytes = z.int().nonnegative();
const timestamp = z.string().meta({ format: 'date-time' });
export const CopyPolicy = z.enum(['auto', 'always', 'share-only', 'never']);
const Kind = z.enum([
  'extended-copy',
  'populate-token',
  'write-using-token',
  'write-same',
  'unmap',
  'compare-and-write',
]);

const KindCounters = z.object({
  kind: Kind,
  used: z.int(),
  refused: z.int(),
  sharedBytes: bytes.meta({ description: 'done in the map alone: no data was moved' }),
  copiedBytes: bytes.meta({ description: 'moved inside the storage' }),
  seconds: z.number(),
  reasons: z.array(z.object({ reason: z.string(), count: z.int() })),
  last: z
    .object({ at: timestamp, reason: z.string(), told: z.string().meta({ description: 'sense, or status' }) })
    .nullable()
    .meta({ description: 'the last refusal' }),
});

export const OffloadVolume = z.object({
  volume: z.string(),
  thin: z.boolean(),
  offered: z.array(Kind),
  copyRoute: CopyPolicy,
  lastRoute: z.enum(['shared', 'fixed', 'not-measured', 'faster', 'slower']).nullable(),
  hosts: z.array(
    z.object({
      initiator: z.string(),
      connected: z.boolean(),
      lastAt: timestamp.nullable(),
      kinds: z.array(KindCounters),
    }),
  ),
});
export const OffloadFinding = z.object({
  volume: z.string(),
  host: z.string().nullable(),
  level: z.enum(['good', 'note', 'problem']),
  text: z.string(),
  remedy: z.string().nullable(),
});
export const CopyRoutes = z.object({
  node: CopyPolicy,
  volumes: z.array(z.object({ volume: z.string(), policy: CopyPolicy })),
});
export const SetCopyRoute = z.strictObject({
  policy: z.enum(['auto', 'always', 'share-only', 'never', 'default']).meta({
    description: '"default": as the node; for the node itself: auto',
  }),
  volume: VolumeName.optional().meta({ description: 'the node when absent' }),
});
