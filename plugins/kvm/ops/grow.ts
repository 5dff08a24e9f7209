// A volume grows, and the virtual machine that has it sees that at once.
import { ServiceError } from '../../../core/base/errors.ts';
import { formatSize } from '../../../core/base/sizes.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import { orMissing } from '../ensure.ts';
import { poolIdentity } from '../identity.ts';
import { LibvirtCode } from '../rpc/errors.ts';
import { RESIZE_BYTES, blockInfo, blockResize, poolActive, poolByUuid, poolRefresh } from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import { disksIn, domainsWith, isOf, operate, volumeObject } from './context.ts';
import type { OpsContext } from './context.ts';

interface Running {
  readonly domain: Domain;
  readonly dev: string;
  /** Its way to the volume keeps the size it had. */
  readonly fixed: boolean;
}

/** `size`: bytes. Goes forward only, because shrinking loses data; the same key goes on. Rejects with FlowFailed. */
export async function growDisk(context: OpsContext, volume: string, size: number, key: string): Promise<void> {
  const { storage, libvirt } = context;
  const running = async (): Promise<Running[]> => {
    const disk = await storage.volume(volume);
    const found: Running[] = [];
    for (const { domain } of await domainsWith(libvirt, disk)) {
      if (domain.id < 0) continue;
      for (const each of await disksIn(libvirt, domain)) {
        if (isOf(each, disk))
          found.push({ domain, dev: each.dev, fixed: each.source?.kind !== 'iscsi' && each.pooled === undefined });
      }
    }
    return found;
  };
  const steps: FlowStep<object>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const { size: before } = await storage.volume(volume);
        if (before > size)
          throw new ServiceError('bad-request', `volume '${volume}' has ${String(before)} bytes already`);
        // QEMU asks NBD how large a disk is when it connects, and never again.
        const fixed = (await running()).find((each) => each.fixed);
        if (fixed !== undefined) {
          const why = `${fixed.domain.name} has ${volume} by NBD or vhost-user: that shows a new size when the machine starts`;
          throw new ServiceError('in-use', `${why}; shut it down first, or attach by iSCSI`);
        }
        return {};
      },
    },
    {
      name: 'grow the volume',
      do: async () => {
        if ((await storage.volume(volume)).size < size) await storage.resize(volume, size);
        return {};
      },
    },
    {
      name: 'tell the virtual machine',
      do: async () => {
        for (const { domain, dev } of await running()) {
          await libvirt.call(blockResize, { domain, disk: dev, size, flags: RESIZE_BYTES });
        }
        return {};
      },
    },
    {
      name: 'refresh the pool',
      do: async () => {
        const { iqn } = await storage.volume(volume);
        const found = await orMissing(libvirt.call(poolByUuid, { uuid: poolIdentity(iqn).uuid }), LibvirtCode.noPool);
        if (found !== undefined && (await libvirt.call(poolActive, found)).active !== 0) {
          await libvirt.call(poolRefresh, { pool: found.pool, flags: 0 });
        }
        return {};
      },
    },
    {
      name: 'verify',
      do: async () => {
        for (const { domain, dev } of await running()) {
          const { capacity } = await libvirt.call(blockInfo, { domain, path: dev, flags: 0 });
          if (capacity === size) continue;
          throw new ServiceError('hypervisor-refused', `${domain.name} sees ${String(capacity)} bytes of ${volume}`);
        }
        return {};
      },
    },
  ];
  const title = `grow ${volume} to ${formatSize(size)}`;
  const asked = { what: 'grow', args: { volume, size }, title, object: volumeObject(volume) };
  await operate(context, asked, steps, {}, { grow: volume, size }, key, { forward: true });
}
