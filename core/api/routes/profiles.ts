import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { profilesFor } from '../../control/profiles.ts';
import { VolumeName } from '../schemas.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

const Profile = z.object({
  id: z.string(),
  title: z.string(),
  hypervisors: z.array(z.string()),
  storage: z.string().meta({ description: 'where it runs' }),
  path: z.string(),
  offload: z.string(),
  when: z.string(),
  verified: z.array(z.object({ evidence: z.enum(['tested', 'replayed', 'written', 'missing']), text: z.string() })),
  steps: z.array(
    z.object({
      title: z.string(),
      text: z.string(),
      files: z.array(z.object({ name: z.string(), content: z.string() })),
    }),
  ),
});

export function profileRoutes({ provisioner, views }: ControlPlane): Route[] {
  return [
    route({
      method: 'get',
      path: '/profiles',
      tag: 'profiles',
      role: 'viewer',
      summary: 'How each hypervisor is connected, with settings ready to use, for one volume or in general',
      query: z.strictObject({ volume: VolumeName.optional() }),
      response: z.array(Profile),
      handle: ({ query: { volume } }) => {
        const disk = volume === undefined ? undefined : views.disk(provisioner.volume(volume));
        const portals = views.portals();
        return profilesFor({
          portals: portals.length === 0 ? ['PORTAL:3260'] : portals,
          volume: disk?.name ?? 'VOLUME',
          iqn: disk?.iqn ?? 'TARGET-IQN',
          naa: disk?.naa ?? 'naa.VOLUME-NAA',
          lun: disk?.lun ?? 0,
        });
      },
    }),
  ];
}
