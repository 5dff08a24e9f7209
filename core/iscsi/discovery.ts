import type { Visitor } from '../scsi/device.ts';
import type { IscsiContext, OpenPortal } from './context.ts';

/**
 * SendTargets answer (RFC 7143 §4.3, appendix C): every target this visitor may see, with all portals it can reach.
 * `name`: only this target; undefined: all.
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
    for (const portal of context.portals) {
      if (!device.ports.some((each) => each.portalGroup === portal.group)) continue;
      const address = addressOf(portal, localAddress, visitor.local);
      if (address !== undefined) pairs.push(['TargetAddress', address]);
    }
    for (const { address, group } of context.policy.portalsElsewhere?.() ?? []) {
      if (device.ports.some((each) => each.portalGroup === group)) {
        pairs.push(['TargetAddress', `${address},${String(group)}`]);
      }
    }
  }
  return pairs;
}

/**
 * `address:port,group`; a portal that listens on all addresses is told by the address the initiator reached. undefined:
 * nothing the initiator could use: an IPv4 portal to one that came by IPv6, or loopback to another machine.
 */
export function addressOf(portal: OpenPortal, localAddress: string, local: boolean): string | undefined {
  if (portal.advertised !== undefined) return `${portal.advertised},${String(portal.group)}`;
  const any = portal.address === '0.0.0.0' || portal.address === '::';
  // RFC 7143 §13.8 has no zone identifiers; they mean nothing on another machine.
  const address = (any ? localAddress : portal.address).replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '');
  if (portal.address === '0.0.0.0' && address.includes(':')) return undefined;
  if (!local && /^(127\.|::1$)/.test(address)) return undefined;
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${String(portal.port)},${String(portal.group)}`;
}
