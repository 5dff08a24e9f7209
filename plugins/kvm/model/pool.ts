// Storage pools of type iscsi-direct (libvirt.org, formatstorage): one target at one portal, seen by libiscsi.
import { ServiceError } from '../../../core/base/errors.ts';
import { child, element, parseXml, textOf, toXml } from './xml.ts';

export interface PoolModel {
  readonly name: string;
  readonly uuid: string;
  /** Of the portal: libvirt takes exactly one. */
  readonly host: string;
  readonly port: number;
  /** Name of the target. */
  readonly target: string;
  /** iSCSI name the host logs in with. */
  readonly initiator: string;
  readonly chap?: { readonly user: string; readonly secretUsage: string } | undefined;
}

export const ISCSI_PORT = 3260;

export function poolXml(pool: PoolModel): string {
  const { chap } = pool;
  const auth =
    chap === undefined
      ? undefined
      : element('auth', { type: 'chap', username: chap.user }, element('secret', { usage: chap.secretUsage }));
  const source = element(
    'source',
    {},
    element('host', { name: pool.host, port: pool.port }),
    element('device', { path: pool.target }),
    auth,
    element('initiator', {}, element('iqn', { name: pool.initiator })),
  );
  const root = element(
    'pool',
    { type: 'iscsi-direct' },
    element('name', {}, pool.name),
    element('uuid', {}, pool.uuid),
    source,
  );
  return toXml(root);
}

/** undefined: a pool of another type. Throws ServiceError for what libvirt would never say. */
export function parsePool(xml: string): PoolModel | undefined {
  const root = parseXml(xml);
  if (root.name !== 'pool') throw new ServiceError('bad-request', `<${root.name}> is no pool`);
  if (root.attributes['type'] !== 'iscsi-direct') return undefined;
  const source = child(root, 'source');
  const host = child(source, 'host')?.attributes;
  const user = child(source, 'auth')?.attributes['username'];
  const secretUsage = child(source, 'auth', 'secret')?.attributes['usage'];
  return {
    name: textOf(child(root, 'name')) ?? '',
    uuid: textOf(child(root, 'uuid')) ?? '',
    host: host?.['name'] ?? '',
    port: Number(host?.['port'] ?? ISCSI_PORT),
    target: child(source, 'device')?.attributes['path'] ?? '',
    initiator: child(source, 'initiator', 'iqn')?.attributes['name'] ?? '',
    chap: user === undefined ? undefined : { user, secretUsage: secretUsage ?? '' },
  };
}

/** Whether a pool of libvirt's is what is wanted: libvirt cannot change one, only have it defined anew. */
export function samePool(a: PoolModel, b: PoolModel): boolean {
  const same = (['name', 'uuid', 'host', 'port', 'target', 'initiator'] as const).every((key) => a[key] === b[key]);
  return same && a.chap?.user === b.chap?.user && a.chap?.secretUsage === b.chap?.secretUsage;
}

/** The LUN of a volume of such a pool, whose name is `unit:0:0:LUN`; undefined: it is named otherwise. */
export function lunOf(volumeName: string): number | undefined {
  const found = /^unit:0:0:(\d{1,5})$/.exec(volumeName)?.[1];
  return found === undefined ? undefined : Number(found);
}

export const volumeNameOf = (lun: number): string => `unit:0:0:${String(lun)}`;
