// Disks of a domain (libvirt.org, formatdomain, "Hard drives"): over iscsi://, as the target's own SCSI device, or over NBD.
import { child, element, parseXml, toXml } from './xml.ts';
import type { Element } from './xml.ts';

/** What the guest gets: a disk of QEMU's, or the target's own device with its commands (UNMAP, XCOPY, PR … reach us). */
export type DiskForm = 'disk' | 'lun';

export interface IscsiSource {
  readonly kind: 'iscsi';
  readonly target: string;
  readonly lun: number;
  readonly host: string;
  readonly port: number;
  /** Without it QEMU would log in with a name made of the domain's UUID. */
  readonly initiator: string | undefined;
  readonly chap?: { readonly user: string; readonly secretUsage: string } | undefined;
}

export interface NbdSource {
  readonly kind: 'nbd';
  readonly export: string;
  /** Unix socket of gemeld: for a guest on the storage host itself. */
  readonly socket: string;
}

export interface VhostSource {
  readonly kind: 'vhost-user';
  readonly export: string;
  /** Of the process that serves it: FOLDER/gemel-vhost/EXPORT.sock. */
  readonly socket: string;
}

/** Seconds after which QEMU connects anew to one that was started again. */
const VHOST_RECONNECT = 1;
/** Seconds for which QEMU keeps what was asked for of an NBD server that is away. libvirt 9.0 does not pass it on, later ones do. */
const NBD_RECONNECT = 86_400;

export type DiskSource = IscsiSource | NbdSource | VhostSource;

export interface DiskModel {
  readonly form: DiskForm;
  readonly source: DiskSource;
  /** `sda`, `vdb`: the name within the domain, which is not what the guest calls it. */
  readonly dev: string;
  readonly bus: 'virtio' | 'scsi';
  /** The guest can find it by this; at most 36 characters arrive on SCSI. */
  readonly serial: string | undefined;
}

export const diskXml = (disk: DiskModel): string => toXml(diskElement(disk));

export function diskElement(disk: DiskModel): Element {
  if (disk.source.kind === 'vhost-user') {
    // What caches, discards and has a serial is on the other side; libvirt refuses to be told.
    return element(
      'disk',
      { type: 'vhostuser', device: 'disk' },
      element('driver', { name: 'qemu', type: 'raw' }),
      sourceElement(disk.source),
      element('target', { dev: disk.dev, bus: disk.bus }),
    );
  }
  const passed = disk.form === 'lun';
  // detect_zeroes looks at data QEMU itself writes; what passes through it has to be left alone.
  const driver = {
    name: 'qemu',
    type: 'raw',
    cache: 'none',
    ...(passed ? {} : { discard: 'unmap', detect_zeroes: 'unmap' }),
    // Rather than being told of a storage that is away for a moment the guest stands still, until the agent sees that it is back.
    ...(disk.source.kind === 'nbd' ? { error_policy: 'stop', rerror_policy: 'stop' } : {}),
  };
  return element(
    'disk',
    { type: 'network', device: disk.form },
    element('driver', driver),
    sourceElement(disk.source),
    element('target', { dev: disk.dev, bus: disk.bus }),
    // The target's own serial is what a passed-through device shows; libvirt refuses another.
    passed || disk.serial === undefined ? undefined : element('serial', {}, disk.serial),
  );
}

export function sourceElement(source: DiskSource): Element {
  if (source.kind === 'nbd') {
    const host = element('host', { transport: 'unix', socket: source.socket });
    return element(
      'source',
      { protocol: 'nbd', name: source.export },
      host,
      element('reconnect', { delay: NBD_RECONNECT }),
    );
  }
  if (source.kind === 'vhost-user') {
    const again = element('reconnect', { enabled: 'yes', timeout: VHOST_RECONNECT });
    return element('source', { type: 'unix', path: source.socket }, again);
  }
  const { chap } = source;
  const auth =
    chap === undefined
      ? undefined
      : element('auth', { username: chap.user }, element('secret', { type: 'iscsi', usage: chap.secretUsage }));
  const initiator =
    source.initiator === undefined ? undefined : element('initiator', {}, element('iqn', { name: source.initiator }));
  return element(
    'source',
    { protocol: 'iscsi', name: `${source.target}/${String(source.lun)}` },
    element('host', { name: source.host, port: source.port }),
    auth,
    initiator,
  );
}

/** The source of a `<disk>`; undefined: it is something else than a disk of ours could be. */
export function sourceOf(disk: Element): DiskSource | undefined {
  const source = child(disk, 'source');
  if (disk.attributes['type'] === 'vhostuser') {
    const socket = source?.attributes['path'] ?? '';
    const name = /\/gemel-vhost\/([^/]+)\.sock$/.exec(socket)?.[1];
    return name === undefined ? undefined : { kind: 'vhost-user', export: name, socket };
  }
  if (disk.attributes['type'] !== 'network' || source === undefined) return undefined;
  const { protocol, name = '' } = source.attributes;
  const host = child(source, 'host')?.attributes;
  if (protocol === 'nbd') return { kind: 'nbd', export: name, socket: host?.['socket'] ?? '' };
  const parts = /^(.+)\/(\d{1,5})$/.exec(name);
  if (protocol !== 'iscsi' || parts === null) return undefined;
  const auth = child(source, 'auth') ?? child(disk, 'auth');
  const user = auth?.attributes['username'];
  return {
    kind: 'iscsi',
    target: parts[1] ?? '',
    lun: Number(parts[2]),
    host: host?.['name'] ?? '',
    port: Number(host?.['port'] ?? 3260),
    initiator: child(source, 'initiator', 'iqn')?.attributes['name'],
    chap: user === undefined ? undefined : { user, secretUsage: child(auth, 'secret')?.attributes['usage'] ?? '' },
  };
}

/** Reads a `<disk>` document. Throws ServiceError bad-request. */
export const parseDisk = (xml: string): Element => parseXml(xml);
