// Domains, as far as disks are concerned: which there are, which name is free, and a second domain like the first.
import { ServiceError } from '../../../core/base/errors.ts';
import { sourceElement, sourceOf } from './disk.ts';
import type { DiskSource } from './disk.ts';
import { child, element, elementsOf, mapChildren, parseXml, textOf, toXml } from './xml.ts';
import type { Element, Node } from './xml.ts';

/** A disk of a domain. */
export interface DomainDisk {
  /** `disk`, `lun`, `cdrom` … */
  readonly device: string;
  /** `sda`, `vdb`. */
  readonly dev: string;
  readonly bus: string;
  /** undefined: it is none of ours (a file, a device, another protocol). */
  readonly source: DiskSource | undefined;
  /** Of a disk of a pool (type volume): the pool and the name in it. */
  readonly pooled: { readonly pool: string; readonly volume: string } | undefined;
  readonly alias: string | undefined;
  /** Attributes of `<driver>`: cache, discard, io … */
  readonly driver: Readonly<Record<string, string>>;
  /** It is being copied elsewhere; true once the copy has everything. */
  readonly mirrored: boolean | undefined;
  readonly element: Element;
}

/** Throws ServiceError for what is no domain. */
export function parseDomain(xml: string): Element {
  const root = parseXml(xml);
  if (root.name !== 'domain') throw new ServiceError('bad-request', `<${root.name}> is no domain`);
  return root;
}

export function disksOf(domain: Element): DomainDisk[] {
  return elementsOf(child(domain, 'devices'), 'disk').map((disk) => {
    const source = child(disk, 'source');
    const { pool, volume } = source?.attributes ?? {};
    const mirror = child(disk, 'mirror');
    return {
      device: disk.attributes['device'] ?? 'disk',
      dev: child(disk, 'target')?.attributes['dev'] ?? '',
      bus: child(disk, 'target')?.attributes['bus'] ?? '',
      source: sourceOf(disk),
      pooled: pool === undefined || volume === undefined ? undefined : { pool, volume },
      alias: child(disk, 'alias')?.attributes['name'],
      driver: child(disk, 'driver')?.attributes ?? {},
      mirrored: mirror === undefined ? undefined : mirror.attributes['ready'] === 'yes',
      element: disk,
    };
  });
}

const PREFIX = { virtio: 'vd', scsi: 'sd' } as const;

/** The first name that no disk of the domain has. Throws ServiceError limit-reached. */
export function freeDevice(taken: ReadonlySet<string>, bus: 'virtio' | 'scsi'): string {
  for (let i = 0; i < 26; i++) {
    const name = PREFIX[bus] + String.fromCharCode(97 + i);
    if (!taken.has(name)) return name;
  }
  throw new ServiceError('limit-reached', `the virtual machine has 26 disks on ${bus} already`);
}

/** Elements that say who a machine is, or where it runs now; libvirt makes its own when they are missing. */
const IDENTITY = new Set(['genid', 'seclabel', 'title']);

/**
 * The XML of a second domain like `domain` (of its definition: XML_INACTIVE): another name, this UUID, other MAC addresses, its own
 * files for NVRAM and consoles; each disk for which `sources` has something by its `dev` gets that.
 */
export function clonedDomain(
  domain: Element,
  name: string,
  uuid: string,
  sources: ReadonlyMap<string, DiskSource>,
): string {
  const top = mapChildren(domain, (each) => {
    if (typeof each === 'string') return each;
    if (each.name === 'name') return element('name', {}, name);
    if (each.name === 'uuid') return element('uuid', {}, uuid);
    if (IDENTITY.has(each.name)) return undefined;
    // libvirt makes a NVRAM file of the name of the domain; sharing one corrupts both.
    if (each.name === 'os') return mapChildren(each, (part) => (isElement(part, 'nvram') ? undefined : part));
    return each.name === 'devices' ? mapChildren(each, (device) => clonedDevice(device, sources)) : each;
  });
  return toXml({ ...top, attributes: without(top.attributes, 'id') });
}

function clonedDevice(device: Node, sources: ReadonlyMap<string, DiskSource>): Node | undefined {
  if (typeof device === 'string') return device;
  if (device.name === 'disk') {
    const source = sources.get(child(device, 'target')?.attributes['dev'] ?? '');
    return source === undefined ? device : withSource(device, source);
  }
  if (device.name === 'interface') return mapChildren(device, (part) => (isElement(part, 'mac') ? undefined : part));
  // A console on a socket or into a file of the first machine would be that of both. Of a channel libvirt makes the path itself.
  if (['serial', 'console', 'parallel', 'channel'].includes(device.name) && device.attributes['type'] !== 'pty') {
    const bare = mapChildren(device, (part) => (isElement(part, 'source') ? undefined : part));
    return device.name === 'channel' ? bare : { ...bare, attributes: { ...bare.attributes, type: 'pty' } };
  }
  if (device.name === 'graphics') {
    return {
      ...device,
      attributes: { ...without(device.attributes, 'port', 'tlsPort', 'websocket'), autoport: 'yes' },
    };
  }
  return device;
}

function without(attributes: Readonly<Record<string, string>>, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

const OWN_OF_DISK = ['serial', 'wwn', 'auth', 'alias', 'source', 'backingStore'];

/** The disk with another source; its serial, which said what it was, goes. */
export function withSource(disk: Element, source: DiskSource): Element {
  const kept = mapChildren(disk, (part) => (OWN_OF_DISK.some((name) => isElement(part, name)) ? undefined : part));
  return {
    ...kept,
    attributes: { ...kept.attributes, type: 'network' },
    children: [...kept.children, sourceElement(source)],
  };
}

function isElement(node: Node, name: string): node is Element {
  return typeof node !== 'string' && node.name === name;
}

export const nameOf = (domain: Element): string => textOf(child(domain, 'name')) ?? '';
