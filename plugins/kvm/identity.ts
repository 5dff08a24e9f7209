// Names and UUIDs of what is made on a host. They are computed, so that whoever looks again finds what is there, and knows
// what is ours: nothing else is ever changed or removed.
import { createHash } from 'node:crypto';

/** Of the names below; drawn once. */
const NAMESPACE = '5f0c2d7e-9b64-4b0e-8f3a-2f6f9d1c7a55';
const PREFIX = 'gemel-';

/** A UUID of version 5 (RFC 9562 §5.5): the same text, the same UUID. */
export function uuidOf(text: string): string {
  const hash = createHash('sha1')
    .update(Buffer.from(NAMESPACE.replaceAll('-', ''), 'hex'))
    .update(text)
    .digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

export interface Identity {
  readonly name: string;
  readonly uuid: string;
}

/** Of the pool that shows a target. */
export function poolIdentity(target: string): Identity {
  // What follows the naming authority (RFC 7143 §4.2.7.2): the node and the name of the target.
  const own = target.slice(target.indexOf(':') + 1);
  return { name: PREFIX + own.replaceAll(/[^\w.-]/g, '-').slice(-200), uuid: uuidOf(`pool ${target}`) };
}

/** Of the secret an initiator signs in with. */
export function secretIdentity(initiator: string): { readonly usage: string; readonly uuid: string } {
  return { usage: `${PREFIX}chap-${initiator}`, uuid: uuidOf(`secret ${initiator}`) };
}

/** True for a pool that somebody here has made, whatever it shows. */
export const isOurPool = (pool: Identity, target: string): boolean => pool.uuid === poolIdentity(target).uuid;

/** Who holds the lease of a volume that a domain has. */
export const holderOf = (host: string, domainUuid: string): string => `kvm:${host}:${domainUuid}`;
