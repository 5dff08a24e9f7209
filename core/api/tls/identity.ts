// The TLS identity of a data folder: made at the first start, kept, renewed before it expires.
import { X509Certificate, createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { World } from '../../base/world.ts';
import { makeCertificate } from './certificate.ts';

const DAY = 86_400_000;
const CA_DAYS = 7300;
/** What browsers accept at most of a private CA is 825 days. */
const SERVER_DAYS = 800;
/** Milliseconds. */
export const RENEW_BEFORE = 60 * DAY;

export interface TlsIdentity {
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** base64url SHA-256 of the CA certificate in DER, as the token carries it. */
  readonly fingerprint: string;
}

/** What certificates are made by, PEM. */
export interface ApiAuthority {
  readonly cert: string;
  readonly key: string;
}

/** base64url SHA-256 of a certificate in DER. Throws when `pem` is no certificate. */
export function fingerprintOf(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('base64url');
}

/**
 * Loads the identity from `folder`, or makes it. The server certificate covers `names` (and addresses). `authority`: what it is
 * made by; absent: the CA of the folder.
 */
export async function tlsIdentity(
  world: World,
  folder: string,
  node: string,
  names: readonly string[],
  authority?: ApiAuthority,
): Promise<TlsIdentity> {
  const hosts = [...new Set(names)];
  await world.disk.makeFolder(folder);
  const ca = authority ?? (await authorityOf(world, folder, node));
  const issuer = new X509Certificate(ca.cert);
  const issuerName = /CN=(.*)/.exec(issuer.subject)?.[1] ?? `Gemel CA ${node}`;
  const make = (): { key: string; cert: string } => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const issuerKey = createPrivateKey(ca.key);
    const whose = { subject: `Gemel ${node}`, issuer: issuerName };
    const cert = makeCertificate({ ...validity(world, SERVER_DAYS), ...whose, publicKey, issuerKey, hosts });
    return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert };
  };
  const serves = (pem: { key: string; cert: string }): boolean => {
    const cert = new X509Certificate(pem.cert);
    const fresh = Date.parse(cert.validTo) - world.clock.wall() > RENEW_BEFORE;
    const covers = hosts.every((host) => (isIP(host) > 0 ? cert.checkIP(host) : cert.checkHost(host)) !== undefined);
    return fresh && covers && cert.verify(issuer.publicKey) && cert.checkPrivateKey(createPrivateKey(pem.key));
  };
  const server = await keyAndCertificate(world, folder, 'server', make, serves);
  return { ca: ca.cert, cert: server.cert, key: server.key, fingerprint: fingerprintOf(ca.cert) };
}

/** The CA of a data folder, loaded from `folder` or made. */
export async function authorityOf(world: World, folder: string, node: string): Promise<ApiAuthority> {
  await world.disk.makeFolder(folder);
  return keyAndCertificate(world, folder, 'ca', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const name = `Gemel CA ${node}`;
    const cert = makeCertificate({
      ...validity(world, CA_DAYS),
      subject: name,
      issuer: name,
      publicKey,
      issuerKey: privateKey,
    });
    return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert };
  });
}

function validity(world: World, days: number): { serial: Buffer; notBefore: number; notAfter: number } {
  const now = world.clock.wall();
  const serial = world.random.bytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive and never short
  // A day back, for clients whose clock is a little late.
  return { serial, notBefore: now - DAY, notAfter: now + days * DAY };
}

/** `name`.pem holds key and certificate in one file, so that a crash cannot leave one without the other. */
async function keyAndCertificate(
  world: World,
  folder: string,
  name: string,
  make: () => { key: string; cert: string },
  good: (pem: { key: string; cert: string }) => boolean = () => true,
): Promise<{ key: string; cert: string }> {
  const path = join(folder, `${name}.pem`);
  const kept = (await world.disk.readFile(path))?.toString();
  const key =
    kept === undefined ? undefined : /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n?/.exec(kept)?.[0];
  const cert =
    kept === undefined ? undefined : /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/.exec(kept)?.[0];
  if (
    key !== undefined &&
    cert !== undefined &&
    createPublicKey(cert).equals(createPublicKey(key)) &&
    good({ key, cert })
  ) {
    return { key, cert };
  }
  const made = make();
  await world.disk.replaceFile(path, Buffer.from(made.key + made.cert), 0o600);
  return made;
}
