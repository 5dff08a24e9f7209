// A disk for the virtual machines of a host: made, mapped, shown by a libvirt pool - or not there at all.
import { join } from 'node:path';
import { ServiceError } from '../../core/base/errors.ts';
import { ApiStorage } from '../sdk/api-storage.ts';
import { FileJournal } from '../sdk/file-journal.ts';
import { provision, withdraw } from '../sdk/provision.ts';
import type { ProvisionTools, Provisioning } from '../sdk/provision.ts';
import type { Storage, StoredVolume } from '../sdk/storage.ts';
import type { ApiCall } from '../sdk/typed-api.ts';
import { KvmAdapter } from './adapter.ts';
import { poolIdentity } from './identity.ts';
import { patiently } from './libvirt.ts';
import type { Caller } from './libvirt.ts';
import { volumeNameOf } from './model/pool.ts';
import { domainsWith, volumeObject } from './ops/context.ts';
import type { Reports } from './reports.ts';
import type { KvmSettings } from './settings.ts';
import { KvmStorage } from './storage.ts';
import type { StoredDisk } from './storage.ts';

export interface KvmProvisioned {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly iqn: string;
  readonly lun: number;
  readonly naa: string;
  /** What libvirt calls it. */
  readonly pool: string;
  readonly volume: string;
  readonly key: string;
}

/** Storage that shows the one portal libvirt is to use: it takes exactly one, so there is no path to verify through others. */
function throughOnePortal(storage: Storage, portal: string | undefined): Storage {
  const narrowed = (volume: StoredVolume): StoredVolume => ({
    ...volume,
    portals: [portal ?? volume.portals[0] ?? ''],
  });
  return {
    volume: async (name) => {
      const found = await storage.volume(name);
      return found === undefined ? undefined : narrowed(found);
    },
    createVolume: async (wanted, key) => narrowed(await storage.createVolume(wanted, key)),
    deleteVolume: (name) => storage.deleteVolume(name),
    map: (name, initiator) => storage.map(name, initiator),
    unmap: (name, initiator) => storage.unmap(name, initiator),
  };
}

function toolsFor(name: string, libvirt: Caller, settings: KvmSettings, call: ApiCall): ProvisionTools {
  const storage = throughOnePortal(new ApiStorage(call), settings.portal);
  return {
    storage,
    adapter: new KvmAdapter(libvirt, settings, () => storage.volume(name)),
    journal: new FileJournal<Provisioning>(join(settings.state, 'flows')),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    now: Date.now,
    patiently,
  };
}

/** Rejects with FlowFailed after undoing everything, or naming what could not be undone. */
export async function provisionDisk(
  wanted: { readonly name: string; readonly size: number; readonly pool?: string | undefined },
  libvirt: Caller,
  settings: KvmSettings,
  call: ApiCall,
  key: string,
  reports?: Reports,
): Promise<KvmProvisioned> {
  const { name, size, pool } = wanted;
  const tools = toolsFor(name, libvirt, settings, call);
  const request = { name, size, hosts: [settings.host], ...(pool === undefined ? {} : { pool }) };
  const asked = { what: 'provision', args: wanted, title: `provision ${name}`, object: volumeObject(name) };
  const { volume, disks } = await (reports?.follow(asked, key, 1, true, (told) =>
    provision({ ...tools, journal: told.journal(tools.journal, 0) }, request, key, { signal: told.signal }),
  ) ?? provision(tools, request, key));
  const { iqn, lun, naa } = volume;
  const shown = { pool: poolIdentity(iqn).name, volume: volumeNameOf(lun), key: disks[0]?.id ?? '' };
  return { name, size: volume.size, iqn, lun, naa, ...shown };
}

/** Takes it away again. Refused while a virtual machine has it. Rejects with FlowFailed; the same key goes on there. */
export async function withdrawDisk(
  name: string,
  libvirt: Caller,
  settings: KvmSettings,
  call: ApiCall,
  key: string,
  reports?: Reports,
): Promise<void> {
  const tools = toolsFor(name, libvirt, settings, call);
  const disk = await new KvmStorage(call, () => Promise.resolve([])).find(name);
  // Before anything is taken away. A volume that is gone already is what is wanted.
  if (disk !== undefined) {
    refuseUsed(disk);
    const [user] = await domainsWith(libvirt, disk);
    if (user !== undefined)
      throw new ServiceError('in-use', `volume '${name}' is a disk of ${user.domain.name}; detach it first`);
  }
  const request = { name, hosts: [settings.host] };
  const asked = { what: 'withdraw', args: { name }, title: `withdraw ${name}`, object: volumeObject(name) };
  await (reports?.follow(asked, key, 1, false, (told) =>
    withdraw({ ...tools, journal: told.journal(tools.journal, 0) }, request, key),
  ) ?? withdraw(tools, request, key));
}

/** Throws ServiceError in-use. */
export function refuseUsed(disk: StoredDisk): void {
  const { name, lease, sessions } = disk;
  if (lease !== null)
    throw new ServiceError('in-use', `volume '${name}' is leased by ${lease.holder}; detach it first`);
  if (sessions > 0)
    throw new ServiceError('in-use', `volume '${name}' has ${String(sessions)} session(s); end them first`);
}
