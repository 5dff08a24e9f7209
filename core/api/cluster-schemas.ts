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
export const Maintenance = z.strictObject({
  on: z.boolean(),
  force: z.boolean().default(false).meta({ description: 'although hosts would notice' }),
});
export const MaintenanceShown = z.object({
  moved: z.array(z.string()).meta({ description: 'volumes that were handed over' }),
});
export const Reboot = z.object({
  node: z.string(),
  safe: z.boolean(),
  moves: z.array(z.string()).meta({ description: 'volumes that go on elsewhere after a pause' }),
  concerns: z.array(z.object({ kind: z.enum(['volume', 'host', 'node']), name: z.string(), text: z.string() })),
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
      maintenance: z.boolean().meta({ description: 'nothing is handed over to it' }),
    }),
  ),
  store: z.object({ answers: z.boolean(), problem: z.string().nullable() }),
  takeover: z.enum(['automatic', 'none']),
  advice: z.string().nullable(),
});
