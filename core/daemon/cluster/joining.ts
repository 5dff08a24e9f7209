// Becoming a node: a new cluster, or one that exists.
import { request } from 'node:https';
import type { RequestOptions } from 'node:https';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ERRORS, ServiceError, messageOf } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { isWildcard, parseHostPort } from '../../base/host-port.ts';
import type { HostPort } from '../../base/host-port.ts';
import {
  ADMISSION_PATIENCE,
  ADMISSION_BODY,
  ETCD_COPY_BYTES,
  ETCD_COPY_OPS,
  ETCD_FIRST,
  ETCD_RETRY,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { World } from '../../base/world.ts';
import type { Change, ConfigStore, Json } from '../../cluster/config-store.ts';
import { EtcdClient } from '../../cluster/etcd/client.ts';
import { EtcdStore } from '../../cluster/etcd-store.ts';
import { CLUSTER_PREFIX, ETCD_CLIENT_PORT, ETCD_PEER_PORT, serverNameOf } from '../../cluster/member.ts';
import type { ClusterNode, NodeRole } from '../../cluster/member.ts';
import { checkName } from '../../control/names.ts';
import { ADMISSION_PORT, Admitted, NO_WITNESS } from './admission.ts';
import type { Application, ClusterRecord } from './admission.ts';
import { certify, newAuthority, newKeyPair } from './authority.ts';
import {
  COMMON_KEYS,
  Node,
  clusterFolder,
  removeCluster,
  writeClusterFile,
  writeEtcdMaterial,
  writeMaterial,
} from './cluster-files.ts';
import type { ClusterFile } from './cluster-files.ts';
import { peerUrl, requireEtcd } from './etcd-process.ts';
import { FOUNDING_RECORD, claim, erase, externalClient, placeIn } from './external-etcd.ts';
import type { EtcdAccess } from './external-etcd.ts';
import { readJoinToken } from './join-token.ts';
import { CLUSTER_RECORD, endpointsOf, etcdOf, nodeKey } from './membership.ts';

export interface Place {
  readonly world: World;
  readonly log: Log;
  /** The data folder. */
  readonly data: string;
}

/** Throws ServiceError bad-request. */
export function nodeAddress(text: string): HostPort {
  const address = parseHostPort(text, 'address');
  const { host, port } = address;
  if (isWildcard(host)) throw new ServiceError('bad-request', `${text} is no address by which others reach this node`);
  if (port < 1 || port > 65_535 - ADMISSION_PORT) {
    throw new ServiceError('bad-request', `${text}: the port and the ${String(ADMISSION_PORT)} after it are needed`);
  }
  return address;
}

/**
 * Before anything has happened: a daemon that cannot listen would not start again. Rejects with ServiceError program-missing,
 * port-taken or address-unusable.
 */
async function canServe({ world }: Place, { host, port }: HostPort, role: NodeRole, runsEtcd: boolean): Promise<void> {
  if (runsEtcd) requireEtcd();
  const etcd = runsEtcd ? [ETCD_CLIENT_PORT, ETCD_PEER_PORT] : [];
  for (const each of role === 'witness' ? etcd : [0, ...etcd, ADMISSION_PORT]) {
    try {
      const listener = await world.net.listen(host, port + each, (socket) => {
        socket.destroy();
      });
      await listener.close();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      throw new ServiceError(error.code, error.message.replace(/^portal/, 'the address'), { cause: error });
    }
  }
}

/** The name of this machine when none is given. Throws ServiceError bad-request. */
export function nodeName(wanted: string | undefined): string {
  const name = wanted ?? hostname().split('.')[0]?.toLowerCase() ?? '';
  return checkName(name, 'node');
}

/**
 * Makes this node a cluster of one, in an etcd of its own or in the one of `access`. The records below `prefixes` are copied out of
 * `own`, where they stay. It is done when cluster.json is written; after a failure, or a crash before, nothing has happened (but that
 * a crash may leave records in the etcd of somebody else, which the next attempt of this node removes). Returns the id of the cluster.
 */
export async function found(
  { world, log, data }: Place,
  who: { readonly id: string; readonly name: string; readonly address: HostPort },
  own: ConfigStore,
  prefixes: readonly string[],
  access?: EtcdAccess,
): Promise<string> {
  await canServe({ world, log, data }, who.address, 'data', access === undefined);
  const cluster = world.random.bytes(16).toString('hex');
  const node: ClusterNode = { ...who, index: 0, role: 'data' };
  const authority = newAuthority(world, cluster);
  const pair = newKeyPair();
  const cert = certify(world, authority, node.id, node.address.host, pair.publicKey);
  const tls = { ca: authority.cert, cert, key: pair.key, caKey: authority.key };
  const etcd = { initialCluster: `${node.id}=${peerUrl(node.address)}`, state: 'new' as const };
  const external = access === undefined ? {} : { external: placeIn(access) };
  const file: ClusterFile = {
    ...{ version: 1, cluster, node: Node.parse(node), nodes: [Node.parse(node)], etcd },
    ...external,
  };
  await writeMaterial(world, data, tls);
  for (const name of COMMON_KEYS) {
    const content = await world.disk.readFile(join(data, name));
    if (content !== undefined) await world.disk.replaceFile(join(clusterFolder(data), name), content, 0o600);
  }
  const process = access === undefined ? etcdOf(data, file, world, log) : undefined;
  const { clock } = world;
  let [store, client] = [] as unknown as [EtcdStore | undefined, EtcdClient | undefined];
  let isOurs = true;
  try {
    process?.start();
    client =
      access === undefined
        ? new EtcdClient({ endpoints: endpointsOf([node]), tls, clock })
        : externalClient(clock, access);
    if (access !== undefined) await writeEtcdMaterial(world, data, access.tls);
    store =
      access === undefined ? await firstAnswer(world, log, client) : await claim(client, access, node.id, clock, log);
    const begun = await store.get(FOUNDING_RECORD);
    // What was there has one copy, here.
    await copyRecords(own, store, prefixes, (key, value) => withReplicas(key, value, [node.id]));
    const record: ClusterRecord = { uuid: cluster, format: 1, nextIndex: 1 };
    const { ok } = await store.commit(
      [
        { key: CLUSTER_RECORD, value: { ...record } },
        { key: nodeKey(node.id), value: Node.parse(node) },
        ...(begun === undefined ? [] : [{ key: FOUNDING_RECORD, value: undefined }]),
      ],
      [
        { key: CLUSTER_RECORD, revision: 0 },
        ...(begun === undefined ? [] : [{ key: FOUNDING_RECORD, revision: begun.revision }]),
      ],
    );
    // What is there now is somebody else's: nothing of it is removed.
    isOurs = ok;
    if (!ok) throw new ServiceError('in-use', 'another node has begun a cluster at the same place');
    await writeClusterFile(world, data, file);
    await store.close();
    process?.release();
    return cluster;
  } catch (error) {
    // Only what is ours: before claim() has succeeded there is nothing.
    if (access !== undefined && store !== undefined && client !== undefined && isOurs) {
      await erase(client, access.prefix).catch((left: unknown) => {
        log.warn(
          { prefix: access.prefix, error: messageOf(left) },
          'what was written to etcd could not be removed again',
        );
      });
    }
    await store?.close();
    client?.close();
    await process?.stop();
    await removeCluster(world, data);
    throw error;
  }
}

/** Copies all records below `prefixes`; those that are there and not in `from` are removed. */
export async function copyRecords(
  from: Pick<ConfigStore, 'list'>,
  to: ConfigStore,
  prefixes: readonly string[],
  change: (key: string, value: Json) => Json,
): Promise<void> {
  const changes: Change[] = [];
  for (const prefix of prefixes) {
    const records = await from.list(prefix);
    const keys = new Set(records.map(({ key }) => key));
    for (const { key } of await to.list(prefix)) if (!keys.has(key)) changes.push({ key, value: undefined });
    for (const { key, value } of records) changes.push({ key, value: change(key, value) });
  }
  let batch: Change[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await to.commit(batch);
    [batch, bytes] = [[], 0];
  };
  for (const change_ of changes) {
    const size = change_.value === undefined ? 0 : JSON.stringify(change_.value).length;
    if (batch.length >= ETCD_COPY_OPS || bytes + size > ETCD_COPY_BYTES) await flush();
    batch.push(change_);
    bytes += size;
  }
  await flush();
}

/** The record with other nodes for the data of a volume, if it is that of one; undefined: without any. */
export function withReplicas(key: string, value: Json, replicas: readonly string[] | undefined): Json {
  const changed = (volume: object): Json => ({
    ...volume,
    replicas: replicas === undefined ? undefined : [...replicas],
    mirrored: undefined,
  });
  if (key.startsWith('volumes/')) return changed(value as object);
  if (!key.startsWith('deleted/')) return value;
  const deleted = value as unknown as { volume: object };
  return { ...deleted, volume: changed(deleted.volume) };
}

/** Etcd has just been started. */
async function firstAnswer(world: World, log: Log, client: EtcdClient): Promise<EtcdStore> {
  const { clock } = world;
  for (const end = clock.now() + ETCD_FIRST; ;) {
    try {
      return await EtcdStore.open({ client, prefix: CLUSTER_PREFIX, clock, log });
    } catch (error) {
      if (clock.now() > end) throw error;
      await new Promise<void>((resolve) => clock.after(ETCD_RETRY, resolve));
    }
  }
}

/**
 * Has this node (`id`) let into the cluster of the token. It is done when cluster.json is written. Rejects with a
 * ServiceError; what the cluster has noted of this node by then goes with `gemel cluster remove`.
 */
export async function enter(
  place: Place,
  token: string,
  who: { readonly id: string; readonly name: string; readonly address: HostPort; readonly role: NodeRole },
): Promise<ClusterFile> {
  const { world, data } = place;
  const { ca, host, port, node, secret, external: elsewhere = false } = readJoinToken(token);
  if (elsewhere && who.role === 'witness') throw new ServiceError('cluster-state', NO_WITNESS);
  await canServe(place, who.address, who.role, !elsewhere);
  const pair = newKeyPair();
  const application: Application = { secret, node: who, publicKey: pair.publicKey };
  const options = { host, port, path: '/join', method: 'POST', ca, servername: serverNameOf(node), agent: false };
  const admitted = Admitted.parse(await post(options, JSON.stringify(application)));
  await writeMaterial(world, data, { ca, cert: admitted.cert, key: pair.key, caKey: admitted.caKey });
  for (const [name, content] of Object.entries(admitted.keys ?? {})) {
    await world.disk.replaceFile(join(clusterFolder(data), name), Buffer.from(content, 'base64'), 0o600);
  }
  const etcd = { initialCluster: admitted.initialCluster, state: 'existing' as const };
  const { cluster, nodes } = admitted;
  const access = admitted.external;
  if (access !== undefined) await writeEtcdMaterial(world, data, access);
  const external = access === undefined ? {} : { external: placeIn(access) };
  const file: ClusterFile = { version: 1, cluster, node: admitted.node, nodes, etcd, ...external };
  await writeClusterFile(world, data, file);
  return file;
}

function post(options: RequestOptions & { host: string; port: number }, body: string): Promise<unknown> {
  const where = `${options.host}:${String(options.port)}`;
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, minVersion: 'TLSv1.3', headers: { 'Content-Type': 'application/json' } });
    sent.setTimeout(ADMISSION_PATIENCE, () => sent.destroy(new Error('no answer in time')));
    sent.on('error', (error) => {
      reject(new ServiceError('peer-unreachable', `${where}: ${messageOf(error)}`, { cause: error }));
    });
    sent.on('response', (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      response.on('data', (part: Buffer) => {
        length += part.length;
        if (length > ADMISSION_BODY * 16) sent.destroy(new Error('the answer is too large'));
        parts.push(part);
      });
      response.on('end', () => {
        try {
          const answer = JSON.parse(Buffer.concat(parts).toString()) as { code?: string; message?: string };
          if (response.statusCode === 200) resolve(answer);
          else {
            const code = answer.code !== undefined && answer.code in ERRORS ? answer.code : 'peer-unreachable';
            reject(new ServiceError(code as ErrorCode, `${where}: ${answer.message ?? 'refused'}`));
          }
        } catch (error) {
          reject(new ServiceError('peer-unreachable', `${where} does not answer like a node`, { cause: error }));
        }
      });
    });
    sent.end(body);
  });
}
