// How what the nodes of a cluster serve is balanced.
import { z } from 'zod';
import { ServiceError } from '../../base/errors.ts';
import type { ClusterBalance } from '../../control/balance/cluster-balance.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { balanceResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { timestamp } from '../schemas.ts';

const Balance = z.object({
  enabled: z.boolean().meta({ description: 'whether volumes move by themselves' }),
  nodes: z.array(
    z.object({
      node: z.string().meta({ description: 'id of a node' }),
      load: z
        .number()
        .nullable()
        .meta({ description: 'commands a second, or what weighs as much; null: not known now' }),
      volumes: z.int().meta({ description: 'that it should serve' }),
    }),
  ),
  last: z
    .object({ volume: z.string(), to: z.string(), why: z.enum(['home', 'load']), time: timestamp })
    .nullable()
    .meta({ description: 'the latest volume this node has given away by itself' }),
});
const SetBalance = z.strictObject({ enabled: z.boolean() });

export function balanceRoutes({ balance }: ControlPlane): Route[] {
  const tag = 'replication';
  const present = (): ClusterBalance => {
    if (balance === undefined) throw new ServiceError('cluster-state', 'this node is in no cluster');
    return balance;
  };
  const view = (): z.infer<typeof Balance> => {
    const { enabled, nodes, last } = present().view();
    return {
      enabled,
      nodes: nodes.map((each) => ({ ...each, load: each.load ?? null })),
      last: last === undefined ? null : { ...last, time: new Date(last.time).toISOString() },
    };
  };
  return [
    route({
      method: 'get',
      path: '/cluster/balance',
      tag,
      role: 'viewer',
      summary: 'What each node carries, and whether volumes move by themselves',
      resource: () => balanceResource(balance),
      problems: ['cluster-state', 'cluster-unavailable'],
      response: Balance,
      handle: view,
    }),
    route({
      method: 'put',
      path: '/cluster/balance',
      tag,
      role: 'admin',
      summary: 'Let volumes move by themselves, or not',
      resource: () => balanceResource(balance),
      problems: ['cluster-state', 'cluster-unavailable'],
      body: SetBalance,
      response: Balance,
      handle: async ({ body }) => {
        await present().enable(body.enabled);
        return view();
      },
    }),
  ];
}
