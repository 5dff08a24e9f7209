// A second virtual machine like the first: its disks are clones in the pool, which takes no time, and its definition is new.
import { ServiceError } from '../../../core/base/errors.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import { orMissing } from '../ensure.ts';
import { holderOf, uuidOf } from '../identity.ts';
import { settled } from '../libvirt.ts';
import type { DiskSource } from '../model/disk.ts';
import { clonedDomain, parseDomain } from '../model/domain.ts';
import { LibvirtCode } from '../rpc/errors.ts';
import {
  XML_INACTIVE,
  domainByName,
  domainDefine,
  domainDestroy,
  domainStart,
  domainUndefine,
  domainXml,
} from '../rpc/procedures.ts';
import { domainNamed, isRunning, machineObject, operate, sourceFor } from './context.ts';
import type { OpsContext } from './context.ts';
import { volumesOf } from './snapshot.ts';

/** virDomainUndefineFlagsValues: with its NVRAM file. */
const UNDEFINE_NVRAM = 4;

interface Cloning {
  /** By the name the disk has in the domain: the volume, and its clone. */
  readonly disks: readonly { readonly dev: string; readonly from: string; readonly to: string }[];
}

/** Returns the names of the new volumes. Rejects with FlowFailed, after which there is no second machine. */
export async function cloneDomain(
  context: OpsContext,
  request: { readonly from: string; readonly name: string; readonly start: boolean },
  key: string,
): Promise<readonly string[]> {
  const { libvirt, storage, settings } = context;
  const { from, name, start } = request;
  // Computed, so that whoever goes on after a crash defines the same machine.
  const uuid = uuidOf(`domain ${settings.host} ${name} ${key}`);
  const holder = holderOf(settings.host, uuid);
  const ours = async (): Promise<Awaited<ReturnType<typeof domainNamed>> | undefined> => {
    const found = await orMissing(libvirt.call(domainByName, { name }), LibvirtCode.noDomain);
    return found?.domain.uuid === uuid ? found.domain : undefined;
  };
  const steps: FlowStep<Cloning>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await domainNamed(libvirt, from);
        const taken = await orMissing(libvirt.call(domainByName, { name }), LibvirtCode.noDomain);
        if (taken !== undefined) throw new ServiceError('exists', `there is a virtual machine ${name} already`);
        const volumes = await volumesOf(context, domain);
        const disks = [...volumes].map(([dev, disk]) => ({ dev, from: disk.name, to: `${name.toLowerCase()}-${dev}` }));
        if (disks.length === 0) throw new ServiceError('not-found', `${from} has no disk of ours`);
        for (const { to } of disks) {
          if ((await storage.find(to)) !== undefined)
            throw new ServiceError('exists', `there is a volume '${to}' already`);
        }
        return { disks };
      },
    },
    {
      name: 'clone the disks',
      do: async (state) => {
        for (const each of state.disks)
          await storage.clone(each.from, each.to, settings.initiator, `${key} ${each.dev}`);
        return state;
      },
      undo: async ({ disks }) => {
        // With the same keys, they are those we made, or are made; a name of somebody else's is refused, and that one stays.
        for (const { dev, from: source, to } of disks) {
          const made = await storage.clone(source, to, settings.initiator, `${key} ${dev}`).catch((error: unknown) => {
            if (error instanceof ServiceError && error.code !== 'daemon-unreachable') return undefined;
            throw error;
          });
          if (made !== undefined) await storage.remove(to);
        }
      },
    },
    {
      name: 'take the leases',
      do: async (state) => {
        for (const { to } of state.disks) await storage.lease(to, holder);
        return state;
      },
      undo: async ({ disks }) => {
        for (const { to } of disks) await storage.release(to, holder);
      },
    },
    {
      name: 'define the machine',
      do: async (state) => {
        if ((await ours()) !== undefined) return state;
        const domain = await domainNamed(libvirt, from);
        const { xml } = await libvirt.call(domainXml, { domain, flags: XML_INACTIVE });
        const sources = new Map<string, DiskSource>();
        for (const { dev, to } of state.disks) sources.set(dev, sourceFor(context, await storage.volume(to), 'iscsi'));
        const own = clonedDomain(parseDomain(xml), name, uuid, sources);
        await settled(
          () => libvirt.call(domainDefine, { xml: own, flags: 0 }),
          async () => (await ours()) !== undefined,
        );
        return state;
      },
      undo: async () => {
        const domain = await ours();
        if (domain === undefined) return;
        if (await isRunning(libvirt, domain)) await libvirt.call(domainDestroy, { domain });
        await libvirt.call(domainUndefine, { domain, flags: UNDEFINE_NVRAM });
      },
    },
    {
      name: 'start it',
      do: async (state) => {
        const domain = await ours();
        if (!start || domain === undefined || (await isRunning(libvirt, domain))) return state;
        await settled(
          () => libvirt.call(domainStart, { domain, flags: 0 }),
          () => isRunning(libvirt, domain),
        );
        return state;
      },
    },
  ];
  const asked = { what: 'clone', args: request, title: `clone ${from} as ${name}`, object: machineObject(from) };
  const { disks } = await operate(context, asked, steps, { disks: [] }, { clone: request }, key);
  return disks.map(({ to }) => to);
}
