// Who may use a volume, for clients of the gateway: the lease is taken before libvirtd gets a disk, and given back when no machine has it.
import { ServiceError } from '../../../core/base/errors.ts';
import { holderOf } from '../identity.ts';
import { disksIn, domainsWith, isOf } from '../ops/context.ts';
import type { OpsContext } from '../ops/context.ts';
import { listAllDomains } from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import type { StoredDisk } from '../storage.ts';

/** How often, and milliseconds apart, it is looked whether a guest has let go of a disk. */
const DETACH_LOOKS = 120;
const DETACH_INTERVAL = 250;

export class Leases {
  readonly #context: OpsContext;

  constructor(context: OpsContext) {
    this.#context = context;
  }

  /** Rejects with in-use when a virtual machine of this host has it, other than the one with the UUID `but`. */
  async unused(disk: StoredDisk, but?: string): Promise<void> {
    const user = (await domainsWith(this.#context.libvirt, disk)).find(({ domain }) => domain.uuid !== but);
    if (user !== undefined) throw new ServiceError('in-use', `'${disk.name}' is a disk of ${user.domain.name}`);
  }

  /** What a machine of this host has left when it ended; to be called when no machine has the disk. */
  async reclaim({ name, lease }: StoredDisk): Promise<void> {
    if (lease?.holder.startsWith(this.#holder('')) === true) {
      await this.#context.storage.release(name, lease.holder);
    }
  }

  /** Before a disk is attached: nobody has the volume, and nobody else gets it from now on. Rejects with in-use. */
  async take(volume: string, uuid: string): Promise<void> {
    const disk = await this.#context.storage.volume(volume);
    await this.unused(disk);
    await this.#lease(disk, uuid);
  }

  /**
   * Before a machine is defined, or started from a definition: it has these volumes from now on, and no other machine has or gets
   * them. Returns those it had not before. Rejects with in-use, having taken none.
   */
  async takeAll(volumes: readonly string[], uuid: string): Promise<readonly string[]> {
    const taken: string[] = [];
    try {
      for (const volume of volumes) {
        const disk = await this.#context.storage.volume(volume);
        await this.unused(disk, uuid);
        if (disk.lease?.holder === this.#holder(uuid)) continue;
        await this.#lease(disk, uuid);
        taken.push(volume);
      }
    } catch (error) {
      await this.giveBack(taken, uuid);
      throw error;
    }
    return taken;
  }

  /**
   * Volumes that are disks of the machine, and leased for it. What is being attached just now is not among them. Never rejects: that the
   * storage does not answer is no reason to keep anybody from ending a machine; what stays leased is found by the doctor.
   */
  async heldBy(uuid: string): Promise<readonly string[]> {
    const { storage, libvirt } = this.#context;
    try {
      const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: 0 });
      const domain = domains.find((each) => each.uuid === uuid);
      if (domain === undefined) return [];
      const disks = [...(await disksIn(libvirt, domain)), ...(await disksIn(libvirt, domain, true))];
      if (!disks.some(({ source, pooled }) => source !== undefined || pooled !== undefined)) return [];
      const leased = (await storage.volumes()).filter(({ lease }) => lease?.holder === this.#holder(uuid));
      return leased.filter((volume) => disks.some((each) => isOf(each, volume))).map(({ name }) => name);
    } catch {
      return [];
    }
  }

  /** The volume that is leased for the machine, and its disk with this alias. Never rejects. */
  async heldAs(domain: Domain, alias: string): Promise<string | undefined> {
    const { storage, libvirt } = this.#context;
    try {
      const disks = [...(await disksIn(libvirt, domain)), ...(await disksIn(libvirt, domain, true))];
      const disk = disks.find((each) => each.alias === alias);
      if (disk === undefined) return undefined;
      const holder = this.#holder(domain.uuid);
      return (await storage.volumes()).find((volume) => volume.lease?.holder === holder && isOf(disk, volume))?.name;
    } catch {
      return undefined;
    }
  }

  async giveBack(volumes: readonly string[], uuid: string): Promise<void> {
    for (const volume of volumes) await this.#context.storage.release(volume, this.#holder(uuid));
  }

  /** Of `held`, what no machine has any more. */
  async giveBackUnused(held: readonly string[], uuid: string): Promise<void> {
    const { storage, libvirt } = this.#context;
    for (const volume of held) {
      const disk = await storage.find(volume);
      if (disk !== undefined && (await domainsWith(libvirt, disk)).length === 0) await this.giveBack([volume], uuid);
    }
  }

  /** After it was detached: as soon as the guest has let go of it. While it has not, the volume stays taken. */
  async giveBackLater(volume: string, uuid: string): Promise<void> {
    const { storage, libvirt } = this.#context;
    const disk = await storage.volume(volume);
    for (let i = 0; i < DETACH_LOOKS; i++) {
      if ((await domainsWith(libvirt, disk)).length === 0) {
        await this.giveBack([volume], uuid);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, DETACH_INTERVAL));
    }
  }

  /** A lease of a machine that this host does not have any more is nobody's. */
  async #lease(disk: StoredDisk, uuid: string): Promise<void> {
    const { storage, libvirt } = this.#context;
    const { lease, name } = disk;
    if (lease !== null && lease.holder !== this.#holder(uuid)) {
      const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: 0 });
      if (!domains.some((each) => lease.holder === this.#holder(each.uuid))) await this.reclaim(disk);
    }
    await storage.lease(name, this.#holder(uuid));
  }

  #holder(uuid: string): string {
    return holderOf(this.#context.settings.host, uuid);
  }
}
