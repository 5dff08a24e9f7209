// Which record the ETag of a path stands for.
import type { Catalog } from '../control/catalog.ts';
import type { Resource } from './route.ts';

export const volumeResource = ({ volumes }: Catalog, name: string): Resource => ({
  id: `volumes/${name}`,
  revision: volumes.revision(name),
});

export const poolResource = ({ pools }: Catalog, name: string): Resource => ({
  id: `pools/${name}`,
  revision: pools.revision(name),
});

export const snapshotResource = ({ snapshots }: Catalog, volume: string, name: string): Resource => ({
  id: `snapshots/${volume}@${name}`,
  revision: snapshots.revision(`${volume}@${name}`),
});

/** Names of initiators are the same in upper and lower case (RFC 3722). */
export const initiatorResource = ({ initiators }: Catalog, iqn: string): Resource => ({
  id: `initiators/${iqn.toLowerCase()}`,
  revision: initiators.revision(iqn.toLowerCase()),
});
