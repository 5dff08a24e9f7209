// Portals over the API.
import { z } from 'zod';
import { VolumeName, timestamp } from './schemas.ts';

const group = z.int().min(1).max(65_535);
const hostPort = z.string().min(3).max(261);

export const AddPortal = z.strictObject({
  name: VolumeName.optional().meta({ description: 'portal1, portal2 … when absent', example: 'cable-a' }),
  address: hostPort.meta({ description: 'HOST:PORT of this machine', example: '10.0.0.5:3260' }),
  group: group.optional().meta({ description: 'portal group; 1 when absent' }),
  advertised: hostPort.optional().meta({ description: 'HOST:PORT initiators are told instead' }),
});

export const Portal = z.object({
  name: z.string(),
  address: z.string().meta({ description: 'as it was asked for' }),
  group: z.int(),
  tag: z.int().meta({ description: 'portal group tag initiators see; of its own on each node of a cluster' }),
  advertised: z.string().nullable(),
  reached: z.string().nullable().meta({ description: 'where initiators find it; null: it does not listen' }),
  problem: z.string().nullable().meta({ description: 'why it does not listen' }),
  setting: z.boolean().meta({ description: 'it comes from a setting of the daemon' }),
  sessions: z.int().meta({ description: 'sessions that came in here, and would end with it' }),
  initiators: z.array(z.string()).meta({ description: 'whose they are' }),
  created: timestamp,
});

export const RemovePortal = z.strictObject({
  force: z.enum(['true', 'false']).optional().meta({ description: 'end the sessions that came in there' }),
});
