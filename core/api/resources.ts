// Which record the ETag of a path stands for.
import type { Catalog } from '../control/catalog.ts';
import type { Jobs } from '../control/jobs/jobs.ts';
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

/** Jobs are about a `volume`, a `pool` …; records are below `volumes`, `pools` …. */
export function isJobChanging(jobs: Jobs, id: string): boolean {
  const [, plural = '', name = ''] = /^([^/]+)\/(.*)$/.exec(id) ?? [];
  return jobs.isChanging(plural.replace(/s$/, ''), name);
}
