// Policies over the API.
import { z } from 'zod';
import { MAX_KEEP_DELETED } from '../base/limits.ts';
import { CopyPolicy } from './offload-schemas.ts';
import { VolumeName, timestamp } from './schemas.ts';

const durability = z.enum(['durable', 'mirrored-ram', 'volatile']).meta({ description: 'of new volumes' });
const replicas = z.int().min(1).max(3).meta({ description: 'of new volumes: nodes of the cluster that keep a copy' });
const thin = z.boolean().meta({ description: 'of new volumes' });
const copyRoute = CopyPolicy.meta({ description: 'of all its volumes: whether copies hosts ask for are taken' });
const keepDeletedMs = z
  .int()
  .min(0)
  .max(MAX_KEEP_DELETED)
  .meta({ description: 'of all its volumes: milliseconds they are kept when they are deleted' });
const isDefault = z.boolean().meta({ description: 'new volumes have it when nobody names one' });

export const CreatePolicy = z.strictObject({
  name: VolumeName,
  durability: durability.optional(),
  replicas: replicas.optional(),
  thin: thin.optional(),
  copyRoute: copyRoute.optional(),
  keepDeletedMs: keepDeletedMs.optional(),
  isDefault: isDefault.optional(),
});

/** null takes a setting away. */
export const ChangePolicy = z.strictObject({
  durability: durability.nullable().optional(),
  replicas: replicas.nullable().optional(),
  thin: thin.nullable().optional(),
  copyRoute: copyRoute.nullable().optional(),
  keepDeletedMs: keepDeletedMs.nullable().optional(),
  isDefault: isDefault.optional(),
});

export const Policy = z.object({
  name: z.string(),
  durability: durability.nullable(),
  replicas: z.int().nullable(),
  thin: thin.nullable(),
  copyRoute: copyRoute.nullable(),
  keepDeletedMs: z.int().nullable(),
  isDefault,
  volumes: z.int().meta({ description: 'that have it' }),
  created: timestamp,
});

export const AssignPolicy = z.strictObject({ policy: VolumeName.nullable().meta({ description: 'null: none' }) });
