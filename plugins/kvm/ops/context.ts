// What every operation on virtual machines works with. They are flows of plugins/sdk with a journal on the host: the daemon
// reaches no hypervisor, so that its own jobs could not undo what was done there. The part of the storage is one call each,
// with an idempotency key.
import { join } from 'node:path';
import { ServiceError } from '../../../core/base/errors.ts';
import { FileJournal } from '../../sdk/file-journal.ts';
import { runFlow } from '../../sdk/flow.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import { poolIdentity, secretIdentity } from '../identity.ts';
import { patiently } from '../libvirt.ts';
import type { Caller } from '../libvirt.ts';
import type { DiskSource } from '../model/disk.ts';
import { volumeNameOf } from '../model/pool.ts';
import { disksOf, parseDomain } from '../model/domain.ts';
import type { DomainDisk } from '../model/domain.ts';
import {
  AFFECT_CONFIG,
  AFFECT_LIVE,
  XML_INACTIVE,
  domainByName,
  domainState,
  domainXml,
  listAllDomains,
} from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import type { KvmSettings } from '../settings.ts';
import { portalOf } from '../storage.ts';
import { vhostSocket } from '../vhost.ts';
import type { KvmStorage, StoredDisk } from '../storage.ts';

export interface OpsContext {
  readonly libvirt: Caller;
  readonly storage: KvmStorage;
  readonly settings: KvmSettings;
  readonly progress?: ((step: string, share: number) => void) | undefined;
}

/** How a machine reaches a volume: by its own initiator; by the NBD socket of this host; by vhost-user in front of that. */
export type Way = 'iscsi' | 'nbd' | 'vhost-user';

/** The map of volumes that NBD clients of the storage host may open. */
export const NBD = 'nbd';
const STATE_RUNNING = 1;
const STATE_PAUSED = 3;

/** Runs an operation under `key`; what was begun under it is gone on with. Rejects with FlowFailed. */
export function operate<S>(
  context: OpsContext,
  steps: readonly FlowStep<S>[],
  first: S,
  request: object,
  key: string,
  forward = false,
): Promise<S> {
  const journal = new FileJournal<S>(join(context.settings.state, 'operations'));
  const progress = context.progress === undefined ? {} : { progress: context.progress };
  return runFlow(steps, first, { ...progress, key, request: JSON.stringify(request), journal, forward, patiently });
}

export async function domainNamed(libvirt: Caller, name: string): Promise<Domain> {
  return (await libvirt.call(domainByName, { name })).domain;
}

export async function isRunning(libvirt: Caller, domain: Domain): Promise<boolean> {
  const { state } = await libvirt.call(domainState, { domain, flags: 0 });
  return state === STATE_RUNNING || state === STATE_PAUSED;
}

/** Flags for a change of what runs, if it does, and of the definition. */
export async function affecting(libvirt: Caller, domain: Domain): Promise<number> {
  return AFFECT_CONFIG | ((await isRunning(libvirt, domain)) ? AFFECT_LIVE : 0);
}

/** The disks of the domain that runs (flags 0), or of its definition. */
export async function disksIn(libvirt: Caller, domain: Domain, inactive = false): Promise<DomainDisk[]> {
  const { xml } = await libvirt.call(domainXml, { domain, flags: inactive ? XML_INACTIVE : 0 });
  return disksOf(parseDomain(xml));
}

/** Names of the domains of this host that have the disk, running or only defined. */
export async function domainsWith(
  libvirt: Caller,
  disk: StoredDisk,
): Promise<{ domain: Domain; disks: DomainDisk[] }[]> {
  const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: 0 });
  const found: { domain: Domain; disks: DomainDisk[] }[] = [];
  for (const domain of domains) {
    const running = domain.id >= 0 ? await disksIn(libvirt, domain) : [];
    const disks = [...running, ...(await disksIn(libvirt, domain, true))].filter((each) => isOf(each, disk));
    if (disks.length > 0) found.push({ domain, disks });
  }
  return found;
}

/** Whether the disk of a domain is this volume. */
export function isOf(each: DomainDisk, disk: StoredDisk): boolean {
  const { source, pooled } = each;
  if (source?.kind === 'iscsi') return source.target === disk.iqn && source.lun === disk.lun;
  if (source?.kind === 'nbd' || source?.kind === 'vhost-user') return source.export === disk.name;
  return pooled?.volume === volumeNameOf(disk.lun) && pooled.pool === poolIdentity(disk.iqn).name;
}

/** How this host reaches the volume. Throws ServiceError bad-request. */
export function sourceFor({ settings }: OpsContext, disk: StoredDisk, way: Way): DiskSource {
  if (way === 'vhost-user') return { kind: way, export: disk.name, socket: vhostSocket(settings, disk.name) };
  if (way === 'nbd') {
    if (settings.nbdSocket === undefined) {
      throw new ServiceError('bad-request', 'NBD takes the unix socket of gemeld on this host: set "nbdSocket"');
    }
    return { kind: 'nbd', export: disk.name, socket: settings.nbdSocket };
  }
  const portal = settings.portal ?? portalOf(disk);
  const at = portal.lastIndexOf(':');
  const { chap, initiator } = settings;
  return {
    kind: 'iscsi',
    target: disk.iqn,
    lun: disk.lun,
    host: portal.slice(0, at).replace(/^\[(.*)\]$/, '$1'),
    port: Number(portal.slice(at + 1)),
    initiator,
    chap: chap === undefined ? undefined : { user: chap.user, secretUsage: secretIdentity(initiator).usage },
  };
}

/** Whom the volume has to be mapped to for it. */
export const subjectOf = ({ settings }: OpsContext, way: Way): string => (way === 'iscsi' ? settings.initiator : NBD);

export const isMapped = (disk: StoredDisk, subject: string): boolean =>
  disk.maps.some(({ initiator, access }) => initiator === subject && access === 'read-write');
