// The names schemas have in the OpenAPI document: those they are exported under.
import { z } from 'zod';
import * as backend from './backend-schemas.ts';
import * as offload from './offload-schemas.ts';
import * as policy from './policy-schemas.ts';
import * as portal from './portal-schemas.ts';
import * as schemas from './schemas.ts';

const EXAMPLES: Readonly<Record<string, object>> = {
  CreateVolume: { name: 'vm-store-1', size: 107_374_182_400, maps: [{ initiator: 'iqn.1998-01.com.vmware:esx-1' }] },
  CreateSnapshot: { volumes: ['vm-store-1', 'vm-store-2'], name: 'before-upgrade' },
  CreatePool: { name: 'tank', device: '/dev/disk/by-id/nvme-0123' },
  ResizeVolume: { size: 214_748_364_800 },
  Problem: {
    type: 'urn:gemel:error:precondition-failed',
    title: 'precondition failed',
    status: 412,
    detail: 'it was changed since it was read',
    code: 'precondition-failed',
    remedy: 'Read it again, and repeat the change with the new ETag if it is still wanted.',
    retriable: false,
  },
};

/** Gives them to all that describe an object; before any route is made of them. */
for (const [id, schema] of Object.entries({ ...schemas, ...offload, ...backend, ...portal, ...policy } as Readonly<
  Record<string, unknown>
>)) {
  if (!(schema instanceof z.ZodObject)) continue;
  const example = EXAMPLES[id];
  z.globalRegistry.add(schema, { ...schema.meta(), id, ...(example === undefined ? {} : { examples: [example] }) });
}
