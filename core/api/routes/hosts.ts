import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { HostRecord } from '../../control/records.ts';
import { Host, HostGroup, PutHost, PutHostGroup } from '../job-schemas.ts';
import { VolumeParams } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

export function hostRoutes({ hosts, server }: ControlPlane): Route[] {
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
    route({
      method: 'get',
      path: '/hosts',
      tag,
      role: 'viewer',
      summary: 'List the hosts',
      response: z.array(Host),
      handle: () => hosts.list().map(view),
    }),
    route({
      method: 'get',
      path: '/hosts/:name',
      tag,
      role: 'viewer',
      summary: 'Show one host',
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
      params: VolumeParams,
      handle: ({ params }) => hosts.remove(params.name),
    }),
    ...groupRoutes(hosts),
  ];
}

function groupRoutes(hosts: ControlPlane['hosts']): Route[] {
  const tag = 'hosts';
  const view = ({ name, hosts: members, created }: ReturnType<typeof hosts.group>): z.infer<typeof HostGroup> => ({
    name,
    hosts: [...members],
    created: new Date(created).toISOString(),
  });
  return [
    route({
      method: 'get',
      path: '/host-groups',
      tag,
      role: 'viewer',
      summary: 'List the groups of hosts',
      response: z.array(HostGroup),
      handle: () => hosts.groups().map(view),
    }),
    route({
      method: 'get',
      path: '/host-groups/:name',
      tag,
      role: 'viewer',
      summary: 'Show one group of hosts',
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
      params: VolumeParams,
      handle: ({ params }) => hosts.removeGroup(params.name),
    }),
  ];
}
