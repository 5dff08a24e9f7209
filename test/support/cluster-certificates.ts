// Certificates of a cluster's authority, for tests.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { makeCertificate } from '../../core/api/tls/certificate.ts';
import type { TlsIdentity } from '../../core/base/world.ts';

const DAY = 86_400_000;

/** An authority of its own, and a function that makes the identity of a node. */
export function clusterAuthority(name: string): { identity: (node: string) => TlsIdentity } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const common = () => ({
    issuer: name,
    issuerKey: pair.privateKey,
    serial: Buffer.concat([Buffer.from([1]), randomBytes(15)]),
    notBefore: Date.now() - DAY,
    notAfter: Date.now() + DAY,
  });
  const ca = makeCertificate({ ...common(), subject: name, publicKey: pair.publicKey });
  return {
    identity: (node) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const cert = makeCertificate({ ...common(), subject: node, publicKey, hosts: [node], client: true });
      return { ca, cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
    },
  };
}
