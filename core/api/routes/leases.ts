import type { ControlPlane } from '../../control/control-plane.ts';
import { leased, refuseRelease } from '../../control/leases.ts';
import { volumeResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { DeleteLease, PutLease, Volume, VolumeParams } from '../schemas.ts';

export function leaseRoutes({ catalog, provisioner, views, now }: ControlPlane): Route[] {
  const row = {
    path: '/volumes/:name/lease',
    tag: 'volumes',
    role: 'operator',
    resource: ({ name }: { name: string }) => volumeResource(catalog, name),
    problems: ['not-found', 'in-use', 'no-space'],
    params: VolumeParams,
    response: Volume,
  } as const;
  return [
    route({
      ...row,
      method: 'put',
      summary:
        'Take the lease of a volume, which one holder has at a time; it hinders deleting, not reading or writing',
      body: PutLease,
      handle: async ({ params: { name }, body: { holder } }) =>
        views.disk(await provisioner.changeLease(name, (before) => leased(name, before, holder, now()))),
    }),
    route({
      ...row,
      method: 'delete',
      summary: 'Give the lease of a volume back; with force=true that of any holder',
      query: DeleteLease,
      handle: async ({ params: { name }, query: { holder, force } }) =>
        views.disk(
          await provisioner.changeLease(name, (before) => {
            refuseRelease(name, before, holder, force === 'true');
            return undefined;
          }),
        ),
    }),
  ];
}
