// Volumes on several nodes: who serves each, who has it in step, and moving it.
import { z } from 'zod';
import { ServiceError } from '../../base/errors.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { printable } from '../../control/names.ts';
import type { DivergenceReport } from '../../control/divergence.ts';
import type { DrillReport } from '../../control/drill.ts';
import { replicationShown } from '../../control/replication.ts';
import type { Replication, ReplicationView } from '../../control/replication.ts';
import { listRoute, prefix } from '../paging.ts';
import { volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { VolumeName, VolumeParams, timestamp } from '../schemas.ts';

const bytes = z.int().nonnegative();
const nodeId = z.string().meta({ description: 'id of a node' });
const Replica = z.object({
  node: nodeId,
  inSync: z.boolean(),
  state: z
    .enum(['owner', 'sync', 'joining', 'leaving', 'out', 'unknown'])
    .meta({ description: 'unknown: only the owner of the volume knows more' }),
  why: z.string(),
  lacksBytes: bytes.meta({ description: 'that it is known to lack' }),
  resync: z
    .object({
      leftBytes: bytes,
      totalBytes: bytes,
      bytesPerSecond: z.number().nonnegative(),
      etaSeconds: z.number().nonnegative().nullable().meta({ description: 'null: not known yet' }),
    })
    .nullable()
    .meta({ description: 'null: nothing is being copied to it' }),
});
export const ReplicationShown = z.object({
  volume: VolumeName,
  id: z.string(),
  role: z
    .enum(['owner', 'replica', 'joining', 'waiting', 'changing'])
    .meta({ description: 'what this node is to the volume' }),
  owner: nodeId.nullable().meta({ description: 'null: nobody is known to serve it' }),
  epoch: z.int(),
  session: z.int(),
  inSync: z.array(nodeId).meta({ description: 'nodes that have every acknowledged write' }),
  replicas: z.array(Replica),
  forcedBy: z
    .string()
    .nullable()
    .meta({ description: 'who promoted the owner though others may have had newer data; null: nobody had to' }),
  why: z.string(),
});
const Pause = z.object({
  from: nodeId,
  to: nodeId,
  pauseMs: z.number().nonnegative().meta({ description: 'milliseconds in which nobody served it' }),
  longestCommandMs: z
    .number()
    .nonnegative()
    .nullable()
    .meta({ description: 'longest command a host has seen meanwhile, within 19 %; null: none was under way' }),
});
const DrillShown = z.object({
  volume: VolumeName,
  hard: z.boolean().meta({ description: 'the owner played dead' }),
  time: timestamp,
  by: z.string(),
  paths: z.int().meta({ description: 'initiator and target ports that saw the volume' }),
  steps: z.array(Pause),
});
const RunDrill = z.strictObject({
  hard: z.boolean().default(false).meta({ description: 'the owner plays dead instead of handing over' }),
});
const Divergence = z.object({
  volume: z.string(),
  id: z.string(),
  cause: z.enum(['promoted', 'both-down']),
  time: timestamp,
  by: z.string().nullable().meta({ description: 'who promoted it; null: nobody had to choose' }),
  owner: nodeId.meta({ description: 'whose copy counts' }),
  epoch: z.int(),
  before: z
    .object({
      epoch: z.int(),
      session: z.int(),
      owner: z.string(),
      inSync: z.array(nodeId),
      replicas: z.array(nodeId),
    })
    .meta({ description: 'the record by which the choice was made' }),
  blockSize: z.int(),
  copies: z.array(
    z.object({
      node: nodeId,
      complete: z.boolean().meta({ description: 'all of it has been compared' }),
      bytes,
      ranges: z.array(z.array(z.int()).length(2)).meta({ description: 'first block and number of blocks' }),
    }),
  ),
});
const HandOver = z.strictObject({
  to: z.string().min(1).max(63).meta({ description: 'name or id of a node that has it in step' }),
  pin: z.boolean().default(false).meta({ description: 'it stays there, and comes back there, for good' }),
});
const Preference = z.strictObject({
  node: z.string().min(1).max(63).nullable().meta({ description: 'name or id; null: wherever it is' }),
  pinned: z.boolean().meta({ description: 'there for good; else it may go elsewhere when a node carries much more' }),
});
const HandedOver = z.object({
  pauseMs: z.number().nonnegative().meta({ description: 'milliseconds in which nobody served the volume' }),
  replication: ReplicationShown,
});

type Shown = z.infer<typeof ReplicationShown>;

const shown = (view: ReplicationView): Shown => replicationShown(view);

const drillShown = ({ time, steps, ...report }: DrillReport): z.infer<typeof DrillShown> => ({
  ...report,
  time: new Date(time).toISOString(),
  steps: steps.map((step) => ({ ...step })),
});

const reportShown = ({ time, copies, before, ...report }: DivergenceReport): z.infer<typeof Divergence> => ({
  ...report,
  time: new Date(time).toISOString(),
  before: { ...before, inSync: [...before.inSync], replicas: [...before.replicas] },
  copies: copies.map(({ ranges, ...copy }) => ({ ...copy, ranges: ranges.map((range) => [...range]) })),
});

/** A node that is in no cluster has no such volumes. */
export function replicationRoutes(control: ControlPlane & { readonly replication?: Replication | undefined }): Route[] {
  const tag = 'replication';
  const mirrored = (name: string): { replication: Replication; view: ReplicationView } => {
    control.provisioner.volume(name);
    const { replication } = control;
    const view = replication?.get(name);
    if (replication === undefined || view === undefined) {
      throw new ServiceError('not-found', `volume '${printable(name)}' is on one node only`);
    }
    return { replication, view };
  };
  return [
    listRoute<ReplicationView>({
      path: '/replication',
      tag,
      summary: 'The volumes that are on several nodes, and how they are',
      item: ReplicationShown,
      rows: () => control.replication?.list() ?? [],
      key: ({ volume }) => volume,
      keyName: 'volume',
      filters: { volume: prefix(({ volume }) => volume) },
      view: shown,
    }),
    route({
      method: 'get',
      path: '/volumes/:name/replication',
      tag,
      role: 'viewer',
      summary: 'Who serves a volume, and who has it in step',
      problems: ['not-found'],
      params: VolumeParams,
      response: ReplicationShown,
      handle: ({ params }) => shown(mirrored(params.name).view),
    }),
    route({
      method: 'post',
      path: '/volumes/:name/replication/hand-over',
      tag,
      role: 'operator',
      summary: 'Let another node serve the volume from now on; hosts see a pause and no error',
      problems: ['not-found', 'bad-request', 'in-use', 'replica-state', 'peer-unreachable', 'cluster-unavailable'],
      params: VolumeParams,
      body: HandOver,
      response: HandedOver,
      handle: async ({ params: { name }, body: { to, pin } }) => {
        const { replication, view } = mirrored(name);
        const pauseMs = await replication.handOver(name, to);
        await control.balance?.prefer(name, to, pin);
        return { pauseMs, replication: shown(replication.get(name) ?? view) };
      },
    }),
    route({
      method: 'put',
      path: '/volumes/:name/replication/preference',
      tag,
      role: 'operator',
      summary: 'Say which node should serve a volume',
      resource: ({ name }) => volumeResource(control.catalog, name),
      problems: ['not-found', 'bad-request', 'cluster-unavailable'],
      params: VolumeParams,
      body: Preference,
      response: Preference,
      handle: async ({ params: { name }, body: { node, pinned } }) => {
        mirrored(name);
        const record = await control.balance?.prefer(name, node ?? undefined, pinned);
        return { node: record?.preferred ?? null, pinned: record?.pinned ?? false };
      },
    }),
    route({
      method: 'post',
      path: '/volumes/:name/replication/drill',
      tag,
      role: 'operator',
      summary: 'Let another node serve the volume and give it back, and measure what hosts have seen',
      problems: ['not-found', 'bad-request', 'in-use', 'replica-state', 'peer-unreachable', 'cluster-unavailable'],
      params: VolumeParams,
      body: RunDrill,
      response: DrillShown,
      handle: async ({ params: { name }, body: { hard } }, { caller }) =>
        drillShown(await mirrored(name).replication.runDrill(name, hard, caller?.name ?? 'somebody')),
    }),
    route({
      method: 'get',
      path: '/replication/drills',
      tag,
      role: 'viewer',
      summary: 'The latest failover drills, oldest first',
      problems: ['cluster-unavailable'],
      response: z.array(DrillShown),
      handle: async () => ((await control.replication?.drills()) ?? []).map(drillShown),
    }),
    route({
      method: 'get',
      path: '/replication/reports',
      tag,
      role: 'viewer',
      summary:
        'What copies had differently after a blackout or a promotion, and by what the choice was made; the latest first',
      problems: [],
      response: z.array(Divergence),
      handle: () => (control.replication?.reports() ?? []).map(reportShown),
    }),
    route({
      method: 'post',
      path: '/volumes/:name/replication/promote',
      tag,
      role: 'admin',
      summary: 'Take the copy of this node for the one that counts, though others may have newer data',
      problems: ['not-found', 'replica-state', 'cluster-unavailable'],
      params: VolumeParams,
      response: ReplicationShown,
      handle: async ({ params: { name } }, { caller }) => {
        const { replication, view } = mirrored(name);
        await replication.promote(name, caller?.name ?? 'somebody');
        return shown(replication.get(name) ?? view);
      },
    }),
  ];
}
