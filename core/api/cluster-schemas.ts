// What the API says and takes about the cluster.
import { z } from 'zod';
import { ETCD_ENDPOINTS, ETCD_PEM, ETCD_PREFIX } from '../base/limits.ts';
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
const pem = z.string().min(1).max(ETCD_PEM);
/** An etcd that is there already. */
export const EtcdReached = z.strictObject({
  endpoints: z
    .array(z.string().min(3).max(300))
    .min(1)
    .max(ETCD_ENDPOINTS)
    .meta({ description: 'its members: https://HOST:PORT' }),
  ca: pem.meta({ description: 'what has signed the certificates of its members; PEM' }),
  cert: pem.meta({ description: 'of a client of it; PEM' }),
  privateKey: pem.meta({ description: 'the key of that certificate; PEM', writeOnly: true }),
});
export const NewCluster = z.strictObject({
  address: Address,
  name: NodeName.optional(),
  etcd: EtcdReached.extend({
    prefix: z
      .string()
      .min(1)
      .max(ETCD_PREFIX)
      .optional()
      .meta({ description: 'what the keys of the cluster begin with: /gemel/ when absent' }),
  })
    .optional()
    .meta({
      description: 'an etcd that is there already, to keep the cluster in; the nodes run their own when absent',
    }),
});
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
  store: z.object({
    answers: z.boolean(),
    problem: z.string().nullable(),
    external: z
      .object({
        prefix: z.string(),
        members: z.array(
          z.object({
            address: z.string(),
            answers: z.boolean(),
            version: z.string().nullable(),
            leader: z.boolean(),
            problem: z.string().nullable(),
          }),
        ),
      })
      .nullable()
      .meta({ description: 'an etcd somebody else looks after; null: the nodes run their own' }),
  }),
  takeover: z.enum(['automatic', 'none']),
  advice: z.string().nullable(),
});
