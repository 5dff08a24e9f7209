// A volume becomes a disk of a virtual machine, running or not, and stops being one.
import { ServiceError } from '../../../core/base/errors.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import { ensureSecret } from '../ensure.ts';
import { holderOf } from '../identity.ts';
import { eventually, settled } from '../libvirt.ts';
import type { Caller } from '../libvirt.ts';
import { diskXml } from '../model/disk.ts';
import type { DiskForm, DiskModel } from '../model/disk.ts';
import { freeDevice, parseDomain } from '../model/domain.ts';
import { child, toXml } from '../model/xml.ts';
import { AFFECT_CONFIG, AFFECT_LIVE, deviceAttach, deviceDetach, domainXml } from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import { readSecret } from '../settings.ts';
import { endVhost, serveVhost } from '../vhost.ts';
import {
  affecting,
  disksIn,
  domainNamed,
  domainsWith,
  isMapped,
  isOf,
  isRunning,
  operate,
  sourceFor,
  subjectOf,
  volumeObject,
} from './context.ts';
import type { OpsContext, Way } from './context.ts';

/** Milliseconds a guest may take to let go of a disk. */
const DETACH_PATIENCE = 30_000;

export interface AttachRequest {
  readonly domain: string;
  readonly volume: string;
  readonly way: Way;
  readonly form: DiskForm;
  readonly bus: 'virtio' | 'scsi';
}

interface Attaching {
  readonly uuid?: string;
  readonly disk?: DiskModel;
  /** It was mapped before, and stays so. */
  readonly mapped?: boolean;
}

/** Returns the name it has in the domain (`sdb`). Rejects with FlowFailed, after which everything is as before. */
export async function attachDisk(context: OpsContext, request: AttachRequest, key: string): Promise<string> {
  const { libvirt, storage, settings } = context;
  const { domain: name, volume, way, form, bus } = request;
  if (form === 'lun' && (way !== 'iscsi' || bus !== 'scsi')) {
    throw new ServiceError('bad-request', "device='lun' takes iSCSI and the bus scsi: it passes SCSI commands through");
  }
  if (way === 'vhost-user' && bus !== 'virtio') {
    throw new ServiceError('bad-request', 'vhost-user takes the bus virtio');
  }
  const subject = subjectOf(context, way);
  const there = async (domain: Domain, flags: number): Promise<boolean> => {
    const disk = await storage.volume(volume);
    const live = (flags & AFFECT_LIVE) === 0 || (await disksIn(libvirt, domain)).some((each) => isOf(each, disk));
    return live && (await disksIn(libvirt, domain, true)).some((each) => isOf(each, disk));
  };
  const steps: FlowStep<Attaching>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await domainNamed(libvirt, name);
        const disk = await storage.volume(volume);
        if (way === 'vhost-user') await refusePrivateMemory(libvirt, domain);
        // Also disks that were attached by hand, without a lease.
        const [user] = await domainsWith(libvirt, disk);
        if (user !== undefined) throw new ServiceError('in-use', `volume '${volume}' is a disk of ${user.domain.name}`);
        const taken = new Set(
          [...(await disksIn(libvirt, domain)), ...(await disksIn(libvirt, domain, true))].map(({ dev }) => dev),
        );
        const model = {
          form,
          source: sourceFor(context, disk, way),
          dev: freeDevice(taken, bus),
          bus,
          serial: disk.serial.slice(0, 20),
        };
        return { uuid: domain.uuid, disk: model, mapped: isMapped(disk, subject) };
      },
    },
    {
      name: 'take the lease',
      do: async (state) => {
        await storage.lease(volume, holderOf(settings.host, state.uuid ?? ''));
        return state;
      },
      undo: async ({ uuid = '' }) => {
        await storage.release(volume, holderOf(settings.host, uuid)).catch((error: unknown) => {
          // Somebody else's, which was why this failed.
          if (!(error instanceof ServiceError) || error.code !== 'in-use') throw error;
        });
      },
    },
    {
      name: 'map it',
      do: async (state) => {
        if (state.mapped !== true) await storage.map(volume, subject);
        return state;
      },
      undo: async ({ mapped }) => {
        if (mapped !== true) await storage.unmap(volume, subject);
      },
    },
    {
      name: 'set the secret',
      do: async (state) => {
        const { chap, initiator } = settings;
        if (way === 'iscsi' && chap !== undefined) await ensureSecret(libvirt, initiator, readSecret(chap.secretFile));
        return state;
      },
    },
    ...(way === 'vhost-user' ? [vhostStep(context, volume)] : []),
    {
      name: 'attach',
      do: async (state) => {
        const domain = await domainNamed(libvirt, name);
        const flags = await affecting(libvirt, domain);
        if (await there(domain, flags)) return state;
        const xml = diskXml(state.disk as DiskModel);
        await settled(
          () => libvirt.call(deviceAttach, { domain, xml, flags }),
          () => there(domain, flags),
        );
        return state;
      },
      undo: () => takeOff(context, name, volume),
    },
    {
      name: 'verify',
      do: async (state) => {
        const domain = await domainNamed(libvirt, name);
        if (await there(domain, await affecting(libvirt, domain))) return state;
        throw new ServiceError('hypervisor-refused', `${name} does not have the disk although libvirt said so`);
      },
    },
  ];
  const asked = { what: 'attach', args: request, title: `attach ${volume} to ${name}`, object: volumeObject(volume) };
  const { disk } = await operate(context, asked, steps, {}, { attach: request }, key);
  return disk?.dev ?? '';
}

function vhostStep({ settings }: OpsContext, volume: string): FlowStep<Attaching> {
  return {
    name: 'serve it by vhost-user',
    do: async (state) => {
      await serveVhost(settings, volume);
      return state;
    },
    undo: () => endVhost(settings, volume),
  };
}

/** The other side of vhost-user reads and writes the memory of the guest itself. Rejects with bad-request when it cannot. */
async function refusePrivateMemory(libvirt: Caller, domain: Domain): Promise<void> {
  const { xml } = await libvirt.call(domainXml, { domain, flags: 0 });
  const memory = child(parseDomain(xml), 'memoryBacking');
  if (child(memory, 'access')?.attributes['mode'] === 'shared') return;
  throw new ServiceError(
    'bad-request',
    `the memory of ${domain.name} is private; vhost-user takes <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>`,
  );
}

/** Has the domain let go of the volume, wherever it has it. Rejects with hypervisor-refused when the guest keeps it. */
async function takeOff(context: OpsContext, name: string, volume: string): Promise<void> {
  const { libvirt, storage } = context;
  const disk = await storage.find(volume);
  if (disk === undefined) return;
  const domain = await domainNamed(libvirt, name);
  for (const flag of [AFFECT_LIVE, AFFECT_CONFIG]) {
    const look = async (): Promise<string | undefined> => {
      if (flag === AFFECT_LIVE && !(await isRunning(libvirt, domain))) return undefined;
      const found = (await disksIn(libvirt, domain, flag === AFFECT_CONFIG)).find((each) => isOf(each, disk));
      return found === undefined ? undefined : toXml(found.element);
    };
    const xml = await look();
    if (xml === undefined) continue;
    await settled(
      () => libvirt.call(deviceDetach, { domain, xml, flags: flag }),
      async () => (await look()) === undefined,
    );
    // A guest is asked, and may take its time, or refuse.
    const gone = await eventually(async () => ((await look()) === undefined ? true : undefined), DETACH_PATIENCE);
    if (gone === undefined)
      throw new ServiceError('hypervisor-refused', `the guest in ${name} does not let go of ${volume}`);
  }
}

/** Goes forward only: the lease is kept until the guest has let go. Under the same key it goes on. Rejects with FlowFailed. */
export async function detachDisk(
  context: OpsContext,
  request: { readonly domain: string; readonly volume: string; readonly keepMap: boolean },
  key: string,
): Promise<void> {
  const { storage, libvirt, settings } = context;
  const { domain: name, volume } = request;
  const steps: FlowStep<Attaching>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const { uuid } = await domainNamed(libvirt, name);
        await storage.volume(volume);
        return { uuid };
      },
    },
    {
      name: 'detach',
      do: async (state) => {
        await takeOff(context, name, volume);
        return state;
      },
    },
    {
      name: 'end serving it by vhost-user',
      do: async (state) => {
        await endVhost(settings, volume);
        return state;
      },
    },
    {
      name: 'unmap it',
      do: async (state) => {
        if (!request.keepMap)
          for (const way of ['iscsi', 'nbd'] as const) await storage.unmap(volume, subjectOf(context, way));
        return state;
      },
    },
    {
      name: 'give the lease back',
      do: async (state) => {
        await storage.release(volume, holderOf(settings.host, state.uuid ?? ''));
        return state;
      },
    },
  ];
  const asked = { what: 'detach', args: request, title: `detach ${volume} from ${name}`, object: volumeObject(volume) };
  await operate(context, asked, steps, {}, { detach: request }, key, { forward: true });
}
