import { z } from 'zod';
import type { ControlPlane } from '../../control/control-plane.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';

const bytes = z.int().nonnegative();
const Capacity = z.object({
  pool: z.string(),
  capacityBytes: bytes,
  usedBytes: bytes,
  observedSeconds: z.int().meta({ description: 'the time the rate was taken from' }),
  bytesPerDay: z.int().nullable().meta({ description: 'null: not observed for long enough' }),
  secondsToFull: z.int().nullable().meta({ description: 'null: not known, or it does not grow' }),
});

export function capacityRoutes({ trend }: ControlPlane): Route[] {
  return [
    route({
      method: 'get',
      path: '/capacity',
      tag: 'status',
      role: 'viewer',
      summary: 'How fast the pools fill, and when they will be full',
      response: z.array(Capacity),
      handle: () => trend.views(),
    }),
  ];
}
