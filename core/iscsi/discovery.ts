import type { Visitor } from '../scsi/device.ts';
import type { IscsiContext, OpenPortal } from './context.ts';

/**
 * SendTargets answer (RFC 7143 §4.3, appendix C): every target this visitor may see, with all its portals, first those
 * of the portal group it asked. `name`: only this target; undefined: all.
 */
export function sendTargets(
  context: IscsiContext,
  visitor: Visitor,
  localAddress: string,
  name: string | undefined,
): [string, string][] {
  const pairs: [string, string][] = [];
  for (const device of context.policy.devices()) {
    if ((name !== undefined && device.name !== name) || !device.admits(visitor)) continue;
    pairs.push(['TargetName', device.name]);
    for (const portal of context.portals) pairs.push(['TargetAddress', addressOf(portal, localAddress)]);
  }
  return pairs;
}

/** `address:port,group`; a portal that listens on all addresses is told by the address the initiator reached. */
export function addressOf(portal: OpenPortal, localAddress: string): string {
  if (portal.advertised !== undefined) return `${portal.advertised},${String(portal.group)}`;
  const any = portal.address === '0.0.0.0' || portal.address === '::';
  // A zone (%eth0) is a name of this machine and no part of an address (RFC 7143 §13.8, RFC 3986 §3.2.2).
  const address = (any ? localAddress : portal.address).replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*/, '');
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${String(portal.port)},${String(portal.group)}`;
}
