// Disks of domains, between what a client of the gateway knows (block devices below /dev/POOL) and what libvirtd can open (iscsi://).
import type { DiskSource } from '../model/disk.ts';
import { sourceOf } from '../model/disk.ts';
import { withSource } from '../model/domain.ts';
import { child, element, elementsOf, mapChildren } from '../model/xml.ts';
import type { Element } from '../model/xml.ts';

/** The path by which clients know a volume of the pool. Nothing is there. */
export const pathOf = (pool: string, volume: string): string => `/dev/${pool}/${volume}`;

/** The volume such a path names; undefined: it is none of the pool. */
export function volumeAt(pool: string, path: string | undefined): string | undefined {
  const prefix = pathOf(pool, '');
  return path?.startsWith(prefix) === true ? path.slice(prefix.length) : undefined;
}

/** The volume of the pool that a disk is on, however it says so (virsh attach-disk calls everything a file). */
function volumeOf(pool: string, disk: Element): string | undefined {
  const source = child(disk, 'source')?.attributes ?? {};
  if (disk.attributes['type'] === 'volume' && source['pool'] === pool) return source['volume'];
  return volumeAt(pool, source['dev'] ?? source['file']);
}

const disksIn = (root: Element): Element[] =>
  root.name === 'disk' ? [root] : elementsOf(child(root, 'devices'), 'disk');

/** Names of the volumes of the pool that a domain, or a disk, uses. */
export function volumesIn(pool: string, root: Element): string[] {
  return disksIn(root).flatMap((disk) => volumeOf(pool, disk) ?? []);
}

/** `change` for every disk of the domain, or for the disk. */
function eachDisk(root: Element, change: (disk: Element) => Element): Element {
  if (root.name === 'disk') return change(root);
  return mapChildren(root, (part) => {
    if (typeof part === 'string' || part.name !== 'devices') return part;
    return mapChildren(part, (device) =>
      typeof device === 'string' || device.name !== 'disk' ? device : change(device),
    );
  });
}

/** For libvirtd. `sources`: by name of the volume. */
export function translated(pool: string, root: Element, sources: ReadonlyMap<string, DiskSource>): Element {
  return eachDisk(root, (disk) => {
    const source = sources.get(volumeOf(pool, disk) ?? '');
    return source === undefined ? disk : withSource(disk, source);
  });
}

/** For the client. `names`: of the volumes, by `TARGET/LUN`. undefined: none of them is there. */
export function translatedBack(pool: string, root: Element, names: ReadonlyMap<string, string>): Element | undefined {
  const changed: string[] = [];
  const back = eachDisk(root, (disk) => {
    const source = sourceOf(disk);
    const name = source?.kind === 'iscsi' ? names.get(`${source.target}/${String(source.lun)}`) : undefined;
    if (name === undefined) return disk;
    changed.push(name);
    const device = element('source', { dev: pathOf(pool, name) });
    const parts = mapChildren(disk, (part) => (typeof part !== 'string' && part.name === 'source' ? device : part));
    return { ...parts, attributes: { ...parts.attributes, type: 'block' } };
  });
  return changed.length > 0 ? back : undefined;
}
