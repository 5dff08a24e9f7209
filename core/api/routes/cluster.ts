// The cluster this node is in, or could be.
import { z } from 'zod';
import { ServiceError } from '../../base/errors.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { ClusterView, ExternalEtcdView, JoinToken } from '../../control/cluster.ts';
import type { RebootView } from '../../control/maintenance.ts';
import type { Replication } from '../../control/replication.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import {
  Cluster,
  ClusterBegun,
  DropCopies,
  EtcdReached,
  Maintenance,
  MaintenanceShown,
  Reboot,
  JoinCluster,
  JoinTokenShown,
  NewCluster,
  NodeName,
} from '../cluster-schemas.ts';

export function clusterRoutes({ cluster, replication }: ControlPlane): Route[] {
  const tag = 'cluster';
  const replicated = (): Replication => {
    if (replication !== undefined) return replication;
    throw new ServiceError('cluster-state', 'this node is in no cluster');
  };
  return [
    route({
      method: 'get',
      path: '/cluster',
      tag,
      role: 'viewer',
      summary: 'The nodes of the cluster, and whether one takes over from another',
      response: Cluster,
      problems: [],
      handle: async () => shown(await cluster.view()),
    }),
    route({
      method: 'post',
      path: '/cluster',
      tag,
      role: 'admin',
      summary: 'Begin a cluster with this node; the daemon starts itself again',
      body: NewCluster,
      status: 201,
      response: ClusterBegun,
      problems: [
        'bad-request',
        'cluster-state',
        'program-missing',
        'port-taken',
        'address-unusable',
        ...(['cluster-unavailable', 'etcd-unusable', 'exists', 'in-use'] as const),
      ],
      handle: ({ body: { etcd, ...as } }) => cluster.init(as, etcd),
    }),
    route({
      method: 'put',
      path: '/cluster/etcd',
      tag,
      role: 'admin',
      summary: 'Reach the etcd the cluster was put into with other certificates or at other addresses; this node only',
      body: EtcdReached,
      problems: ['bad-request', 'cluster-state', 'cluster-unavailable', 'etcd-unusable'],
      handle: ({ body }) => cluster.reachEtcd(body),
    }),
    route({
      method: 'post',
      path: '/cluster/join',
      tag,
      role: 'admin',
      summary: 'Join the cluster a token is of; the daemon starts itself again',
      body: JoinCluster,
      problems: [
        ...(['bad-request', 'cluster-state', 'exists', 'in-use', 'has-volumes', 'peer-unreachable'] as const),
        ...(['program-missing', 'port-taken', 'address-unusable', 'limit-reached', 'cluster-unavailable'] as const),
      ],
      handle: ({ body: { token, ...as } }) => cluster.join(token, as),
    }),
    route({
      method: 'post',
      path: '/cluster/tokens',
      tag,
      role: 'admin',
      summary: 'A token that lets one more node in, once',
      status: 201,
      response: JoinTokenShown,
      confidential: true,
      problems: ['cluster-state', 'cluster-unavailable'],
      handle: async () => tokenShown(await cluster.token()),
    }),
    route({
      method: 'delete',
      path: '/cluster/nodes/:node',
      tag,
      role: 'admin',
      summary: 'Forget a node that is gone for good',
      params: z.strictObject({ node: NodeName }),
      query: DropCopies,
      problems: [
        ...(['bad-request', 'cluster-state', 'not-found', 'has-volumes', 'in-use', 'replica-state'] as const),
        ...(['peer-unreachable', 'cluster-unavailable'] as const),
      ],
      handle: ({ params, query }) => cluster.remove(params.node, query.dropCopies === 'true'),
    }),
    route({
      method: 'get',
      path: '/cluster/nodes/:node/reboot',
      tag,
      role: 'viewer',
      summary: 'What hosts would notice if the node went down now',
      params: z.strictObject({ node: NodeName }),
      response: Reboot,
      problems: ['bad-request', 'cluster-state', 'not-found', 'cluster-unavailable'],
      handle: async ({ params }) => rebootShown(await replicated().safeToReboot(params.node)),
    }),
    route({
      method: 'put',
      path: '/cluster/nodes/:node/maintenance',
      tag,
      role: 'operator',
      summary: 'Hand over what the node serves and keep it out of service, or end that',
      params: z.strictObject({ node: NodeName }),
      body: Maintenance,
      response: MaintenanceShown,
      problems: [
        ...(['bad-request', 'cluster-state', 'not-found', 'in-use', 'replica-state', 'peer-unreachable'] as const),
        'cluster-unavailable',
      ],
      handle: async ({ params: { node }, body: { on, force } }, { caller }) => {
        if (on) return { moved: await replicated().beginMaintenance(node, caller?.name ?? 'somebody', force) };
        await replicated().endMaintenance(node);
        return { moved: [] };
      },
    }),
    route({
      method: 'delete',
      path: '/cluster',
      tag,
      role: 'admin',
      summary: 'Leave the cluster; the last node keeps the catalog. The daemon starts itself again',
      problems: ['cluster-state', 'in-use', 'has-volumes', 'cluster-unavailable'],
      handle: () => cluster.leave(),
    }),
  ];
}

const rebootShown = ({ moves, concerns, ...view }: RebootView): z.infer<typeof Reboot> => ({
  ...view,
  moves: [...moves],
  concerns: concerns.map((each) => ({ ...each })),
});

const tokenShown = ({ token, expires }: JoinToken): z.infer<typeof JoinTokenShown> => ({
  token,
  expires: new Date(expires).toISOString(),
});

const etcdShown = (external: ExternalEtcdView | undefined): z.infer<typeof Cluster>['store']['external'] =>
  external === undefined
    ? null
    : {
        prefix: external.prefix,
        members: external.members.map(({ version, problem, ...each }) => ({
          ...{ ...each, version: version ?? null, problem: problem ?? null },
        })),
      };

function shown({ cluster, node, nodes, store, takeover, advice }: ClusterView): z.infer<typeof Cluster> {
  return {
    cluster: cluster ?? null,
    node: node ?? null,
    nodes: nodes.map((each) => ({ ...each })),
    store: { answers: store.answers, problem: store.problem ?? null, external: etcdShown(store.external) },
    takeover,
    advice: advice ?? null,
  };
}
