// An etcd that is there already and that somebody else looks after: what it has to be, and where in it a cluster begins and ends.
import { createSecureContext } from 'node:tls';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { formatHostPort, parseHostPort } from '../../base/host-port.ts';
import type { HostPort } from '../../base/host-port.ts';
import { ETCD_ENDPOINTS, ETCD_PREFIX } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Clock } from '../../base/world.ts';
import { CHANGED, EtcdStore, rangeEnd } from '../../cluster/etcd-store.ts';
import { EtcdClient } from '../../cluster/etcd/client.ts';
import type { MemberAnswer } from '../../cluster/etcd/client.ts';
import type { Endpoint, TlsMaterial } from '../../cluster/etcd/channel.ts';
import { CLUSTER_PREFIX } from '../../cluster/member.ts';

/** Where it is, and where in it our records are. */
export interface EtcdPlace {
  /** HOST:PORT of each member. */
  readonly endpoints: readonly string[];
  /** What every key of the cluster begins with; ends in `/v1/`. */
  readonly prefix: string;
}

export interface EtcdAccess extends EtcdPlace {
  readonly tls: TlsMaterial;
}

/** Without what it is reached with. */
export const placeIn = ({ endpoints, prefix }: EtcdPlace): { endpoints: string[]; prefix: string } => ({
  endpoints: [...endpoints],
  prefix,
});

/** Of a cluster that is being begun there: the node that does it. */
const FOUNDING = 'founding';
const OLDEST = [3, 4] as const;

/** `https://HOST:PORT` or HOST:PORT of each member. Throws ServiceError bad-request. */
export function etcdEndpoints(texts: readonly string[]): string[] {
  if (texts.length === 0 || texts.length > ETCD_ENDPOINTS) {
    throw new ServiceError('bad-request', `etcd: name 1 to ${String(ETCD_ENDPOINTS)} of its members`);
  }
  const all = texts.map((text) => {
    if (text.startsWith('http://')) {
      throw new ServiceError('bad-request', `${text}: etcd has to be reached by https: it gets secrets of the cluster`);
    }
    const { host, port } = parseHostPort(text.replace(/^https:\/\//, '').replace(/\/$/, ''), 'etcd');
    if (port === 0) throw new ServiceError('bad-request', `${text}: etcd has no port 0`);
    return formatHostPort(host, port);
  });
  return [...new Set(all)];
}

/** What all keys begin with below what somebody wants them to begin with. Throws ServiceError bad-request. */
export function etcdPrefix(wanted: string | undefined): string {
  if (wanted === undefined) return CLUSTER_PREFIX;
  const prefix = wanted.endsWith('/') ? wanted : `${wanted}/`;
  if (prefix.length <= ETCD_PREFIX && /^[\w./:@-]+$/.test(prefix) && /\w/.test(prefix)) return `${prefix}v1/`;
  throw new ServiceError(
    'bad-request',
    `'${wanted.slice(0, 80)}' is no beginning of keys: letters, digits and . / : @ _ -, such as /gemel/`,
  );
}

/** Its members, as the client asks them. */
export const externalEndpoints = ({ endpoints }: EtcdPlace): Endpoint[] =>
  endpoints.map((each): Endpoint => {
    const { host, port }: HostPort = parseHostPort(each, 'etcd');
    return { host, port, serverName: undefined };
  });

/** A client of it. Throws ServiceError bad-request when certificates or key cannot be used. */
export function externalClient(clock: Clock, access: EtcdAccess): EtcdClient {
  checkMaterial(access.tls);
  const { tls, prefix } = access;
  return new EtcdClient({ endpoints: externalEndpoints(access), tls, clock, probe: `${prefix}${FOUNDING}` });
}

/** Throws ServiceError bad-request. */
export function checkMaterial({ ca, cert, key }: TlsMaterial): void {
  const parts = [
    ['the CA of etcd', { ca }],
    ['the certificate for etcd and its key', { cert, key }],
  ] as const;
  for (const [what, material] of parts) {
    try {
      // A CA that is none makes no context fail: it is looked for in the text.
      if ('ca' in material && !material.ca.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it is not PEM');
      createSecureContext(material);
    } catch (error) {
      throw new ServiceError('bad-request', `${what} cannot be used: ${messageOf(error)}`, { cause: error });
    }
  }
}

/**
 * Is this an etcd a cluster can be in? Rejects with ServiceError etcd-unusable (wrong certificates, too old, not one etcd, no right to
 * our keys) or cluster-unavailable (nobody answers, no majority).
 */
export async function examine(client: EtcdClient, { prefix }: EtcdPlace): Promise<void> {
  const answers = await client.statuses();
  for (const each of answers) {
    const unfit = unfitness(each);
    if (unfit !== undefined) throw new ServiceError('etcd-unusable', unfit);
  }
  const there = answers.filter(({ status }) => status !== undefined);
  if (there.length === 0) {
    const why = answers.map((each) => `${placeOf(each)}: ${problemOf(each) ?? ''}`).join('; ');
    throw new ServiceError('cluster-unavailable', `etcd does not answer: ${why}`);
  }
  if (new Set(there.map(({ status }) => status?.clusterId)).size > 1) {
    const where = there.map(placeOf).join(', ');
    throw new ServiceError('etcd-unusable', `these are members of different etcds: ${where}`);
  }
  try {
    await client.range({ key: `${prefix}${FOUNDING}` });
  } catch (error) {
    throw readable(error, prefix);
  }
}

const placeOf = ({ endpoint }: MemberAnswer): string => formatHostPort(endpoint.host, endpoint.port);

/** Why a member can never be used as it is, in words; undefined: it can, or it does not answer. */
export function unfitness(answer: MemberAnswer): string | undefined {
  const { status, problem = '' } = answer;
  if (status !== undefined) {
    const [major = 0, minor = 0] = status.version.split('.').map(Number);
    const isOld = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
    return isOld ? `${placeOf(answer)} is etcd ${status.version}: ${OLDEST.join('.')} or later is needed` : undefined;
  }
  if (/alert|bad certificate|certificate required/i.test(problem)) {
    return `${placeOf(answer)} does not accept our certificate: give one that its --trusted-ca-file has signed, for clients`;
  }
  if (/altname|does not match certificate/i.test(problem)) {
    return `${placeOf(answer)} shows a certificate for other names: use one of them as the address`;
  }
  if (/certificate|self.signed|unable to verify/i.test(problem)) {
    return `${placeOf(answer)} shows a certificate that the given CA has not signed, or that is not valid now`;
  }
  return undefined;
}

/** What is wrong with a member, in words; undefined: nothing. */
export function problemOf(answer: MemberAnswer): string | undefined {
  const { status, problem } = answer;
  const unfit = unfitness(answer);
  if (unfit !== undefined) return unfit;
  if (status === undefined) return /ECONNREFUSED/.test(problem ?? '') ? 'nobody listens there' : 'no answer';
  if (status.leader === 0n) return 'it has no leader: a majority of the members of etcd is missing';
  return status.errors.length === 0 ? undefined : status.errors.join('; ');
}

const NO_RIGHT = /permission denied|user name is empty|invalid auth/i;

/** Of an answer to a read or a change below `prefix`. */
function readable(error: unknown, prefix: string): ServiceError {
  const text = messageOf(error);
  if (NO_RIGHT.test(text)) {
    const what = `etcd gives our certificate no right to read and write the keys from ${prefix} on`;
    return new ServiceError('etcd-unusable', `${what} (etcdctl role grant-permission --prefix=true)`, { cause: error });
  }
  if (error instanceof ServiceError && error.code !== 'cluster-unavailable') return error;
  return new ServiceError('cluster-unavailable', `members of etcd answer, but no majority of them: ${text}`, {
    cause: error,
  });
}

/** What claim() has made. */
export interface Claim {
  readonly store: EtcdStore;
  /** Of the record that says who begins a cluster there. */
  readonly revision: number;
}

/**
 * The store for a cluster that `node` begins there: nobody else does so at the same place. What an attempt of its own has left is
 * gone. Rejects with ServiceError exists when something is there already, and like examine().
 */
export async function claim(
  client: EtcdClient,
  { prefix }: EtcdPlace,
  node: string,
  clock: Clock,
  log: Log,
): Promise<Claim> {
  await examine(client, { endpoints: [], prefix });
  // A cluster above would see our records as its own.
  for (let at = prefix.indexOf('/') + 1; at > 0 && at < prefix.length; at = prefix.indexOf('/', at) + 1) {
    const above = prefix.slice(0, at);
    if (await isThere(client, `${above}cluster`)) throw occupied(above);
  }
  const key = `${prefix}${FOUNDING}`;
  const { kvs } = await client.range({ key: prefix, end: rangeEnd(prefix), limit: 3 });
  const begun = kvs.find((each) => each.key === key);
  const own = Buffer.from(JSON.stringify(node));
  const isOurs = begun?.value.equals(own) === true;
  if (kvs.length > 0 && !isOurs) throw occupied(prefix);
  let revision: number;
  try {
    // Both at once: what was left goes, and whoever has come first since has won.
    const all = { remove: { key: prefix, end: rangeEnd(prefix) } };
    if (isOurs) await client.txn([{ key, modRevision: begun.modRevision }], [all]);
    const put = { put: { key, value: own } };
    // Also when that one is ready by now, and the record of its beginning is gone.
    const nobody = [key, `${prefix}${CHANGED}`].map((each) => ({ key: each, modRevision: 0 }));
    const outcome = await client.txn(nobody, [put]);
    if (!outcome.succeeded) throw occupied(prefix);
    revision = outcome.revision;
  } catch (error) {
    throw readable(error, prefix);
  }
  return { store: await EtcdStore.open({ client, prefix, shared: true, clock, log }), revision };
}

/** Where we have no right to look, there is nothing that we can know of. */
async function isThere(client: EtcdClient, key: string): Promise<boolean> {
  try {
    return (await client.range({ key })).kvs.length > 0;
  } catch (error) {
    if (NO_RIGHT.test(messageOf(error))) return false;
    throw error;
  }
}

/** The record that says that a cluster is being begun: it goes when that is done. */
export const FOUNDING_RECORD = FOUNDING;

const occupied = (prefix: string): ServiceError =>
  new ServiceError(
    'exists',
    `there is something in this etcd below ${prefix} already: join that cluster, or choose another --etcd-prefix`,
  );

/**
 * Removes all records below the prefix, as long as `key` (relative to it) is as it was at `revision`: what somebody else has begun
 * there since stays. False: it is not. Rejects like EtcdClient.txn.
 */
export async function erase(client: EtcdClient, prefix: string, key: string, revision: number): Promise<boolean> {
  const all = { remove: { key: prefix, end: rangeEnd(prefix) } };
  return (await client.txn([{ key: `${prefix}${key}`, modRevision: revision }], [all])).succeeded;
}
