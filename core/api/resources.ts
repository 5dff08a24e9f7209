// Which record the ETag of a path stands for.
import { createHash } from 'node:crypto';
import type { ClusterBalance } from '../control/balance/cluster-balance.ts';
import type { Catalog } from '../control/catalog.ts';
import type { Jobs } from '../control/jobs/jobs.ts';
import type { Offload } from '../control/offload.ts';
import { OWNER_TOKEN } from '../control/tokens.ts';
import type { Trash } from '../control/trash.ts';
import type { Resource } from './route.ts';

export const volumeResource = ({ volumes }: Catalog, name: string): Resource => ({
  id: `volumes/${name}`,
  revision: volumes.revision(name),
});

export const poolResource = ({ pools }: Catalog, name: string): Resource => ({
  id: `pools/${name}`,
  revision: pools.revision(name),
});

export const portalResource = ({ portals }: Catalog, name: string): Resource => ({
  id: `portals/${name}`,
  revision: portals.revision(name),
});

export const policyResource = ({ policies }: Catalog, name: string): Resource => ({
  id: `policies/${name}`,
  revision: policies.revision(name),
});

export const backendResource = ({ backends }: Catalog, name: string): Resource => ({
  id: `backends/${name}`,
  revision: backends.revision(name),
});

export const snapshotResource = ({ snapshots }: Catalog, volume: string, name: string): Resource => ({
  id: `snapshots/${volume}@${name}`,
  revision: snapshots.revision(`${volume}@${name}`),
});

export const hostResource = ({ hosts }: Catalog, name: string): Resource => ({
  id: `hosts/${name}`,
  revision: hosts.revision(name),
});

export const hostGroupResource = ({ hostGroups }: Catalog, name: string): Resource => ({
  id: `host-groups/${name}`,
  revision: hostGroups.revision(name),
});

export const scheduleResource = ({ schedules }: Catalog, name: string): Resource => ({
  id: `schedules/${name}`,
  revision: schedules.revision(name),
});

/** Names of initiators are the same in upper and lower case (RFC 3722). */
export const initiatorResource = ({ initiators }: Catalog, iqn: string): Resource => ({
  id: `initiators/${iqn.toLowerCase()}`,
  revision: initiators.revision(iqn.toLowerCase()),
});

/**
 * A revision of what has no record of its own, or one that counts as well (the last login): the same as long as nobody has
 * changed the content. 48 bits of a hash.
 */
const revisionOf = (content: unknown): number =>
  createHash('sha256').update(JSON.stringify(content)).digest().readUIntBE(0, 6);

/** Names of users are the same in upper and lower case. Logging in is no change. */
export function userResource({ security }: Catalog, user: string): Resource {
  const name = user.toLowerCase();
  const record = security.users.get(name);
  if (record === undefined) return { id: `users/${name}`, revision: undefined };
  const { created, role, enabled, password } = record;
  return { id: `users/${name}`, revision: revisionOf([created, role, enabled, password.salt]) };
}

/** That it was used is no change. */
export function tokenResource({ tokens, nodeTokens }: Catalog, name: string): Resource {
  const record = (name === OWNER_TOKEN ? nodeTokens : tokens).get(name);
  if (record === undefined) return { id: `tokens/${name}`, revision: undefined };
  const { created, role, expires = null } = record;
  return { id: `tokens/${name}`, revision: revisionOf([created, role, expires]) };
}

export const alertTargetResource = ({ alertTargets }: Catalog, name: string): Resource => ({
  id: `alert-targets/${name}`,
  revision: alertTargets.revision(name),
});

/** A rule that is as it is by default has no record. `isRule`: there is one of this name. */
export const alertRuleResource = ({ alertRules }: Catalog, rule: string, isRule: boolean): Resource => ({
  id: `alert-rules/${rule}`,
  revision: isRule ? (alertRules.revision(rule) ?? 0) : undefined,
});

/** Nobody may have changed them yet. */
export const securitySettingsResource = ({ security }: Catalog): Resource => ({
  id: 'settings/security',
  revision: security.settings.revision('self') ?? 0,
});

/** The one that is meant by a name now: another one after the next deletion of a volume with this name. */
export function deletedVolumeResource({ deleted }: Catalog, trash: Trash, which: string): Resource {
  const id = trash.find(which)?.volume.id;
  if (id === undefined) return { id: `deleted-volumes/${which}`, revision: undefined };
  return { id: `deleted-volumes/${id}`, revision: deleted.revision(id) };
}

/** What the nodes carry is no part of it. */
export const balanceResource = (balance: ClusterBalance | undefined): Resource => ({
  id: 'settings/balance',
  revision: balance === undefined ? undefined : revisionOf(balance.view().enabled),
});

/** `keep`: milliseconds. */
export const retentionResource = (keep: number): Resource => ({ id: 'settings/retention', revision: revisionOf(keep) });

/** Of the node and of all volumes that have their own: what is shown, and changed, in one place. */
export const copyRouteResource = (offload: Offload): Resource => ({
  id: 'settings/copy-route',
  revision: revisionOf(offload.routes()),
});

/** Jobs are about a `volume`, a `pool` …; records are below `volumes`, `pools` …. */
export function isJobChanging(jobs: Jobs, id: string): boolean {
  const [, plural = '', name = ''] = /^([^/]+)\/(.*)$/.exec(id) ?? [];
  return jobs.isChanging(plural.replace(/s$/, ''), name);
}
