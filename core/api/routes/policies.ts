import type { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { PolicyChange } from '../../control/policies.ts';
import type { PolicyRecord } from '../../control/records.ts';
import { listRoute, prefix } from '../paging.ts';
import { AssignPolicy, ChangePolicy, CreatePolicy, Policy } from '../policy-schemas.ts';
import { policyResource, volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { Volume, VolumeParams } from '../schemas.ts';

export function policyRoutes({ catalog, policies, views }: ControlPlane): Route[] {
  const tag = 'policies';
  const view = (record: PolicyRecord): z.infer<typeof Policy> => {
    const { name, durability = null, replicas = null, thin = null, copyRoute = null, keepDeleted = null } = record;
    return {
      ...{ name, durability, replicas, thin, copyRoute, keepDeletedMs: keepDeleted },
      isDefault: record.isDefault === true,
      volumes: policies.volumesOf(name).length,
      created: new Date(record.created).toISOString(),
    };
  };
  return [
    listRoute<PolicyRecord>({
      path: '/policies',
      tag,
      summary: 'List the policies: what volumes have in common by name',
      item: Policy,
      rows: () => policies.list(),
      inOrder: true,
      key: ({ name }) => name,
      keyName: 'name',
      sorts: { created: ({ created }) => created },
      filters: { name: prefix(({ name }) => name) },
      view,
    }),
    route({
      method: 'post',
      path: '/policies',
      tag,
      role: 'admin',
      summary: 'Make a policy',
      problems: ['exists', 'limit-reached', 'no-space'],
      repeatable: true,
      body: CreatePolicy,
      status: 201,
      response: Policy,
      handle: async ({ body: { name, ...settings } }) => view(await policies.create(name, changeOf(settings))),
    }),
    route({
      method: 'get',
      path: '/policies/:name',
      tag,
      role: 'viewer',
      summary: 'Show one policy',
      params: VolumeParams,
      resource: ({ name }) => policyResource(catalog, name),
      problems: ['not-found'],
      response: Policy,
      handle: ({ params }) => view(policies.get(params.name)),
    }),
    route({
      method: 'patch',
      path: '/policies/:name',
      tag,
      role: 'admin',
      summary: 'Change a policy; what is said of all its volumes holds at once',
      params: VolumeParams,
      resource: ({ name }) => policyResource(catalog, name),
      problems: ['not-found', 'no-space'],
      body: ChangePolicy,
      response: Policy,
      handle: async ({ params, body }) => view(await policies.change(params.name, changeOf(body))),
    }),
    route({
      method: 'delete',
      path: '/policies/:name',
      tag,
      role: 'admin',
      summary: 'Forget a policy that no volume has',
      params: VolumeParams,
      resource: ({ name }) => policyResource(catalog, name),
      problems: ['not-found', 'in-use', 'no-space'],
      handle: ({ params }) => policies.remove(params.name),
    }),
    route({
      method: 'put',
      path: '/volumes/:name/policy',
      tag,
      role: 'operator',
      summary: 'Give a volume another policy, or none; how it was made stays',
      params: VolumeParams,
      resource: ({ name }) => volumeResource(catalog, name),
      problems: ['not-found', 'no-space'],
      body: AssignPolicy,
      response: Volume,
      handle: async ({ params, body }) => views.disk(await policies.assign(params.name, body.policy ?? undefined)),
    }),
  ];
}

/** What the record calls otherwise than the API, which names the unit. */
function changeOf({ keepDeletedMs, ...rest }: z.infer<typeof ChangePolicy>): PolicyChange {
  const known = Object.entries({ ...rest, keepDeleted: keepDeletedMs }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known);
}
