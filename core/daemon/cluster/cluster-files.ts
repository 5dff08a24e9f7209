// The folder `cluster` of a data folder. cluster.json is written last and removed first: without it the folder is rubbish.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ServiceError, messageOf } from '../../base/errors.ts';
import type { World } from '../../base/world.ts';
import type { TlsMaterial } from '../../cluster/etcd/channel.ts';
import { NAME_PATTERN } from '../../control/names.ts';

export const Node = z.strictObject({
  id: z.string().regex(/^[\da-f]{8}$/),
  index: z.int().min(0).max(255),
  name: z.string().regex(NAME_PATTERN),
  role: z.enum(['data', 'witness']),
  address: z.strictObject({ host: z.string().regex(/^[\w.:-]{1,255}$/), port: z.int().min(1).max(65_532) }),
});

const File = z.strictObject({
  version: z.literal(1),
  cluster: z.string().regex(/^[\da-f]{32}$/),
  node: Node,
  /** Who else there was when this was written: where etcd is looked for. */
  nodes: z.array(Node),
  /** For the first start of etcd. */
  etcd: z.strictObject({ initialCluster: z.string(), state: z.enum(['new', 'existing']) }),
  /** An etcd that somebody else looks after: then this node runs none. */
  external: z.strictObject({ endpoints: z.array(z.string()).min(1), prefix: z.string() }).optional(),
});
export type ClusterFile = z.infer<typeof File>;

export interface Material extends TlsMaterial {
  /** Of the CA; a witness has none. */
  readonly caKey: string | undefined;
}

/** Files of keys that the data nodes of a cluster have in common; in its folder while a node is in one. */
export const COMMON_KEYS = ['secret.key', 'copy-token.key'] as const;

export const clusterFolder = (data: string): string => join(data, 'cluster');
const fileOf = (data: string): string => join(clusterFolder(data), 'cluster.json');

/** Undefined: this node is in no cluster. Rejects with ServiceError catalog-damaged when what is there cannot be understood. */
export async function readClusterFile(world: World, data: string): Promise<ClusterFile | undefined> {
  const content = await world.disk.readFile(fileOf(data));
  if (content === undefined) return undefined;
  try {
    return File.parse(JSON.parse(content.toString()));
  } catch (error) {
    throw new ServiceError('catalog-damaged', `${fileOf(data)} is damaged: ${messageOf(error)}`, { cause: error });
  }
}

export async function writeClusterFile(world: World, data: string, file: ClusterFile): Promise<void> {
  await world.disk.replaceFile(fileOf(data), Buffer.from(`${JSON.stringify(file, undefined, 2)}\n`), 0o600);
}

/** Makes the folder anew, with what TLS takes. */
export async function writeMaterial(world: World, data: string, material: Material): Promise<void> {
  const folder = clusterFolder(data);
  await rm(folder, { recursive: true, force: true });
  await world.disk.makeFolder(folder);
  const files = {
    'ca.pem': material.ca,
    'node.pem': material.cert,
    'node.key': material.key,
    'ca.key': material.caKey,
  };
  for (const [name, content] of Object.entries(files)) {
    if (content !== undefined) await world.disk.replaceFile(join(folder, name), Buffer.from(content), 0o600);
  }
}

/** Rejects with ServiceError catalog-damaged when a file is missing. */
export async function readMaterial(world: World, data: string): Promise<Material> {
  const read = async (name: string): Promise<string | undefined> =>
    (await world.disk.readFile(join(clusterFolder(data), name)))?.toString();
  const [ca, cert, key, caKey] = await Promise.all(['ca.pem', 'node.pem', 'node.key', 'ca.key'].map(read));
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key, caKey };
  throw new ServiceError('catalog-damaged', `certificates are missing in ${clusterFolder(data)}`);
}

/** What an etcd of somebody else is reached with. */
export async function writeEtcdMaterial(world: World, data: string, { ca, cert, key }: TlsMaterial): Promise<void> {
  const folder = clusterFolder(data);
  for (const [name, content] of Object.entries({ 'etcd-ca.pem': ca, 'etcd.pem': cert, 'etcd.key': key })) {
    await world.disk.replaceFile(join(folder, name), Buffer.from(content), 0o600);
  }
}

/** Rejects with ServiceError catalog-damaged when a file is missing. */
export async function readEtcdMaterial(world: World, data: string): Promise<TlsMaterial> {
  const read = async (name: string): Promise<string> => {
    const content = await world.disk.readFile(join(clusterFolder(data), name));
    if (content !== undefined) return content.toString();
    throw new ServiceError('catalog-damaged', `${name} is missing in ${clusterFolder(data)}`);
  };
  return { ca: await read('etcd-ca.pem'), cert: await read('etcd.pem'), key: await read('etcd.key') };
}

/** The node is in no cluster any more. Etcd must not run. */
export async function removeCluster(world: World, data: string): Promise<void> {
  await world.disk.remove(fileOf(data));
  await rm(clusterFolder(data), { recursive: true, force: true });
}
