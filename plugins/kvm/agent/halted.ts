// Machines that QEMU has halted because gemeld was away: NBD has one connection, and what it was asked for comes back as an error, so that disks
// by NBD have their machine stand still instead of telling the guest (model/disk.ts). When the storage is there again they go on, and
// QEMU repeats what had failed.
import { disksIn } from '../ops/context.ts';
import type { Caller } from '../libvirt.ts';
import { LIST_PAUSED, domainResume, domainState, listAllDomains } from '../rpc/procedures.ts';

/** virDomainPausedReason, VIR_DOMAIN_PAUSED_IOERROR. */
const IO_ERROR = 5;
/** virDomainEventType and its detail: a machine has been halted for an error of a disk. */
export const SUSPENDED = { event: 3, detail: 2 };

/** Has those go on that have a disk by NBD through `socket`. Returns how many there were. Rejects when libvirtd cannot be asked. */
export async function wakeHalted(libvirt: Caller, socket: string, log: (text: string) => void): Promise<number> {
  const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: LIST_PAUSED });
  let found = 0;
  for (const domain of domains) {
    const { reason } = await libvirt.call(domainState, { domain, flags: 0 });
    if (reason !== IO_ERROR) continue;
    const disks = await disksIn(libvirt, domain);
    if (!disks.some(({ source }) => source?.kind === 'nbd' && source.socket === socket)) continue;
    await libvirt.call(domainResume, { domain });
    log(`${domain.name} stood still while the storage was away: it goes on`);
    found++;
  }
  return found;
}
