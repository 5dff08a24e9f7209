// All disks of a virtual machine at one instant, with its file systems at rest when its guest agent answers; and back to it.
import { ServiceError } from '../../../core/base/errors.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import type { Caller } from '../libvirt.ts';
import { LibvirtCode, isLibvirt } from '../rpc/errors.ts';
import { fsFreeze, fsThaw } from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import type { StoredDisk } from '../storage.ts';
import { disksIn, domainNamed, isOf, isRunning, machineObject, operate } from './context.ts';
import type { OpsContext } from './context.ts';

/** Errors of libvirt that say there is no guest agent, or none that answers. */
const NO_AGENT = [
  LibvirtCode.configUnsupported,
  LibvirtCode.agentUnresponsive,
  LibvirtCode.unsupported,
  LibvirtCode.operationFailed,
  LibvirtCode.internal,
] as const;
/** argument unsupported: the domain has no channel for an agent. */
const ARGUMENT_UNSUPPORTED = 74;

interface Snapshotting {
  readonly volumes: readonly string[];
  readonly frozen: boolean;
}

/** The volumes that are disks of the domain, by the names they have there. */
export async function volumesOf(context: OpsContext, domain: Domain): Promise<Map<string, StoredDisk>> {
  const all = await context.storage.volumes();
  const disks = await disksIn(context.libvirt, domain);
  return new Map(
    disks.flatMap((each) => {
      const found = all.find((disk) => isOf(each, disk));
      return found === undefined ? [] : [[each.dev, found] as const];
    }),
  );
}

async function freeze(libvirt: Caller, domain: Domain): Promise<boolean> {
  try {
    await libvirt.call(fsFreeze, { domain, mountpoints: [], flags: 0 });
    return true;
  } catch (error) {
    if (isLibvirt(error, ARGUMENT_UNSUPPORTED, ...NO_AGENT)) return false;
    // An answer that got lost is no answer: nothing is said to be at rest on such grounds. Undoing thaws, which does no harm.
    throw error;
  }
}

async function thaw(libvirt: Caller, domain: Domain): Promise<void> {
  try {
    await libvirt.call(fsThaw, { domain, mountpoints: [], flags: 0 });
  } catch (error) {
    if (!isLibvirt(error, ARGUMENT_UNSUPPORTED, ...NO_AGENT)) throw error;
  }
}

/** Returns the volumes, and whether the guest's file systems were at rest. Rejects with FlowFailed. */
export async function snapshotDomain(
  context: OpsContext,
  name: string,
  snapshot: string,
  key: string,
): Promise<Snapshotting> {
  const { libvirt, storage } = context;
  const steps: FlowStep<Snapshotting>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await domainNamed(libvirt, name);
        const volumes = [...(await volumesOf(context, domain)).values()].map((disk) => disk.name);
        if (volumes.length === 0) throw new ServiceError('not-found', `${name} has no disk of ours`);
        for (const volume of volumes) {
          if (await storage.hasSnapshot(volume, snapshot)) {
            throw new ServiceError('exists', `volume '${volume}' has a snapshot '${snapshot}'`);
          }
        }
        return { volumes, frozen: false };
      },
    },
    {
      name: 'bring the file systems to rest',
      do: async (state) => {
        const domain = await domainNamed(libvirt, name);
        return { ...state, frozen: (await isRunning(libvirt, domain)) && (await freeze(libvirt, domain)) };
      },
      undo: async () => thaw(libvirt, await domainNamed(libvirt, name)),
    },
    {
      name: 'take the snapshot',
      do: async (state) => {
        await storage.snapshot(state.volumes, snapshot, key);
        return state;
      },
      undo: async ({ volumes }) => {
        // With the same key, they are those we made, or are made; where somebody else has made one of that name meanwhile it is refused.
        const made = await storage.snapshot(volumes, snapshot, key).then(
          () => true,
          (error: unknown) => {
            if (error instanceof ServiceError && error.code !== 'daemon-unreachable') return false;
            throw error;
          },
        );
        if (made) for (const volume of volumes) await storage.removeSnapshot(volume, snapshot);
      },
    },
    {
      name: 'let them go on',
      do: async (state) => {
        if (state.frozen) await thaw(libvirt, await domainNamed(libvirt, name));
        return state;
      },
    },
  ];
  const args = { domain: name, snapshot };
  const asked = { what: 'snapshot', args, title: `snapshot ${snapshot} of ${name}`, object: machineObject(name) };
  const first = { volumes: [], frozen: false };
  return operate(context, asked, steps, first, { snapshot: name, as: snapshot }, key);
}

/** The disks of a domain that does not run are again as they were. Goes forward only. Rejects with FlowFailed. */
export async function rollBackDomain(context: OpsContext, name: string, snapshot: string, key: string): Promise<void> {
  const { libvirt, storage } = context;
  const steps: FlowStep<Snapshotting>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await domainNamed(libvirt, name);
        if (await isRunning(libvirt, domain)) throw new ServiceError('in-use', `${name} runs; shut it down first`);
        const volumes = [...(await volumesOf(context, domain)).values()].map((disk) => disk.name);
        for (const volume of volumes) {
          if (await storage.hasSnapshot(volume, snapshot)) continue;
          throw new ServiceError('not-found', `volume '${volume}' has no snapshot '${snapshot}'`);
        }
        return { volumes, frozen: false };
      },
    },
    {
      name: 'roll back',
      do: async (state) => {
        // Who goes on after a crash comes here at once, and somebody may have started it since.
        if (await isRunning(libvirt, await domainNamed(libvirt, name)))
          throw new ServiceError('in-use', `${name} runs`);
        for (const volume of state.volumes) await storage.rollback(volume, snapshot, key);
        return state;
      },
    },
  ];
  const args = { domain: name, snapshot };
  const asked = { what: 'rollback', args, title: `roll ${name} back to ${snapshot}`, object: machineObject(name) };
  const first = { volumes: [], frozen: false };
  await operate(context, asked, steps, first, { rollback: name, to: snapshot }, key, { forward: true });
}
