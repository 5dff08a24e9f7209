// Certificates for the API: a small CA of this data folder, and the server certificate it signs (RFC 5280, P-256).
import { createHash, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { Tag, bitString, der, explicit, implicit, integer, octetString, oid, sequence, time } from './der.ts';

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const TRUE = der(Tag.boolean, Buffer.from([0xff]));

export interface CertificateRequest {
  /** Common name of the subject. */
  readonly subject: string;
  /** Common name of the issuer; the same for a CA that signs itself. */
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly issuerKey: KeyObject;
  /** Positive, at most 20 bytes. */
  readonly serial: Buffer;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DNS names and IP addresses of a server; undefined: this is a CA. */
  readonly hosts?: readonly string[];
  /** It is shown by who connects, too: a node of a cluster. */
  readonly client?: boolean;
}

/** The certificate in PEM. */
export function makeCertificate(request: CertificateRequest): string {
  const validity = sequence(time(request.notBefore), time(request.notAfter));
  const toSign = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(request.serial),
    ECDSA_SHA256,
    commonName(request.issuer),
    validity,
    commonName(request.subject),
    request.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensionsOf(request))),
  );
  const signature = sign('sha256', toSign, request.issuerKey);
  const whole = sequence(toSign, ECDSA_SHA256, bitString(signature)).toString('base64');
  const lines = whole.match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function extensionsOf(request: CertificateRequest): Buffer[] {
  const keyId = (key: KeyObject): Buffer => {
    const spki = key.export({ type: 'spki', format: 'der' });
    return createHash('sha256').update(spki).digest().subarray(0, 20); // RFC 7093 §2 (4)
  };
  const ids = [
    extension('2.5.29.14', octetString(keyId(request.publicKey))),
    extension('2.5.29.35', sequence(implicit(0, keyId(createPublicKey(request.issuerKey))))),
  ];
  if (request.hosts === undefined) {
    const ca = sequence(TRUE, integer(Buffer.from([0]))); // it signs servers, not other CAs
    const usage = bitString(Buffer.from([0x06]), 1); // keyCertSign, cRLSign
    return [critical('2.5.29.19', ca), critical('2.5.29.15', usage), ...ids];
  }
  return [
    critical('2.5.29.19', sequence()),
    critical('2.5.29.15', bitString(Buffer.from([0x80]), 7)), // digitalSignature
    // serverAuth, clientAuth
    extension(
      '2.5.29.37',
      sequence(oid('1.3.6.1.5.5.7.3.1'), ...(request.client === true ? [oid('1.3.6.1.5.5.7.3.2')] : [])),
    ),
    extension('2.5.29.17', sequence(...request.hosts.map(generalName))),
    ...ids,
  ];
}

const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), octetString(value));
const critical = (id: string, value: Buffer): Buffer => sequence(oid(id), TRUE, octetString(value));

const commonName = (name: string): Buffer =>
  sequence(der(Tag.set, sequence(oid('2.5.4.3'), der(Tag.utf8, Buffer.from(name)))));

function generalName(host: string): Buffer {
  if (isIPv4(host)) return implicit(7, Buffer.from(host.split('.').map(Number)));
  if (isIPv6(host)) return implicit(7, ipv6Bytes(host));
  return implicit(2, Buffer.from(host, 'latin1'));
}

/** The 16 bytes of an IPv6 literal. */
function ipv6Bytes(address: string): Buffer {
  const bare = address.split('%')[0] ?? '';
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(bare);
  const pair = (high: string | undefined, low: string | undefined): string =>
    (Number(high) * 256 + Number(low)).toString(16);
  const text = dotted === null ? bare : `${dotted[1] ?? ''}${pair(dotted[2], dotted[3])}:${pair(dotted[4], dotted[5])}`;
  const [left = '', right] = text.split('::');
  const groups = (half: string): string[] => (half === '' ? [] : half.split(':'));
  const [head, tail] = [groups(left), groups(right ?? '')];
  const all = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
