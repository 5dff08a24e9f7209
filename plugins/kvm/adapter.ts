// libvirt as the hypervisor of the shared provisioning flow (plugins/sdk): a pool of type iscsi-direct for the target, with a
// private secret for CHAP. What is provided is the LUN itself, for virtual machines; nothing is formatted.
import { ServiceError } from '../../core/base/errors.ts';
import type { HostAdapter, HostDisk, HostIdentity, HostPath, TargetAddress } from '../sdk/host-adapter.ts';
import type { StoredVolume } from '../sdk/storage.ts';
import { ensurePool, ensureSecret, findPool, orMissing, removePool, wantedPool } from './ensure.ts';
import { poolIdentity } from './identity.ts';
import { isUnreachable } from './libvirt.ts';
import type { Caller } from './libvirt.ts';
import { volumeNameOf } from './model/pool.ts';
import { LibvirtCode } from './rpc/errors.ts';
import { listVolumes, poolActive, poolRefresh, volumeByName, volumeInfo } from './rpc/procedures.ts';
import { readSecret } from './settings.ts';
import type { KvmSettings } from './settings.ts';

/** libvirt takes the address of the last block for the number of blocks, so that it sees one less. */
const LARGEST_BLOCK = 4096;

export class KvmAdapter implements HostAdapter {
  readonly #libvirt: Caller;
  readonly #settings: KvmSettings;
  /** What the storage says of the volume that is provided: libvirt cannot be asked for NAA identifiers. */
  readonly #volume: () => Promise<StoredVolume | undefined>;

  constructor(libvirt: Caller, settings: KvmSettings, volume: () => Promise<StoredVolume | undefined>) {
    this.#libvirt = libvirt;
    this.#settings = settings;
    this.#volume = volume;
  }

  hosts(names: readonly string[]): Promise<readonly HostIdentity[]> {
    const { host, initiator } = this.#settings;
    const other = names.find((name) => name !== host);
    if (other !== undefined) return Promise.reject(new ServiceError('not-found', `this is host ${host}, not ${other}`));
    return Promise.resolve(names.map((name) => ({ name, iqns: [initiator] })));
  }

  async connect(_host: HostIdentity, target: TargetAddress): Promise<void> {
    const { initiator, chap } = this.#settings;
    if (chap !== undefined) await ensureSecret(this.#libvirt, initiator, readSecret(chap.secretFile));
    const [portal = ''] = target.portals;
    await ensurePool(this.#libvirt, wantedPool(target.iqn, portal, initiator, chap?.user));
  }

  /** The pool goes when its target has no other disk for this host; the secret stays, which other pools may need. */
  async disconnect(_host: HostIdentity, target: TargetAddress): Promise<void> {
    const pool = await findPool(this.#libvirt, poolIdentity(target.iqn));
    if (pool === undefined) return;
    try {
      await this.#libvirt.call(poolRefresh, { pool, flags: 0 });
      const others = await this.#othersIn(target);
      if (others) return;
    } catch (error) {
      if (isUnreachable(error)) throw error;
      // A target that shows this host nothing any more refuses it, and the pool has nothing to show.
    }
    await removePool(this.#libvirt, target.iqn);
  }

  async #othersIn(target: TargetAddress): Promise<boolean> {
    const pool = await findPool(this.#libvirt, poolIdentity(target.iqn));
    if (pool === undefined) return false;
    const { volumes } = await this.#libvirt.call(listVolumes, { pool, needed: 1, flags: 0 });
    return volumes.some(({ name }) => name !== volumeNameOf(target.lun));
  }

  async rescan(): Promise<void> {
    const volume = await this.#volume();
    const pool = volume === undefined ? undefined : await findPool(this.#libvirt, poolIdentity(volume.iqn));
    if (pool === undefined) throw new ServiceError('not-found', 'the pool of the volume is gone');
    const { active } = await this.#libvirt.call(poolActive, { pool });
    if (active !== 0) await this.#libvirt.call(poolRefresh, { pool, flags: 0 });
  }

  async findDisk(_host: HostIdentity, naa: string): Promise<HostDisk | undefined> {
    const volume = await this.#volume();
    if (volume?.naa !== naa) return undefined;
    const pool = await findPool(this.#libvirt, poolIdentity(volume.iqn));
    if (pool === undefined) return undefined;
    const name = volumeNameOf(volume.lun);
    const found = await orMissing(this.#libvirt.call(volumeByName, { pool, name }), LibvirtCode.noVolume);
    if (found === undefined) return undefined;
    const { capacity } = await this.#libvirt.call(volumeInfo, { volume: found.volume });
    // The target and the LUN are the volume's own; a size that is not says that somebody else answers there.
    const size = capacity <= volume.size && capacity >= volume.size - LARGEST_BLOCK ? volume.size : capacity;
    // Not empty, and not to be formatted: it is the disk of its name.
    return { naa, id: found.volume.key, size, content: volume.name };
  }

  async paths(): Promise<readonly HostPath[]> {
    const volume = await this.#volume();
    const pool = volume === undefined ? undefined : await findPool(this.#libvirt, poolIdentity(volume.iqn));
    if (volume === undefined || pool === undefined) return [];
    const { active } = await this.#libvirt.call(poolActive, { pool });
    return volume.portals.map((portal) => ({ portal, usable: active !== 0 }));
  }

  format(): Promise<void> {
    return Promise.resolve();
  }

  unformat(): Promise<void> {
    return Promise.resolve();
  }
}
