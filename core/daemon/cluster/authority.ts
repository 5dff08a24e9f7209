// The certificate authority of a cluster. Every data node has its key, so that any of them can let another one in.
import { X509Certificate, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { makeCertificate } from '../../api/tls/certificate.ts';
import type { World } from '../../base/world.ts';
import { serverNameOf } from '../../cluster/member.ts';

const DAY = 86_400_000;
/** No renewal stops a cluster: nodes check each other by this CA alone, and a lost node is removed with its record. */
const LIFE = 7_300 * DAY;

export interface Authority {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface KeyPair {
  readonly key: string;
  /** PEM, SubjectPublicKeyInfo. */
  readonly publicKey: string;
}

export function newKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** A new CA for the cluster with this id. */
export function newAuthority(world: World, cluster: string): Authority {
  const pair = newKeyPair();
  const name = nameOf(cluster);
  const issuerKey = createPrivateKey(pair.key);
  const who = { subject: name, issuer: name, publicKey: createPublicKey(pair.publicKey), issuerKey };
  return { key: pair.key, cert: makeCertificate({ ...validity(world), ...who }) };
}

/**
 * The certificate of a node, for `host` (its address as others reach it; etcd checks where its peers come from) and the
 * name of the node. Throws when `publicKey` is none.
 */
export function certify(world: World, authority: Authority, node: string, host: string, publicKey: string): string {
  const key = createPublicKey(publicKey);
  if (key.asymmetricKeyType !== 'ec') throw new RangeError('not a key for ECDSA');
  const issuer = /CN=(.*)/.exec(new X509Certificate(authority.cert).subject)?.[1] ?? '';
  return makeCertificate({
    ...validity(world),
    ...{ subject: node, issuer, publicKey: key, issuerKey: createPrivateKey(authority.key) },
    hosts: [host, serverNameOf(node), '127.0.0.1'],
    client: true,
  });
}

const nameOf = (cluster: string): string => `Gemel cluster ${cluster.slice(0, 8)}`;

function validity(world: World): { serial: Buffer; notBefore: number; notAfter: number } {
  const now = world.clock.wall();
  const serial = world.random.bytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive and never short
  // A clock that is wrong must not keep a node out: membership ends with its record, not by time.
  return { serial, notBefore: now - 365 * DAY, notAfter: now + LIFE };
}
