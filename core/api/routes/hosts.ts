import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { HostGroupRecord, HostRecord } from '../../control/records.ts';
import { Host, HostGroup, PutHost, PutHostGroup } from '../job-schemas.ts';
import { VolumeParams } from '../schemas.ts';
import { listRoute, prefix } from '../paging.ts';
import { hostGroupResource, hostResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function hostRoutes({ catalog, hosts, server }: ControlPlane): Route[] {
  const tag = 'hosts';
  const view = (record: HostRecord): z.infer<typeof Host> => {
    const { name, iqns, profile = null, chap, mutual, created } = record;
    const connected = new Set(
      server()
        ?.sessions()
        .map((session) => session.initiator),
    );
    return {
      name,
      iqns: [...iqns],
      profile,
      chapUser: chap?.user ?? null,
      mutualUser: mutual?.user ?? null,
      groups: hosts
        .groups()
        .filter((group) => group.hosts.includes(name))
        .map((group) => group.name),
      volumes: hosts.volumesOf(name),
      connected: iqns.filter((iqn) => connected.has(iqn)),
      created: new Date(created).toISOString(),
    };
  };
  return [
    listRoute<HostRecord>({
      path: '/hosts',
      tag,
      summary: 'List the hosts',
      item: Host,
      rows: () => hosts.list(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      filters: {
        name: prefix(({ name }) => name),
        initiator: {
          schema: z.string().min(1).max(223).optional().meta({ description: 'that has this initiator' }),
          passes: ({ iqns }, wanted) => iqns.includes(wanted.toLowerCase()),
        },
      },
      view,
    }),
    route({
      method: 'get',
      path: '/hosts/:name',
      tag,
      role: 'viewer',
      summary: 'Show one host',
      resource: ({ name }) => hostResource(catalog, name),
      problems: ['not-found'],
      params: VolumeParams,
      response: Host,
      handle: ({ params }) => view(hosts.get(params.name)),
    }),
    route({
      method: 'put',
      path: '/hosts/:name',
      tag,
      role: 'admin',
      summary: 'Make a host, or change its initiators, profile or CHAP credentials',
      resource: ({ name }) => hostResource(catalog, name),
      problems: ['not-found', 'exists', 'limit-reached', 'no-space'],
      params: VolumeParams,
      body: PutHost,
      response: Host,
      handle: async ({ params, body }) => view(await hosts.put({ name: params.name, ...body })),
    }),
    route({
      method: 'delete',
      path: '/hosts/:name',
      tag,
      role: 'admin',
      summary: 'Forget a host to which nothing is mapped',
      resource: ({ name }) => hostResource(catalog, name),
      problems: ['not-found', 'in-use', 'no-space'],
      params: VolumeParams,
      handle: ({ params }) => hosts.remove(params.name),
    }),
    ...groupRoutes(catalog, hosts),
  ];
}

function groupRoutes(catalog: ControlPlane['catalog'], hosts: ControlPlane['hosts']): Route[] {
  const tag = 'hosts';
  const view = ({ name, hosts: members, created }: ReturnType<typeof hosts.group>): z.infer<typeof HostGroup> => ({
    name,
    hosts: [...members],
    created: new Date(created).toISOString(),
  });
  return [
    listRoute<HostGroupRecord>({
      path: '/host-groups',
      tag,
      summary: 'List the groups of hosts',
      item: HostGroup,
      rows: () => hosts.groups(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      filters: { name: prefix(({ name }) => name) },
      view,
    }),
    route({
      method: 'get',
      path: '/host-groups/:name',
      tag,
      role: 'viewer',
      summary: 'Show one group of hosts',
      resource: ({ name }) => hostGroupResource(catalog, name),
      problems: ['not-found'],
      params: VolumeParams,
      response: HostGroup,
      handle: ({ params }) => view(hosts.group(params.name)),
    }),
    route({
      method: 'put',
      path: '/host-groups/:name',
      tag,
      role: 'admin',
      summary: 'Make a group of hosts, or change who is in it',
      resource: ({ name }) => hostGroupResource(catalog, name),
      problems: ['not-found', 'exists', 'limit-reached', 'no-space'],
      params: VolumeParams,
      body: PutHostGroup,
      response: HostGroup,
      handle: async ({ params, body }) => view(await hosts.putGroup(params.name, body.hosts)),
    }),
    route({
      method: 'delete',
      path: '/host-groups/:name',
      tag,
      role: 'admin',
      summary: 'Forget a group of hosts to which nothing is mapped',
      resource: ({ name }) => hostGroupResource(catalog, name),
      problems: ['not-found', 'in-use', 'no-space'],
      params: VolumeParams,
      handle: ({ params }) => hosts.removeGroup(params.name),
    }),
  ];
}
