// Lets nodes into the cluster: a small HTTPS server beside the API, which knows one request and wants a join token.
import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { z } from 'zod';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { listenError } from '../../base/host-port.ts';
import {
  ADMISSION_BODY,
  ADMISSION_CONNECTIONS,
  ADMISSION_PATIENCE,
  ETCD_RETRY,
  JOIN_LIFETIME,
  MAX_NODES,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { World } from '../../base/world.ts';
import type { ClusterNode } from '../../cluster/member.ts';
import { certify } from './authority.ts';
import { COMMON_KEYS, Node, clusterFolder } from './cluster-files.ts';
import { peerUrl } from './etcd-process.ts';
import { placeIn } from './external-etcd.ts';
import { hashOfSecret, writeJoinToken } from './join-token.ts';
import { CLUSTER_RECORD, nodeKey } from './membership.ts';
import type { Membership } from './membership.ts';

/** What who wants to be a witness of a cluster in an etcd of somebody else is told. */
export const NO_WITNESS =
  'this cluster is in an etcd that is looked after elsewhere, which has the votes: it needs no witness';

/** Port above the one of the peer link. */
export const ADMISSION_PORT = 3;
const JOINS = 'join/';

export const Application = z.strictObject({
  secret: z.string().regex(/^[\w-]{43}$/),
  node: Node.omit({ index: true }),
  /** PEM. */
  publicKey: z.string().max(2_000),
});
export type Application = z.infer<typeof Application>;

export const Admitted = z.strictObject({
  cluster: z.string(),
  node: Node,
  nodes: z.array(Node),
  cert: z.string(),
  /** Of the CA; not for a witness. */
  caKey: z.string().optional(),
  initialCluster: z.string(),
  /** What the secrets of the catalog are sealed with, and tokens of copies; base64. Not for a witness. */
  keys: z.record(z.enum(COMMON_KEYS), z.string()).optional(),
  /** The etcd of somebody else in which the cluster is; undefined: its nodes run their own. */
  external: z
    .object({ endpoints: z.array(z.string()), prefix: z.string(), ca: z.string(), cert: z.string(), key: z.string() })
    .optional(),
});
export type Admitted = z.infer<typeof Admitted>;

export interface ClusterRecord {
  readonly uuid: string;
  readonly format: 1;
  /** Of the next node. */
  readonly nextIndex: number;
}

export interface AdmissionOptions {
  readonly member: Membership;
  readonly world: World;
  readonly log: Log;
  /** The data folder. */
  readonly data: string;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #turn = new Turn();
  readonly #server: Server;

  private constructor(options: AdmissionOptions) {
    this.#options = options;
    const { ca, cert, key } = options.member.tls;
    this.#server = createServer({ cert: cert + ca, key, minVersion: 'TLSv1.3' }, (request, response) => {
      void this.#serve(request, response);
    });
    this.#server.maxConnections = ADMISSION_CONNECTIONS;
    this.#server.requestTimeout = this.#server.headersTimeout = ADMISSION_PATIENCE;
  }

  /** Rejects with ServiceError when it cannot listen. */
  static async open(options: AdmissionOptions): Promise<Admission> {
    const admission = new Admission(options);
    const { host, port } = options.member.self.address;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => {
        reject(listenError(error, 'cluster', host, port + ADMISSION_PORT));
      };
      admission.#server.once('error', failed).listen(port + ADMISSION_PORT, host, () => {
        admission.#server.off('error', failed);
        resolve();
      });
    });
    return admission;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  /** A token for one node. Rejects with ServiceError. */
  async token(): Promise<{ token: string; expires: number }> {
    const { member, world } = this.#options;
    const now = world.clock.wall();
    const secret = world.random.bytes(32).toString('base64url');
    const expires = now + JOIN_LIFETIME;
    const old = (await member.store.list(JOINS)).filter(({ value }) => (value as { expires: number }).expires < now);
    await member.store.commit([
      { key: JOINS + hashOfSecret(secret), value: { expires } },
      ...old.map(({ key }) => ({ key, value: undefined })),
    ]);
    const { id, address } = member.self;
    const where = { host: address.host, port: address.port + ADMISSION_PORT };
    const external = member.access === undefined ? {} : { external: true as const };
    return { token: writeJoinToken({ ...where, node: id, ca: member.tls.ca, secret, ...external }), expires };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: { status: number; body: unknown };
    try {
      if (request.method !== 'POST' || request.url !== '/join') throw new ServiceError('not-found', 'nothing is here');
      const application = Application.safeParse(JSON.parse(await bodyOf(request)));
      if (!application.success) throw new ServiceError('bad-request', 'this is no application');
      answer = { status: 200, body: await this.#turn.run(() => this.#admit(application.data)) };
    } catch (error) {
      const known = error instanceof ServiceError ? error : new ServiceError('bad-request', messageOf(error));
      this.#options.log.warn({ from: request.socket.remoteAddress, why: known.message }, 'a node was not let in');
      answer = { status: known.row.http, body: { code: known.code, message: known.message } };
    }
    response.writeHead(answer.status, { 'Content-Type': 'application/json', Connection: 'close' });
    response.end(JSON.stringify(answer.body));
  }

  async #admit({ secret, node: applicant, publicKey }: Application): Promise<Admitted> {
    const { member, world, data, log } = this.#options;
    const { store, tls } = member;
    const join_ = await store.get(JOINS + hashOfSecret(secret));
    if (join_ === undefined) {
      throw new ServiceError(
        'bad-request',
        'this token has been used, or is not known: gemel cluster token makes another',
      );
    }
    if ((join_.value as { expires: number }).expires < world.clock.wall()) {
      throw new ServiceError('bad-request', 'this token is too old: gemel cluster token makes another');
    }
    const { access } = member;
    if (access !== undefined && applicant.role === 'witness') throw new ServiceError('cluster-state', NO_WITNESS);
    const record = await store.get(CLUSTER_RECORD);
    if (record === undefined || tls.caKey === undefined) throw new Error('the cluster has no record');
    const { nextIndex, ...rest } = record.value as unknown as ClusterRecord;
    const known = member.nodes();
    if (known.length >= MAX_NODES) throw new ServiceError('limit-reached', `a cluster has ${String(MAX_NODES)} nodes`);
    const taken = known.find(({ id, name }) => id === applicant.id || name === applicant.name);
    if (taken !== undefined) {
      const how = `take another --name; if that one is gone for good: gemel cluster remove ${taken.name}`;
      throw new ServiceError('exists', `there is a node '${taken.name}' already (${how})`);
    }
    const node: ClusterNode = { ...applicant, index: nextIndex };
    let cert: string;
    try {
      cert = certify(world, { cert: tls.ca, key: tls.caKey }, node.id, node.address.host, publicKey);
    } catch (error) {
      throw new ServiceError('bad-request', 'its key is no key', { cause: error });
    }
    if (access === undefined) await this.#untilDone(() => this.#promoteLearner());
    const { ok } = await store.commit(
      [
        { key: CLUSTER_RECORD, value: { ...rest, nextIndex: nextIndex + 1 } },
        { key: nodeKey(node.id), value: Node.parse(node) },
        { key: join_.key, value: undefined },
      ],
      [
        { key: CLUSTER_RECORD, revision: record.revision },
        { key: join_.key, revision: join_.revision },
        { key: nodeKey(node.id), revision: 0 },
      ],
    );
    if (!ok) throw new ServiceError('in-use', 'another node is being let in: repeat it with a new token');
    const initialCluster = access === undefined ? await this.#invite(node) : '';
    log.info({ node: node.name, role: node.role }, 'let a node into the cluster');
    const nodes = [...known, node].map((each) => Node.parse(each));
    const external = access === undefined ? {} : { external: { ...access.tls, ...placeIn(access) } };
    const common = { cluster: member.cluster, node: Node.parse(node), nodes, cert, initialCluster, ...external };
    if (node.role === 'witness') return common;
    const key = async (name: string): Promise<string> =>
      ((await world.disk.readFile(join(clusterFolder(data), name))) ?? Buffer.alloc(0)).toString('base64');
    const keys = { 'secret.key': await key('secret.key'), 'copy-token.key': await key('copy-token.key') };
    return { ...common, caKey: tls.caKey, keys };
  }

  /** Makes it a learner of etcd. Returns all members, as the first start of one has to be told; when it fails, the node is none. */
  async #invite(node: ClusterNode): Promise<string> {
    const { member } = this.#options;
    try {
      await this.#untilDone(() => this.#addLearner(peerUrl(node.address)));
    } catch (error) {
      await member.store.commit([{ key: nodeKey(node.id), value: undefined }]).catch(() => undefined);
      throw error;
    }
    const members = await member.etcd.members();
    return members.map(({ name, peerUrls }) => `${name === '' ? node.id : name}=${peerUrls[0] ?? ''}`).join(',');
  }

  /** There is one learner at a time: who waits for its vote gets it now. */
  async #promoteLearner(): Promise<void> {
    const { etcd } = this.#options.member;
    const learner = (await etcd.members()).find(({ isLearner, name }) => isLearner && name !== '');
    if (learner !== undefined) await etcd.promote(learner.id);
  }

  /** Can be repeated: an attempt without an answer may have succeeded. */
  async #addLearner(url: string): Promise<void> {
    const { etcd } = this.#options.member;
    if ((await etcd.members()).some(({ peerUrls }) => peerUrls.includes(url))) return;
    await etcd.addLearner(url);
  }

  /** Etcd refuses changes of its members until all of them have been connected for some seconds. */
  async #untilDone(change: () => Promise<void>): Promise<void> {
    const { clock } = this.#options.world;
    for (const end = clock.now() + ADMISSION_PATIENCE * 0.6; ;) {
      try {
        await change();
        return;
      } catch (error) {
        if (clock.now() > end) throw error;
        await new Promise<void>((resolve) => clock.after(ETCD_RETRY, resolve));
      }
    }
  }
}

/** Rejects when there is more than a node has to say. */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > ADMISSION_BODY) throw new ServiceError('too-large', 'this is no application');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}
