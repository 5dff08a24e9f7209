// What the API says and takes about the cluster.
import { z } from 'zod';
import { NAME_PATTERN } from '../control/names.ts';
import { timestamp } from './schemas.ts';

export const NodeName = z.string().regex(NAME_PATTERN);
const Address = z.string().min(3).max(300).describe('HOST:PORT by which the other nodes reach this one');

export const DropCopies = z.strictObject({
  dropCopies: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'also its copies of volumes that are complete elsewhere' }),
});
export const NewCluster = z.strictObject({ address: Address, name: NodeName.optional() });
export const ClusterBegun = z.object({ cluster: z.string() });
export const JoinCluster = z.strictObject({
  token: z.string().min(1).max(4096).meta({ writeOnly: true }),
  address: Address,
  name: NodeName.optional(),
});
export const JoinTokenShown = z.object({ token: z.string(), expires: timestamp });

export const Cluster = z.object({
  cluster: z.string().nullable(),
  node: z.string().nullable(),
  nodes: z.array(
    z.object({
      id: z.string(),
      index: z.int(),
      name: z.string(),
      role: z.enum(['data', 'witness']),
      address: z.string(),
      self: z.boolean(),
      vote: z.enum(['voter', 'learner', 'none']),
      leader: z.boolean(),
      answers: z.boolean(),
    }),
  ),
  store: z.object({ answers: z.boolean(), problem: z.string().nullable() }),
  takeover: z.enum(['automatic', 'none']),
  advice: z.string().nullable(),
});
