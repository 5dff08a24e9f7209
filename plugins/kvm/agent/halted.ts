// Machines that QEMU has halted because gemeld was away: NBD has one connection, and what it was asked for comes back as an error, so that disks
// by NBD have their machine stand still instead of telling the guest (model/disk.ts). When the storage is there again they go on, and
// QEMU repeats what had failed.
import { messageOf } from '../../../core/base/errors.ts';
import { holderOf } from '../identity.ts';
import { NBD, disksIn } from '../ops/context.ts';
import type { Caller } from '../libvirt.ts';
import { LIST_PAUSED, domainResume, domainState, listAllDomains } from '../rpc/procedures.ts';
import type { StoredDisk } from '../storage.ts';

/** virDomainState, VIR_DOMAIN_PAUSED; the same number is another reason in another state. */
const PAUSED = 3;
/** virDomainPausedReason, VIR_DOMAIN_PAUSED_IOERROR. */
const IO_ERROR = 5;
/** virDomainEventType and its detail: a machine has been halted for an error of a disk. */
export const SUSPENDED = { event: 3, detail: 2 };

/**
 * Machines that halt again at once, for another disk or a storage that is only half there, go on so often within so many milliseconds, then
 * not before those are over.
 */
const OFTEN = 5;
const SPAN = 60_000;

export interface Waking {
  readonly socket: string;
  /** Of the host, in leases. */
  readonly host: string;
  /** What the catalog has by now. */
  readonly volumes: readonly StoredDisk[];
  /** When machines went on (milliseconds, like `now`), by UUID. */
  readonly woken: Map<string, number[]>;
  readonly now: number;
  readonly log: (text: string) => void;
}

/**
 * Has those go on that have a disk by NBD through `socket`, when all such disks are still theirs: while one stood still, a disk may have been
 * given to another machine, elsewhere. Returns how many are still to be looked at, as their disks are not served yet or libvirtd
 * refused. Rejects when libvirtd cannot be asked at all.
 */
export async function wakeHalted(libvirt: Caller, waking: Waking): Promise<number> {
  const { socket, host, volumes, woken, now, log } = waking;
  for (const [uuid, times] of woken) if (times.every((each) => now - each > SPAN)) woken.delete(uuid);
  const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: LIST_PAUSED });
  let later = 0;
  for (const domain of domains) {
    try {
      const { state, reason } = await libvirt.call(domainState, { domain, flags: 0 });
      if (state !== PAUSED || reason !== IO_ERROR) continue;
      const names = (await disksIn(libvirt, domain)).flatMap(({ source }) =>
        source?.kind === 'nbd' && source.socket === socket ? [source.export] : [],
      );
      if (names.length === 0) continue;
      const found = names.map((name) => obstacle(name, volumes, holderOf(host, domain.uuid)));
      const lost = found.find((each) => each?.forGood === true);
      if (lost !== undefined) {
        log(`${domain.name} stands still, and is left so: ${lost.why}`);
        continue;
      }
      const times = (woken.get(domain.uuid) ?? []).filter((each) => now - each <= SPAN);
      if (found.some((each) => each !== undefined) || times.length >= OFTEN) {
        later++;
      } else {
        woken.set(domain.uuid, [...times, now]);
        await libvirt.call(domainResume, { domain });
        log(`${domain.name} stood still while the storage was away: it goes on`);
      }
    } catch (error) {
      // It has ended, or moves to another host just now: the others do not wait for it.
      later++;
      log(`${domain.name} stands still: ${messageOf(error)}`);
    }
  }
  return later;
}

/** Why a machine whose leases `holder` has must not go on with the volume; undefined: it may. */
function obstacle(
  name: string,
  volumes: readonly StoredDisk[],
  holder: string,
): { readonly why: string; readonly forGood: boolean } | undefined {
  const volume = volumes.find((each) => each.name === name);
  if (volume === undefined) return { why: `volume '${name}' is gone`, forGood: true };
  const { lease, maps, state } = volume;
  if (lease !== null && lease.holder !== holder) {
    return { why: `volume '${name}' is leased by ${lease.holder}`, forGood: true };
  }
  if (!maps.some(({ initiator }) => initiator === NBD))
    return { why: `volume '${name}' is not mapped to '${NBD}' any more`, forGood: true };
  return state === 'online' ? undefined : { why: `volume '${name}' is ${state}`, forGood: false };
}
