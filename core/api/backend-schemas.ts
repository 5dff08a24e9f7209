// Backends over the API.
import { z } from 'zod';
import { VolumeName, timestamp } from './schemas.ts';

const path = z.string().min(1).max(4096);
const Kind = z.enum(['ceph', 'folder']);

export const AddBackend = z.strictObject({
  name: VolumeName,
  kind: Kind,
  pool: z.string().min(1).max(128).optional().meta({ description: 'of Ceph; rbd when absent' }),
  user: z.string().min(1).max(128).optional().meta({ description: 'of Ceph, without "client."; gemel when absent' }),
  conf: path.optional().meta({ description: 'file on each node; /etc/ceph/ceph.conf when absent' }),
  keyring: path.optional().meta({ description: 'file on each node; /etc/ceph/ceph.client.USER.keyring when absent' }),
  folder: path.optional().meta({ description: 'of kind "folder": absolute, and the same files on all nodes' }),
});

export const Backend = z.object({
  name: z.string(),
  kind: Kind,
  pool: z.string().nullable(),
  user: z.string().nullable(),
  conf: z.string().nullable(),
  keyring: z.string().nullable().meta({ description: 'the file; what it holds is not read by the API' }),
  folder: z.string().nullable(),
  volumes: z.array(z.string()),
  created: timestamp,
});
