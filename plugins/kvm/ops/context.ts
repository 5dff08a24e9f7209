// What every operation on virtual machines works with. They are flows of plugins/sdk with a journal on the host: the daemon
// reaches no hypervisor, so that its own jobs could not undo what was done there. The part of the storage is one call each,
// with an idempotency key.
import { join } from 'node:path';
import { ServiceError } from '../../../core/base/errors.ts';
import { FileJournal } from '../../sdk/file-journal.ts';
import { FlowFailed, runFlow } from '../../sdk/flow.ts';
import type { FlowJournal, FlowStep } from '../../sdk/flow.ts';
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
import type { Asked, Reports, Told } from '../reports.ts';
import type { KvmSettings } from '../settings.ts';
import { portalOf } from '../storage.ts';
import { vhostSocket } from '../vhost.ts';
import type { KvmStorage, StoredDisk } from '../storage.ts';

export interface OpsContext {
  readonly libvirt: Caller;
  readonly storage: KvmStorage;
  readonly settings: KvmSettings;
  /** Tells the daemon of what is done; undefined: nobody is told. */
  readonly reports?: Reports | undefined;
}

/** How a machine reaches a volume: by its own initiator; by the NBD socket of this host; by vhost-user in front of that. */
export type Way = 'iscsi' | 'nbd' | 'vhost-user';

/** The map of volumes that NBD clients of the storage host may open. */
export const NBD = 'nbd';
const STATE_RUNNING = 1;
const STATE_PAUSED = 3;

/** How an operation is done. */
interface Manner<S> {
  /** Nothing is undone. */
  readonly forward?: boolean;
  /** What comes behind the point of no return, and goes forward only. */
  readonly after?: {
    readonly steps: readonly FlowStep<S>[];
    readonly request: object;
    /** Whether that point was passed: what failed then failed too late, and is finished. */
    readonly passed: () => Promise<boolean>;
  };
}

/** Runs an operation under `key`; what was begun under it is gone on with. Rejects with FlowFailed, and with in-use when somebody is at it. */
export async function operate<S>(
  { settings, reports }: OpsContext,
  asked: Asked,
  steps: readonly FlowStep<S>[],
  first: S,
  request: object,
  key: string,
  { forward = false, after }: Manner<S> = {},
): Promise<S> {
  const files = new FileJournal<S>(join(settings.state, 'operations'));
  const work = async (told: Told | undefined): Promise<S> => {
    const journal = (part: number): FlowJournal<S> => told?.journal(files, part) ?? files;
    const common = { request: JSON.stringify(request), forward, patiently };
    const signal = told === undefined ? {} : { signal: told.signal };
    const flow = runFlow(steps, first, { ...common, ...signal, key, journal: journal(0) });
    if (after === undefined) return flow;
    const found = await unlessPassed(flow, after.passed);
    const rest = { ...common, request: JSON.stringify(after.request), forward: true };
    return runFlow(after.steps, found, { ...rest, key: `${key} after`, journal: journal(1) });
  };
  if (reports === undefined) return work(undefined);
  return reports.follow(asked, key, after === undefined ? 1 : 2, !forward, work);
}

/** A flow that failed although there was no way back any more was too late with its failure: what it knew, to finish it. */
async function unlessPassed<S>(flow: Promise<S>, passed: () => Promise<boolean>): Promise<S> {
  try {
    return await flow;
  } catch (error) {
    if (!(error instanceof FlowFailed) || error.notUndone.length === 0) throw error;
    if (!(await patiently(passed).catch(() => false))) throw error;
    return error.state as S;
  }
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

/** What an operation on a volume, or on a machine, is about. */
export const volumeObject = (name: string): Asked['object'] => ({ kind: 'volume', name });
export const machineObject = (name: string): Asked['object'] => ({ kind: 'virtual-machine', name });
